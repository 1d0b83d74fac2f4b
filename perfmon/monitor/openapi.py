"""The API as an OpenAPI 3.1 document, made from the types of its answers; served at `/api/v1/openapi.json`."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import msgspec

import perfmon
from perfmon.explanation import Explanation
from perfmon.monitor import answers
from perfmon.monitor.history import PERIODS
from perfmon.monitor.public import BadgeKind

__all__ = ["OPERATIONS", "Operation", "Parameter", "document"]

Json = dict[str, Any]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter."""

    name: str
    says: str
    place: Literal["query", "path"] = "query"
    schema: Json = msgspec.field(default_factory=lambda: {"type": "string"})
    required: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one route answers to one method."""

    path: str
    says: str
    method: str = "get"
    answer: type[msgspec.Struct] | str = "text/plain"  # of a 200: what its JSON is, or its media type
    parameters: Sequence[Parameter] = ()
    statuses: Sequence[int] = ()  # beside 200, and those that every route may answer
    same_with: Sequence[int] = ()  # those that come with what 200 comes with; in words too, where `statuses` has them


def _one_of(words: Iterable[str]) -> Json:
    return {"type": "string", "enum": list(words)}


KEY = Parameter(name="key", says="The `key` of a probe in `/api/v1/targets`.", required=True)
RUN_ID = Parameter(
    name="id",
    says="Such as `1c291ca3-19aa3f2c1b0`.",
    schema={"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{1,14}$"},
    required=True,
)
MODULE = Parameter(name="module", says="The name of a module.")

OPERATIONS: Sequence[Operation] = (
    Operation(
        path="/api/v1/targets",
        says="Every probe and sampler: state, last run, last hour.",
        answer=answers.Targets,
        parameters=[
            Parameter(
                name="minutes",
                says="So many newest minutes of each history.",
                schema={"type": "integer", "minimum": 1, "maximum": 60, "default": 60},
            )
        ],
        statuses=[400],
    ),
    Operation(path="/api/v1/days", says="The last day of every probe, by quarters of an hour.", answer=answers.Days),
    Operation(
        path="/api/v1/target",
        says="One probe with all that is known of it.",
        answer=answers.Target,
        parameters=[KEY],
        same_with=[404],
    ),
    Operation(
        path="/api/v1/target/run",
        method="post",
        says="One run of a probe now, beside its schedule, explained. For whom `/probe` is answered.",
        answer=Explanation,
        parameters=[KEY],
        statuses=[404, 429],
    ),
    Operation(
        path="/api/v1/push",
        method="post",
        says="Takes the result of a check of the prober `push`; 401 without its token as `Authorization: Bearer`.",
        parameters=[
            KEY,
            Parameter(
                name="success", says="How it went.", schema={"type": "string", "enum": ["true", "false"]}, required=True
            ),
            Parameter(name="duration", says="How long it took, such as `1.2s`."),
            Parameter(name="error", says="What went wrong, in words."),
        ],
        statuses=[400, 404],
    ),
    Operation(
        path="/api/v1/run",
        says="One run by the id that an exemplar has.",
        answer=answers.Run,
        parameters=[RUN_ID],
        statuses=[400],
        same_with=[404],
    ),
    Operation(
        path="/api/v1/group",
        says="One process group or control group with its hour, its verdicts on leaks and the alerts about it.",
        answer=answers.Group,
        parameters=[
            Parameter(name="sampler", says="The name of a sampler.", required=True),
            Parameter(name="group", says="The label `group` of its series.", required=True),
            Parameter(name="cgroup", says="Their label `cgroup`, where one name holds several."),
        ],
        same_with=[404],
    ),
    Operation(
        path="/api/v1/alerts", says="Every alert that is pending, firing, or was resolved.", answer=answers.Alerts
    ),
    Operation(
        path="/api/v1/runs", says="The latest runs of `/probe`. For whom `/probe` is answered.", answer=answers.Runs
    ),
    Operation(
        path="/status.json", says="The page for outsiders (`web.public`).", answer=answers.Status, statuses=[404]
    ),
    Operation(path="/status.atom", says="Its incidents.", answer="application/atom+xml", statuses=[404]),
    Operation(
        path="/badge/{kind}",
        says="Two words on a probe as a picture.",
        answer="image/svg+xml",
        parameters=[
            Parameter(
                name="kind", says="What it tells.", place="path", schema=_one_of(get_args(BadgeKind)), required=True
            ),
            Parameter(name="key", says="The name of a probe, or its `key` in `/api/v1/targets`.", required=True),
            Parameter(name="period", says="Of `uptime`.", schema=_one_of(PERIODS) | {"default": "24h"}),
        ],
        statuses=[400, 404],
        same_with=[404],
    ),
    Operation(path="/api/v1/openapi.json", says="This document.", answer="application/json"),
    Operation(path="/metrics", says="All series, in Prometheus' text format or OpenMetrics, by `Accept`."),
    Operation(
        path="/probe",
        says="One run on request, as blackbox_exporter answers it. For this machine and `web.probe_allow`.",
        parameters=[
            Parameter(name="target", says="URL or host:port, as the module wants it.", required=True),
            MODULE,
            Parameter(name="hostname", says="Host header and TLS server name."),
            Parameter(name="debug", says="`true` for an answer in words."),
        ],
        statuses=[400, 500],
    ),
    Operation(
        path="/logs",
        says="The newest run of `/probe` for a target, or one by its number, in words.",
        parameters=[
            Parameter(name="target", says="As in `/probe`."),
            MODULE,
            Parameter(name="id", says="The `id` of a run in `/api/v1/runs`."),
        ],
        statuses=[400, 404],
    ),
    Operation(path="/config", says="The modules that `/probe` knows, as YAML, secrets masked."),
    Operation(path="/-/healthy", says="200 while the process answers.", statuses=[503]),
    Operation(path="/-/ready", says="200 from the first schedule to the beginning of the end.", statuses=[503]),
    *(
        Operation(path="/-/reload", method=method, says="Reads the config anew; 500 with all mistakes.", statuses=[500])
        for method in ("post", "put")
    ),
)

_MEANINGS = {
    400: "A parameter is missing or wrong.",
    401: "A user and a password (web-config.yml), or the token of a push, are needed.",
    403: "Refused: a stranger, another site's page, or a foreign name for this machine.",
    404: "There is no such one.",
    429: "Too many at once.",
    500: "It failed, and the words say why.",
    503: "Not now.",
}
_ANYWHERE = (401, 403, 429, 503)


def document() -> Json:
    """The document, with every schema under its type's name."""
    types = [one.answer for one in OPERATIONS if not isinstance(one.answer, str)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, Json] = {}
    for one in OPERATIONS:
        content = (
            {one.answer: {}} if isinstance(one.answer, str) else {"application/json": {"schema": by_type[one.answer]}}
        )
        paths.setdefault(one.path, {})[one.method] = _operation(one, content)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "perfmon",
            "version": perfmon.__version__,
            "description": "Times are Unix seconds, durations seconds; null where there is nothing yet.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(one: Operation, content: Json) -> Json:
    words = {"text/plain": {"schema": {"type": "string"}}}
    contents = dict.fromkeys((*_ANYWHERE, *one.statuses), words)
    for status in one.same_with:
        contents[status] = content | contents.get(status, {})
    return {
        "summary": one.says,
        "parameters": [_parameter(parameter) for parameter in one.parameters],
        "responses": {
            "200": {"description": one.says, "content": content},
            **{str(code): {"description": _MEANINGS[code], "content": contents[code]} for code in sorted(contents)},
        },
    }


def _parameter(one: Parameter) -> Json:
    return {"name": one.name, "in": one.place, "required": one.required, "description": one.says, "schema": one.schema}
