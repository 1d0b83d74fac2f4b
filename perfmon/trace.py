"""What a probe reports while it runs: phases, facts, and, when asked, lines for a person."""

from collections.abc import Mapping

from perfmon.clock import Clock
from perfmon.model import Phase
from perfmon.network import Network

__all__ = ["Trace"]


class Trace:
    """One run's notebook, handed to the probe and read by `perfmon.measure` afterwards.

    A probe that runs out of time leaves behind what it wrote so far, so phases that were finished
    are never lost, and the phase that was under way is known.
    """

    __slots__ = ("_began", "address", "clock", "deadline", "facts", "lines", "network", "phase", "phases")

    def __init__(self, *, clock: Clock, deadline: float, network: Network, debug: bool = False) -> None:
        self.clock = clock
        self.deadline = deadline  # monotonic instant at which the run is over
        self.network = network
        self.phase: Phase | None = None  # under way now
        self.phases: dict[Phase, float] = {}
        self.facts: dict[str, float] = {}
        self.address = ""  # what the target's name led to
        self.lines: list[str] | None = [] if debug else None
        self._began = 0.0

    def begin(self, phase: Phase) -> None:
        """Start a phase and end the one before; a phase begun again adds to its former time."""
        now = self.clock.monotonic()
        self._close(now)
        self.phase = phase
        self._began = now

    def end(self, *, at: float | None = None) -> None:
        """End the phase under way: now, or `at` the instant (monotonic) at which somebody else saw it end."""
        self._close(self.clock.monotonic() if at is None else at)
        self.phase = None

    def add(self, phase: Phase, seconds: float) -> None:
        """Record a phase that somebody else timed (libcurl, a database driver)."""
        self.phases[phase] = self.phases.get(phase, 0.0) + max(0.0, seconds)

    def add_all(self, phases: Mapping[Phase, float]) -> None:
        """Record several phases that somebody else timed, none of them negative."""
        known = self.phases
        for phase, seconds in phases.items():
            known[phase] = known.get(phase, 0.0) + seconds

    def remaining(self) -> float:
        """Seconds left until the deadline, never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())

    def note(self, text: str, **fields: object) -> None:
        """Say what is happening, for `debug=true` and `perfmon probe --debug`; free when nobody asked."""
        if self.lines is not None:
            rest = "".join(f" {key}={value}" for key, value in fields.items())
            self.lines.append(f"{self.clock.wall():.3f} {text}{rest}")

    def _close(self, now: float) -> None:
        if self.phase is not None:
            self.add(self.phase, now - self._began)
