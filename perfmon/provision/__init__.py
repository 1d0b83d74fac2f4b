"""Generates what other systems mount: Prometheus rules, Grafana dashboards, and the page of all metrics.

What is generated is committed, so that nobody needs perfmon to use it; `drift` tells when it is behind its source.
"""
