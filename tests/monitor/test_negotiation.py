import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.monitor.negotiation import accepts_gzip, negotiate
from perfmon.monitor.textformat import OPENMETRICS, TEXT

# What Prometheus 2.42 and 3.x send.
PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
PROMETHEUS_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," + PROMETHEUS_3
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),  # a browser
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROTOBUF_FIRST, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text ; Version = 1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"', OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", TEXT),
        ("application/openmetrics-text; version=2.0.0", TEXT),
        (
            "application/openmetrics-text; version=0.0.1; q=1, application/openmetrics-text; version=1.0.0; q=0.1",
            OPENMETRICS,
        ),
        ("application/openmetrics-text; q=0", TEXT),
        ("application/openmetrics-text; q=0.5, text/plain; q=0.5", OPENMETRICS),
        ("application/openmetrics-text; q=0.4, text/plain; q=0.5", TEXT),
        ("application/openmetrics-text; q=0.4, */*; q=0.5", TEXT),
        ("application/openmetrics-text; q=0.6, text/*; q=0.5, */*", OPENMETRICS),  # the most specific range decides
        ("application/*; q=0.9, text/plain; q=0.5", OPENMETRICS),
        ("image/png", TEXT),  # never a refusal
        ("application/openmetrics-text; q=banana, text/plain; q=0.9", OPENMETRICS),
        ("application/openmetrics-text; q=nan, text/plain; q=0.9", OPENMETRICS),
        (";;,,;q=,=", TEXT),
    ],
)
def test_the_format_is_the_one_the_client_likes_best(accept, form):
    assert form == negotiate(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "accepted"),
    [
        ("*", True),
        ("*;q=0.1", True),
        ("br;q=0.0", False),
        ("*;q=0.0", False),
        ("br;q=1.0 , gzip;q=0.8 , *;q=0.1", True),
        (" br ; q=1.0,gzip ;q= 0.8", True),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip;q=0, *;q=1", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("gzipped", False),
    ],
)
def test_p22_gzip_is_sent_to_those_who_accept_it(accept_encoding, accepted):
    assert accepted == accepts_gzip(accept_encoding)


@given(header=st.text())
def test_no_header_is_too_odd_for_an_answer(header):
    assert negotiate(header) in (TEXT, OPENMETRICS)
    assert accepts_gzip(header) in (True, False)
