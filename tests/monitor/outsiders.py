"""Probes with months behind them and a face that shows some of them to outsiders."""

import asyncio
import json
from urllib.parse import unquote, urlencode

from msgspec.structs import replace
from web_face import FakeView

from perfmon.clock import ManualClock
from perfmon.config import Public
from perfmon.model import Check, Failure, Measurement, Module, Target
from perfmon.monitor.calendar import Calendar
from perfmon.monitor.public import Outsiders
from perfmon.monitor.series import Series
from perfmon.monitor.tally import Counted

REFUSED = Failure(
    reason="connect_refused",
    phase="connect",
    message="connection refused by 10.11.12.13:8443",
    evidence={"subject": "CN=backend.secret.internal"},
)
STATUS = Failure(reason="status", phase="processing", message="status 503", evidence={"body": "token=sesame"})
INSIDE = ["secret", "internal", "10.11.12.13", "8443", "http_inside", "sesame", "rack", "connect_refused", "status 503",
          "warehouse", "12.3", "http:", "module"]  # fmt: skip
"""What no answer to an outsider may hold."""


def check(name, address, *, tags=("public",), group="", interval_s=15.0):
    return Check(
        target=Target(
            probe=name,
            address=address,
            hostname="backend.secret.internal",
            labels={"rack": "r-17"} | ({"group": group} if group else {}),
            tags=tags,
        ),
        module=Module(name="http_inside", kind="http", timeout_s=5.0, config=None),
        interval_s=interval_s,
    )


class Street(FakeView):
    """A view whose outsiders' part is the real one, over series that a test fills."""

    def __init__(self, settings=None):
        super().__init__()
        self.clock = ManualClock(wall=1_800_000_000.0)
        self.series = Series(self.clock)
        self.settings = settings or Public(title="Example Shop", select={"tag": "public"}, show_target=False, listen=())
        self.windows = ()  # of maintenance
        calendar = Calendar(lambda: self.windows, self.clock)
        self.outsiders = Outsiders(self.series, self.clock, lambda: self.settings, calendar)

    def add(self, one, *outcomes, days=()):
        """Watch it; `days` are (ago, runs, failures), `outcomes` the newest runs, None for one that succeeded."""
        self.series.add_check(one)
        past = self.series.checks[one.key]
        minute = self.series.minute(self.clock.monotonic())
        for ago, runs, failures in days:
            past.tally.add(Counted(minute - ago * 1440, runs, failures))
        for place, failure in enumerate(outcomes):
            at = self.clock.monotonic() - one.interval_s * (len(outcomes) - 1 - place)
            ran = Measurement(
                target=one.target, module="http_inside", at=at, duration_s=0.0123, phases={}, facts={}, failure=failure,
                address="10.11.12.13:8443",
            )  # fmt: skip
            self.series.add(one.key, ran)
        return past

    async def status(self):
        return await self.outsiders.status()

    def badge(self, kind, key, period, *, chosen):
        return self.outsiders.badge(kind, key, period, chosen=chosen)


def street(**settings):
    """A shop, one of its targets failing, a till that is down, and a warehouse that is nobody's business."""
    view = Street()
    view.settings = replace(view.settings, **settings)
    months = [(ago, 5760, 0 if ago % 9 else 300) for ago in range(60, 0, -1)]
    view.add(check("shop", "http://a.secret.internal:8443/", group="Web"), *[None] * 20, days=months)
    view.add(check("shop", "http://b.secret.internal:8443/", group="Web"), *[None] * 10, *[STATUS] * 10, days=months)
    view.add(check("till", "10.11.12.13:8443", group="Pay"), None, *[REFUSED] * 20, days=months)
    view.add(check("mail", "mail.secret.internal:25"), *[None] * 5, *[REFUSED] * 8, *[None] * 5, days=months)
    view.add(check("new", "new.secret.internal:25"))
    view.add(check("warehouse", "http://warehouse.internal/", tags=()), REFUSED)
    return view


class Client:
    """Asks an ASGI application without sockets."""

    def __init__(self, application, server=("10.0.0.1", 80)):
        self._application = application
        self._server = server

    def get(self, path, params=None, headers=None):
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": (urlencode(params) if params else query).encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": ("10.9.9.9", 40_000),
            "server": self._server,
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        asyncio.run(self._application(scope, receive, send))
        return Answer(sent[0], b"".join(message.get("body", b"") for message in sent[1:]))


class Answer:
    def __init__(self, start, body):
        self.status_code = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.text = body.decode()

    def json(self):
        return json.loads(self.text)
