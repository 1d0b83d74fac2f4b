"""What a daemon might know, as JSON-ready answers: realistic probes, processes and alerts for the page's tests."""

import math
import random
import time

import msgspec
from web_face import FakeView

from perfmon.monitor.rerun import Busy

LATENCIES_MS = {"resolve": 0.3, "connect": 0.9, "tls": 9.0, "request": 0.1, "processing": 18.0, "transfer": 2.0}


class WatchedView(FakeView):
    """A view whose answers are plain data that a test changes."""

    def __init__(self, probes=(), samplers=(), alerts=()):
        super().__init__()
        self.started_at = time.time() - 11_520
        self.probes = list(probes)
        self.samplers = list(samplers)
        self.known_runs = {}
        self.known_alerts = list(alerts)
        self.known_runs = {}  # by the id of an exemplar
        self.leaks, self.restarts, self.cgroups = [], [], []  # of the group that is asked for
        self.maintenance, self.coming = [], []  # windows that are open, and the next ones
        self.refusal = ""  # of the next run that somebody asks for
        self.explanation = None  # of it

    async def targets(self, minutes):
        await super().targets(minutes)
        return {
            "now": time.time(),
            "version": "0.1.0",
            "started_at": self.started_at,
            "probes": [cut(probe, minutes) for probe in self.probes],
            "samplers": [one | {"series": [cut(s, minutes) for s in one["series"]]} for one in self.samplers],
        }

    def run(self, sought):
        return {"now": time.time(), "version": "0.1.0", "run": self.known_runs.get(str(sought))}

    async def days(self):
        now = time.time()
        shown = [
            {"key": one["key"], "failed": failed(one["day"]["counts"]), "success_ratio": ratio(one["day"]["counts"])}
            for one in map(with_months, self.probes)
        ]
        return {"now": now, "from": now // 900 * 900 - 95 * 900, "every_s": 900.0, "probes": shown}

    async def alerts(self):
        return {
            "now": time.time(), "alerts": self.known_alerts, "maintenance": self.maintenance,
            "maintenance_next": self.coming,
        }  # fmt: skip

    def target(self, key):
        known = next((probe for probe in self.probes if probe["key"] == key), None)
        about = [one for one in self.known_alerts if known and one["labels"].get("probe") == known["probe"]]
        return {"now": time.time(), "version": "0.1.0", "probe": known and in_full(known), "alerts": about,
                "maintenance": self.maintenance}  # fmt: skip

    def group(self, sampler, group, cgroup):
        found = next((one for one in self.samplers if one["sampler"] == sampler), None)
        series = [
            one
            for one in (found["series"] if found else [])
            if one["labels"].get("group") == group and one["labels"].get("cgroup", "") == cgroup
        ]
        shown = None
        if series:
            own = {"group": group, "cgroup": cgroup, "series": series, "leaks": self.leaks, "restarts": self.restarts}
            shown = {name: value for name, value in found.items() if name != "series"} | own
        return {
            "now": time.time(), "version": "0.1.0", "group": shown, "cgroups": self.cgroups,
            "alerts": [one for one in self.known_alerts if one["labels"].get("group") == group],
        }  # fmt: skip

    async def run_now(self, key):
        self.ran.append(key)
        if self.refusal:
            raise Busy(self.refusal)
        return msgspec.json.encode(self.explanation or explained(self.target(key)["probe"]))


def with_months(one):
    """The same probe with its months, as they would be if it had always run four times a minute."""
    now = time.time()
    dice = random.Random(one["key"])
    known = 0 if one["state"] == "unknown" else 30
    day = [[60, 0] if cell >= 16 * (known == 0) + 4 and known else [0, 0] for cell in range(96)]
    days = [[5760, 0] if cell >= 90 - known else [0, 0] for cell in range(90)]
    for cell, share in ((40, 0.02), (70, 0.4)):
        if known and dice.random() < 0.3:
            day[cell][1] = round(60 * share)
            days[cell][1] = round(5760 * share / 10)
    if one["state"] == "down":
        day[-1][1], day[-2][1], days[-1][1], days[75][1] = 60, 41, 101, 4_000
    counts = {"1h": day[-4:], "24h": day, "7d": days[-7:], "30d": days[-30:], "90d": days}
    incidents = []
    if one["state"] == "down":
        cause = one["last_failure"] or {"reason": "timeout", "phase": "connect", "message": "no answer"}
        incidents = [
            incident(cause, one["since"], None, 34),
            incident(cause, now - 86_400 * 15, now - 86_400 * 15 + 420, 28),
        ]
    return one | {
        "uptime": {name: {"runs": sum(n for n, _ in of), "failures": sum(n for _, n in of), "success_ratio": ratio(of)}
                   for name, of in counts.items()},
        "day": {"from": now // 900 * 900 - 95 * 900, "every_s": 900.0, "counts": day},
        "days": {"from": now // 86_400 * 86_400 - 89 * 86_400, "every_s": 86_400.0, "counts": days},
        "incidents": one.get("incidents", incidents),
    }  # fmt: skip


def incident(failure, began_at, ended_at, runs):
    cause = {"reason": failure["reason"], "phase": failure["phase"], "runs": runs}
    return {"began_at": began_at, "last_at": began_at + 15 * runs, "ended_at": ended_at, "runs": runs, "causes": [cause],
            "message": failure["message"], "p95_before_s": 0.012}  # fmt: skip


def failed(counts):
    return [failures / runs if runs else None for runs, failures in counts]


def ratio(counts):
    runs = sum(runs for runs, _ in counts)
    return 1 - sum(failures for _, failures in counts) / runs if runs else None


def in_full(one):
    """The same probe with what its own page shows beyond; one that has `spells` shows these."""
    now = time.time()
    history = [
        entry | {"p95": entry["p50"] and entry["p50"] * 1.9, "p99": entry["p50"] and entry["p50"] * 2.3}
        for entry in one["history"]
    ]
    last = one["last"]
    recent = [
        {"at": now - 15 * ago, "duration_s": last["duration_s"] * (1 + ago % 3 / 4), "success": last["failure"] is None,
         "phases": {name: seconds * (1 + ago % 3 / 4) for name, seconds in last["phases"].items()}}
        for ago in range(19, -1, -1)
    ] if last else []  # fmt: skip
    failing = last is not None and last["failure"] is not None
    return with_months(one) | {
        "history": history,
        "hostname": "",
        "timeout_s": 5.0,
        "interval_failing_s": None,
        "confirm": {"attempts": 3, "failures": 2, "pause_s": 0.5},
        "config": f"prober: {one['kind']}\ntimeout: 5s",
        "failing": {"runs": 12 if failing else 0, "since": one["since"] if failing else None},
        "recent": recent,
        "failure_spells": one.get("spells", [spell(one["last_failure"], 12)] if failing else []),
    }


def spell(failure, runs, **evidence):
    return {
        "first_at": failure["at"] - 15 * (runs - 1), "last_at": failure["at"], "runs": runs, "reason": failure["reason"],
        "phase": failure["phase"], "message": failure["message"], "evidence": evidence, "phases": {"connect": 0.0011},
        "duration_s": 0.0011, "address": "127.0.0.1",
    }  # fmt: skip


def explained(one, *, failure=None, steps=()):
    """A run of it, as `perfmon.explanation` tells it."""
    certificate = {
        "step": "certificate", "subject": "CN=shop", "issuer": "CN=Testing CA", "names": ["shop.example"], "not_before": 1.7e9,
        "not_after": time.time() + 30 * 86400, "serial": "1f", "fingerprint": "ab" * 32,
    }  # fmt: skip
    return {
        "probe": one["probe"], "target": one["target"], "hostname": "", "module": one["module"], "kind": one["kind"],
        "at": time.time(), "success": failure is None, "duration_s": 0.03, "timeout_s": 5.0, "phases": {},
        "address": "127.0.0.1", "failure": failure, "log": ["1.0 connecting"], "metrics": ["probe_success 1.0"],
        "config": "prober: http", "steps": steps or [
            {"step": "timed", "phase": "resolve", "begin_s": 0.0, "seconds": 0.002},
            {"step": "look_up", "host": "shop.example", "addresses": ["127.0.0.1", "::1"], "used": "127.0.0.1", "error": ""},
            {"step": "timed", "phase": "processing", "begin_s": 0.002, "seconds": 0.028},
            {"step": "exchange", "url": one["target"], "address": "127.0.0.1:80", "sent": ["GET / HTTP/1.1", "Authorization: <secret>"],
             "received": ["HTTP/1.1 200 OK", "X-Evil: <script>window.pwned=1</script>"], "error": ""},
            {"step": "said", "at_s": 0.01, "by": "target", "text": "220 <b>ready</b>"},
            {"step": "demand", "name": "status code", "expected": "2xx", "got": "200", "met": True},
            {"step": "demand", "name": "body matches", "expected": "nope", "got": "<img src=x onerror=window.pwned=2>", "met": False},
            certificate,
        ],
    }  # fmt: skip


def cut(item, minutes):
    return item | {"history": item["history"][-minutes:]}


def probe(
    name, target, *, state="up", module="http_2xx", labels=None, median_s=0.03, since_s=11_400, failure=None, seed=0
):
    """One probe with an hour behind it; `failure` is (reason, phase, message), its last one."""
    now = time.time()
    dice = random.Random(f"{name}{target}{seed}")
    history = [minute(now, ago, dice, median_s=median_s, state=state, since_s=since_s) for ago in range(59, -1, -1)]
    runs = sum(entry["runs"] for entry in history)
    failures = sum(entry["failures"] for entry in history)
    failed_at = now - 3.2 if state == "down" else now - 1_380
    total = sum(LATENCIES_MS.values())
    phases = {name: median_s * share / total * dice.uniform(0.6, 1.4) for name, share in LATENCIES_MS.items()}
    if not target.startswith("https"):
        del phases["tls"]
    if state == "down":
        phases = {"resolve": 0.0003, "connect": 0.0011}
    last_failure = (
        dict(zip(("reason", "phase", "message"), failure, strict=True)) | {"at": failed_at} if failure else None
    )
    return {
        "key": f"{name}/{target}",
        "probe": name,
        "target": target,
        "module": module,
        "kind": "tcp" if module.startswith("tcp") else "http",
        "labels": labels or {},
        "interval_s": 15.0,
        "state": state,
        "since": None if state == "unknown" else now - since_s,
        "runs": 0 if state == "unknown" else runs * 3,
        "failures": failures,
        "last": None
        if state == "unknown"
        else {
            "at": now - 3.2,
            "duration_s": sum(phases.values()),
            "phases": phases,
            "failure": last_failure | {"evidence": {"address": "127.0.0.1:8443"}} if state == "down" else None,
        },
        "last_failure": None if state == "unknown" else last_failure,
        "p50": None if state == "unknown" else median_s,
        "p95": None if state == "unknown" else median_s * 1.9,
        "p99": None if state == "unknown" else median_s * 4.2,
        "success_ratio": None if state == "unknown" else 1 - failures / runs,
        "history": [] if state == "unknown" else history,
    }


def minute(now, ago, dice, *, median_s, state, since_s):
    failures = 4 if state == "down" and ago * 60 < since_s else (dice.random() < 0.02) * 1
    p50 = median_s * (1 + 0.25 * math.sin(ago / 7)) * dice.uniform(0.85, 1.15) * (3 if dice.random() < 0.03 else 1)
    return {"t": now // 60 * 60 - ago * 60 + 0.004, "runs": 4, "failures": failures, "p50": p50, "max": p50 * 2.4}


def series(name, value, *, group=None, kind="gauge", unit="", drift=0.0, noise=0.02, **labels):
    """One series of a sampler with an hour of history that ends in `value`."""
    now = time.time()
    dice = random.Random(f"{name}{group}{labels}")
    history = [
        [now - ago * 60, max(0.0, value * (1 - drift * ago / 60) * (1 + dice.uniform(-noise, noise)))]
        for ago in range(59, -1, -1)
    ]
    return {
        "name": name,
        "labels": ({"group": group} if group else {}) | labels,
        "type": kind,
        "unit": unit,
        "value": value,
        "history": history,
    }


def process_series(group, *, mib, cores, fds, threads, drift=0.0):
    return [
        series("perfmon_process_up", 1, group=group),
        series("perfmon_process_resident_memory_bytes", mib * 2**20, group=group, unit="bytes", drift=drift),
        series("perfmon_process_private_memory_bytes", mib * 2**19, group=group, unit="bytes", drift=drift),
        series("perfmon_process_cpu_seconds_total", cores * 0.8, group=group, kind="counter", unit="seconds", noise=0.4, mode="user"),
        series("perfmon_process_cpu_seconds_total", cores * 0.2, group=group, kind="counter", unit="seconds", noise=0.4, mode="system"),
        series("perfmon_process_open_fds", fds, group=group, noise=0.1),
        series("perfmon_process_threads", threads, group=group, noise=0),
        series("perfmon_process_context_switches_total", 812.4, group=group, kind="counter", kind_="voluntary"),
        series("perfmon_process_read_bytes_total", 40_960, group=group, kind="counter", unit="bytes"),
        series("perfmon_process_oldest_start_timestamp_seconds", time.time() - 11_500, group=group, unit="seconds", noise=0),
    ]  # fmt: skip


def sampler(name, kind, series, *, state="up", interval_s=5.0, error="", labels=None):
    now = time.time()
    last = {"at": now - 2, "duration_s": 0.0021, "error": error}
    return {
        "key": f"sampler/{name}", "sampler": name, "kind": kind, "labels": labels or {}, "interval_s": interval_s,
        "state": state, "since": now - 240, "last": last, "series": series,
    }  # fmt: skip


def alert(rule, *, state="firing", severity="critical", ago_s=260.0, why="", labels=None, **annotations):
    at = time.time() - ago_s
    return {
        "rule": rule,
        "state": state,
        "labels": {"alertname": rule, "severity": severity} | (labels or {}),
        "annotations": annotations,
        "active_at": at - 10,
        "fired_at": None if state == "pending" else at,
        "resolved_at": at + 30 if state == "inactive" else None,
        "value": 1.0,
        "limit": 0.5,
        "why": why,
    }


def leak(verdict="leak", *, metric="perfmon_process_private_memory_bytes", group="shop", **more):
    """What a rule with a window of half an hour says of memory that grows by 1 MiB a minute."""
    now = time.time()
    points = [[now - 10 * ago, (120 - ago / 6) * 2.0**20] for ago in range(179, -1, -1)]
    line = [
        [t, value, value - edge, value + edge] for (t, value), edge in zip(points[45::67], (9e5, 0, 9e5), strict=True)
    ]
    per_s = 2.0**20 / 60
    return {
        "rule": "MemoryLeak", "metric": metric, "labels": {"group": group}, "type": "gauge", "unit": "bytes",
        "window_s": 1800.0, "every_s": 60.0, "level": "critical" if verdict == "leak" else "ok", "verdict": verdict,
        "why": f"{verdict}: grows 1 MiB/min", "remarks": {}, "slope": per_s, "low": per_s * 0.9, "high": per_s * 1.1,
        "p": 0.0001, "n": 1800, "seconds_to_limit": 40_000.0, "points": points, "restarts": [],
        "cuts": [now - 600.0], "lines": [line],
    } | more  # fmt: skip


REFUSED = ("connect_refused", "connect", "connection refused by 127.0.0.1:8443")
STATUS = ("status", "processing", "got status 503, expected 200")


def house(*, trouble=True):
    """A dozen probes, two samplers, and what is wrong with them."""
    down = "down" if trouble else "up"
    probes = [
        probe("shop", "http://127.0.0.1:8080/fast", labels={"team": "web"}, median_s=0.0021),
        probe("shop", "http://127.0.0.1:8080/slow", labels={"team": "web"}, median_s=0.412),
        probe("shop", "http://127.0.0.1:8080/flaky", labels={"team": "web"}, median_s=0.0034, failure=STATUS, since_s=1_365),
        probe("checkout", "https://checkout.internal:8443/health", state=down, since_s=520, failure=REFUSED, labels={"team": "pay"}),
        probe("search", "https://search.internal/api/v2/query?q=warm&limit=20&facets=colour,size,brand", median_s=0.088),
        probe("postgres", "127.0.0.1:5432", module="tcp_connect", median_s=0.0004),
        probe("redis", "127.0.0.1:6379", module="tcp_connect", median_s=0.00031),
        probe("login", "https://login.internal/", median_s=0.051, state="unknown" if trouble else "up"),
        probe("mail", "mail.internal:25", module="tcp_banner", median_s=0.012, state=down, since_s=3_900, failure=("timeout", "connect", "no answer within 5 s")),
        probe("images", "https://img.internal/pixel.gif", median_s=0.019),
        probe("docs", "https://docs.internal/", median_s=0.034),
        probe("perfmon", "http://127.0.0.1:10737/-/healthy", median_s=0.0011),
    ]  # fmt: skip
    samplers = [
        sampler("host", "host", [
            series("perfmon_host_load1", 0.72, noise=0.5),
            series("perfmon_host_memory_available_bytes", 18.3 * 2**30, unit="bytes"),
        ], interval_s=10.0),
        sampler("services", "process", process_series("shop", mib=212, cores=0.31, fds=48, threads=9, drift=0.35)
                + process_series("perfmon", mib=58, cores=0.011, fds=31, threads=4)),
    ]  # fmt: skip
    if not trouble:
        return probes, samplers, []
    samplers.append(sampler("nginx", "process", [], state="down", error='no process has the name "nginx"'))
    alerts = [
        alert("ProbeDown", labels={"probe": "checkout", "target": "https://checkout.internal:8443/health", "module": "http_2xx", "team": "pay"},
              why="100 % of runs failed over 1 min, expected less than 50 %", summary="The checkout answers nobody",
              runbook_url="https://runbooks.example/probe-down"),
        alert("ShopSlow", severity="warning", state="pending", ago_s=42, labels={"probe": "shop", "target": "http://127.0.0.1:8080/slow"},
              why="p(95) is 782 ms over 5 min, expected less than 500 ms"),
        alert("ShopGrows", severity="warning", ago_s=1_900, labels={"sampler": "services", "group": "shop"},
              why="resident memory grows 74 MiB an hour over 1 h, expected less than 10 MiB an hour"),
        alert("ProbeDown", state="inactive", ago_s=2_500, labels={"probe": "docs", "target": "https://docs.internal/"}, why="0 % of runs failed over 1 min"),
    ]  # fmt: skip
    return probes, samplers, alerts


def fleet(count, down=3):
    """Many probes."""
    return [
        probe(f"site-{i:04}", f"https://site-{i:04}.fleet.example/health", median_s=0.01 + i % 50 / 1000,
              state="down" if i % (count // down) == 7 else "up", failure=REFUSED if i % (count // down) == 7 else None,
              since_s=900, labels={"region": ("eu", "us", "ap")[i % 3]})
        for i in range(count)
    ]  # fmt: skip


def hostile():
    """Names that would do harm where text is taken for markup."""
    nasty = ("<script>window.pwned=1</script>", "<img src=x onerror=window.pwned=2>", "javascript:alert(1)", "a" * 300, "\u202eevil\u202c\n\t\"'&amp;", "日本語 🦀")  # fmt: skip
    probes = [
        probe(name, f"http://x/{name}", labels={name: name}, module=name, state="down", since_s=70, failure=("body", "transfer", name))
        for name in nasty
    ]  # fmt: skip
    samplers = [sampler(name, name, [series(name, 1, group=name, x=name)], state="down", error=name) for name in nasty]
    alerts = [alert(name, severity=name, labels={"probe": name, name: name}, why=name, summary=name, runbook_url=name) for name in nasty]  # fmt: skip
    return probes, samplers, alerts
