"""Who may run now, as counts and lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.monitor.room import Room


class Guest:
    def __init__(self, name="", *, host="", suspect=False):
        self.name = name
        self.host = host
        self.suspect = suspect
        self.waits_for = ""

    def __repr__(self):
        return self.name


def guests(*names, **how):
    return [Guest(name, **how) for name in names]


def entering(room, arriving):
    return [room.enter(guest) for guest in arriving]


def test_a_full_house_lets_the_next_one_in_when_somebody_leaves():
    room = Room(in_flight=2, per_host=9)
    a, b, c, d = guests(*"abcd")

    assert ["", "", "in_flight", "in_flight"] == entering(room, [a, b, c, d])
    assert [c] == room.leave(b)
    assert [d] == room.leave(a)
    assert 2 == room.taken


def test_one_host_has_so_many_places_and_no_more():
    room = Room(in_flight=9, per_host=2)
    shop, other = guests(*"abcd", host="shop"), Guest("e", host="other")

    assert ["", "", "host", "host", ""] == entering(room, [*shop, other])
    assert [] == room.leave(other)
    assert [shop[2]] == room.leave(shop[0])
    assert [shop[3]] == room.leave(shop[1])


def test_what_has_no_host_is_not_limited_by_it():
    assert ["", "", ""] == entering(Room(in_flight=9, per_host=1), guests(*"abc"))


def test_suspects_get_half_and_leave_the_other_half_to_the_rest():
    room = Room(in_flight=4, per_host=9)
    dead, live = guests(*"abcd", suspect=True), guests(*"xyz")

    assert ["", "", "slow", "slow"] == entering(room, dead)
    assert ["", "", "in_flight"] == entering(room, live)
    assert [live[2]] == room.leave(live[0])
    assert [dead[2]] == room.leave(dead[0])


def test_the_last_place_is_for_one_who_is_no_suspect():
    room = Room(in_flight=4, per_host=9)
    dead, live = guests(*"ab", suspect=True), guests(*"vwxyz")
    entering(room, live[:4])

    assert ["slow", "in_flight"] == [room.enter(dead[0]), room.enter(live[4])]
    assert [live[4]] == room.leave(live[0])
    assert [dead[0]] == room.leave(live[1])


def test_even_a_house_with_one_place_lets_suspects_in():
    assert "" == Room(in_flight=1, per_host=1).enter(Guest(suspect=True))


def test_who_goes_away_is_called_no_more_and_the_next_one_is():
    room = Room(in_flight=1, per_host=1)
    a, b, c = guests(*"abc", host="shop")
    entering(room, [a, b, c])

    assert [] == room.withdraw(b)
    assert [c] == room.leave(a)


def test_a_host_that_may_have_more_gets_them():
    room = Room(in_flight=9, per_host=1)
    shop = guests(*"abcd", host="shop")
    entering(room, shop)
    room.per_host = 3

    assert shop[1:] == room.leave(shop[0])


def test_one_host_does_not_hold_up_the_others_in_line():
    room = Room(in_flight=2, per_host=1)
    a, b = Guest("a", host="shop"), Guest("b", host="other")
    late, next_one = Guest("c", host="shop"), Guest("d", host="third")
    entering(room, [a, b])
    room.per_host = 2
    entering(room, [late, next_one])
    room.per_host = 1

    assert [next_one] == room.leave(b)
    assert [late] == room.leave(a)


arrivals = st.lists(
    st.tuples(st.sampled_from(["", "shop", "bank"]), st.booleans(), st.integers(0, 3)), min_size=1, max_size=60
)


@given(arrivals=arrivals, in_flight=st.integers(1, 8), per_host=st.integers(1, 4))
def test_everybody_gets_a_place_in_the_end_and_no_limit_is_ever_passed(arrivals, in_flight, per_host):
    """Some leave or go away after each arrival; who is left over at the end leaves one by one."""
    room = Room(in_flight=in_flight, per_host=per_host)
    inside, waiting, served, gone = [], [], 0, 0

    def let_in(admitted):
        for guest in admitted:
            waiting.remove(guest)
            inside.append(guest)
        assert len(inside) == room.taken <= in_flight
        assert sum(guest.suspect for guest in inside) <= max(1, in_flight // 2)
        assert all(sum(guest.host == host for guest in inside) <= per_host for host in ("shop", "bank"))

    def one_leaves():
        nonlocal served
        served += 1
        let_in(room.leave(inside.pop(0)))

    for number, (host, suspect, leaving) in enumerate(arrivals):
        guest = Guest(str(number), host=host, suspect=suspect)
        (waiting if room.enter(guest) else inside).append(guest)
        let_in([])
        for _ in range(min(leaving, len(inside))):
            one_leaves()
        if leaving == 3 and waiting:
            gone += 1
            let_in(room.withdraw(waiting.pop()))
    while inside:
        one_leaves()

    assert ([], len(arrivals)) == (waiting, served + gone)
    assert [0, 0, 0, 0] == [len(kept) for kept in (room._at, room._of_host, room._suspected, room._proven)]


@pytest.mark.parametrize("hosts", [1, 50])
def test_a_long_line_costs_no_more_to_let_one_in(hosts):
    """Of 20,000 who wait, letting one in looks at a few."""
    room = Room(in_flight=20, per_host=5)
    looked = 0

    class Counted(Guest):
        @property
        def host(self):
            nonlocal looked
            looked += 1
            return self._host

        @host.setter
        def host(self, value):
            self._host = value

    crowd = [Counted(host=f"h{number % hosts}", suspect=True) for number in range(20_000)]
    inside = [guest for guest in crowd if not room.enter(guest)]
    looked = 0
    for _ in range(1000):
        inside += room.leave(inside.pop(0))

    assert looked < 50 * 1000
