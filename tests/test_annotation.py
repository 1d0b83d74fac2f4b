"""What an alert says to a person."""

import pytest

from perfmon.annotation import annotate, check_annotations
from perfmon.clock import ManualClock
from perfmon.model import Alert, Verdict

LABELS = {"probe": "shop", "target": "http://shop/", "alertname": "ShopDown", "severity": "critical"}
ALERT = Alert(
    rule="ShopDown",
    labels=LABELS,
    series="shop/http://shop/",
    state="firing",
    active_at=900.0,
    verdict=Verdict(level="critical", why="rate is 100%, expected < 50%", value=1234.5678, limit=0.5),
)


def test_names_are_filled_in():
    template = "{{target}} {{ probe }} {{value}} {{limit}} {{since}}: {{why}} {{missing}}."

    text = annotate({"note": template}, ALERT, ManualClock())["note"]

    assert "http://shop/ shop 1235 0.5 2027-01-15T07:58:20.000Z: rate is 100%, expected < 50% ." == text


def test_what_is_filled_in_is_not_read_again_as_a_template():
    labels = LABELS | {"target": "{{probe}}"}
    alert = Alert(rule="R", labels=labels, series="s")

    assert "{{probe}}" == annotate({"a": "{{target}}"}, alert, ManualClock())["a"]


def test_without_annotations_it_says_what_was_expected_what_was_seen_and_since_when():
    assert annotate({}, ALERT, ManualClock()) == {
        "summary": "ShopDown: http://shop/",
        "description": "rate is 100%, expected < 50%, since 2027-01-15T07:58:20.000Z",
    }


def test_a_series_of_a_sampler_is_named_by_its_labels():
    labels = {"sampler": "host", "device": "sda", "alertname": "DiskFull", "severity": "warning"}

    assert "R: host sda" == annotate({}, Alert(rule="R", labels=labels, series="s"), ManualClock())["summary"]


def test_annotations_given_take_the_place_of_perfmons_own():
    words = annotate({"summary": "{{target}} is down", "runbook_url": "https://x"}, ALERT, ManualClock())

    assert ("http://shop/ is down", "https://x") == (words["summary"], words["runbook_url"])
    assert "description" in words


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("https://g/d/x?var-target={{target}}&y={{probe}}", "https://g/d/x?var-target=http%3A%2F%2Fshop%2F&y=shop"),
        ("{{target}}runbook#{{alertname}}", "http://shop/runbook#ShopDown"),
        ("https://g/{{missing}}", "https://g/"),
    ],
)
def test_a_label_within_a_link_is_encoded_and_one_at_its_beginning_is_the_address(template, expected):
    assert expected == annotate({"dashboard_url": template}, ALERT, ManualClock())["dashboard_url"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{target}} {{value}} {{since}} {{severity}} {{team}}", []),
        ("no place at all } {", []),
        ("{{tagret}}", ['unknown "tagret", did you mean "target"?']),
        ("{{ $labels.target }}", ['unknown "$labels.target", did you mean "target"?']),
        ("{{ $value }}", ['unknown "$value", did you mean "value"?']),
        ("{{target", ["expected a name between {{ and }}, as in {{target}}"]),
        ("{{a b}}", ["expected a name between {{ and }}, as in {{target}}"]),
        ("{{}}", ["expected a name between {{ and }}, as in {{target}}"]),
    ],
)
def test_mistakes_in_templates_are_said(template, expected):
    found = list(check_annotations({"summary": template}, ["probe", "target", "team"]))

    assert [("summary", message) for message in expected] == found


@pytest.mark.parametrize(
    ("labels", "page"),
    [
        (
            {"probe": "shop", "target": "http://shop/a b"},
            "https://perfmon.example/p/target?key=shop%2Fhttp%3A%2F%2Fshop%2Fa%20b%3F%26",
        ),
        ({"sampler": "s", "group": "web & co"}, "https://perfmon.example/p/group?sampler=s&group=web%20%26%20co"),
        ({"sampler": "host", "device": "sda"}, None),
    ],
)
def test_it_leads_to_the_page_of_what_it_is_about(labels, page):
    alert = Alert(rule="R", labels=labels, series="shop/http://shop/a b?&")

    assert page == annotate({}, alert, ManualClock(), "https://perfmon.example/p/").get("page_url")
    assert None is annotate({}, alert, ManualClock()).get("page_url")
