"""The engine below the probes."""

import asyncio
import errno

import pycurl
import pytest
from servers import answer, http, read_request, serve, silent

from perfmon.model import Failure
from perfmon.network.blame import Fault, blame
from perfmon.network.exchange import Request
from perfmon.network.transfer import Exchange


def exchange_with(port, **how):
    return Exchange(Request(url=f"http://127.0.0.1:{port}/", name="127.0.0.1", port=port, **how))


async def perform(network, exchange, timeout_s=1.0):
    return await network.transfer.perform(exchange, address="127.0.0.1", timeout_s=timeout_s)


def keeping(connections):
    """A server that keeps connections open, and counts them."""

    async def handle(reader, writer):
        connections.append(writer)
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return handle


async def test_every_run_has_a_connection_of_its_own(network):
    connections = []
    async with serve(keeping(connections)) as port:
        exchange = exchange_with(port)
        for _ in range(3):
            response = await perform(network, exchange)
            assert (200, b"ok") == (response.status, response.body)

    assert 3 == len(connections)


async def test_a_connection_is_kept_only_when_asked_for(network):
    connections = []
    async with serve(keeping(connections)) as port:
        exchange = exchange_with(port, fresh=False)
        for _ in range(3):
            assert 200 == (await perform(network, exchange)).status

    assert 1 == len(connections)


async def test_one_exchange_may_run_many_times_at_once(network):
    async with serve(http(answer(), delay_s=0.05)) as port:
        exchange = exchange_with(port)
        responses = await asyncio.gather(*(perform(network, exchange) for _ in range(20)))

    assert {200} == {response.status for response in responses}


async def test_nothing_of_one_run_is_left_in_the_next(network):
    replies = iter([answer(b"first, and long", status=500), answer(b"2nd")])
    async with serve(http(lambda _request: next(replies))) as port:
        exchange = exchange_with(port)
        first, second = await perform(network, exchange), await perform(network, exchange)

    assert (500, b"first, and long", 15) == (first.status, first.body, first.body_bytes)
    assert (200, b"2nd", 3) == (second.status, second.body, second.body_bytes)


async def test_only_the_beginning_of_a_body_is_kept(network):
    async with serve(http(answer(b"x" * 100_000))) as port:
        response = await perform(network, exchange_with(port, keep_body_bytes=10))

    assert (b"x" * 10, 100_000) == (response.body, response.body_bytes)


async def test_different_timeouts_end_in_their_own_time(network):
    """One timer serves all transfers: a later deadline must not push back an earlier one."""
    loop = asyncio.get_running_loop()
    ended = {}

    async def run(timeout_s):
        began = loop.time()
        await perform(network, exchange_with(port), timeout_s=timeout_s)
        ended[timeout_s] = loop.time() - began

    async with serve(silent) as port:
        await asyncio.gather(*(run(timeout_s) for timeout_s in (0.3, 0.1, 0.2)))

    for timeout_s, took in ended.items():
        assert timeout_s <= took + 0.002
        assert took < timeout_s + 0.05


async def test_closing_cancels_what_still_runs(network):
    async with serve(silent) as port:
        task = asyncio.create_task(perform(network, exchange_with(port)))
        await asyncio.sleep(0.05)
        network.transfer.close()
        with pytest.raises(asyncio.CancelledError):
            await task


# ---------------------------------------------------------------- blame


def fault(code, **what):
    usual = {
        "message": "something",
        "errno": 0,
        "verify_result": 0,
        "too_large": False,
        "phase": "connect",
        "peer": "10.0.0.1:80",
        "elapsed_s": 1.5,
        "body_bytes": 7,
        "body_limit_bytes": 128.0,
    }
    return Fault(code=code, **(usual | what))


@pytest.mark.parametrize(
    ("given", "reason", "message"),
    [
        (fault(7, errno=errno.ECONNREFUSED), "connect_refused", "connection refused by 10.0.0.1:80"),
        (fault(7, errno=errno.EHOSTUNREACH), "unreachable", "10.0.0.1:80 cannot be reached: no route to host"),
        (fault(7, errno=errno.ENETUNREACH), "unreachable", "10.0.0.1:80 cannot be reached: network is unreachable"),
        (fault(7, errno=errno.ETIMEDOUT), "connect_timeout", "no connection to 10.0.0.1:80 after 1.5s"),
        (fault(28), "connect_timeout", "no connection to 10.0.0.1:80 after 1.5s"),
        (fault(28, phase="tls"), "timeout", "TLS handshake with 10.0.0.1:80 was not over after 1.5s"),
        (fault(28, phase="processing"), "timeout", "no answer from 10.0.0.1:80 after 1.5s"),
        (
            fault(28, phase="transfer"),
            "timeout",
            "response of 10.0.0.1:80 was not over after 1.5s, 7 bytes of body came",
        ),
        (fault(60, verify_result=9), "tls_expired", "certificate of 10.0.0.1:80 is not valid yet"),
        (fault(60, verify_result=10), "tls_expired", "certificate of 10.0.0.1:80 has expired"),
        (fault(60, verify_result=62), "tls_name_mismatch", "certificate of 10.0.0.1:80 is not for this name"),
        (
            fault(60, verify_result=18, message="SSL certificate problem: self-signed certificate"),
            "tls_untrusted",
            "certificate of 10.0.0.1:80 is not trusted: self-signed certificate",
        ),
        (
            fault(
                56,
                message="OpenSSL SSL_read: OpenSSL/3: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0",
            ),
            "tls_handshake",
            "10.0.0.1:80 refused the TLS session: tlsv13 alert certificate required",
        ),
        (fault(56, errno=errno.ECONNRESET), "reset", "connection reset by 10.0.0.1:80"),
        (fault(23, too_large=True), "too_large", "body is longer than 128 B"),
        (
            fault(92, message="stream 1 was not closed cleanly"),
            "reset",
            "HTTP/2 with 10.0.0.1:80 broke: stream 1 was not closed cleanly",
        ),
        (fault(27, message="out of memory"), "internal", "libcurl gave up with code 27: out of memory"),
    ],
)
def test_what_libcurl_says_in_our_words(given, reason, message):
    assert Failure(reason=reason, phase=given.phase, message=message) == blame(given)


def test_no_code_of_libcurl_is_ever_green():
    codes = {value for name, value in vars(pycurl).items() if name.startswith("E_") and isinstance(value, int)}

    assert all(blame(fault(code)).message for code in codes | set(range(1, 105)))
