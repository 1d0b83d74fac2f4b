"""systemd: tell it how the daemon fares (sd_notify(3)), and take the sockets that it opened (sd_listen_fds(3)).

Both are small protocols of environment variables: a datagram of `KEY=value` lines to NOTIFY_SOCKET, and file
descriptors from 3 on. Where the variables are missing, nobody is told and nothing is taken.
"""

import socket
from collections.abc import MutableMapping

import structlog

from perfmon.errors import UsageError

__all__ = ["Supervisor", "passed_sockets"]

FIRST_PASSED = 3  # SD_LISTEN_FDS_START
SEND_S = 0.1  # systemd reads at once; one that does not must not hold up the event loop

_log = structlog.get_logger(__name__)


class Supervisor:
    """Who started the daemon and waits to hear how it fares; nobody, when there is no address."""

    def __init__(self, address: str = "", *, watchdog: bool = False) -> None:
        """`address` is a path, or `@name` in Linux' abstract namespace; `watchdog` says that it counts on `alive`."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = watchdog

    @classmethod
    def of(cls, environment: MutableMapping[str, str], pid: int) -> "Supervisor":
        """Who the environment names; the names are taken out of it, for no child of ours speaks for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        expected = environment.pop("WATCHDOG_USEC", "0")
        meant = environment.pop("WATCHDOG_PID", str(pid))
        return cls(address, watchdog=expected not in ("", "0") and meant == str(pid))

    def ready(self, status: str) -> None:
        """It has begun, or a reload is over, whatever came of it."""
        self._tell("READY=1", _status(status))

    def reloading(self, now: float) -> None:
        """A reload begins; `now` is monotonic, in seconds."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}", _status("reading the configuration"))

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1", _status("ending what is under way"))

    def alive(self) -> None:
        """It does its work; systemd kills it when it has not heard that for WatchdogSec."""
        if self._watchdog:
            self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_S)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning("systemd was not told", message=lines[0], error=str(error))


def passed_sockets(environment: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The listening sockets of perfmon.socket; UsageError when none were passed, or others than TCP's."""
    count, meant = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if meant != str(pid) or not count.isdigit() or count == "0":
        raise UsageError("--web.systemd-socket: systemd passed no sockets; expected a start by perfmon.socket")
    return [_passed(number) for number in range(FIRST_PASSED, FIRST_PASSED + int(count))]


def _passed(number: int) -> socket.socket:
    sock = socket.socket(fileno=number)
    sock.set_inheritable(False)  # systemd passes them so that our children would have them too
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        raise UsageError(f"--web.systemd-socket: expected TCP sockets (ListenStream=HOST:PORT), got {sock.family.name}")
    return sock


def _status(words: str) -> str:
    return f"STATUS={words.splitlines()[0] if words else ''}"  # a second line would be read as a variable
