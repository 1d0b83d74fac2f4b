"""What an alert says to a person: annotations with `{{name}}` filled in, and words of its own where none are given.

A name is a label of the alert ("" when this one does not have it, as in Prometheus), or one of

- `value`, `limit`: numbers in base units, as the verdict has them
- `why`: what was expected and what was seen, in words
- `since`: when it was first seen broken, RFC 3339

In an annotation whose name ends in `_url` what is filled in is percent-encoded, unless the annotation begins with it.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import quote, urlencode

from perfmon import kinds, units
from perfmon.clock import Clock, iso, to_wall
from perfmon.model import Alert, Labels

__all__ = ["annotate", "check_annotations"]


def annotate(templates: Labels, alert: Alert, clock: Clock, page_url: str = "") -> dict[str, str]:
    """The annotations of an alert as it stands; summary and description are there in any case.

    Where `page_url` is perfmon's own page, so is `page_url`, that of what the alert is about, where there is one.
    """
    facts = _facts(alert, clock)
    own = {"summary": f"{alert.rule}: {_subject(alert)}", "description": f"{facts['why']}, since {facts['since']}"}
    page = _page_of(alert)
    if page_url and page:
        own["page_url"] = f"{page_url.rstrip('/')}/{page}"
    return own | {name: _fill(template, facts, encode=name.endswith("_url")) for name, template in templates.items()}


def check_annotations(templates: Labels, label_names: Collection[str]) -> Iterable[tuple[str, str]]:
    """Why templates cannot be filled in, as (name of the annotation, message).

    `label_names` are all that an alert of the rule may have: those of the series it can select, and the rule's own.
    """
    known = sorted({"alertname", "severity", *_FACTS, *label_names})
    for annotation, template in templates.items():
        for match in _PLACE.finditer(template):
            if match["name"] not in known:
                yield annotation, _unknown(match["name"], known)
        if any(brace in _PLACE.sub("", template) for brace in ("{{", "}}")):
            yield annotation, "expected a name between {{ and }}, as in {{target}}"


_FACTS = ("value", "limit", "why", "since")
_PLACE = re.compile(r"\{\{\s*(?P<name>[^\s{}]+)\s*\}\}")


def _unknown(name: str, known: Sequence[str]) -> str:
    plain = name.removeprefix("$labels.").lstrip("$")
    if plain != name and plain in known:  # as in Prometheus' rules
        return f'unknown "{name}", did you mean "{plain}"?'
    return kinds.unknown(name, known)


def _facts(alert: Alert, clock: Clock) -> dict[str, str]:
    verdict = alert.verdict
    return {
        "value": _number(verdict.value if verdict else None),
        "limit": _number(verdict.limit if verdict else None),
        "why": verdict.why if verdict else "",
        "since": "" if alert.active_at is None else iso(to_wall(clock, alert.active_at)),
        **alert.labels,
    }


def _fill(template: str, facts: Labels, *, encode: bool) -> str:
    """With its places filled in; within an address a target's own "&" and "#" must not end what they stand in.

    A label at the very beginning is an address itself.
    """

    def value(match: re.Match[str]) -> str:
        text = facts.get(match["name"], "")
        return quote(text, safe="", errors="replace") if encode and match.start() else text

    return _PLACE.sub(value, template)


def _subject(alert: Alert) -> str:
    """What it is about: the target, or the sampler with the labels that tell its series apart."""
    labels = alert.labels
    if "target" in labels:
        return labels["target"]
    return " ".join(value for name, value in labels.items() if name not in ("alertname", "severity"))


def _page_of(alert: Alert) -> str:
    """The page of a probe or a group, below perfmon's own; "" for what has none."""
    labels = alert.labels
    if "probe" in labels and "target" in labels:
        return f"target?{urlencode({'key': alert.series}, errors='replace', quote_via=quote)}"
    if "sampler" in labels and "group" in labels:
        named = {name: labels[name] for name in ("sampler", "group", "cgroup") if name in labels}
        return f"group?{urlencode(named, errors='replace', quote_via=quote)}"
    return ""


def _number(value: float | None) -> str:
    return "" if value is None else units.format_quantity(value, "", brief=True)
