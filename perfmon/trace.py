"""What a probe reports while it runs: phases, facts, and, when asked, lines and steps for a person."""

from collections.abc import Mapping
from typing import Literal

from perfmon.clock import Clock
from perfmon.model import Phase
from perfmon.network import Network
from perfmon.steps import Demand, Said, Step, Timed

__all__ = ["Trace"]

# A server may say as much as it likes within the time it has; nobody reads more than this of it.
_MOST_LINES = 2_000
_MOST_STEPS = 1_000
_SHOWN = 1_000  # characters of a line, of what was expected, and of what came


class Trace:
    """One run's notebook, handed to the probe and read by `perfmon.measure` afterwards.

    A probe that runs out of time leaves behind what it wrote so far, so phases that were finished
    are never lost, and the phase that was under way is known.
    """

    __slots__ = (
        "_began",
        "_started",
        "address",
        "clock",
        "deadline",
        "facts",
        "hidden",
        "last",
        "lines",
        "network",
        "phase",
        "phases",
        "resent",
        "steps",
        "worded",
    )

    def __init__(self, *, clock: Clock, deadline: float, network: Network, debug: bool = False) -> None:
        self.clock = clock
        self.deadline = deadline  # monotonic instant at which the run is over
        self.network = network
        self.phase: Phase | None = None  # under way now
        self.last: Phase | None = None  # the last one that was begun here and has ended
        self.phases: dict[Phase, float] = {}
        self.facts: dict[str, float] = {}
        self.worded: set[str] = set()  # facts with labels in the target's own words, where a secret may stand
        self.resent = 0  # requests that the transport sent again on its own
        self.address = ""  # what the target's name led to
        self.hidden: list[str] = []  # secrets that are none of the settings: what a file holds, a token
        self.lines: list[str] | None = [] if debug else None
        self.steps: list[Step] | None = [] if debug else None
        self._began = 0.0
        self._started = clock.monotonic() if debug else 0.0

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
        if self.steps is not None:
            self._time({phase: seconds}, self.clock.monotonic())

    def add_all(self, phases: Mapping[Phase, float]) -> None:
        """Record several phases that somebody else timed, none of them negative."""
        known = self.phases
        for phase, seconds in phases.items():
            known[phase] = known.get(phase, 0.0) + seconds
        if self.steps is not None:
            self._time(phases, self.clock.monotonic())

    def cut(self, phases: Mapping[Phase, float], last: Phase) -> None:
        """Record what somebody else timed until he was cancelled, the last phase of it being under way."""
        self.add_all(phases)
        self.last = last

    def remaining(self) -> float:
        """Seconds left until the deadline, never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())

    def part(self, deadline: float) -> "Trace":
        """A notebook for a part of the run, with a deadline and phases of its own; all else goes into this one."""
        part = Trace(clock=self.clock, deadline=deadline, network=self.network)
        part.facts, part.lines, part.steps = self.facts, self.lines, self.steps
        part.hidden, part.worded = self.hidden, self.worded
        part._started = self._started
        return part

    def join(self, part: "Trace") -> None:
        """Let the phases of a part count for the run; what else there was to say of it was said when it happened."""
        self.address = self.address or part.address
        self.resent += part.resent
        for phase, seconds in part.phases.items():
            self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def hide(self, *secrets: str) -> None:
        """Keep these out of all that is told of the run."""
        self.hidden.extend(secrets)

    def heard(self, key: str, value: float) -> None:
        """Write a fact that has labels in the target's own words."""
        self.facts[key] = value
        self.worded.add(key)

    def aside(self) -> "Trace":
        """A notebook for what is done on the way, and is not the target's: it has no phases and facts of this one's."""
        aside = Trace(clock=self.clock, deadline=self.deadline, network=self.network)
        aside.lines = self.lines
        return aside

    def note(self, text: str, **fields: object) -> None:
        """Say what is happening, for `debug=true` and `perfmon probe --debug`; free when nobody asked."""
        if self.lines is not None and len(self.lines) < _MOST_LINES:
            rest = "".join(f" {key}={value}" for key, value in fields.items())
            self.lines.append(f"{self.clock.wall():.3f} {_cut(text + rest)}")

    def tell(self, step: Step) -> None:
        """Add a step to the explanation. Ask `steps is not None` first where it costs something to make one."""
        if self.steps is not None and len(self.steps) < _MOST_STEPS:
            self.steps.append(step)

    def said(self, by: Literal["perfmon", "target"], text: str) -> None:
        """Add a piece of a dialogue to the explanation; free when nobody asked."""
        if self.steps is not None:
            self.tell(Said(at_s=self.clock.monotonic() - self._started, by=by, text=_cut(text)))

    def demand(self, name: str, *, expected: object, got: object, met: bool) -> None:
        """Add to the explanation what was expected and what came, met or not; free when nobody asked."""
        if self.steps is not None:
            self.tell(Demand(name=name, expected=_cut(str(expected)), got=_cut(str(got)), met=met))

    def _close(self, now: float) -> None:
        if self.phase is not None:
            seconds = max(0.0, now - self._began)
            self.phases[self.phase] = self.phases.get(self.phase, 0.0) + seconds
            self.last = self.phase
            if self.steps is not None:
                self._time({self.phase: seconds}, now)

    def _time(self, phases: Mapping[Phase, float], end: float) -> None:
        """Phases that came one after the other, the last of them to `end`."""
        at = end - self._started - sum(phases.values())
        for phase, seconds in phases.items():
            self.tell(Timed(phase=phase, begin_s=max(0.0, at), seconds=seconds))
            at += seconds


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
