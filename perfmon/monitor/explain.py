"""One measurement for a person: what `/probe?debug=true` answers, in the form of blackbox_exporter's page."""

from collections.abc import Iterable
from typing import Any

import yaml

from perfmon.explanation import Explanation, sections
from perfmon.model import Measurement, Module
from perfmon.secret import masked
from perfmon.units import format_duration

__all__ = ["modules_text", "text"]


def text(measurement: Measurement, module: Module, metrics: bytes, explained: Explanation) -> str:
    """The run's log, its verdict, what it saw, the metrics it made, and the module it used, secrets masked."""
    ended = (_ended(explained), _verdict(measurement))
    parts = (
        ("Logs for the probe:", "\n".join([_began(explained), *measurement.lines, *ended])),
        ("What was seen:", "\n".join(_seen(explained))),
        ("Metrics that would have been returned:", metrics.decode().rstrip()),
        ("Module configuration:", _config(module)),
    )
    return "\n\n\n\n".join(f"{title}\n{body}" for title, body in parts) + "\n"


def modules_text(modules: Iterable[Module]) -> str:
    """Modules as a blackbox.yml has them, secrets masked."""
    return yaml.safe_dump(
        {"modules": {module.name: _settings(module) for module in modules}}, sort_keys=False, allow_unicode=True
    )


def _began(explained: Explanation) -> str:
    """In blackbox_exporter's words, for those who look for them."""
    told = f"probe={explained.kind} module={explained.module} timeout_seconds={explained.timeout_s:g}"
    return f"{explained.at:.3f} Beginning probe {told}"


def _ended(explained: Explanation) -> str:
    words = "Probe succeeded" if explained.success else "Probe failed"
    return f"{explained.at + explained.duration_s:.3f} {words} duration_seconds={explained.duration_s:.9g}"


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
    return yaml.safe_dump(_settings(module), sort_keys=False, allow_unicode=True).rstrip()


def _settings(module: Module) -> dict[str, Any]:
    timeout = {"timeout": format_duration(module.timeout_s)} if module.timeout_s else {}  # the scraper's otherwise
    return {"prober": module.kind, **timeout, module.kind: masked(module.config)}
