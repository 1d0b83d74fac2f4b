"""The flow probe against a small shop. e29 is a row of gatus' tests of suites, restated."""

import asyncio
import contextlib
import gc
import json
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
import uvloop
from probing import outcome, probe_flow
from servers import Request, answer, closing, endless, http, resetting, serve, silent, unused_port

from perfmon.clock import SystemClock
from perfmon.model import PHASES
from perfmon.network import Network
from perfmon.probes.flow import MOST_STEPS, Config, check, check_target
from perfmon.secret import Secret

TOKEN = 'a/b?c="d" &e'  # what must be escaped everywhere


def config(steps, cleanup=(), **rest) -> Config:
    """As a file has it."""
    return msgspec.convert({"steps": steps, "cleanup": list(cleanup), **rest}, Config)


def step(name, url="/", extract=None, expect=None, **request):
    return {"name": name, "request": {"url": url, **request}, "extract": extract or {}, "expect": expect or {}}


HOME = [("Location", "/home")]
LOGIN = step(
    "login",
    "{{target}}/login",
    json={"user": "{{user}}", "password": "{{password}}"},
    expect={"valid_status_codes": [201]},
    extract={"home": {"header": "Location"}, "token": {"json": "$.token"}, "id": {"json": "$.id"}},
)
BUY = step(
    "buy",
    "/orders/{{token}}?again={{token}}",
    headers={"X-Id": "n{{id}}"},
    json={"token": "{{token}}", "id": "{{id}}", "text": "{{id}}/{{user}}", "list": [{"deep": "{{token}}"}, 1, None]},
    extract={"order": {"regexp": "order=([0-9]+)"}, "kind": {"header": "X-Kind", "regexp": "^(\\w+);"}},
)
LOOK = step("look", "{{target}}/seen/{{order}}/{{kind}}", expect={"fail_if_body_not_matches_regexp": ["^fine$"]})
LOGOUT = step("logout", "/logout", method="DELETE", headers={"X-Token": "for {{id}}"})
SHOP = config([LOGIN, BUY, LOOK], [LOGOUT], variables={"user": "dé mo", "password": Secret("hunter22")})


class Shop:
    """Log in, buy, look, log out; `ways` has other answers for some paths, `seen` what was asked."""

    def __init__(self, **ways):
        self.seen: list[Request] = []
        self.ways = ways

    @property
    def paths(self):
        return [request.path.split("?")[0].split("/")[1] for request in self.seen]

    @contextlib.asynccontextmanager
    async def open(self):
        async with serve(self._handle) as port:
            self.port = port
            yield f"http://127.0.0.1:{port}"

    async def _handle(self, reader, writer):
        way = answer()

        def app(request):
            nonlocal way
            way = self.ways.get(request.path.split("?")[0].split("/")[1]) or self._answer(request)
            return way if isinstance(way, bytes) else b""

        with contextlib.suppress(ConnectionError):
            from servers import read_request

            request = await read_request(reader)
            self.seen.append(request)
            content = app(request)
            if callable(way):
                await way(_Again(reader), writer)
                return
            writer.write(content)
            await writer.drain()
            writer.close()

    def _answer(self, request):
        match request.path.split("?")[0].split("/")[1]:
            case "login":
                body = json.dumps({"token": TOKEN, "id": 7}).encode()
                headers = [("Location", "/home"), ("Set-Cookie", "session=abc; Path=/"), ("Set-Cookie", "other=1")]
                return answer(body, status=201, headers=headers)
            case "orders":
                return answer(
                    b"thanks, order=12345", headers=[("X-Kind", "tea;q=1"), ("Set-Cookie", "cart=full; Path=/")]
                )
            case "seen":
                return answer(b"fine")
            case _:
                return answer()


class _Again:
    """A reader whose request was read already."""

    def __init__(self, reader):
        self._reader = reader

    async def readuntil(self, _end):
        return b""

    async def read(self, count):
        return await self._reader.read(count)


def value(measurement, name, **labels):
    own = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return measurement.facts.get(f"{name}{{{own}}}" if own else name)


async def comes_true(what, within_s=5.0):
    until = time.monotonic() + within_s
    while not what() and time.monotonic() < until:  # noqa: ASYNC110 - a server's list has no event
        await asyncio.sleep(0.01)
    return what()


def passed(measurement):
    """Steps by whether they passed."""
    steps = {key: number for key, number in measurement.facts.items() if key.startswith("probe_flow_step_success{")}
    return {key.split('"')[1]: bool(number) for key, number in steps.items()}


# ---------------------------------------------------------------- what goes on from step to step


async def test_e29_values_go_on_into_url_header_and_body(network):
    shop = Shop()
    async with shop.open() as url:
        measurement = await probe_flow(network, url, SHOP)

    assert "ok" == outcome(measurement)
    login, buy, look, _logout = shop.seen
    assert {"user": "dé mo", "password": "hunter22"} == json.loads(login.body)
    assert ("POST", "application/json") == (login.method, login.headers["content-type"])
    assert "/orders/a%2Fb%3Fc%3D%22d%22%20%26e?again=a%2Fb%3Fc%3D%22d%22%20%26e" == buy.path
    assert [TOKEN] == parse_qs(urlsplit(buy.path).query)["again"]
    assert TOKEN == unquote(buy.path.split("?")[0].removeprefix("/orders/"))
    assert "n7" == buy.headers["x-id"]
    assert {"token": TOKEN, "id": 7, "text": "7/dé mo", "list": [{"deep": TOKEN}, 1, None]} == json.loads(buy.body)
    assert "/seen/12345/tea" == look.path


async def test_cookies_go_on_and_end_with_the_run(network):
    shop = Shop()
    async with shop.open() as url:
        for _ in range(2):
            await probe_flow(network, url, SHOP)

    cookies = [set(request.headers.get("cookie", "").split("; ")) - {""} for request in shop.seen]
    once = [set(), {"session=abc", "other=1"}, {"session=abc", "other=1", "cart=full"}]
    assert [*once, once[-1]] * 2 == cookies


@pytest.mark.parametrize(("status", "expected"), [(307, "unreachable"), (308, "unreachable"), (302, "ok")])
async def test_a_redirect_takes_what_is_sent_to_no_other_server(network, status, expected):
    elsewhere: list[Request] = []
    async with serve(http(answer(), seen=elsewhere)) as other:
        moved = answer(b"", status=status, headers={"Location": f"http://127.0.0.1:{other}/there"})
        async with serve(http(moved)) as port:
            flow = config([step("login", "/", json={"password": "hunter22"})])
            run = await probe_flow(network, f"http://127.0.0.1:{port}", flow)

    assert expected == outcome(run)
    assert [] == [request for request in elsewhere if b"hunter22" in request.body]


async def test_a_cookie_of_a_redirect_goes_on_too(network):
    def app(request):
        if request.path == "/login":
            return answer(b"", status=302, headers=[("Location", "/home"), ("Set-Cookie", "a=1; Path=/")])
        return answer(status=200 if request.headers.get("cookie") == "a=1" else 403)

    async with serve(http(app)) as port:
        measurement = await probe_flow(
            network, f"http://127.0.0.1:{port}", config([step("login", "/login"), step("use", "/use")])
        )

    assert "ok" == outcome(measurement)


async def test_a_form_is_encoded_and_a_body_is_sent_as_it_is(network):
    shop = Shop()
    steps = [
        step("form", form={"a b": "{{x}}", "c": "d"}),
        step("body", body='{"raw": {{x}}}', method="PUT", headers={"Content-Type": "text/plain"}),
        step("empty", method="POST"),
    ]
    async with shop.open() as url:
        measurement = await probe_flow(network, url, config(steps, variables={"x": "1&2=é"}))

    assert "ok" == outcome(measurement)
    form, body, empty = shop.seen
    assert {"a b": ["1&2=é"], "c": ["d"]} == parse_qs(form.body.decode())
    assert "application/x-www-form-urlencoded" == form.headers["content-type"]
    assert ("PUT", '{"raw": 1&2=é}', "text/plain") == (body.method, body.body.decode(), body.headers["content-type"])
    assert ("POST", b"", "0") == (empty.method, empty.body, empty.headers["content-length"])


async def test_a_location_that_was_answered_is_followed_within_the_server_only(network):
    steps = [step("make", "/make", extract={"there": {"header": "Location"}}), step("read", "{{there}}")]
    places = {"/things/7?a=%20b": "/things/7?a=%20b", "things/8": "/base/things/8", "": "/base/"}
    for place, path in places.items():
        shop = Shop(base=answer(headers=[("Location", place)]))
        async with shop.open() as url:
            measurement = await probe_flow(network, f"{url}/base/", config(_below_base(steps)))
        assert "ok" == outcome(measurement), place
        assert path == shop.seen[1].path


def _below_base(steps):
    return [{**one, "request": {"url": one["request"]["url"].replace("/make", "{{target}}/make")}} for one in steps]


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.2:1/",
        "//other.example/",
        "https://127.0.0.1/",
        "http://127.0.0.1@other.example/",
        "ftp://x/",
        "mailto:a@b",
        "http://[::1",
    ],
)
async def test_a_location_elsewhere_fails_its_step(network, place):
    steps = [step("make", extract={"there": {"header": "Location"}}), step("read", "{{there}}")]
    async with serve(http(answer(status=201, headers=[("Location", place)]))) as port:
        measurement = await probe_flow(network, f"http://127.0.0.1:{port}", config(steps))

    assert ("unreachable", "read") == (measurement.failure.reason, measurement.failure.evidence["step"])


async def test_the_target_is_the_beginning_of_every_url(network):
    shop = Shop()
    steps = [
        step("a", "{{target}}"),
        step("b", "{{target}}/x"),
        step("c", "{{target}}?q=1"),
        step("d", "/x"),
        step("e", "//x"),
    ]
    async with shop.open() as url:
        for base in ("", "/", "/shop", "/shop/"):
            assert "ok" == outcome(await probe_flow(network, url + base, config(steps)))

    plain, below = ["/", "/x", "/?q=1", "/x", "//x"], ["/shop", "/shop/x", "/shop?q=1", "/x", "//x"]
    assert [*plain, *plain, *below, *below] == [request.path for request in shop.seen]


async def test_another_server_may_be_named_and_hears_no_password_of_the_target(network):
    here, there = Shop(), Shop()
    async with here.open() as url, there.open() as other:
        steps = [step("a"), step("b", f"{other}/x"), step("c", headers={"authorization": "own"})]
        measurement = await probe_flow(
            network, url, config(steps, basic_auth={"username": "me", "password": "pw"}), hostname="shop.example"
        )

    assert "ok" == outcome(measurement)
    assert ["Basic bWU6cHc=", "own"] == [request.headers["authorization"] for request in here.seen]
    assert "authorization" not in there.seen[0].headers
    assert ["shop.example"] * 2 == [request.headers["host"] for request in here.seen]
    assert f"127.0.0.1:{there.port}" == there.seen[0].headers["host"]


# ---------------------------------------------------------------- what is told of it


async def test_every_step_has_its_time_and_phases_add_up(network):
    async def slow(_reader, writer):
        await asyncio.sleep(0.2)
        writer.write(answer(b"thanks, order=1", headers=[("X-Kind", "tea;")]))
        await writer.drain()
        writer.close()

    shop = Shop(orders=slow, logout=slow)
    async with shop.open() as url:
        measurement = await probe_flow(network, url, SHOP)

    facts = measurement.facts
    assert "ok" == outcome(measurement)
    assert (3, 3) == (facts["probe_flow_steps"], facts["probe_flow_steps_passed"])
    assert {"login": True, "buy": True, "look": True, "logout": True} == passed(measurement)
    durations = {
        name: value(measurement, "probe_flow_step_duration_seconds", step=name) for name in passed(measurement)
    }
    for name, duration in durations.items():
        phases = [value(measurement, "probe_flow_step_phase_seconds", step=name, phase=phase) or 0 for phase in PHASES]
        assert pytest.approx(duration) == sum(phases)
    assert measurement.duration_s == pytest.approx(sum(durations.values()) - durations["logout"])
    assert pytest.approx(measurement.duration_s) == sum(measurement.phases.values())
    assert durations["buy"] >= 0.2 > durations["login"]
    assert [201, 200] == [value(measurement, "probe_flow_step_status_code", step=name) for name in ("login", "look")]
    assert 4 == facts["probe_ip_protocol"]
    assert "127.0.0.1" == measurement.address


@pytest.mark.parametrize(
    ("path", "way", "reason", "words"),
    [
        ("login", answer(status=503), "status", "step login: status 503, expected 201"),
        ("login", answer(b"{}", status=201, headers=HOME), "json", "step login: body has no value at $.token, expected token"),
        ("login", answer(b'{"token": null}', status=201, headers=HOME), "json", "step login: body has no value at $.token, expected token"),
        ("login", answer(b"<html>", status=201, headers=HOME), "json", "step login: body is not JSON: "),
        ("login", answer(b"[" * 50_000, status=201, headers=HOME), "json", "step login: body is not JSON"),
        ("login", answer(b'{"token": "abcdef"}', status=201), "header", "step login: no header Location, expected home in it"),
        ("login", answer(json.dumps({"token": "x" * 9000}).encode(), status=201, headers=HOME), "too_large", "step login: the value of token is longer than 8192 characters"),
        ("login", answer(b" " * 2_000_000, status=201, headers=HOME), "too_large", "step login: body is longer than 1 MiB, of which token is taken"),
        ("orders", answer(b"no such number"), "body", 'step buy: body does not match "order=([0-9]+)", expected order'),
        ("orders", answer(b"order=1", headers=[("X-Kind", "?")]), "header", r'step buy: header X-Kind does not match "^(\\w+);", expected kind in it'),
        ("orders", closing, "closed", "step buy: connection closed by 127.0.0.1"),
        ("orders", resetting, "reset", "step buy: connection reset by 127.0.0.1"),
        ("orders", silent, "timeout", "step buy: no answer from 127.0.0.1"),
        ("orders", endless, "timeout", "step buy: response of 127.0.0.1"),
        ("seen", answer(b"not fine at all"), "body", 'step look: body does not match "^fine$"'),
        ("seen", answer(b"half", length=8), "short_body", "step look: "),
        ("seen", answer(status=404), "status", "step look: status 404, expected 2xx"),
    ],
)  # fmt: skip
async def test_a_failure_names_its_step_and_the_clean_up_runs(network, path, way, reason, words):
    shop = Shop(**{path: way})
    async with shop.open() as url:
        measurement = await probe_flow(network, url, SHOP, timeout_s=1.0)

    failure = measurement.failure
    assert (reason, True) == (failure.reason, failure.message.startswith(words)), failure.message
    failed = words.split()[1].rstrip(":")
    assert failed == failure.evidence["step"]
    before = ["login", "buy", "look"][: ["login", "buy", "look"].index(failed)]
    assert len(before) == measurement.facts["probe_flow_steps_passed"]
    # Without a log-in there is nobody to log out.
    expected = dict.fromkeys(before, True) | {failed: False} | ({"logout": True} if failed != "login" else {})
    assert expected == passed(measurement)
    assert ("logout" in shop.paths) == (failed != "login")
    assert measurement.duration_s == pytest.approx(sum(measurement.phases.values()))


async def test_a_value_that_no_header_can_have_fails_its_step(network):
    steps = [step("a", extract={"x": {"json": "x"}}), step("b", headers={"X": "{{x}}"})]
    async with serve(http(answer(json.dumps({"x": "1\r\nX-Evil: 1"}).encode()))) as port:
        measurement = await probe_flow(network, f"http://127.0.0.1:{port}", config(steps))

    assert (
        "step b: what is to be sent as header X holds a character that no header can have"
        == measurement.failure.message
    )
    assert "header" == measurement.failure.reason


async def test_nobody_there_fails_the_first_step(network):
    measurement = await probe_flow(network, f"http://127.0.0.1:{unused_port()}", SHOP)

    assert ("connect_refused", "login") == (measurement.failure.reason, measurement.failure.evidence["step"])
    assert 1 == measurement.facts["probe_flow_cleanup_success"]  # nothing was to be cleaned up


# ---------------------------------------------------------------- clean-up


async def test_a_clean_up_that_fails_makes_a_green_run_red_and_is_told(network):
    shop = Shop(logout=answer(status=500))
    async with shop.open() as url:
        measurement = await probe_flow(network, url, SHOP)

    assert "clean-up step logout: status 500, expected 2xx" == measurement.failure.message
    assert (3, 0) == tuple(measurement.facts[f"probe_flow_{name}"] for name in ("steps_passed", "cleanup_success"))


async def test_a_clean_up_that_fails_does_not_hide_what_failed_before(network):
    shop = Shop(logout=answer(status=500), seen=answer(status=404))
    async with shop.open() as url:
        measurement = await probe_flow(network, url, SHOP)

    assert measurement.failure.message.startswith("step look: ")
    assert 0 == measurement.facts["probe_flow_cleanup_success"]


async def test_all_of_the_clean_up_runs_though_some_of_it_hangs(network):
    shop = Shop(hang=silent)
    cleanup = [step("first", "/hang"), step("second", "/gone"), step("never", "/{{late}}")]
    steps = [step("a"), step("b", "/hang", extract={"late": {"json": "x"}})]
    began = time.monotonic()
    async with shop.open() as url:
        measurement = await probe_flow(network, url, config(steps, cleanup), timeout_s=1.0)

    assert time.monotonic() - began < 1.2
    assert {"a": True, "b": False, "first": False, "second": True} == passed(measurement)
    assert "step b: " == measurement.failure.message[:8]
    assert 0.7 < measurement.duration_s < 0.9  # a fifth of the time is kept for the clean-up


async def test_a_cancelled_run_cleans_up_and_does_not_take_long(network):
    shop = Shop(seen=silent)
    async with shop.open() as url:
        task = asyncio.create_task(probe_flow(network, url, SHOP, timeout_s=30))
        assert await comes_true(lambda: len(shop.seen) == 3)
        began = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert task.cancelled()
    assert ["login", "orders", "seen", "logout"] == shop.paths
    assert time.monotonic() - began < 1


async def test_a_cancelled_run_whose_clean_up_hangs_has_the_time_kept_for_it(network):
    shop = Shop(seen=silent, logout=silent)
    async with shop.open() as url:
        task = asyncio.create_task(probe_flow(network, url, SHOP, timeout_s=2))
        assert await comes_true(lambda: len(shop.seen) == 3)
        began = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert 0.3 < time.monotonic() - began < 0.8


async def test_what_a_refused_answer_gave_is_cleaned_up_and_not_shown(network):
    shop = Shop(orders=answer(b'order=12345 session_token="s3ss10n/0n"', status=202))
    buy = step(
        "buy",
        "/orders",
        expect={"valid_status_codes": [201]},
        extract={"order": {"regexp": "order=([0-9]+)"}, "token": {"regexp": 'token="([^"]+)"'}, "no": {"json": "a"}},
    )
    async with shop.open() as url:
        measurement = await probe_flow(network, url, config([buy], [step("cancel", "/cancel/{{order}}")]))

    assert "step buy: status 202, expected 201" == measurement.failure.message
    assert "/cancel/12345" == shop.seen[-1].path
    assert 'session_token="<secret>"' in measurement.failure.evidence["body"]


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("failing", [True, False])
async def test_a_secret_is_never_shown_whoever_says_it(network, failing):
    password = 'hunter/22 "x"&é'

    def app(request):
        said = request.path.encode() + b" " + request.headers.get("x-login", "").encode() + request.body
        token = json.dumps({"token": "s3ss10n/0n", "said": password}).encode()
        return answer(token + said, status=500) if request.path.startswith("/echo") and failing else answer(token)

    steps = [
        step("login", "/login/{{password}}", extract={"token": {"regexp": '"token": "([^"]+)"'}}),
        step("echo", "/echo/{{password}}?t={{token}}", headers={"X-Login": "me {{token}}"}, json={"p": "{{password}}"}),
    ]
    variables = {"password": Secret(password)}
    async with serve(http(app)) as port:
        measurement = await probe_flow(
            network, f"http://127.0.0.1:{port}", config(steps, variables=variables), debug=True
        )

    assert failing == (measurement.failure is not None)
    shown = f"{measurement!r}\n" + "\n".join(measurement.lines)
    assert "<secret>" in shown
    for secret in ("hunter", "s3ss10n", "22%20"):
        assert secret not in shown


def test_a_secret_in_a_wrong_place_is_not_shown_when_the_config_is_read():
    found = list(check(config([step("a", Secret("hunter22{{"))])))

    assert [("steps[0].request.url", "expected a name between {{ and }}, as in {{token}}")] == found


# ---------------------------------------------------------------- bounds


async def test_a_hundred_runs_leak_no_descriptor(network):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    shop = Shop(hang=silent)
    broken = config([step("a", extract={"x": {"json": "x"}})], [LOGOUT | {"request": {"url": "/logout"}}])
    async with shop.open() as url:
        await probe_flow(network, url, SHOP)
        await asyncio.sleep(0.05)
        before = descriptors()
        for number in range(100):
            await probe_flow(network, url, (SHOP, broken)[number % 2])
        await probe_flow(network, url, config([step("a", "/hang")]), timeout_s=0.1)
        gc.collect()

        assert await comes_true(lambda: before >= descriptors())  # the server's own ends go a little later


async def test_fifty_steps_in_one_run(network):
    shop = Shop()
    steps = [step(f"s{number}", f"/{number}") for number in range(MOST_STEPS)]
    async with shop.open() as url:
        measurement = await probe_flow(network, url, config(steps), timeout_s=10)

    assert MOST_STEPS == measurement.facts["probe_flow_steps_passed"]
    assert [str(number) for number in range(MOST_STEPS)] == shop.paths


async def test_endless_cookies_are_kept_within_bounds(network):
    cookies = [("Set-Cookie", f"c{number}={'x' * 100}") for number in range(40)]
    steps = [step(f"s{number}", f"/{number}/x") for number in range(10)]
    async with serve(http(answer(headers=cookies))) as port:
        measurement = await probe_flow(network, f"http://127.0.0.1:{port}", config(steps))

    assert "ok" == outcome(measurement)


def test_it_works_on_the_daemons_event_loop():
    async def run():
        shop = Shop()
        async with Network(clock=SystemClock()) as network, shop.open() as url:
            return await probe_flow(network, url, SHOP)

    assert "ok" == outcome(uvloop.run(run()))


# ---------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step("a", "/{{tokn}}")], ("steps[0].request.url", 'unknown variable "tokn", did you mean "token"?')),
        ([step("a", headers={"X": "{{later}}"}), step("b", extract={"later": {"json": "a"}})], ("steps[0].request.headers.X", 'unknown variable "later", expected one of: target, token')),
        ([step("a", json={"a": ["{{x}}"]})], ("steps[0].request.json", 'unknown variable "x", expected one of: target, token')),
        ([step("a", form={"a": "{{x}}"})], ("steps[0].request.form.a", 'unknown variable "x", expected one of: target, token')),
        ([step("a", body="{{ x }}")], ("steps[0].request.body", 'unknown variable "x", expected one of: target, token')),
        ([step("a", body="{{a b}}")], ("steps[0].request.body", "expected a name between {{ and }}, as in {{token}}")),
        ([step("a"), step("a")], ("steps[1].name", '"a" is taken by another step')),
        ([step("a", "shop.example")], ("steps[0].request.url", "expected {{target}}/path, /path, a URL with its host, or a variable alone")),
        ([step("a", "{{target}}x")], ("steps[0].request.url", "expected a / or ? behind {{target}}")),
        ([step("a", "{{target}}{{token}}")], ("steps[0].request.url", "expected a / or ? behind {{target}}")),
        ([step("a", "http://{{token}}.example/")], ("steps[0].request.url", "expected no variable in the URL's host")),
        ([step("a", "http://shop.example:{{token}}/")], ("steps[0].request.url", "expected no variable in the URL's host")),
        ([step("a", "{{token}}/x")], ("steps[0].request.url", "expected {{target}}/path, /path, a URL with its host, or a variable alone")),
        ([step("a", method="GE T")], ("steps[0].request.method", 'expected a method such as GET, got "GE T"')),
        ([step("a", json={}, body="x")], ("steps[0].request.body", "at most one of json, form and body may be given")),
        ([step("a", headers={"a b": "x"})], ("steps[0].request.headers.a b", 'expected the name of a header, got "a b"')),
        ([step("a", headers={"a": "x\ny"})], ("steps[0].request.headers.a", "holds a line break or another character that no header can have")),
        ([step("a", expect={"valid_status_codes": [99]})], ("steps[0].expect.valid_status_codes[0]", "expected a status code of 100 to 599, got 99")),
        ([step("a", extract={"target": {"json": "a"}})], ("steps[0].extract.target", 'expected a name of letters, digits and _, other than "target", got "target"')),
        ([step("a", extract={"a b": {"json": "a"}})], ("steps[0].extract.a b", 'expected a name of letters, digits and _, other than "target", got "a b"')),
        ([step("a", extract={"x": {}})], ("steps[0].extract.x", "expected one of json, header and regexp")),
        ([step("a", extract={"x": {"json": "a", "regexp": "b"}})], ("steps[0].extract.x.json", "expected json, or header and regexp, not both")),
        ([step("a", extract={"x": {"json": "$.["}})], ("steps[0].extract.x.json", 'expected a path such as data[0].id or ["a.b"], got "$.["')),
        ([step(f"s{number}") for number in range(MOST_STEPS + 1)], ("steps", "expected 50 steps at most, got 51")),
    ],
)  # fmt: skip
def test_e29_mistakes_are_found_when_the_config_is_read(steps, expected):
    assert [expected] == list(check(config(steps, variables={"token": "x"})))


def test_a_pattern_of_an_extraction_is_checked():
    (found,) = check(config([step("a", extract={"x": {"regexp": "(?=a)"}})]))

    assert "steps[0].extract.x.regexp" == found[0]


def test_a_clean_up_may_use_what_any_step_may_have_given():
    steps = [step("a", extract={"x": {"json": "x"}})]

    assert [] == list(check(config(steps, [step("b", "/{{x}}")])))


def test_a_variable_must_have_a_name():
    assert ["variables.a-b"] == [path for path, _ in check(config([step("a")], variables={"a-b": ""}))]


@pytest.mark.parametrize("address", ["ftp://shop.example", "http://shop.example/?a=b", "http://", "shop.example:x"])
def test_a_target_that_is_no_beginning_of_urls_is_refused(address):
    assert check_target(address, SHOP)
