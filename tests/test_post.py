"""Posting JSON to those who are slow, gone, or wrong."""

import base64
import socket
import time

import pytest
import trustme
from listener import Answer, Listener

from perfmon import post as post_module
from perfmon.errors import PassingError, PermanentError
from perfmon.post import BasicAuth, Http, Tls, check, check_url, origin, post

QUICK = Http(timeout=0.2, connect_timeout=0.2)


@pytest.fixture
def listener():
    with Listener() as listener:
        yield listener


@pytest.fixture
def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]  # bound, and nobody listens


def test_the_body_arrives_as_json_with_the_headers_that_were_set(listener):
    post(f"{listener.url}/hook", {"a": [1, "ä"]}, Http(headers={"X-Team": "web"}))

    [request] = listener.requests
    assert ("/hook", {"a": [1, "ä"]}) == (request.path, request.body)
    assert ("web", "application/json", "perfmon") == tuple(
        request.headers[name] for name in ("X-Team", "Content-Type", "User-Agent")
    )
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        (Http(bearer_token="s3cret"), "Bearer s3cret"),
        (
            Http(basic_auth=BasicAuth(username="me", password="pä€s")),
            "Basic " + base64.b64encode("me:pä€s".encode()).decode(),
        ),
    ],
)
def test_a_password_or_a_token_goes_into_the_authorization_header(listener, http, expected):
    post(listener.url, {}, http)

    assert expected == listener.requests[0].headers["Authorization"]


def test_no_password_is_looked_up_in_netrc(listener, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    post(listener.url, {}, Http())

    assert "Authorization" not in listener.requests[0].headers


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_what_may_heal_is_passing(listener, status):
    listener.answer = lambda _request: Answer(status, body=b"overloaded\n  for now")

    with pytest.raises(PassingError) as error:
        post(listener.url, {}, Http())

    assert f"{listener.url}: answered {status}: overloaded for now" == str(error.value)
    assert error.value.retry_after_s is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_another_4xx_is_permanent(listener, status):
    listener.answer = lambda _request: Answer(status)

    with pytest.raises(PermanentError, match=f"answered {status}$"):
        post(listener.url, {}, Http())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "99999999999"}, 3600.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "²"}, None),
    ],
)
def test_retry_after_is_read_and_never_longer_than_an_hour(listener, headers, expected):
    listener.answer = lambda _request: Answer(429, headers)

    with pytest.raises(PassingError) as error:
        post(listener.url, {}, Http())

    assert expected == error.value.retry_after_s


def test_retry_after_may_be_a_date_by_the_servers_own_clock(listener):
    date, later = "Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 08:01:30 -0000"
    handler = listener._server.RequestHandlerClass
    handler.date_time_string = lambda _self, _timestamp=None: date
    listener.answer = lambda _request: Answer(503, {"Retry-After": later})

    with pytest.raises(PassingError) as error:
        post(listener.url, {}, Http())

    assert 90.0 == error.value.retry_after_s


def test_a_redirect_is_not_followed_so_no_password_goes_elsewhere(listener):
    with Listener() as elsewhere:
        listener.answer = lambda _request: Answer(307, {"Location": elsewhere.url})

        with pytest.raises(PermanentError, match="answered 307, a redirect, which is not followed"):
            post(listener.url, {}, Http(bearer_token="s3cret"))

        assert [] == elsewhere.requests


def test_a_port_that_nobody_listens_on_is_passing(closed_port):
    with pytest.raises(PassingError) as error:
        post(f"http://127.0.0.1:{closed_port}/secret/path", {}, Http())

    assert f"http://127.0.0.1:{closed_port}: connection refused" == str(error.value)


def test_a_name_that_does_not_resolve_is_passing():
    with pytest.raises(PassingError, match=r"^http://nowhere\.invalid: .*(name|resolution)"):
        post("http://nowhere.invalid/secret", {}, Http())


def test_silence_is_cut_at_the_timeout(listener):
    listener.answer = lambda _request: time.sleep(0.5) or Answer()
    began = time.monotonic()

    with pytest.raises(PassingError, match=r"no answer within 0.2 s"):
        post(listener.url, {}, QUICK)

    assert time.monotonic() - began < 0.45


def test_a_connection_that_breaks_is_passing(listener):
    def break_it(_request):
        raise ConnectionAbortedError

    listener.answer = break_it

    with pytest.raises(PassingError, match="remote end closed connection without response"):
        post(listener.url, {}, Http())


def test_of_a_dripping_body_no_more_is_read_than_came_first():
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def drip():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\nno disk")
                time.sleep(0.4)

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(PassingError, match=r"answered 500: no disk$"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}", {}, Http(timeout=5))
        assert time.monotonic() - began < 0.3
        thread.join()


def test_no_secret_is_in_a_message_even_when_the_server_repeats_it(listener):
    http = Http(bearer_token="tok3n", headers={"X-Key": "k3y"})
    listener.answer = lambda request: Answer(404, body=f"no {request.path} for {dict(request.headers)}".encode())

    with pytest.raises(PermanentError) as error:
        post(f"{listener.url}/services/T0/abc?sig=xyz", {}, http)

    for secret in ("tok3n", "k3y", "services", "abc", "xyz"):
        assert secret not in str(error.value)


def test_tls_is_verified_by_the_ca_file_and_a_wrong_one_is_said(tmp_path):
    import ssl

    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with Listener() as listener:
        listener._server.handle_error = lambda *_args: None  # the refused handshake is what is tested
        listener._server.socket = context.wrap_socket(listener._server.socket, server_side=True)
        url = listener.url.replace("http:", "https:")

        post(url, {}, Http(tls_config=Tls(ca_file=str(tmp_path / "ca.pem"))))
        with pytest.raises(PassingError, match=r"no trusted TLS connection: .*certificate verify failed"):
            post(url, {}, Http(tls_config=Tls(ca_file=str(tmp_path / "other.pem"))))
        with pytest.raises(PassingError, match="no trusted TLS connection"):
            post(url, {}, Http())
        with pytest.raises(PassingError, match=r"missing\.pem"):
            post(url, {}, Http(tls_config=Tls(ca_file=str(tmp_path / "missing.pem"))))

    assert 1 == len(listener.requests)


def test_verification_can_be_switched_off_and_says_nothing_about_it(tmp_path):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Listener() as listener:
        listener._server.socket = context.wrap_socket(listener._server.socket, server_side=True)
        post(listener.url.replace("http:", "https:"), {}, Http(tls_config=Tls(insecure_skip_verify=True)))

    assert 1 == len(listener.requests)


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        (Http(), []),
        (Http(headers={"X-A": "a b\tc"}), []),
        (
            Http(basic_auth=BasicAuth(username="a"), bearer_token="b"),
            [("bearer_token", "excludes basic_auth: one request has one Authorization header")],
        ),
        (
            Http(tls_config=Tls(key_file="k")),
            [("tls_config.key_file", "needs cert_file: a key without its certificate proves nothing")],
        ),
        (Http(headers={"X A": "b"}), [("headers.X A", "expected the name of a header, got 'X A'")]),
        (
            Http(headers={"X-A": "b\r\nX-B: c"}),
            [("headers.X-A", "the value holds a line break or another character that no header can have")],
        ),
        (
            Http(bearer_token="tok3n\n"),
            [("bearer_token", "holds a line break or another character that no header can have")],
        ),
        (Http(timeout=0.0), [("timeout", "expected more than 0 s, got 0")]),
    ],
)
def test_mistakes_in_the_settings_are_said(http, expected):
    assert expected == list(check(http))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", []),
        ("https://a.example:8443/x?y", []),
        ("a.example/x", ["expected an address that begins with http:// or https:// and names a host"]),
        ("ftp://a/x", ["expected an address that begins with http:// or https:// and names a host"]),
        ("http://", ["expected an address that begins with http:// or https:// and names a host"]),
        ("http://a:99999/", ["expected an address that begins with http:// or https:// and names a host"]),
        ("http://[::1/", ["expected an address that begins with http:// or https:// and names a host"]),
        ("http://me:secret@a/", ["holds a user or a password: give them as basic_auth, by reference"]),
    ],
)
def test_an_address_is_checked_and_never_shown(url, expected):
    assert [("url", message) for message in expected] == list(check_url(url, "url"))


def test_of_an_address_only_scheme_host_and_port_are_shown():
    assert "https://hooks.example:8443" == origin("https://me:pw@hooks.example:8443/services/secret?x=y")


def test_an_address_that_cannot_be_is_permanent():
    with pytest.raises(PermanentError, match=r"^http://a..b:80: the request cannot be sent: "):
        post("http://a..b:80/", {}, Http())


def test_the_excerpt_of_a_broken_body_is_left_out(listener):
    listener.answer = lambda _request: Answer(500, body=b"\xff\xfe" + b"x" * 10_000)

    with pytest.raises(PassingError) as error:
        post(listener.url, {}, Http())

    assert len(str(error.value)) < 400
    assert post_module._EXCERPT_BYTES == 300
