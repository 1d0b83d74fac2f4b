"""Who may run a check now."""

import pytest

from perfmon.monitor.rerun import Busy, Reruns


def test_one_run_of_a_check_at_a_time():
    reruns = Reruns()
    with reruns.place("a"), reruns.place("b"), pytest.raises(Busy, match="a run of this check"), reruns.place("a"):
        pass
    with reruns.place("a"):
        pass


def test_few_runs_in_all():
    reruns = Reruns(most=1)
    with reruns.place("a"), pytest.raises(Busy, match="1 runs"), reruns.place("b"):
        pass


def test_a_place_is_given_back_also_by_a_run_that_breaks():
    reruns = Reruns(most=1)
    with pytest.raises(RuntimeError), reruns.place("a"):
        raise RuntimeError("oops")
    with reruns.place("a"):
        pass
