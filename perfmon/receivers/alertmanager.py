"""Tell Alertmanagers, by their v2 API, as Prometheus' ruler does: all of them, again and again while it holds."""

from perfmon.post import Http
from perfmon.units import Duration

__all__ = ["Config"]


class Config(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where they are. Every one is told by itself, so name each and no balancer before them."""

    urls: list[str]
    resend: Duration = 60.0  # a firing alert holds four times as long without being told again
