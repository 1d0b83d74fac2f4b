"""The user's own rules as Prometheus', `perfmon.user.rules.yml`: for the mode in which Prometheus alone alerts.

An alert has the labels that perfmon's own would have, beside `job` and `instance`, and the same `for`. Where PromQL
cannot say quite the same, a comment above the rule says what differs; a rule that it cannot say at all is a comment.
"""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import quote

import msgspec
import yaml

from perfmon import kinds, promql, selection
from perfmon.config import Config
from perfmon.model import Labels, Rule
from perfmon.promql import Expression, Source
from perfmon.provision.text import Dumper
from perfmon.selection import PROBE_METRICS, Metric, Selectable

__all__ = ["Scraping", "Written", "document", "unheard"]

HEADER = """\
# Generated from perfmon's configuration by `perfmon rules --config`; edit that instead.
# Lines above a rule say where Prometheus does not judge quite as perfmon's own evaluator does (docs/prometheus.md).
"""


class Scraping(msgspec.Struct, frozen=True, kw_only=True):
    """How Prometheus looks at perfmon."""

    job: str = "perfmon"
    interval_s: float = 15.0


class Written(msgspec.Struct, frozen=True):
    """The file, and the names of the rules that are missing in it with the reason."""

    text: str
    missing: tuple[tuple[str, str], ...]


def document(config: Config, scraping: Scraping | None = None) -> Written:
    """The user's rules as a rules file; one of a group without rules when there are none."""
    watched = list(_watched(config))
    pieces: list[str] = []
    missing: list[tuple[str, str]] = []
    for rule in config.rules:
        try:
            pieces += list(_rules(rule, watched, scraping or Scraping()))
        except ValueError as error:
            missing.append((rule.name, str(error)))
            pieces.append(_comment(f"{rule.name} is missing: {error}"))
    body = "".join(pieces)
    has_rules = any(not line.startswith("  #") for line in body.splitlines())
    return Written(
        f"{HEADER}groups:\n- name: perfmon.user\n  rules:{'' if has_rules else ' []'}\n{body}", tuple(missing)
    )


def unheard(config: Config) -> Iterator[str]:
    """The settings that hold alerts of perfmon's own back, and of which Prometheus knows nothing."""
    waits = [one.depends_on for one in config.checks] + [one.blueprint.depends_on for one in config.discoveries]
    if any(waits):
        yield "`depends_on`"
    if config.maintenance:
        yield "`maintenance`"


# ---------------------------------------------------------------- what is watched


class _Watched(NamedTuple):
    """A check, what a source of targets may bring, or a sampler."""

    series: Selectable
    interval_s: float


def _watched(config: Config) -> Iterator[_Watched]:
    for check in config.checks:
        identity = {"probe": check.target.probe, "target": check.target.address, "module": check.module.name}
        yield _Watched(selection.of_check(identity, check.target.labels, check.target.tags), check.interval_s)
    for one in (discovery.blueprint for discovery in config.discoveries):
        made = selection.of_check({"probe": one.probe, "target": None, "module": one.module}, one.labels, one.tags)
        yield _Watched(msgspec.structs.replace(made, any_labels=True), one.interval_s)
    for sampler in config.samplers:
        yield _Watched(selection.of_sampler(sampler.name, sampler.kind, sampler.labels), sampler.interval_s)


def _about(rule: Rule, watched: Sequence[_Watched]) -> list[_Watched]:
    """What of it a rule may be about."""
    chosen = selection.selected(rule.select, [one.series for one in watched])
    return [one for one in watched if rule.metric in one.series.metrics and any(one.series is it for it in chosen)]


# ---------------------------------------------------------------- one rule


def _rules(rule: Rule, watched: Sequence[_Watched], scraping: Scraping) -> Iterator[str]:
    """The rule, once for each of its levels."""
    condition = kinds.load("conditions", rule.kind)
    if not hasattr(condition, "promql"):
        raise ValueError(f"the condition `{rule.kind}` cannot be said in PromQL")
    named = condition.severities(rule.config) if hasattr(condition, "severities") else ()
    source = _source(rule, _about(rule, watched), watched, scraping)
    for severity in named or (rule.severity,):
        said: Expression = condition.promql(rule.config, source, severity if named else "")
        alert = _alert(rule, severity, said)
        yield "".join(map(_comment, said.remarks))
        text = yaml.dump([alert], Dumper=Dumper, sort_keys=False, width=1000, allow_unicode=True)
        yield "".join(f"  {line}\n" for line in text.splitlines())


def _source(rule: Rule, about: Sequence[_Watched], watched: Sequence[_Watched], scraping: Scraping) -> Source:
    if not about:
        raise ValueError("nothing that is watched has its metric")
    metric: Metric = about[0].series.metrics[rule.metric]
    return Source(
        rule=rule.name,
        metric=rule.metric,
        type=metric.type,
        unit=metric.unit,
        probed=rule.metric in PROBE_METRICS,
        matchers=",".join(_matchers(rule.select, about, watched, scraping.job)),
        interval_s=max(one.interval_s for one in about),
        scrape_s=scraping.interval_s,
    )


def _matchers(select: Labels, about: Sequence[_Watched], watched: Sequence[_Watched], job: str) -> Iterator[str]:
    yield promql.matcher("job", job)
    for name, glob in select.items():
        if name == "tag" and not any("tag" in one.series.labels for one in about):
            yield from _tagged(glob, about, watched)
        else:
            yield promql.matcher(name, glob)


def _tagged(glob: str, about: Sequence[_Watched], watched: Sequence[_Watched]) -> Iterator[str]:
    """Tags are not exported, so the probes that have them are named, or their targets where not all of them do."""
    others = [one for one in watched if not any(fnmatchcase(tag, glob) for tag in one.series.tags)]
    names = dict.fromkeys(one.series.labels["probe"] for one in about)
    yield _any_of("probe", names)
    if not any(one.series.labels.get("probe") in names for one in others):
        return
    targets = dict.fromkeys(one.series.labels.get("target", "") for one in about)
    if "" in targets or any(one.series.labels.get("target") in targets for one in others):
        raise ValueError(f'what has the tag "{glob}" and what has not cannot be told apart by exported labels')
    yield _any_of("target", targets)


def _any_of(label: str, values: dict[str, None]) -> str:
    if len(values) == 1:
        return f'{label}="{promql.escaped(*values)}"'
    patterns = [promql.literally(value) for value in values]
    return f'{label}=~"{promql.escaped("|".join(patterns))}"'


def _alert(rule: Rule, severity: str, said: Expression) -> dict[str, object]:
    written: dict[str, object] = {"alert": rule.name, "expr": said.text}
    if rule.for_s:
        written["for"] = promql.duration(rule.for_s)
    if rule.keep_firing_for_s:
        written["keep_firing_for"] = promql.duration(rule.keep_firing_for_s)
    written["labels"] = {name: _literal(value) for name, value in rule.labels.items()} | {"severity": severity}
    written["annotations"] = _annotations(rule, severity, said)
    return written


def _comment(text: str) -> str:
    return "".join(f"  # {line}\n" for line in text.splitlines())


# ---------------------------------------------------------------- what the alert says


def _annotations(rule: Rule, severity: str, said: Expression) -> dict[str, str]:
    """Prometheus' templates for perfmon's. Both give an absent label as nothing."""
    about = "{{ or $labels.target $labels.group $labels.sampler }}"
    own = {"summary": f"{rule.name}: {about}", "description": said.says}
    # What an expression's series does not have: Prometheus' `$labels` are those of the series alone.
    labels = {**rule.labels, "alertname": rule.name, "severity": severity}
    return own | {
        name: _template(text, said, labels, encode=name.endswith("_url")) for name, text in rule.annotations.items()
    }


def _template(text: str, said: Expression, labels: Labels, *, encode: bool) -> str:
    """A link's labels are encoded as perfmon encodes them, but for a space, which is "+" here."""
    said_of = {"value": "{{ $value }}", "why": said.says, "limit": said.limit, "since": "the alert's start"}

    def value(place: re.Match[str]) -> str:
        name, within_link = place[1], encode and place.start() > 0
        if name in labels:
            return _literal(quote(labels[name], safe="") if within_link else labels[name])
        return said_of.get(name) or f"{{{{ $labels.{name}{' | urlquery' if within_link else ''} }}}}"

    return _PLACE.sub(value, text)


_PLACE = re.compile(r"\{\{\s*([^\s{}]+)\s*\}\}")


def _literal(text: str) -> str:
    """Labels are templates to Prometheus, and plain text to perfmon."""
    return text.replace("{{", '{{"{{"}}')
