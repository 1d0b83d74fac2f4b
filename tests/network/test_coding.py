"""Accept-Encoding, as P22 of the conformance cases has it."""

import pytest

from perfmon.network.coding import accepts


@pytest.mark.parametrize(
    ("value", "coding", "expected"),
    [
        pytest.param("*", "br", True, id="P22 any"),
        pytest.param("*;q=0.1", "br", True, id="P22 any, a little"),
        pytest.param("br;q=0.0", "br", False, id="P22 none of this"),
        pytest.param("*;q=0.0", "br", False, id="P22 none at all"),
        pytest.param("gzip;q=0.5 , br ;q=1.0,*;q=0", "br", True, id="P22 mixed with blanks"),
        pytest.param("gzip, *;q=0", "br", False, id="P22 all but one"),
        pytest.param("br;q=0, *", "br", False, id="a name counts more than the rest"),
        pytest.param("GZip", "gzip", True, id="any case"),
        pytest.param("gzip;q=much", "gzip", True, id="no weight"),
        pytest.param("", "gzip", False, id="empty"),
        pytest.param("gzip", "identity", True, id="identity need not be named"),
        pytest.param("identity;q=0", "identity", False, id="but may be refused"),
    ],
)
def test_a_coding_is_acceptable_by_its_weight(value, coding, expected):
    assert expected == accepts(value, coding)
