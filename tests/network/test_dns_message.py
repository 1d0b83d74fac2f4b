"""DNS messages as bytes: whatever comes is an answer or is told to be none."""

import dns.message
import pytest
from dns_server import answering
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmon.network.dns_message import MalformedAnswer, build_query, rcode, rcode_name, read_answer

QUERY = build_query("www.example.com", "A", "IN", recursion=True)
GOOD = answering(
    "www.example.com. 60 IN CNAME a.test.",
    "a.test. 60 IN A 192.0.2.1",
    'a.test. 60 IN TXT "text" "more"',
    "a.test. 60 IN MX 10 mail.a.test.",
    authority=("test. 60 IN SOA ns.test. noc.test. 7 1 2 3 4",),
    additional=("a.test. 60 IN AAAA 2001:db8::1",),
)(dns.message.from_wire(QUERY.wire)).to_wire()


def read(wire):
    """The answer, or None where there is none."""
    try:
        return read_answer(wire)
    except MalformedAnswer:
        return None


def test_a_query_is_what_dnspython_reads():
    ident, wire = QUERY.with_id()
    message = dns.message.from_wire(wire)

    assert ident == message.id
    assert "www.example.com. IN A" == message.question[0].to_text()
    assert wire[12:] == QUERY.question


def test_ids_differ():
    assert len({QUERY.with_id()[0] for _ in range(100)}) > 90


def test_an_answer_is_read_whole():
    answer = read_answer(GOOD)

    assert ("NOERROR", 4, 1, 1) == (
        answer.rcode_name,
        len(answer.answer),
        len(answer.authority),
        len(answer.additional),
    )
    assert (("www.example.com.", "a.test."),) == answer.aliases
    assert "a.test.\t60\tIN\tMX\t10 mail.a.test." == answer.answer[3].text
    assert 'a.test.\t60\tIN\tTXT\t"text" "more"' == answer.answer[2].text


def test_the_same_answer_is_read_once_whatever_its_id():
    other = bytes([GOOD[0] ^ 0xFF]) + GOOD[1:]

    assert read_answer(GOOD) is read_answer(other)


@given(st.binary(max_size=200))
def test_random_bytes_are_an_answer_or_none(wire):
    read(wire)
    QUERY.is_answered_by(wire, (0,))


@settings(max_examples=400)
@given(st.data())
def test_a_spoilt_answer_is_an_answer_or_none(data):
    wire = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
    QUERY.is_answered_by(bytes(wire), (0,))


@given(st.integers(0, len(GOOD) - 1))
def test_no_beginning_of_an_answer_is_one(length):
    assert read(GOOD[:length]) is None


@given(st.text(max_size=80), st.text(max_size=8), st.text(max_size=4))
def test_a_question_is_written_or_refused_in_words(name, kind, klass):
    for text in ((name, "A", "IN"), ("a.test", kind, "IN"), ("a.test", "A", klass)):
        query, said = tried(build_query, *text, recursion=False)
        assert said or query.is_answered_by(b"\0\7\x80\0" + query.wire[4:], (7,))


def tried(act, *given, **how):
    """What came of it, and the words of a refusal."""
    try:
        return act(*given, **how), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize(
    "name", ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "NOTAUTH"]
)
def test_response_codes_have_names(name):
    assert name == rcode_name(rcode(name))


@given(st.text(max_size=10))
def test_a_response_code_is_known_or_refused_in_words(name):
    code, said = tried(rcode, name)

    assert "is no response code of DNS" in said or 0 <= code < 4096
