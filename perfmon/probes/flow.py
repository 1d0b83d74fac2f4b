"""Several requests, one after the other, as somebody would make them who uses the service: one verdict.

What an answer holds goes on into the next requests by `{{name}}`, and so do cookies, which last as long as the run. The
first step that fails ends the run; clean-up steps follow in any case. Each request has a connection of its own, since
libcurl resends in silence what it lost on one that it used again.

Phases are the sums over the steps, so that they add up to the run's duration; a clean-up counts for neither.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

import perfmon
from perfmon.answer import demands, extract
from perfmon.answer.demands import Demands, Prepared
from perfmon.answer.extract import EXTRACTED_BYTES, Extract
from perfmon.answer.told import tell
from perfmon.metrics import Family
from perfmon.model import PHASES, Failure, Target, fact_key
from perfmon.network import credentials, draft, tls
from perfmon.network.address import BadAddress, Url, objection
from perfmon.network.credentials import Authorization, BasicAuth, OAuth2
from perfmon.network.draft import TARGET, Draft, Filled, Request, Unfit, base_url, is_at
from perfmon.network.exchange import FIRST_BYTES, Response
from perfmon.network.follow import Arrival, Errand, first_leg, follow
from perfmon.network.tls import TlsConfig
from perfmon.secret import hidden, without
from perfmon.template import NAME, Value, text_of
from perfmon.trace import Trace
from perfmon.units import FilePath, quoted

__all__ = ["FAMILIES", "Config", "Step", "check", "check_target", "probe"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request, what its answer must be, and what to keep of it."""

    name: Name  # What it is called in failures and metrics; unique in its module.
    request: Request  # What to ask for.
    expect: Demands = Demands()  # What the answer must be.
    extract: dict[str, Extract] = {}  # Variables for the steps that follow, by name.


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The steps, and what all of them share."""

    steps: Annotated[list[Step], msgspec.Meta(min_length=1)]  # What to do, in order; 50 steps at most.
    cleanup: list[Step] = []  # What to do then, whatever came of the steps.
    variables: dict[str, str] = {}  # Variables that are known from the beginning, secrets by reference.
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    bearer_token_file: FilePath = ""
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    tls_config: TlsConfig = TlsConfig()


# Those of the demands stand with `http`: a family is declared once.
FAMILIES = (
    Family("probe_flow_steps", "gauge", "How many steps the flow has, without its clean-up."),
    Family("probe_flow_steps_passed", "gauge", "How many of them passed."),
    Family(
        "probe_flow_step_success",
        "gauge",
        "Whether the step passed, clean-up included; absent for one that was not reached.",
        ("step",),
    ),
    Family("probe_flow_step_status_code", "gauge", "Status code of the step's final response, 0 for none.", ("step",)),
    Family("probe_flow_step_duration_seconds", "gauge", "How long the step took.", ("step",), "seconds"),
    Family("probe_flow_step_phase_seconds", "gauge", "The step's phases; they add up.", ("step", "phase"), "seconds"),
    Family("probe_flow_cleanup_success", "gauge", "Whether all of the clean-up passed; absent where there is none."),
)

MOST_STEPS = 50
_CLEANUP_SHARE = 0.2  # of the run's time, kept for the clean-up
_MOST_COOKIES = 200
_SECRET_CHARACTERS = 4  # what a server gave is cut out of words from this length on; fewer letters are in every word


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from credentials.check(config)
    for name in config.variables:
        if not _is_variable(name):
            yield f"variables.{name}", _NOT_A_VARIABLE.format(quoted(name))
    if len(config.steps) + len(config.cleanup) > MOST_STEPS:
        yield "steps", f"expected {MOST_STEPS} steps at most, got {len(config.steps) + len(config.cleanup)}"
    known, seen = {TARGET, *config.variables}, set[str]()
    for path, step in _with_paths(config):
        if step.name in seen:
            yield f"{path}.name", f"{quoted(step.name)} is taken by another step"
        seen.add(step.name)
        yield from ((f"{path}.{below}" if below else path, message) for below, message in _bad_step(step, known))
        known |= step.extract.keys()


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be the beginning of every URL."""
    return objection(base_url, address)


def _with_paths(config: Config) -> Iterator[tuple[str, Step]]:
    yield from ((f"steps[{number}]", step) for number, step in enumerate(config.steps))
    yield from ((f"cleanup[{number}]", step) for number, step in enumerate(config.cleanup))


def _bad_step(step: Step, known: Collection[str]) -> Iterator[tuple[str, str]]:
    yield from ((f"request.{path}", message) for path, message in draft.check(step.request, known))
    yield from ((f"expect.{path}", message) for path, message in demands.check(step.expect))
    for name, rule in step.extract.items():
        if not _is_variable(name):
            yield f"extract.{name}", _NOT_A_VARIABLE.format(quoted(name))
        for path, message in extract.check(rule):
            yield f"extract.{name}.{path}".removesuffix("."), message


def _is_variable(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name != TARGET


_NOT_A_VARIABLE = 'expected a name of letters, digits and _, other than "target", got {}'


# ---------------------------------------------------------------- before any run


class _Planned(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A step, read."""

    name: str
    draft: Draft
    follow: bool
    demands: Prepared
    extract: Mapping[str, Extract]


class _Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    config: Config
    base: Url
    hostname: str
    steps: Sequence[_Planned]
    cleanup: Sequence[_Planned]


def _plan(target: Target, config: Config) -> _Plan:
    base = base_url(target.address)
    return _Plan(
        config=config,
        base=base,
        hostname=target.hostname,
        steps=[_planned(step) for step in config.steps],
        cleanup=[_planned(step) for step in config.cleanup],
    )


def _planned(step: Step) -> _Planned:
    return _Planned(
        name=step.name,
        draft=draft.read(step.request),
        follow=step.request.follow_redirects,
        demands=demands.prepare(step.expect),
        extract=step.extract,
    )


def _errand(plan: _Plan, step: _Planned, filled: Filled, proof: str) -> Errand:
    config, prepared = plan.config, step.demands
    given = {name.lower() for name in filled.headers}
    defaults = {
        "User-Agent": f"perfmon/{perfmon.__version__}",
        "Content-Type": filled.content_type,
        "Authorization": proof if is_at(filled.url, plan.base) else "",
    }
    missing = {name: value for name, value in defaults.items() if value and name.lower() not in given}
    headers = missing | dict(filled.headers)
    return Errand(
        method=step.draft.method,
        headers={name: value for name, value in headers.items() if name.lower() != "host"},
        host_header=next((value for name, value in headers.items() if name.lower() == "host"), ""),
        body=filled.body,
        tls=config.tls_config,
        decode=prepared.decode,
        keep_headers=prepared.keep_headers or any(rule.header for rule in step.extract.values()),
        keep_body_bytes=max(prepared.keep_body_bytes, EXTRACTED_BYTES if step.extract else 0),
        body_limit_bytes=prepared.body_limit_bytes,
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        follow=step.follow,
        body_stays=True,
    )


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless every step's answer is all that is demanded, and the clean-up's too."""
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        return plan
    trace.facts |= {"probe_flow_steps": float(len(plan.steps)), "probe_flow_steps_passed": 0.0}
    proof = await credentials.prove(config, plan.base, trace)
    if isinstance(proof, Failure):
        return proof
    run = _Run(plan, trace, proof)
    end = trace.deadline
    try:
        failure = await run.walk()
    except BaseException:  # cancelled: whoever did it waits, so the clean-up has no more than the time kept for it
        end = min(end, trace.clock.monotonic() + run.kept_s)
        raise
    finally:
        unclean = await run.clean_up(end)
        run.hide_secrets()
    failure = failure or unclean
    return None if failure is None else without(run.secrets(), failure)


class _Run:
    """What one run knows so far."""

    def __init__(self, plan: _Plan, trace: Trace, proof: str) -> None:
        self._proof = proof  # the Authorization of requests to the target, "" for none
        self.kept_s = trace.remaining() * _CLEANUP_SHARE if plan.cleanup else 0.0
        self._plan = plan
        self._trace = trace
        given = {name: str(value) for name, value in plan.config.variables.items()}  # plain, also of secrets
        self._values: dict[str, Value] = {**given, TARGET: str(plan.base)}
        self._cookies: Collection[bytes] = ()

    async def walk(self) -> Failure | None:
        """Take one step after the other until one fails."""
        facts = self._trace.facts
        for step in self._plan.steps:
            part = self._trace.part(self._trace.deadline - self.kept_s)
            try:
                failure = await self._take(step, part)
            finally:
                self._trace.join(part)
            if failure is not None:
                return _at(step, failure)
            facts["probe_flow_steps_passed"] += 1.0
        return None

    async def clean_up(self, end: float) -> Failure | None:
        """Take all steps of the clean-up, until `end` at most; the first failure of any."""
        failures = []
        for number, step in enumerate(self._plan.cleanup):
            missing = step.draft.names - self._values.keys()
            if missing:
                self._trace.note("nothing to clean up", step=step.name, without=", ".join(sorted(missing)))
                continue
            now = self._trace.clock.monotonic()
            share_s = (end - now) / (len(self._plan.cleanup) - number)  # one that hangs leaves time for the others
            part = self._trace.part(now + max(0.0, share_s))
            part.facts = {}  # what the page says of TLS and patterns is said of the steps
            failure = await self._take(step, part)
            self._trace.facts |= {key: value for key, value in part.facts.items() if key.startswith("probe_flow_")}
            failures += [_at(step, failure, what="clean-up step")] if failure else []
        if self._plan.cleanup:
            self._trace.facts["probe_flow_cleanup_success"] = 0.0 if failures else 1.0
        return failures[0] if failures else None

    def secrets(self) -> tuple[str, ...]:
        """What servers gave under a name that says that it must not be shown; those of the module are known."""
        given = {name: text_of(value) for name, value in self._values.items()}
        return hidden({name: text for name, text in given.items() if len(text) >= _SECRET_CHARACTERS})

    def hide_secrets(self) -> None:
        """Cut them out of what was noted: a server may say them again, and a URL may hold them."""
        lines, steps = self._trace.lines, self._trace.steps
        if lines is not None and steps is not None:
            lines[:] = without(self.secrets(), tuple(lines))
            steps[:] = without(self.secrets(), tuple(steps))

    # ------------------------------------------------------------ one step

    async def _take(self, step: _Planned, part: Trace) -> Failure | None:
        part.note("step", name=step.name)
        response: Response | None = None
        passed = False
        try:
            arrival = await self._ask(step, part)
            if isinstance(arrival, Failure):
                return arrival
            response = demands.as_asked(step.demands, arrival.response)
            failure = arrival.failure or await self._judge(step, response, part, tls=arrival.tls)
            passed = failure is None
            part.demand(
                f"step {step.name}", expected="passed", got=failure.message if failure else "passed", met=passed
            )
        finally:
            _write_facts(step, part, response, passed=passed)
        return failure

    async def _ask(self, step: _Planned, part: Trace) -> Arrival | Failure:
        if part.remaining() <= 0:
            return Failure(reason="timeout", phase="", message="no time was left for it")
        plan = self._plan
        try:
            filled = draft.fill(step.draft, self._values, plan.base)
            errand = _errand(plan, step, filled, self._proof)
            leg = first_leg(errand, str(filled.url), plan.hostname if is_at(filled.url, plan.base) else "")
        except Unfit as error:
            return Failure(reason="header", phase="", message=str(error))
        except BadAddress as error:
            return Failure(reason="unreachable", phase="", message=str(error))
        try:
            arrival = await follow(leg, errand, part, cookies=self._cookies)
        finally:
            leg.hop.exchange.close()
        self._cookies = tuple(arrival.cookies)[-_MOST_COOKIES:]
        return arrival

    async def _judge(self, step: _Planned, response: Response | None, part: Trace, *, tls: bool) -> Failure | None:
        assert response is not None, "an arrival without a failure has a response"
        # What a refused answer gave is taken as well: it may have to be cleaned up, and must not be shown.
        found = {name: extract.extract(name, rule, response) for name, rule in step.extract.items()}
        self._values |= {name: value for name, value in found.items() if not isinstance(value, Failure)}
        await tell(step.demands, response, part, tls=tls, of=f"step {step.name}: ")
        failure = await demands.judge(step.demands, response, part, tls=tls)
        missing = next((value for value in found.values() if isinstance(value, Failure)), None)
        if failure is not None or missing is None:
            return failure
        return msgspec.structs.replace(missing, evidence=_evidence(response))


def _at(step: _Planned, failure: Failure, what: str = "step") -> Failure:
    """The failure with the name of its step, in words and in evidence."""
    return msgspec.structs.replace(
        failure, message=f"{what} {step.name}: {failure.message}", evidence={"step": step.name, **failure.evidence}
    )


def _evidence(response: Response) -> dict[str, str]:
    return {"status": str(response.status), "body": response.body[:FIRST_BYTES].decode("utf-8", "replace")}


# ---------------------------------------------------------------- facts


def _write_facts(step: _Planned, part: Trace, response: Response | None, *, passed: bool) -> None:
    facts, name = part.facts, step.name
    facts[fact_key("probe_flow_step_success", step=name)] = 1.0 if passed else 0.0
    facts[fact_key("probe_flow_step_status_code", step=name)] = float(response.status if response else 0)
    facts[fact_key("probe_flow_step_duration_seconds", step=name)] = sum(part.phases.values())
    for phase in PHASES:
        if phase in part.phases:
            facts[fact_key("probe_flow_step_phase_seconds", step=name, phase=phase)] = part.phases[phase]
