"""What holds for every kind of receiver."""

import msgspec
import pytest

from perfmon import kinds
from perfmon.receivers import fingerprint


@pytest.mark.parametrize("name", kinds.names("receivers"))
def test_a_kind_has_frozen_settings_that_refuse_what_they_do_not_know_and_a_function(name):
    kind = kinds.load("receivers", name)

    assert callable(kind.notify)
    assert kind.Config.__struct_config__.frozen
    assert kind.Config.__struct_config__.forbid_unknown_fields
    assert kind.__doc__
    assert kind.Config.__doc__
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"url": "http://a", "urls": ["http://a"], "no such": 1}, kind.Config)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # https://github.com/prometheus/common/blob/main/model/metric_test.go
        ({}, 14695981039346656037),
        ({"first_name": "electro", "occupation": "robot", "manufacturer": "westinghouse"}, 5911716720268894962),
        ({"x": "y"}, 8241431561484471700),
        ({"a": "bb", "b": "c"}, 3016285359649981711),
        ({"a": "b", "bb": "c"}, 7122421792099404749),
    ],
)
def test_a_fingerprint_is_that_of_prometheus(labels, expected):
    assert f"{expected:016x}" == fingerprint(labels)
