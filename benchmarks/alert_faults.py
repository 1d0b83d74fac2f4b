"""Random faults between perfmon and whoever is paged: no page is lost, and none comes twice that could be known.

A schedule is made from its seed alone. Three targets begin to fail at random moments; meanwhile the receiver hangs,
refuses, answers 500 or 429 with Retry-After, resets the connection before or after it took the alert, perfmon is killed
(SIGKILL) at random moments or just when its alert was taken, and Alertmanager is restarted. Then all is well until
everybody has been paged; then the targets recover among the same faults. In mode `alertmanager` the faults stand between
perfmon and Debian's Alertmanager, and pages are counted at its webhook; in mode `notify` they stand at the webhook.

Lost: a page that has not come a minute after all is well. Doubled: one of the same fingerprint, status and startsAt that
came twice. At a webhook that is told by perfmon itself a double is explained, and cannot be helped by anybody, when the
connection broke, or perfmon was killed, between the taking and the answer: these are counted apart. Time is compressed:
intervals and `resend` by config, the pauses between retries to a tenth.

    .venv/bin/python benchmarks/alert_faults.py [--schedules 200] [--seed N] [--at-once 3]

`--seed N` plays one schedule again, and tells what happened.
"""

import argparse
import contextlib
import json
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

from harness import ROOT, free_port, verdict, workplace

TARGETS = 3
WINDOW_S = 2.5  # in which targets fail, or recover, and faults begin
LONGEST_FAULT_S = 1.5
RESEND_S = 6.0  # a firing alert holds four times as long: longer than all that a schedule and a busy machine do to it
GIVE_UP_S = 60.0
NOTED_S = 1.0  # that a page was taken is on the disk, also of a busy machine
FAULTS = ("hang", "refuse", "500", "429", "reset", "reset after taking", "kill after taking")
BLOCKING = FAULTS[:5]
NOTICED_S = 0.8  # after a target turned, its alert began or ended
QUICKLY = (
    "from perfmon.monitor import notify; notify.FIRST_RETRY_S = 0.1; notify.LONGEST_RETRY_S = 0.5;"
    "from perfmon.__main__ import main; main()"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, help="play this one alone, and tell what happened")
    parser.add_argument("--at-once", type=int, default=3)
    arguments = parser.parse_args()
    binary = shutil.which("prometheus-alertmanager", path="/usr/bin:/usr/sbin:/usr/local/bin")
    assert binary is not None, "as root, `make servers` installs Alertmanager"
    print(workplace())
    if arguments.seed is not None:
        outcome = play(schedule(arguments.seed), binary, say=lambda words: print(words, flush=True))
        print(outcome._replace(log=[]))
        sys.exit(bool(outcome.lost or outcome.doubled))
    with ThreadPoolExecutor(arguments.at_once) as pool:
        outcomes = list(pool.map(lambda seed: _played(seed, binary), range(arguments.schedules)))
    sys.exit(report(outcomes))


def report(outcomes: list["Outcome"]) -> bool:
    """Print what came of all schedules; true when a page was lost or doubled."""
    print(
        "| mode | schedules | faults | kills | restarts of Alertmanager | pages | lost | doubled | explained doubles |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for mode in ("alertmanager", "notify"):
        of_mode = [one for one in outcomes if one.mode == mode]
        cells = [sum(getattr(one, name) for one in of_mode) for name in ("faults", "kills", "restarts", "pages")]
        lost, doubled = (sum(len(getattr(one, name)) for one in of_mode) for name in ("lost", "doubled"))
        row = [mode, len(of_mode), *cells, lost, doubled, sum(one.explained for one in of_mode)]
        print("| " + " | ".join(map(str, row)) + " |")
    slowest = max(one.healed_s for one in outcomes)
    print(f"the last page came {slowest:.1f} s after all was well, at most")
    wrong = [one.seed for one in outcomes if one.lost or one.doubled]
    print(verdict("schedules with a page lost, or doubled without an excuse", len(wrong), 0), *wrong)
    return bool(wrong)


def _played(seed: int, binary: str) -> "Outcome":
    """One of many; of one that went wrong its whole story is told, for it may go well the next time."""
    story: list[str] = []
    outcome = play(schedule(seed), binary, say=story.append)
    told = [*story, *outcome.log] if outcome.lost or outcome.doubled else []
    print(*told, outcome._replace(log=[]), sep="\n", file=sys.stderr, flush=True)
    return outcome


# ---------------------------------------------------------------- the schedule


class Act(NamedTuple):
    """Something that happens, so many seconds after its half of the schedule began."""

    at_s: float
    what: str  # "turn" (a target fails or recovers), "kill", "restart", or one of `FAULTS`
    target: int = 0
    lasts_s: float = 0.0


class Schedule(NamedTuple):
    seed: int
    mode: str
    halves: tuple[tuple[Act, ...], tuple[Act, ...]]  # while targets begin to fail, while they recover


def schedule(seed: int) -> Schedule:
    """The same for the same seed."""
    rng = random.Random(seed)
    mode = ("alertmanager", "notify")[seed % 2]
    return Schedule(seed, mode, (_half(rng, mode), _half(rng, mode)))


def _half(rng: random.Random, mode: str) -> tuple[Act, ...]:
    def when() -> float:
        return rng.uniform(0, WINDOW_S)

    turns = [Act(when(), "turn", target) for target in range(TARGETS)]
    faults = [
        Act(when(), rng.choice(FAULTS), lasts_s=rng.uniform(0.1, LONGEST_FAULT_S)) for _ in range(rng.randint(1, 3))
    ]
    kills = [Act(when(), "kill") for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    acts = [*turns, *faults, *kills, *rng.choice(([], _trap(rng, turns[0].at_s)))]
    if mode == "alertmanager":
        acts += [Act(when(), "restart") for _ in range(rng.choice((0, 1)))]
    return tuple(sorted(acts))


def _trap(rng: random.Random, turned_at_s: float) -> list[Act]:
    """A kill while an alert has just begun or ended, and could not be told yet."""
    fault = Act(turned_at_s, rng.choice(BLOCKING), lasts_s=LONGEST_FAULT_S)
    return [fault, Act(turned_at_s + rng.uniform(NOTICED_S, LONGEST_FAULT_S), "kill")]


# ---------------------------------------------------------------- playing it


class Outcome(NamedTuple):
    seed: int
    mode: str
    faults: int
    kills: int
    restarts: int
    pages: int
    lost: list[str]
    doubled: list[str]
    explained: int
    healed_s: float  # from when all was well to the last page
    log: list[str]  # perfmon's own, of a schedule that went wrong


def play(
    plan: Schedule, binary: str, say: Callable[[str], None] = lambda _words: None, *, resend_s: float = RESEND_S
) -> Outcome:
    """Play one schedule in real time; takes some 12 seconds."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        world = World(plan, Path(name), binary, stack, say=say, resend_s=resend_s)
        healed_s = max(
            world.play_half(half, status) for half, status in zip(plan.halves, ("firing", "resolved"), strict=True)
        )
        time.sleep(resend_s + 0.5 if plan.mode == "alertmanager" else 1.0)  # what comes twice comes now
        return world.outcome(healed_s)


class Page(NamedTuple):
    """What the pager was told."""

    target: str
    status: str
    starts_at: str
    at: float
    fault: str  # what went wrong between the taking and the answer


class World:
    """Targets, perfmon, whoever is told, and the door before him at which things go wrong."""

    def __init__(
        self,
        plan: Schedule,
        folder: Path,
        binary: str,
        stack: contextlib.ExitStack,
        *,
        say: Callable[[str], None],
        resend_s: float,
    ) -> None:
        self._plan = plan
        self._resend_s = resend_s
        self._folder = folder
        self._began_at = time.monotonic()
        self._say = lambda words: say(f"{time.monotonic() - self._began_at:6.2f}  {words}")
        self._acts: Counter[str] = Counter()
        self._pages: list[Page] = []
        self._shop = stack.enter_context(Shop())
        self._pager = stack.enter_context(Door(self._page))
        self._alertmanager = None
        told = self._pager
        if plan.mode == "alertmanager":
            self._alertmanager = stack.enter_context(Alertmanager(binary, folder, self._pager.url))
            told = stack.enter_context(Door(self._forward))
        self._door = told
        (folder / "perfmon.json").write_text(json.dumps(self._config()))
        self._perfmon = stack.enter_context(Perfmon(folder))
        self._perfmon.wait()

    def play_half(self, acts: tuple[Act, ...], status: str) -> float:
        """All acts at their times, then none, until everybody was paged; seconds that this took in the end."""
        began_at = time.monotonic()
        for act in acts:
            time.sleep(max(0.0, began_at + act.at_s - time.monotonic()))
            self._acts[act.what] += 1
            self._say(f"{act.what} {act.target if act.what == 'turn' else f'{act.lasts_s:.2f} s'}")
            self._do(act, failing=status == "firing")
        self._door.heal_after()
        self._say("all is well")
        healed_at = time.monotonic()
        while self._missing(status) and time.monotonic() < healed_at + GIVE_UP_S:
            self._perfmon.revive()
            time.sleep(0.02)
        self._say(f"everybody heard: {status}")
        return time.monotonic() - healed_at

    def outcome(self, healed_s: float) -> Outcome:
        same: dict[tuple[str, str, str], list[Page]] = {}
        for page in self._pages:
            same.setdefault((page.target, page.status, page.starts_at), []).append(page)
        lost = [f"{status} of {target}" for status in ("firing", "resolved") for target in self._missing(status)]
        again = [page for pages in same.values() for page in pages[:-1]]  # each of these came once more
        unexplained = [page for page in again if not self._is_explained(page)]
        doubled = [f"{page.status} of {page.target} twice, {page.starts_at}" for page in unexplained]
        begun = Counter((target, status) for target, status, _ in same)
        doubled += [f"{times} episodes: {status} of {target}" for (target, status), times in begun.items() if times > 1]
        return Outcome(
            seed=self._plan.seed,
            mode=self._plan.mode,
            faults=sum(self._acts[fault] for fault in FAULTS),
            kills=len(self._perfmon.killed_at),
            restarts=self._acts["restart"],
            pages=len(same),
            lost=lost,
            doubled=doubled,
            explained=len(again) - len(unexplained),
            healed_s=round(healed_s, 2),
            log=(self._folder / "perfmon.log").read_text().splitlines() if lost or doubled else [],
        )

    def _is_explained(self, page: Page) -> bool:
        """Whether perfmon could not know that this page was taken, or was killed before it had written that down."""
        killed = any(page.at <= at <= page.at + NOTED_S for at in self._perfmon.killed_at)
        return self._plan.mode == "notify" and (bool(page.fault) or killed)

    def _do(self, act: Act, *, failing: bool) -> None:
        if act.what == "turn":
            self._shop.statuses[act.target] = 500 if failing else 200
        elif act.what == "kill":
            self._perfmon.kill()
        elif act.what == "restart":
            assert self._alertmanager is not None
            self._alertmanager.restart()
        else:
            self._door.fault(act.what, act.lasts_s)

    def _missing(self, status: str) -> list[str]:
        heard = {page.target for page in list(self._pages) if page.status == status}
        return [f"/{number}" for number in range(TARGETS) if f"/{number}" not in heard]

    def _page(self, body: bytes, fault: str) -> int:
        """What the pager does with a message; in mode `alertmanager` faults are not here."""
        for alert in json.loads(body)["alerts"]:
            target = alert["labels"]["target"][-2:]
            self._pages.append(Page(target, alert["status"], alert["startsAt"], time.monotonic(), fault))
            self._say(f"page: {alert['status']} of {target}, {alert['startsAt']}{f', {fault}' if fault else ''}")
        if fault == "kill after taking":
            self._perfmon.kill()
        return 200

    def _forward(self, body: bytes, fault: str) -> int:
        assert self._alertmanager is not None
        status = self._alertmanager.take(body)
        if fault == "kill after taking":
            self._perfmon.kill()
        return status

    def _config(self) -> dict[str, Any]:
        told = {"connect_timeout": "500ms", "timeout": "1s"}
        receiver = (
            {"name": "am", "alertmanager": {"urls": [self._door.url], "resend": f"{self._resend_s}s", **told}}
            if self._plan.mode == "alertmanager"
            else {"name": "pager", "webhook": {"url": self._door.url, **told}}
        )
        targets = [f"{self._shop.url}/{number}" for number in range(TARGETS)]
        return {
            "probes": [{"name": "shop", "interval": "250ms", "timeout": "200ms", "targets": targets}],
            # A target that a busy machine makes late is not one that fails: three in a row are.
            "rules": [{"name": "Down", "threshold": "last < 1", "for": "500ms", "keep_firing_for": "500ms"}],
            "receivers": [receiver],
            "alerting": {"mode": self._plan.mode},
            "web": {"listen": ["127.0.0.1:0"]},
            "state": {"path": str(self._folder / "state")},
        }


class Perfmon:
    """The daemon as a process, with pauses between retries a tenth of what they are."""

    def __init__(self, folder: Path) -> None:
        self.killed_at: list[float] = []
        self._folder = folder
        self._lock = threading.Lock()
        self._log = (folder / "perfmon.log").open("ab")

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def kill(self) -> None:
        """SIGKILL, and a new life at once."""
        with self._lock:
            self.killed_at.append(time.monotonic())
            self._process.kill()
            self._process.wait()
            self._start()

    def revive(self) -> None:
        """It must not end by itself."""
        with self._lock:
            assert self._process.poll() is None, (self._folder / "perfmon.log").read_text()[-3000:]

    def wait(self) -> None:
        """Until it watches."""
        deadline = time.monotonic() + GIVE_UP_S
        while b"watching" not in (self._folder / "perfmon.log").read_bytes():
            assert time.monotonic() < deadline, "perfmon does not begin"
            time.sleep(0.02)

    def _start(self) -> None:
        command = [sys.executable, "-c", QUICKLY, "serve", "--config.file", str(self._folder / "perfmon.json")]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=ROOT)


class Alertmanager:
    """Debian's, which tells of each alert by itself."""

    def __init__(self, binary: str, folder: Path, pager_url: str) -> None:
        self._port = free_port()
        self._log = (folder / "alertmanager.log").open("ab")
        settings = {
            "route": {"receiver": "pager", "group_by": ["..."], "group_wait": "50ms", "group_interval": "100ms"},
            "receivers": [{"name": "pager", "webhook_configs": [{"url": pager_url, "send_resolved": True}]}],
        }
        (folder / "alertmanager.yml").write_text(json.dumps(settings))
        self._command = [
            binary,
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--cluster.listen-address=",
        ]

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._log.close()

    def restart(self) -> None:
        """As by an update: SIGTERM, by which it writes down whom it told what."""
        self._stop()
        self._start()

    def take(self, body: bytes) -> int:
        """What perfmon posted, handed on; 502 while it is away."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 2) as sock:
            head = (
                f"POST /api/v2/alerts HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            sock.sendall(head.encode() + body)
            first = sock.makefile("rb").readline().split()
            if len(first) > 1:
                return int(first[1])
        return 502

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Shop:
    """Targets of which each answers as it is told to."""

    def __init__(self) -> None:
        self.statuses = [200] * TARGETS
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(shop.statuses[int(self.path[1:])])
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Door:
    """An HTTP server at which things go wrong; `take(body, fault)` answers with a status."""

    def __init__(self, take: Callable[[bytes, str], int]) -> None:
        self._take = take
        self._fault, self._until = "", 0.0
        self._changed = threading.Condition()
        # A port that was asked for by its number outlives the shutdown of "refuse".
        self._socket = socket.create_server(("127.0.0.1", free_port()))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._over = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def fault(self, what: str, lasts_s: float) -> None:
        """One at a time: it takes the place of the one before."""
        with self._changed:
            self._end()
            self._fault, self._until = what, time.monotonic() + lasts_s
            if what == "refuse":
                self._socket.shutdown(socket.SHUT_RDWR)  # of one that listens, Linux makes one that refuses

    def heal_after(self) -> None:
        """Wait for the end of what goes wrong now."""
        time.sleep(max(0.0, self._until - time.monotonic()))
        with self._changed:
            self._end()

    def _end(self) -> None:
        if self._fault == "refuse":
            self._socket.listen()
        self._fault = ""
        self._changed.notify_all()

    def _now(self) -> str:
        with self._changed:
            if self._fault and time.monotonic() >= self._until:
                self._end()
            return self._fault

    def _accept(self) -> None:
        while not self._over:
            self._now()
            try:
                client, _ = self._socket.accept()
            except OSError:
                time.sleep(0.01)  # it refuses
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            fault = self._now()
            if fault == "reset":
                _reset(client)
                return
            lines = client.makefile("rb")
            head = iter(lambda: lines.readline().strip().lower(), b"")
            length = next(int(line.partition(b":")[2]) for line in [*head] if line.startswith(b"content-length"))
            body = lines.read(length)
            if fault == "hang":
                self._wait_for_another()
                return
            if fault in ("500", "429"):
                _answer(client, int(fault))
                return
            status = self._take(body, fault if fault.endswith("taking") else "")
            if fault.endswith("taking"):
                _reset(client)
            else:
                _answer(client, status)

    def _wait_for_another(self) -> None:
        with self._changed:
            while not self._over and self._fault == "hang" and (left := self._until - time.monotonic()) > 0:
                self._changed.wait(left)


def _answer(client: socket.socket, status: int) -> None:
    retry = "Retry-After: 1\r\n" if status == 429 else ""
    client.sendall(f"HTTP/1.1 {status} x\r\n{retry}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


if __name__ == "__main__":
    main()
