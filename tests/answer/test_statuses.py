"""Status codes as people write them. Ids are rows of the conformance cases."""

import pytest

from perfmon.answer import demands, statuses


@pytest.mark.parametrize(
    ("written", "fine", "not_fine"),
    [
        pytest.param(["302,200-299,403"], [200, 204, 302, 403], [404, 500, 502, 301], id="E20"),
        pytest.param([302, "200-299", "403"], [200, 204, 302, 403], [404, 500, 502, 301], id="E20 as a list"),
        pytest.param(["2xx", "3XX"], [200, 299, 300, 399], [199, 400], id="classes"),
        pytest.param([404], [404], [200], id="a number"),
        pytest.param([], [], [200], id="none"),
    ],
)
def test_codes_are_numbers_ranges_and_classes(written, fine, not_fine):
    codes = statuses.parse(written)

    assert set(fine) == codes & {*fine, *not_fine}


@pytest.mark.parametrize("written", [99, 600, "6xx", "2x", "299-200", "200-", "", "200;204", "true", "-200", "1000"])
def test_junk_is_refused_with_its_place_e04(written):
    [(path, message)] = statuses.check("valid_status_codes", [200, written])

    assert "valid_status_codes[1]" == path
    assert message.startswith("expected ")


def test_codes_are_shown_as_ranges():
    assert "200-299, 404, 500-501" == statuses.shown(statuses.parse(["2xx", 500, 404, 501]))


def test_targets_with_the_same_demands_share_the_codes():
    """A hundred numbers for each of a thousand targets are 4 MB."""
    first, second = (demands.prepare(demands.Demands(invalid_status_codes=[204])) for _ in range(2))

    assert demands.FINE - {204} == first.statuses
    assert first.statuses is second.statuses
