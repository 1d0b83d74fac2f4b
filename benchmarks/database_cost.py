"""CPU of one probe of a database in microseconds, and of the same by the driver that most people use.

Against Debian's PostgreSQL, MariaDB and Redis on loopback: a fresh connection, log-in with a password (SCRAM, native,
AUTH), one query, its answer, the end. perfmon's figure holds the whole measurement: look-up, phases, facts, verdict.
Only the client's CPU counts. The two take turns; of each the lower quartile of the rounds is printed. blackbox_exporter
has no such probes.

    uv run --with 'psycopg[binary]' --with pymysql --with redis python benchmarks/database_cost.py [--rounds 20]
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pymysql
import redis.asyncio
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import databases
from harness import workplace
from servers import Authority

from perfmon import kinds, measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network import Network
from perfmon.network.tls import TlsConfig

PASSWORD = "S3cret-probe"
RUNS = 20  # in a row, of one round
QUERIES = {"postgres": "SELECT 1", "mysql": "SELECT 1", "redis": "PING"}
BEYOND_PATH = ":".join(["/usr/bin", "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
Run = Callable[[], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(workplace())
    with tempfile.TemporaryDirectory() as name:
        authority = Authority(Path(name))
        with databases.postgres(binary, authority) as server:
            compare("postgres", server.port, authority, rounds, tls_port=server.port)
        with databases.mariadb(binary, authority) as server:
            compare("mysql", server.port, authority, rounds, tls_port=server.port)
        with databases.redis(binary, authority) as (server, tls_port):
            compare("redis", server.port, authority, rounds, tls_port=tls_port)


def binary(name: str) -> str:
    path = shutil.which(name, path=BEYOND_PATH)
    assert path is not None, f"{name} is not installed"
    return path


def compare(kind: str, port: int, authority: Authority, rounds: int, *, tls_port: int) -> None:
    for tls, at in ((False, port), (True, tls_port)):
        ours, theirs = uvloop.run(both(kind, at, authority.file if tls else "", rounds))
        print(
            f"{kind}{' over TLS' if tls else ''}: perfmon {ours:.0f} us, {DRIVERS[kind][0]} {theirs:.0f} us CPU a run,"
            f" ratio {ours / theirs:.2f}"
        )


async def both(kind: str, port: int, ca_file: str, rounds: int) -> tuple[float, float]:
    """CPU microseconds of perfmon's probe and of the driver."""
    async with Network(clock=SystemClock()) as network:
        variants = (probing(kind, port, ca_file, network), lambda: DRIVERS[kind][1](port, ca_file))
        seen: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds + 1):
            for variant, times in zip(variants, seen, strict=True):
                took = await cpu_us(variant)
                if number:  # the first one imports and fills caches
                    times.append(took)
    ours, theirs = (statistics.quantiles(times, n=4)[0] for times in seen)
    return ours, theirs


async def cpu_us(run: Run) -> float:
    began = time.process_time()
    for _ in range(RUNS):
        await run()
    return 1e6 * (time.process_time() - began) / RUNS


def probing(kind: str, port: int, ca_file: str, network: Network) -> Run:
    settings = {
        "query": QUERIES[kind],
        "password": PASSWORD,
        "tls": bool(ca_file),
        "tls_config": TlsConfig(ca_file=ca_file),
    }
    settings |= {} if kind == "redis" else {"username": "probe"}
    config = kinds.load("probes", kind).Config(**settings)
    module = Module(name=kind, kind=kind, timeout_s=2, config=config)
    target = Target(probe="cost", address=f"127.0.0.1:{port}" + ("/postgres" if kind == "postgres" else ""))

    async def run() -> None:
        measurement = await measure.probe(target, module, clock=SystemClock(), network=network)
        assert measurement.success, measurement.failure

    return run


# ---------------------------------------------------------------- the drivers


async def with_psycopg(port: int, ca_file: str) -> None:
    tls = {"sslmode": "verify-full", "sslrootcert": ca_file} if ca_file else {"sslmode": "disable"}
    connection = await psycopg.AsyncConnection.connect(
        host="127.0.0.1", port=port, user="probe", password=PASSWORD, dbname="postgres", autocommit=True, **tls
    )
    async with connection:
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def with_pymysql(port: int, ca_file: str) -> None:
    """Blocking, so a real probe would pay for a thread as well."""
    tls = (
        {"ssl_ca": ca_file, "ssl_verify_cert": True, "ssl_verify_identity": True} if ca_file else {"ssl_disabled": True}
    )
    connection = pymysql.connect(host="127.0.0.1", port=port, user="probe", password=PASSWORD, **tls)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


async def with_redis(port: int, ca_file: str) -> None:
    tls = {"ssl": True, "ssl_ca_certs": ca_file} if ca_file else {}
    client = redis.asyncio.Redis(host="127.0.0.1", port=port, password=PASSWORD, **tls)
    assert await client.ping()
    await client.aclose()


DRIVERS = {"postgres": ("psycopg", with_psycopg), "mysql": ("PyMySQL", with_pymysql), "redis": ("redis-py", with_redis)}

if __name__ == "__main__":
    main()
