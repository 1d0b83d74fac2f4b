"""Alerts in perfmon's own log."""

from structlog.testing import capture_logs

from perfmon.receivers import Notice, log

LABELS = {"alertname": "ShopDown", "severity": "critical", "target": "http://shop/"}


def test_firing_is_a_warning_with_its_fields():
    notice = Notice(labels=LABELS, annotations={"summary": "shop is down"}, why="is 2, expected < 1", starts_at=0.5)

    with capture_logs() as logs:
        log.notify([notice], log.Config())

    expected = {
        "log_level": "warning",
        "event": "alert firing",
        "alertname": "ShopDown",
        "why": "is 2, expected < 1",
        "labels": {"severity": "critical", "target": "http://shop/"},
        "summary": "shop is down",
        "starts_at": "1970-01-01T00:00:00.500Z",
    }
    assert [expected] == logs


def test_resolved_is_information_with_its_end():
    notice = Notice(labels=LABELS, annotations={}, why="", starts_at=0.5, ends_at=60.5)

    with capture_logs() as logs:
        log.notify([notice, notice], log.Config())

    assert 2 == len(logs)
    assert ("info", "alert resolved", "1970-01-01T00:01:00.500Z") == tuple(
        logs[0][field] for field in ("log_level", "event", "ends_at")
    )
