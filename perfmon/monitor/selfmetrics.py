"""What perfmon says of itself: one instrument for each family of `metrics.SELF_FAMILIES`.

prometheus-client's, in a registry of their own: instruments are asked by name in the code
(`instruments.lateness.observe(s)`), so a typo is a type error and not a new series.
"""

import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.samples import Sample

from perfmon import __version__
from perfmon.metrics import BLACKBOX_FAMILIES, LATENCY_BUCKETS_S, SELF_FAMILIES, Family

__all__ = ["Instruments", "remove"]

_FAMILIES = {family.name: family for family in (*SELF_FAMILIES, *BLACKBOX_FAMILIES)}


class Instruments:
    """The daemon's own gauges, counters and histograms. Label values go in the order of the catalogue."""

    def __init__(self, *, blackbox: bool = False) -> None:
        """With `blackbox`, those of blackbox_exporter are shown, too."""
        self.registry = CollectorRegistry()
        self.build_info = self._gauge("perfmon_build_info", self.registry)
        self.lateness = self._histogram("perfmon_schedule_lateness_seconds")
        self.wait = self._histogram("perfmon_schedule_wait_seconds")
        self.skipped = self._counter("perfmon_schedule_skipped_total")
        self.due = self._counter("perfmon_schedule_due_total")
        self.in_flight = self._gauge("perfmon_probes_in_flight", self.registry)
        self.loop_lag = self._histogram("perfmon_loop_lag_seconds")
        self.series = self._gauge("perfmon_series", self.registry)
        self.series_dropped = self._counter("perfmon_series_dropped_total")
        self.scrape_duration = self._histogram("perfmon_scrape_duration_seconds")
        self.defects = self._counter("perfmon_defects_total")
        self.clock_steps = self._counter("perfmon_clock_steps_total")
        self.reload_successful = self._gauge("perfmon_config_last_reload_successful", self.registry)
        self.reload_success_timestamp = self._gauge(
            "perfmon_config_last_reload_success_timestamp_seconds", self.registry
        )
        self.web_config_reads = self._counter("perfmon_web_config_reads_total")
        self.discovery_refreshes = self._counter("perfmon_discovery_refreshes_total")
        self.discovery_targets = self._gauge("perfmon_discovery_targets", self.registry)
        self.discovery_refused = self._gauge("perfmon_discovery_refused_targets", self.registry)
        self.discovery_last_success = self._gauge("perfmon_discovery_last_success_timestamp_seconds", self.registry)
        self.rule_evaluations = self._counter("perfmon_rule_evaluations_total")
        self.alerts = self._gauge("perfmon_alerts", self.registry)
        self.maintenance = self._gauge("perfmon_maintenance", self.registry)
        self.notifications = self._counter("perfmon_notifications_total")
        self.notifications_queued = self._gauge("perfmon_notifications_queued", self.registry)
        self.heartbeats = self._counter("perfmon_heartbeats_total")
        self.profiles = self._counter("perfmon_profiles_total")
        self.store_errors = self._counter("perfmon_store_errors_total")
        self.store_lost = self._counter("perfmon_store_lost_total")
        self.module_unknown = self._counter("blackbox_module_unknown_total")
        shown = self.registry if blackbox else None
        self.blackbox_build_info = self._gauge("blackbox_exporter_build_info", shown)
        self.blackbox_reload_successful = self._gauge("blackbox_exporter_config_last_reload_successful", shown)
        self.blackbox_reload_success_timestamp = self._gauge(
            "blackbox_exporter_config_last_reload_success_timestamp_seconds", shown
        )

        self.blackbox_build_info.labels(__version__).set(1)
        self.build_info.labels(__version__, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def collect(self) -> Iterator[tuple[Family, list[Sample]]]:
        """What the instruments say now, without the `_created` series, which would double them."""
        for metric in self.registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            yield _FAMILIES[name], [sample for sample in metric.samples if not sample.name.endswith("_created")]

    def forget_rule(self, rule: str) -> None:
        """Show nothing any more of a rule that is gone."""
        remove(self.rule_evaluations, rule)

    def forget_receiver(self, receiver: str, outcomes: Iterable[str]) -> None:
        """Show nothing any more of a receiver that is gone."""
        for outcome in outcomes:
            remove(self.notifications, receiver, outcome)

    def forget_sampler(self, sampler: str, outcomes: Iterable[str]) -> None:
        """Show nothing any more of the profiles of a sampler that is gone."""
        for outcome in outcomes:
            remove(self.profiles, sampler, outcome)

    def _counter(self, name: str) -> Counter:
        family = _FAMILIES[name]
        return Counter(name, family.help, family.labels, registry=self.registry)

    def _gauge(self, name: str, registry: CollectorRegistry | None) -> Gauge:
        family = _FAMILIES[name]
        return Gauge(name, family.help, family.labels, registry=registry)

    def _histogram(self, name: str) -> Histogram:
        family = _FAMILIES[name]
        return Histogram(name, family.help, family.labels, registry=self.registry, buckets=LATENCY_BUCKETS_S)


def remove(instrument: Counter | Gauge, *labels: str) -> None:
    """Take a series away; one that never came to be is no mistake."""
    with suppress(KeyError):  # newer versions of prometheus-client raise nothing
        instrument.remove(*labels)
