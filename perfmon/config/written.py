"""Rules as a file would say them, those included that a file says in short."""

from collections.abc import Iterable
from typing import Any

import yaml

from perfmon import kinds
from perfmon.model import Rule
from perfmon.secret import masked
from perfmon.units import format_duration

__all__ = ["rules_as_written"]


def rules_as_written(rules: Iterable[Rule]) -> str:
    """YAML; a file with these rules says the same."""
    document = {"rules": [_rule(rule) for rule in rules]}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _rule(rule: Rule) -> dict[str, Any]:
    """What differs from the default."""
    condition = kinds.load("conditions", rule.kind)
    own_for = condition.for_s(rule.config) is not None if hasattr(condition, "for_s") else False
    levels = condition.severities(rule.config) if hasattr(condition, "severities") else ()
    settings = condition.written(rule.config) if hasattr(condition, "written") else masked(rule.config)
    written = {
        "name": rule.name,
        "select": dict(rule.select),
        "metric": rule.metric if rule.metric != "failed" else "",
        rule.kind: settings,
        "for": "" if own_for or not rule.for_s else format_duration(rule.for_s),
        "keep_firing_for": format_duration(rule.keep_firing_for_s) if rule.keep_firing_for_s else "",
        "reminder": format_duration(rule.reminder_s) if rule.reminder_s else "",
        "severity": "" if levels or rule.severity == "critical" else rule.severity,
        "labels": dict(rule.labels),
        "annotations": dict(rule.annotations),
    }
    return {name: value for name, value in written.items() if value or name == rule.kind}
