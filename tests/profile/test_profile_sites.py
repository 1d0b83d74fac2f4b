"""Ranking places that allocate."""

import pytest

from perfmon.profile.sites import Capture, Frame, Live, Site, differing, growing, in_words, living


def stack(*names):
    return tuple(Frame(name, f"{name}.py", 7) for name in names)


LEAK, CACHE, BUSY, BUFFERS = stack("leak", "main"), stack("cache"), stack("busy"), stack("buffers")


def capture(duration_s, **live):
    names = {"leak": LEAK, "cache": CACHE, "busy": BUSY, "buffers": BUFFERS}
    return Capture(duration_s, {names[name]: Live(*pair) for name, pair in live.items()})


def test_what_grows_with_time_comes_before_what_is_large():
    """A cache that is full is as large in a short capture as in a long one."""
    short = capture(10.0, leak=(100, 6_400), cache=(5_000, 90_000_000), busy=(300, 9_000))
    long = capture(40.0, leak=(400, 25_600), cache=(5_000, 90_000_000), busy=(290, 8_700))

    assert (Site(LEAK, 10.0, 640.0),) == growing(short, long)


def test_a_place_that_only_the_long_capture_saw_counts_from_zero():
    assert (Site(LEAK, 2.0, 60.0),) == growing(capture(10.0), capture(40.0, leak=(60, 1_800)))


def test_few_large_buffers_are_shown_behind_many_small_objects():
    grown = capture(40.0, leak=(600, 6_000), busy=(300, 3_000), cache=(150, 9_000), buffers=(30, 30_000_000))

    assert [LEAK, BUFFERS] == [site.stack for site in growing(capture(10.0), grown, shown=2)]
    assert [LEAK, BUSY, CACHE, BUFFERS] == [site.stack for site in growing(capture(10.0), grown, shown=4)]


def test_the_second_capture_must_be_longer():
    with pytest.raises(ValueError, match=r"expected the second capture to be longer than 40\.0s"):
        growing(capture(40.0), capture(40.0))


def test_snapshots_differ_by_counts():
    before, after = capture(10.0, leak=(5, 500), busy=(9, 90)), capture(10.0, leak=(25, 2_500), busy=(3, 30))

    assert (Site(LEAK, 20, 2_000),) == differing(before, after)


def test_what_lives_is_ranked_by_bytes():
    assert [BUFFERS, LEAK] == [site.stack for site in living(capture(1.0, leak=(99, 10), buffers=(1, 1_000)))]


def test_a_place_in_words_has_its_callers_behind_it():
    assert "leak (leak.py:7) < main (main.py:7)" == in_words(Site(LEAK, 1.0, 1.0))
    assert "<no Python frame>" == in_words(Site((Frame("<no Python frame>", "", 0),), 1.0, 1.0))
