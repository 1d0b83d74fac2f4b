"""POST each change of an alert to a URL, as the payload that Alertmanager's own webhooks get (version 4)."""

from perfmon.post import Http

__all__ = ["Config"]


class Config(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    url: str
