"""Several requests, one after the other, as somebody would make them who uses the service: one verdict.

What an answer holds goes on into the next requests by `{{name}}`, and so do cookies, which last as long as the run. The
first step that fails ends the run; clean-up steps follow in any case. Each request has a connection of its own, since
libcurl resends in silence what it lost on one that it used again.

Phases are the sums over the steps, so that they add up to the run's duration; a clean-up counts for neither.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urljoin

import msgspec

import perfmon
from perfmon import kinds
from perfmon import template as templates
from perfmon.answer import demands, extract
from perfmon.answer.demands import Demands, Prepared
from perfmon.answer.extract import EXTRACTED_BYTES, Extract
from perfmon.metrics import Family
from perfmon.model import PHASES, Failure, Target, fact_key
from perfmon.network import credentials, tls
from perfmon.network.address import BadAddress, Url, bracketed, objection, parse_url
from perfmon.network.credentials import Authorization, BasicAuth
from perfmon.network.exchange import FIRST_BYTES, Response
from perfmon.network.follow import Arrival, Errand, first_leg, follow
from perfmon.network.header import is_token, is_value
from perfmon.network.tls import TlsConfig
from perfmon.secret import hidden, without
from perfmon.template import Template, Value, text_of
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = ["FAMILIES", "Config", "Request", "Step", "check", "check_target", "probe"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask for. Every text may have variables, but not the names of headers and fields."""

    url: str  # Where: `{{target}}/login`, or `/login` for short.
    method: str = ""  # The method. Without it, GET, and POST where there is something to send.
    headers: dict[str, str] = {}  # Headers of the request; `Host` included.
    json: Any = None  # What to send as JSON, as YAML has it.
    form: dict[str, str] = {}  # What to send as a form's fields.
    body: str = ""  # What to send as it is written.
    follow_redirects: bool = True  # Whether to follow redirects, ten at most.


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
    authorization: Authorization | None = None
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
_TARGET = "target"


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
    known, seen = {_TARGET, *config.variables}, set[str]()
    for path, step in _with_paths(config):
        if step.name in seen:
            yield f"{path}.name", f"{quoted(step.name)} is taken by another step"
        seen.add(step.name)
        yield from ((f"{path}.{below}" if below else path, message) for below, message in _bad_step(step, known))
        known |= step.extract.keys()


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be the beginning of every URL."""
    return objection(_base, address)


def _with_paths(config: Config) -> Iterator[tuple[str, Step]]:
    yield from ((f"steps[{number}]", step) for number, step in enumerate(config.steps))
    yield from ((f"cleanup[{number}]", step) for number, step in enumerate(config.cleanup))


def _bad_step(step: Step, known: Collection[str]) -> Iterator[tuple[str, str]]:
    yield from ((f"request.{path}", message) for path, message in _bad_request(step.request, known))
    yield from ((f"expect.{path}", message) for path, message in demands.check(step.expect))
    for name, rule in step.extract.items():
        if not _is_variable(name):
            yield f"extract.{name}", _NOT_A_VARIABLE.format(quoted(name))
        for path, message in extract.check(rule):
            yield f"extract.{name}.{path}".removesuffix("."), message


def _bad_request(request: Request, known: Collection[str]) -> Iterator[tuple[str, str]]:
    if request.method and not is_token(request.method):
        yield "method", f"expected a method such as GET, got {quoted(request.method)}"
    if sum((request.json is not None, bool(request.form), bool(request.body))) > 1:
        yield "body", "at most one of json, form and body may be given"
    for name in request.headers:
        if not is_token(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
    for path, document in _texts(request):
        try:
            names = list(templates.names_in_json(templates.parse_json(document)))
        except ValueError as error:
            yield path, str(error)
            continue
        for name in names:
            if name not in known:
                yield path, kinds.unknown(name, sorted(known), "variable")
        if path == "url" and (message := _bad_url(templates.parse(request.url))):
            yield path, message
        if path.startswith("headers.") and not names and not is_value(document):
            yield path, "holds a line break or another character that no header can have"


def _texts(request: Request) -> Iterator[tuple[str, Any]]:
    """All that may have variables, with its path."""
    yield "url", request.url
    yield from ((f"headers.{name}", value) for name, value in request.headers.items())
    yield "json", request.json
    yield from ((f"form.{name}", value) for name, value in request.form.items())
    yield "body", request.body


def _bad_url(url: Template) -> str:
    """No variable may say which host is asked, but the target, and one that stands alone and is looked at when used."""
    first = url.texts[0]
    if url.alone or first.startswith("/"):
        return ""
    if not first and url.names[:1] == (_TARGET,):
        rest = url.texts[1]
        return "" if rest.startswith(("/", "?")) else "expected a / or ? behind {{target}}"
    if not first.startswith(("http://", "https://")):
        return "expected {{target}}/path, /path, a URL with its host, or a variable alone"
    if url.names and not any(sign in first.partition("://")[2] for sign in "/?"):
        return "expected no variable in the URL's host"
    return objection(parse_url, first) or ""


def _is_variable(name: str) -> bool:
    return templates.NAME.fullmatch(name) is not None and name != _TARGET


_NOT_A_VARIABLE = 'expected a name of letters, digits and _, other than "target", got {}'


# ---------------------------------------------------------------- before any run


class _Planned(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A step, read."""

    name: str
    url: Template
    method: str
    headers: Mapping[str, Template]
    json: Any  # with templates; None = none
    form: Mapping[str, Template]
    body: Template
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
    proof: str  # the Authorization of requests to the target, "" for none


def _plan(target: Target, config: Config) -> _Plan:
    base = _base(target.address)
    return _Plan(
        config=config,
        base=base,
        hostname=target.hostname,
        steps=[_planned(step) for step in config.steps],
        cleanup=[_planned(step) for step in config.cleanup],
        proof=credentials.authorization(config, base),
    )


def _base(address: str) -> Url:
    """The target, without the slash at its end."""
    url = parse_url(address)
    if "?" in url.path:
        raise BadAddress("expected a URL without a query, since paths are put behind it")
    return msgspec.structs.replace(url, path=url.path.rstrip("/"))


def _planned(step: Step) -> _Planned:
    request = step.request
    sends = request.json is not None or request.form or request.body
    return _Planned(
        name=step.name,
        url=templates.parse(request.url),
        method=request.method or ("POST" if sends else "GET"),
        headers={name: templates.parse(value) for name, value in request.headers.items()},
        json=templates.parse_json(request.json),
        form={name: templates.parse(value) for name, value in request.form.items()},
        body=templates.parse(request.body),
        follow=request.follow_redirects,
        demands=demands.prepare(step.expect),
        extract=step.extract,
    )


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless every step's answer is all that is demanded, and the clean-up's too."""
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        return plan
    run = _Run(plan, trace)
    end = trace.deadline
    try:
        failure = await run.walk()
    except BaseException:  # cancelled: whoever did it waits, so the clean-up has no more than the time kept for it
        end = min(end, trace.clock.monotonic() + run.kept_s)
        raise
    finally:
        unclean = await run.clean_up(end)
        run.hide_secrets()
    return without(run.secrets(), failure or unclean)


class _Run:
    """What one run knows so far."""

    def __init__(self, plan: _Plan, trace: Trace) -> None:
        self.kept_s = trace.remaining() * _CLEANUP_SHARE if plan.cleanup else 0.0
        self._plan = plan
        self._trace = trace
        given = {name: str(value) for name, value in plan.config.variables.items()}  # plain, also of secrets
        self._values: dict[str, Value] = {**given, _TARGET: str(plan.base)}
        self._cookies: Collection[bytes] = ()

    async def walk(self) -> Failure | None:
        """Take one step after the other until one fails."""
        facts = self._trace.facts
        facts["probe_flow_steps"] = float(len(self._plan.steps))
        facts["probe_flow_steps_passed"] = 0.0
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
            missing = _names(step) - self._values.keys()
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
                f"step {step.name}",
                expected="what was demanded",
                got=failure.message if failure else "that",
                met=passed,
            )
        finally:
            _write_facts(step, part, response, passed=passed)
        return failure

    async def _ask(self, step: _Planned, part: Trace) -> Arrival | Failure:
        if part.remaining() <= 0:
            return Failure(reason="timeout", phase="", message="no time was left for it")
        try:
            errand, url = self._errand(step)
            leg = first_leg(errand, str(url), self._plan.hostname if self._is_here(url) else "")
        except _Unfit as error:
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
        failure = await demands.judge(step.demands, response, part, tls=tls)
        if failure is not None:
            return failure
        for name, rule in step.extract.items():
            value = extract.extract(name, rule, response)
            if isinstance(value, Failure):
                return msgspec.structs.replace(value, evidence=_evidence(response))
            self._values[name] = value
        return None

    def _errand(self, step: _Planned) -> tuple[Errand, Url]:
        """The request with its variables filled in; BadAddress or _Unfit when they do not fit."""
        url = self._url(step.url)
        config, prepared = self._plan.config, step.demands
        own = {name: _header(name, value.fill(self._values)) for name, value in step.headers.items()}
        given = {name.lower() for name in own}
        body, content_type = self._body(step)
        defaults = {
            "User-Agent": f"perfmon/{perfmon.__version__}",
            "Content-Type": content_type,
            "Authorization": self._plan.proof if self._is_here(url) else "",
        }
        headers = {name: value for name, value in defaults.items() if value and name.lower() not in given} | own
        errand = Errand(
            method=step.method,
            headers={name: value for name, value in headers.items() if name.lower() != "host"},
            host_header=next((value for name, value in own.items() if name.lower() == "host"), ""),
            body=body,
            tls=config.tls_config,
            decode=prepared.decode,
            keep_headers=prepared.keep_headers or any(rule.header for rule in step.extract.values()),
            keep_body_bytes=max(prepared.keep_body_bytes, EXTRACTED_BYTES if step.extract else 0),
            body_limit_bytes=prepared.body_limit_bytes,
            prefer=config.preferred_ip_protocol,
            fallback=config.ip_protocol_fallback,
            follow=step.follow,
        )
        return errand, url

    def _url(self, url: Template) -> Url:
        base = self._plan.base
        if url.alone and url.alone != _TARGET:
            return self._led_to(url.alone)
        if url.names[:1] == (_TARGET,) and not url.texts[0]:
            return parse_url(f"{base}{url.after_first().fill(self._values, templates.in_url)}")
        origin = f"{base.scheme}://{base.authority}" if url.texts[0].startswith("/") else ""
        return parse_url(origin + url.fill(self._values, templates.in_url))

    def _led_to(self, name: str) -> Url:
        """Where a server says to go: on the target, or nowhere, since what is sent there may be secret."""
        try:
            there = parse_url(urljoin(f"{self._plan.base}/", text_of(self._values[name])))
        except ValueError:
            raise BadAddress(f"{name} is no URL that could be followed") from None
        if not self._is_here(there):
            raise BadAddress(f"{name} leads to another server, {bracketed(there.host)}:{there.port}")
        return there

    def _is_here(self, url: Url) -> bool:
        base = self._plan.base
        return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)

    def _body(self, step: _Planned) -> tuple[bytes | None, str]:
        """What to send, and its type."""
        if step.json is not None:
            return msgspec.json.encode(templates.fill_json(step.json, self._values)), "application/json"
        if step.form:
            fields = {name: value.fill(self._values) for name, value in step.form.items()}
            return urlencode(fields, errors="replace").encode(), "application/x-www-form-urlencoded"
        body = step.body.fill(self._values).encode(errors="replace")
        return (body if body or step.method in ("POST", "PUT", "PATCH") else None), ""


class _Unfit(ValueError):
    """A value that cannot stand where it is to stand."""


def _header(name: str, value: str) -> str:
    if not is_value(value):  # it may be a secret, so it is not shown
        raise _Unfit(f"what is to be sent as header {name} holds a character that no header can have")
    return value


def _names(step: _Planned) -> set[str]:
    """The variables that a step's request needs."""
    return {
        name
        for document in (step.url, list(step.headers.values()), step.json, list(step.form.values()), step.body)
        for name in templates.names_in_json(document)
    }


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
