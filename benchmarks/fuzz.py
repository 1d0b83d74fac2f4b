"""Coverage-guided fuzzing of the readers of foreign bytes: each reads them, or refuses them by the error that it names.

The same promise is kept by tests with Hypothesis (tests/test_hostile_texts.py and others); this goes on for as long as
it is let, and finds what random bytes rarely hit. A finding ends it with a traceback and the bytes in a file.

    uv run --with atheris python benchmarks/fuzz.py dns -max_total_time=60

What follows the reader's name are libFuzzer's own options.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import atheris

Read = Callable[[bytes], Any]

with atheris.instrument_imports(include=["perfmon", "dns", "yaml"]):
    from perfmon import threshold, units
    from perfmon.answer import json_path
    from perfmon.config import yaml_places
    from perfmon.network import mysqlwire, pgwire, resp
    from perfmon.network.address import parse_host_port, parse_url
    from perfmon.network.certificates import read_chain
    from perfmon.network.dns_message import read_answer
    from perfmon.network.icmp_packet import read_echo
    from perfmon.network.unpack import Unpacker
    from perfmon.printed import nagios_numbers, prometheus_numbers
    from perfmon.probes.grpc import read_status, unframed


def text(read: Callable[[str], Any]) -> Read:
    """A reader of texts as one of bytes."""
    return lambda data: read(data.decode("utf-8", "replace"))


def certificate(data: bytes) -> None:
    from ssl import DER_cert_to_PEM_cert

    read_chain((DER_cert_to_PEM_cert(data),), "")
    read_chain.cache_clear()


def postgres(data: bytes) -> None:
    pgwire.columns_of(data)
    pgwire.cells_of(data)
    pgwire.fields_of(data)


def mysql(data: bytes) -> None:
    mysqlwire.greeting_of(data)
    mysqlwire.column_of(data)
    mysqlwire.cells_of(data)


def unpack(data: bytes) -> None:
    from zlib import error

    for encoding in ("gzip", "deflate"):
        try:
            sum(map(len, Unpacker(encoding).unpack(data)))
        except error:
            continue


# Each with the error that it may raise beside a ValueError: none.
READERS: dict[str, Read] = {
    "certificate": certificate,
    "dns": read_answer,
    "duration": text(units.parse_duration),
    "grpc_frame": unframed,
    "grpc_status": read_status,
    "host_port": text(parse_host_port),
    "icmp": partial(read_echo, 4, with_ip_header=True),
    "info": text(resp.fields_of),
    "json": json_path.read_json,
    "json_path": text(json_path.parse_path),
    "mysql": mysql,
    "nagios": text(lambda said: list(nagios_numbers(said))),
    "postgres": postgres,
    "prometheus": text(lambda said: list(prometheus_numbers(said))),
    "threshold": text(threshold.parse),
    "unpack": unpack,
    "url": text(parse_url),
    "yaml": lambda data: yaml_places.parse(data, "fuzz.yml"),
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in READERS:
        raise SystemExit(
            f"usage: {Path(sys.argv[0]).name} READER [options of libFuzzer]; readers: {', '.join(READERS)}"
        )
    read = READERS[name]

    def once(data: bytes) -> None:
        try:
            read(data)
        except ValueError:
            return

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
