"""Addresses as people write them."""

import contextlib
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.network.address import (
    BadAddress,
    host_of,
    objection,
    parse_host_port,
    parse_name,
    parse_service,
    parse_url,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.org", "http://example.org/"),
        ("HTTPS://Example.ORG", "https://example.org/"),
        ("http://example.org:80/", "http://example.org/"),
        ("https://example.org:80/", "https://example.org:80/"),
        ("http://[::1]:8080/a?b=c#d", "http://[::1]:8080/a?b=c"),
        ("http://example.org/a b/ü?q=1 2", "http://example.org/a%20b/%C3%BC?q=1%202"),
        ("http://example.org/a%20b", "http://example.org/a%20b"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://user:pass@example.org/", "http://example.org/"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/"),
        ("localhost:8080/x", "http://localhost:8080/x"),
    ],
)
def test_a_url_is_read_and_written(text, expected):
    assert expected == str(parse_url(text))


def test_credentials_are_taken_out_of_the_url():
    url = parse_url("http://user:p%40ss@example.org/")

    assert ("user", "p@ss") == (url.user, url.password)
    assert "p%40ss" not in str(url)


@pytest.mark.parametrize(
    ("text", "expected"), [("db:5432", ("db", 5432)), ("[::1]:80", ("::1", 80)), ("DB.Example:1", ("db.example", 1))]
)
def test_host_and_port_are_read(text, expected):
    assert expected == parse_host_port(text)


@pytest.mark.parametrize(
    "text", ["", ":80", "db", "db:", "db:x", "db:0", "db:70000", "db:80/x", "a@db:80", "[::1", "::1:80"]
)
def test_what_is_no_host_and_port_is_refused_in_words(text):
    with pytest.raises(ValueError) as caught:
        parse_host_port(text)

    assert str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://u:s3cret@h/", "http://u:s3cret@[::1/", "http://u:s3cret@h:99999/", "http://u:s3cret@h:x/",
        "http://u:/s3cret@h/", "http://u:s3cret@e℀x/", "http://u:s3cret@/", "http://u:s3cret@h:0/", "http://:s3cret@é" + "é" * 70,
        "u:s3cret@h:80", "u:s3cret@h", "http://u:s3cret@a b/", "u:s3c/ret@h:80",
    ],
)  # fmt: skip
def test_no_message_tells_a_password(text):
    assert "s3c" not in said(parse_url, text) + said(parse_host_port, text)


def said(read, text):
    try:
        read(text)
    except ValueError as error:
        return "".join(traceback.format_exception(error))
    return ""


@pytest.mark.parametrize("text", ["http://a b/", "http://a\x7fb/", "http://a%zz|b/", "http://a\\b/", "http://a{b/"])
def test_what_no_host_can_be_called_is_refused(text):
    with pytest.raises(ValueError, match="no host can be named"):
        parse_url(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_readers(text):
    """Either it is read, or BadAddress says why not; nothing else is ever raised."""
    for read in (parse_url, parse_host_port, parse_name, lambda service: parse_service(service, 1)):
        with contextlib.suppress(BadAddress):
            read(text)


def test_an_objection_is_the_readers_own_words():
    assert [None, 'expected host:port, got "db"'] == [objection(parse_host_port, text) for text in ("db:1", "db")]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://Shop.example:8080/a?b", "shop.example"),
        ("https://user@[::1]:8443/", "::1"),
        ("shop.example:5432/name", "shop.example"),
        ("[fe80::1]:53", "fe80::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("/run/shop.sock", ""),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_the_host_of_an_address_of_any_kind_is_known(address, host):
    assert host == host_of(address)
