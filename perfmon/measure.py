"""One run of a probe, or one reading of a sampler, as a value: nothing that goes wrong in it is an exception."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from perfmon import kinds
from perfmon.clock import Clock
from perfmon.model import Confirm, Failure, Measurement, Module, Reason, Sample, Sampler, Target
from perfmon.network import Network
from perfmon.secret import Secret, basic_proof, hidden, without
from perfmon.trace import Trace
from perfmon.units import format_duration

__all__ = ["OnDefect", "Reader", "Reading", "confirmed", "probe", "sample"]

OnDefect = Callable[[str, Exception], None]
"""Told of a defect of perfmon's own: where it was caught, and what it was."""

_LATE: Mapping[str, Reason] = {"resolve": "dns_timeout", "connect": "connect_timeout"}
_GRACE_S = 0.02  # a probe that knows its deadline ends by itself, and says more than a cancelled one can


class Reader(Protocol):
    """What `samplers/<kind>.open(config, clock)` gives."""

    @property
    def missing(self) -> str:
        """What the last `sample` looked for in vain, in words; "" when all was there."""
        ...

    def sample(self) -> list[Sample]:
        """Read now; a plain LookupError says in words that nothing at all was there."""
        ...


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a sampler."""

    sampler: Sampler
    at: float  # when it began, monotonic
    duration_s: float  # the sampler's own cost
    samples: Sequence[Sample]
    error: str = ""  # what was not there, in words; "" = all of it was


async def probe(
    target: Target,
    module: Module,
    *,
    clock: Clock,
    network: Network,
    timeout_s: float | None = None,
    debug: bool = False,
    on_defect: OnDefect | None = None,
) -> Measurement:
    """Run a probe once, in `timeout_s` (the module's by default) and a little grace at most.

    A defect of the probe's is the failure `internal`, told to `on_defect`. Only a cancellation from outside passes
    through. `debug` fills `Measurement.lines` and `steps`. No word of it holds a secret of the module's, whatever the
    target has put into its answer.
    """
    limit_s = module.timeout_s if timeout_s is None else timeout_s
    began = clock.monotonic()
    trace = Trace(clock=clock, deadline=began + limit_s, network=network, debug=debug)
    run = network.backstop.guard(trace.deadline + _GRACE_S)
    try:
        failure = await kinds.load("probes", module.kind).probe(target, module.config, trace)
    except asyncio.CancelledError:
        if not run.overran():
            raise
        phase = trace.phase or trace.last or ""
        message = f"not over after {format_duration(limit_s)}"
        failure = Failure(reason=_LATE.get(phase, "timeout"), phase=phase, message=message)
    except Exception as error:  # noqa: BLE001 - our defect must not stop the schedule
        failure = _defect(trace, module.kind, error, on_defect)
    finally:
        network.backstop.release(run)
    trace.end()
    telling = failure is not None or debug or trace.worded
    secrets = _hidden_of(target, module, network, trace.hidden) if telling else ()
    return Measurement(
        target=target,
        module=module.name,
        at=began,
        duration_s=sum(trace.phases.values()) if trace.phases else clock.monotonic() - began,
        phases=trace.phases,
        facts={without(secrets, key) if key in trace.worded else key: value for key, value in trace.facts.items()}
        if trace.worded
        else trace.facts,
        failure=without(secrets, failure),
        address=trace.address,
        lines=without(secrets, tuple(trace.lines or ())),
        steps=without(secrets, tuple(trace.steps or ())),
        resent=trace.resent,
    )


async def confirmed(
    target: Target,
    module: Module,
    *,
    confirm: Confirm,
    clock: Clock,
    network: Network,
    on_defect: OnDefect | None = None,
) -> Measurement:
    """Run a probe, and after a failure again until `confirm` is decided; the last try is the result.

    Takes `attempts` times the module's timeout, and the pauses between, at most.
    """
    tries: list[Measurement] = []
    while not _is_decided(confirm, tries):
        if tries:
            await asyncio.sleep(confirm.pause_s)
        tries.append(await probe(target, module, clock=clock, network=network, on_defect=on_defect))
    return replace(tries[-1], earlier=tuple(tries[:-1]))


def sample(sampler: Sampler, reader: Reader, *, clock: Clock, on_defect: OnDefect | None = None) -> Reading:
    """Read a sampler once. It may block, so it runs in a worker thread."""
    began = clock.monotonic()
    samples: Sequence[Sample] = ()
    try:
        samples = reader.sample()
        error = reader.missing
    except Exception as caught:  # noqa: BLE001 - our defect must not stop the schedule
        error = _nothing_read(sampler, caught, on_defect)
    return Reading(sampler=sampler, at=began, duration_s=clock.monotonic() - began, samples=samples, error=error)


def _is_decided(confirm: Confirm, tries: Sequence[Measurement]) -> bool:
    """Whether no further try could change the result. So the last one always is of the result's kind.

    A first try that succeeds is enough: what is to be confirmed is a failure.
    """
    if not tries or tries[0].success:
        return bool(tries)
    failed = sum(not one.success for one in tries)
    return failed >= confirm.failures or failed + confirm.attempts - len(tries) < confirm.failures


def _nothing_read(sampler: Sampler, error: Exception, on_defect: OnDefect | None) -> str:
    # Exactly LookupError: a KeyError or IndexError, which are LookupErrors too, is a slip of ours.
    if type(error) is LookupError:
        return str(error)
    _tell(on_defect, f"samplers/{sampler.kind}", error)
    return f"defect of the sampler: {type(error).__name__}: {error}"


def _hidden_of(target: Target, module: Module, network: Network, met: Sequence[str]) -> Sequence[str]:
    """Secrets of the settings, those `met` in the run, and those in a URL that somebody has asked `/probe` for."""
    found = _USER_OF_ADDRESS.match(target.address)
    if found is not None:
        return hidden([module.config, *map(Secret, (*met, *_secrets_of_user(*found.groups(default=""))))])
    known = network.prepared.get(_ANY, module.config, _hidden)  # to walk through the settings takes 150 us
    assert not isinstance(known, Failure), "no address is read for it"
    return (*hidden(list(map(Secret, met))), *known) if met else known


def _secrets_of_user(scheme: str, written: str) -> Iterable[str]:
    """Of `user:password` the password; of a user alone in a URL, who may be a token, what is too long for a name."""
    user, _, password = written.partition(":")
    yield from (password, unquote(password), basic_proof(unquote(user), unquote(password)))
    if scheme and not password and len(user) >= _LIKELY_TOKEN:
        yield from (user, unquote(user))


def _hidden(_target: Target, config: object) -> Sequence[str]:
    return hidden(config)


_ANY = Target(probe="any", address="")  # secrets are those of the settings, whoever is probed by them
_USER_OF_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)@")
_LIKELY_TOKEN = 8  # characters


def _defect(trace: Trace, kind: str, error: Exception, on_defect: OnDefect | None) -> Failure:
    _tell(on_defect, f"probes/{kind}", error)
    message = f"defect of the {kind} probe: {type(error).__name__}: {error}"
    return Failure(reason="internal", phase=trace.phase or "", message=message)


def _tell(on_defect: OnDefect | None, where: str, error: Exception) -> None:
    if on_defect is not None:
        on_defect(where, error)
