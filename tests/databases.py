"""Debian's PostgreSQL, MariaDB and Redis, each in a folder of its own on a port of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from servers import Authority, unused_port

Binary = Callable[[str], str]


class Database(msgspec.Struct, frozen=True):
    """A running server."""

    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def postgres(binary: Binary, authority: Authority) -> Iterator[Database]:
    """Role `probe` has the password `S3cret-probe`, by SCRAM; `old` the same by md5; `free` needs none."""
    user = _system_user("postgres")
    with own_folder(user) as folder:
        port = unused_port()
        data = folder / "data"
        run(
            [binary("initdb"), "-D", str(data), "-U", "admin", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"],
            user,
            folder,
        )
        _certificate(folder, authority, user)
        rules = [
            "local all all trust",
            "hostssl all ciphered 127.0.0.1/32 scram-sha-256",
            "host all probe 127.0.0.1/32 scram-sha-256",
        ]
        rules += [
            "host all old 127.0.0.1/32 md5",
            "host all clear 127.0.0.1/32 password",
            "host all free 127.0.0.1/32 trust",
            "host all unicode 127.0.0.1/32 scram-sha-256",
        ]
        (data / "pg_hba.conf").write_text("\n".join(rules) + "\n")
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
            "ssl": "on",
        }
        settings |= {
            "ssl_cert_file": folder / "server.pem",
            "ssl_key_file": folder / "server.key",
            "max_connections": 20,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with running([binary("postgres"), "-D", str(data), *options], user, folder, port, stop="INT"):
            database = Database(port, folder)
            psql(
                binary,
                database,
                "CREATE ROLE probe LOGIN PASSWORD 'S3cret-probe'; CREATE ROLE free LOGIN; CREATE ROLE ciphered LOGIN PASSWORD 'x';"
                "CREATE ROLE clear LOGIN PASSWORD 'S3cret-probe'; SET password_encryption = md5;"
                "CREATE ROLE old LOGIN PASSWORD 'S3cret-probe'; CREATE TABLE secret (n int);",
            )
            yield database


def psql(binary: Binary, database: Database, sql: str) -> str:
    command = [
        binary("psql"),
        "-h",
        str(database.folder),
        "-p",
        str(database.port),
        "-U",
        "admin",
        "-d",
        "postgres",
        "-Atqc",
        sql,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def mariadb(binary: Binary, authority: Authority) -> Iterator[Database]:
    """Account `probe` has the password `S3cret-probe`; `free` has none."""
    user = _system_user("mysql")
    with own_folder(user) as folder:
        port = unused_port()
        data = folder / "data"
        installed = [
            binary("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        run([*installed, "--skip-test-db", "--skip-name-resolve"], user, folder)
        _certificate(folder, authority, user)
        settings = {
            "datadir": data,
            "port": port,
            "bind-address": "127.0.0.1",
            "socket": folder / "s",
            "pid-file": folder / "pid",
        }
        settings |= {"ssl-cert": folder / "server.pem", "ssl-key": folder / "server.key"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = [
            binary("mariadbd"),
            "--no-defaults",
            *options,
            "--innodb-flush-log-at-trx-commit=0",
            "--skip-name-resolve",
        ]
        with running(server, user, folder, port):
            database = Database(port, folder)
            sql(
                binary,
                database,
                "CREATE USER probe@'127.0.0.1' IDENTIFIED BY 'S3cret-probe'; CREATE USER free@'127.0.0.1';"
                "CREATE USER ciphered@'127.0.0.1' IDENTIFIED BY 'x' REQUIRE SSL; CREATE DATABASE shop; CREATE DATABASE closed;"
                "CREATE TABLE shop.item (n int); GRANT SELECT ON shop.* TO probe@'127.0.0.1'; GRANT SELECT ON shop.* TO free@'127.0.0.1';",
            )
            yield database


def sql(binary: Binary, database: Database, text: str) -> str:
    command = [binary("mariadb"), "--no-defaults", "-S", str(database.folder / "s"), "-u", "root", "-Nse", text]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def redis(binary: Binary, authority: Authority) -> Iterator[tuple[Database, int]]:
    """The server, and its port for TLS. The default user needs `S3cret-probe`; `reader` may only GET."""
    user = None
    with own_folder(user) as folder:
        port, tls_port = unused_port(), unused_port()
        _certificate(folder, authority, None)
        settings = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": '""', "requirepass": "S3cret-probe"}
        settings |= {"tls-port": tls_port, "tls-auth-clients": "no", "tls-ca-cert-file": authority.file}
        settings |= {"tls-cert-file": folder / "server.pem", "tls-key-file": folder / "server.key"}
        settings |= {"user": "reader on >S3cret-probe ~* -@all +get +ping"}
        (folder / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with running([binary("redis-server"), str(folder / "redis.conf")], None, folder, port):
            yield Database(port, folder), tls_port


# ---------------------------------------------------------------- processes


@contextlib.contextmanager
def own_folder(user: str | None) -> Iterator[Path]:
    """Not pytest's: its folders are closed to every other user, and these servers run as one."""
    with tempfile.TemporaryDirectory(prefix="perfmon-test-") as name:
        _owned(Path(name), user)
        yield Path(name)


def run(command: list[str], user: str | None, folder: Path) -> None:
    ended = subprocess.run(command, user=user, group=user, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, f"{command[0]}: {ended.stdout}{ended.stderr}"


@contextlib.contextmanager
def running(command: list[str], user: str | None, folder: Path, port: int, stop: str = "TERM") -> Iterator[None]:
    """Run until the end of the block; it begins when the port answers."""
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command, user=user, group=user, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _wait_for(port, child, folder / "log")
        yield
    finally:
        child.send_signal(signal.Signals[f"SIG{stop}"])
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_for(port: int, child: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise AssertionError(f"no server at {port}: {log.read_text(errors='replace')[-2000:]}")


def _system_user(name: str) -> str | None:
    """These servers refuse to run as root; anybody else runs them as themselves."""
    return name if os.getuid() == 0 else None


def _owned(folder: Path, user: str | None) -> None:
    if user is None:
        return
    shutil.chown(folder, user, user)


def _certificate(folder: Path, authority: Authority, user: str | None) -> None:
    leaf = authority.issue("localhost", "127.0.0.1")
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    (folder / "server.key").write_bytes(leaf.private_key_pem.bytes())
    for name in ("server.pem", "server.key"):
        (folder / name).chmod(0o600)
        if user is not None:
            shutil.chown(folder / name, user, user)
