"""One measurement for a person: what `/probe?debug=true` answers, in the order of blackbox_exporter's page."""

from collections.abc import Iterable

import yaml

from perfmon.explanation import Explanation, sections
from perfmon.model import Measurement, Module
from perfmon.secret import masked
from perfmon.units import format_duration

__all__ = ["text"]


def text(measurement: Measurement, module: Module, metrics: bytes, explained: Explanation) -> str:
    """The run's log, its verdict, what it saw, the metrics it made, and the module it used, secrets masked."""
    parts = (
        ("Logs for the probe:", "\n".join([*measurement.lines, _verdict(measurement)])),
        ("What was seen:", "\n".join(_seen(explained))),
        ("Metrics that would have been returned:", metrics.decode().rstrip()),
        ("Module configuration:", _config(module)),
    )
    return "\n\n\n\n".join(f"{title}\n{body}" for title, body in parts) + "\n"


def _seen(explained: Explanation) -> Iterable[str]:
    for title, lines in sections(explained):
        if title not in _HAS_ITS_OWN:
            yield f"{title}:"
            yield from (f"  {line}" for line in lines)


_HAS_ITS_OWN = ("failure", "metrics", "module")


def _verdict(measurement: Measurement) -> str:
    took = format_duration(measurement.duration_s, brief=True)
    failure = measurement.failure
    if failure is None:
        return f"succeeded in {took}"
    evidence = "".join(f"\n  {name}: {value}" for name, value in failure.evidence.items())
    phase = f" in phase {failure.phase}" if failure.phase else ""
    return f"failed after {took}{phase}, reason {failure.reason}: {failure.message}{evidence}"


def _config(module: Module) -> str:
    whole = {"prober": module.kind, "timeout": format_duration(module.timeout_s), module.kind: masked(module.config)}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True).rstrip()
