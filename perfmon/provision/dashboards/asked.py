"""What the dashboards share: what may be chosen, how it is asked for, what is marked, which colour is good."""

from collections.abc import Mapping

from perfmon import model
from perfmon.provision.grafana import Annotation, Query, Steps, Variable

__all__ = [
    "CERTIFICATE",
    "GOOD_AT_ZERO",
    "INSTANCES",
    "PERFMON",
    "PHASES",
    "PHASE_COLORS",
    "REASON_COLORS",
    "RELOADS",
    "TARGET",
    "TARGETS",
    "TO_TARGET",
    "UP_AND_DOWN",
    "alerts",
    "failures",
    "opens",
    "quantile",
    "success",
]

PERFMON = 'job=~"$job", instance=~"$instance"'
TARGET = f'{PERFMON}, probe=~"$probe", target=~"$target"'

INSTANCES = (
    Variable("job", "Job", "perfmon_build_info"),
    Variable("instance", "perfmon", 'perfmon_build_info{job=~"$job"}'),
)
TARGETS = (
    *INSTANCES,
    Variable("probe", "Probe", f"probe_success{{{PERFMON}}}"),
    Variable("target", "Target", f'probe_success{{{PERFMON}, probe=~"$probe"}}'),
)

UP_AND_DOWN = {"1": ("up", "green"), "0": ("down", "red")}
GOOD_AT_ZERO: Steps = ((None, "green"), (1.0, "red"))
CERTIFICATE: Steps = ((None, "red"), (3 * 86400.0, "orange"), (14 * 86400.0, "green"))
PHASE_COLORS: Mapping[str, str] = dict(
    zip(model.PHASES, ("purple", "blue", "super-light-blue", "yellow", "orange", "green"), strict=True)
)
"""One for each, in every dashboard."""

PHASES = tuple(
    Query(f'avg by (phase) (perfmon_probe_phase_seconds{{phase="{phase}", {TARGET}}})', "{{phase}}")
    for phase in model.PHASES
)
"""One by one, for they are drawn in the order of the queries: that in which a run goes through them."""


def opens(uid: str, **chosen: str) -> str:
    """The way to another dashboard, with the same time and data source; `chosen` says where variables come from."""
    variables = "".join(f"&var-{name}=${{{source}:percentencode}}" for name, source in chosen.items())
    return f"/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}{variables}"


REASON_COLORS = {
    "dns_nxdomain": "dark-purple",
    "dns_servfail": "purple",
    "dns_timeout": "light-purple",
    "connect_refused": "dark-orange",
    "connect_timeout": "orange",
    "unreachable": "light-orange",
    "tls_expired": "dark-blue",
    "tls_name_mismatch": "semi-dark-blue",
    "tls_untrusted": "blue",
    "tls_handshake": "light-blue",
    "timeout": "dark-yellow",
    "status": "dark-red",
    "header": "semi-dark-red",
    "body": "red",
    "json": "light-red",
    "too_large": "super-light-red",
    "short_body": "super-light-orange",
    "auth": "dark-green",
    "permission": "green",
    "loading": "light-green",
    "readonly": "super-light-green",
    "query": "super-light-blue",
    "reset": "yellow",
    "closed": "light-yellow",
    "internal": "super-light-purple",
}
"""Those of one part of a run are of one hue: of looking up, connecting, TLS, time, the answer, who may ask."""

TO_TARGET = opens("perfmon-target", probe="__field.labels.probe", target="__field.labels.target")
"""From a series of one target to all about it."""

RELOADS = Annotation(
    name="Config reloads",
    expr=f"perfmon_config_last_reload_success_timestamp_seconds{{{PERFMON}}} * 1000",
    title="perfmon {{instance}} read its configuration",
    text="",
    color="blue",
    value_is_time=True,
)


def alerts(selector: str, text: str) -> Annotation:
    """Alerts that fire, and what they are about."""
    return Annotation(
        name="Alerts",
        expr=f'ALERTS{{alertstate="firing", {selector}}}',
        title="{{alertname}} ({{severity}})",
        text=text,
        color="red",
    )


def quantile(q: float, metric: str, selector: str, *by: str) -> str:
    """Of a histogram over the last few scrapes."""
    kept = ", ".join(("le", *by))
    return f"histogram_quantile({q}, sum by ({kept}) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))"


def success(by: str, window: str) -> str:
    """The share of runs that succeeded; both counters are there from the first run on."""
    return f"sum{by} ({_successes(window)}) / sum{by} ({_runs(window)})"


def failures(by: str, window: str) -> str:
    """How many runs failed: those that did not succeed, for a failure's own counter begins with the failure."""
    return f"sum{by} ({_runs(window)}) - sum{by} ({_successes(window)})"


def _successes(window: str) -> str:
    return f'increase(perfmon_probe_runs_total{{result="success", {TARGET}}}[{window}])'


def _runs(window: str) -> str:
    return f"increase(perfmon_probe_latency_seconds_count{{{TARGET}}}[{window}])"
