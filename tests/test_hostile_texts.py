"""Every reader of texts against whatever stands there: it is read, or refused by the error that the reader names, and
a long text takes no longer than its length.

Readers of what servers say by a protocol are tested beside these (tests/network, tests/probes), and all of them as
parts of a run by tests/probes/test_hostile_servers.py.
"""

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfmon import threshold, units
from perfmon.annotation import annotate, check_annotations
from perfmon.answer import json_path, statuses
from perfmon.clock import ManualClock
from perfmon.config import yaml_places
from perfmon.model import Alert
from perfmon.monitor.negotiation import accepts_gzip, negotiate
from perfmon.network import resp
from perfmon.network.address import BadAddress, parse_host_port, parse_name, parse_service, parse_url
from perfmon.patterns import compile_pattern, expand, problem
from perfmon.printed import nagios_numbers, prometheus_numbers
from perfmon.procfs import parse_stat
from perfmon.secret import References, Secret, cut_out, secret_in
from perfmon.selection import matches

LONG = 4_000  # characters
SQUARE = {"pattern": 400, "glob": 400}  # what the user's own file may hold, and whose libraries' time is square to it
AT_MOST_S = 0.5
FOUND = compile_pattern("(?P<word>[a-z]+)").search("found")
ALERT = Alert(rule="Down", labels={"target": "shop"}, series="shop")


def resolve(text):
    return References({"A": "value of a"}).resolve(text, Path("/nowhere"))


# Reader, the one error that it may raise, and what its texts are made of.
READERS = {
    "url": (parse_url, BadAddress, ["http://", "[", "::1", "]", "@", ":", "80", "/", "%", "a", "é", "?"]),
    "host and port": (parse_host_port, BadAddress, ["[", "::", "]", ":", "80", "0", "a", ".", "%25", "é"]),
    "service": (lambda text: parse_service(text, 1), BadAddress, ["a", ":", "1", "/", "%00", "@", "#", "?"]),
    "name": (parse_name, BadAddress, ["[", "]", ":", "a", ".", "é", "xn--"]),
    "threshold": (threshold.parse, ValueError, ["p(", "95", ")", " < ", "ms", ",", " over ", "5m", " critical", "9"]),
    "quantity": (units.parse_quantity, ValueError, ["9", ".", "-", "e", "ms", "MiB", "%", "/s", " ", "_"]),
    "duration": (units.parse_duration, ValueError, ["9", ".", "d", "h", "m", "s", " ", "ms"]),
    "size": (units.parse_bytes, ValueError, ["9", ".", "k", "B", "i", "M", " "]),
    "share": (units.parse_ratio, ValueError, ["9", ".", "%", "-", " "]),
    "pattern": (problem, None, ["(", ")", "a", "*", "+", "{1,99}", "[", "]", "\\", "?", "|"]),
    "template of a pattern": (lambda text: expand(text, FOUND), None, ["$", "{", "}", "1", "word", "$$"]),
    "references": (resolve, ValueError, ["${", "env:", "A", "}", "$", "file:", "/x", ":"]),
    "secrets in a text": (secret_in, None, ["${", "env:", "TOKEN", "}", "$", "file:"]),
    "annotation": (lambda text: annotate({"a": text}, ALERT, ManualClock()), None, ["{{", "}}", " ", "target", "{"]),
    "annotation's names": (lambda text: list(check_annotations({"a": text}, ["target"])), None, ["{{", "}}", "x", " "]),
    "glob": (lambda text: matches({"a": text}, {"a": "a" * 200}), None, ["*", "a", "?", "[", "]", "!", "-"]),
    "path in JSON": (json_path.parse_path, ValueError, ["$", ".", "[", "0", "]", '"', "'", "\\", "a", "\\x"]),
    "JSON": (lambda text: json_path.read_json(text.encode()), ValueError, ["[", "]", "{", "}", '"a":', "1", ",", "e9"]),
    "status codes": (lambda text: statuses.parse([text]), ValueError, ["2", "00", "-", "299", ",", "xx", " "]),
    "numbers of Prometheus": (lambda text: list(prometheus_numbers(text)), None, ["a", '="', '"', "{", "}", " 1", "\n", "\\"]),
    "numbers of Nagios": (lambda text: list(nagios_numbers(text)), None, ["|", "a", "=", "1", "'", ";", " ", "%"]),
    "Accept": (negotiate, None, ["text/plain", ";", "q=", "0.5", ",", "*", "/"]),
    "Accept-Encoding": (accepts_gzip, None, ["gzip", ";", "q=", "0", ",", "*"]),
    "INFO of Redis": (resp.fields_of, None, ["a", ":", "1", "\r\n", "#"]),
    "YAML": (lambda text: yaml_places.parse(text.encode(), "f"), None, ["a", ": ", "\n", "- ", "&a ", "*a", "{", "[", "'", '"', "!", "  "]),
}  # fmt: skip


def texts(parts):
    plain = st.characters(exclude_categories=["Cs"])
    return st.lists(st.sampled_from(parts) | st.text(alphabet=plain, max_size=3), max_size=12).map("".join)


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_whatever_stands_there_is_read_or_refused_by_the_readers_own_error(name, data):
    read, error, parts = READERS[name]
    with contextlib.suppress(error) if error else contextlib.nullcontext():
        read(data.draw(texts(parts)))


@pytest.mark.parametrize("name", READERS)
def test_a_long_text_takes_no_time(name):
    """Each part again and again, and each pair of parts: what backtracks without end does so here."""
    read, error, parts = READERS[name]
    for first in parts:
        for second in ("", *parts):
            text = (first + second) * (SQUARE.get(name, LONG) // len(first + second))
            began = time.process_time()
            with contextlib.suppress(error) if error else contextlib.nullcontext():
                read(text)
            assert time.process_time() - began < AT_MOST_S, (first, second)


@given(
    st.binary(max_size=15).filter(lambda comm: b"\0" not in comm),
    st.lists(st.integers(0, 2**63), min_size=50, max_size=50),
)
@example(b") S 1 (", [7] * 50)
def test_a_process_is_read_whatever_its_name(comm, numbers):
    stat = parse_stat(b"42 (%s) S %s\n" % (comm, b" ".join(b"%d" % number for number in numbers)))

    assert (42, comm.decode(errors="replace"), "S", numbers[0]) == (stat.pid, stat.comm, stat.state, stat.parent)


@given(st.text(min_size=1, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_is_left_in_a_message(secret, before, after):
    for shape in (secret, repr(secret)):
        message = cut_out(Secret(secret), f"{before}{shape}{after}")
        assert secret not in message.replace("<secret>", "") or secret in f"{before}{after}" or len(secret) < 8
