"""What one engine is to do of a test: a shard of the offer. Pure; the shards are the whole, to the last bit."""

from collections.abc import Iterator, Sequence

import msgspec

from perfmon.offer import Closed, Open, Span
from perfmon.scenario import Scenario

__all__ = ["Shard", "User", "shard"]


class User(msgspec.Struct, frozen=True):
    """One user of a closed model."""

    number: int  # among all users of the test
    spans: Sequence[Span]  # when he is there, in seconds from the beginning


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """The share of one engine: number `index` of `of`."""

    scenario: Scenario
    index: int = 0
    of: int = 1

    @property
    def duration_s(self) -> float:
        """How long something new begins."""
        return self.scenario.offer.duration_s

    @property
    def max_in_flight(self) -> int:
        """Its share of what may be under way."""
        return max(1, len(range(self.index, self.scenario.max_in_flight, self.of)))

    def arrivals(self) -> Iterator[float]:
        """When its arrivals are due, in seconds from the beginning; none of a closed model."""
        offer = self.scenario.offer
        return offer.times(self.index, self.of) if isinstance(offer, Open) else iter(())

    def users(self) -> Sequence[User]:
        """Its users; none of an open model."""
        offer = self.scenario.offer
        if isinstance(offer, Open):
            return ()
        return [User(number, offer.course.above(number)) for number in offer.users_of(self.index, self.of)]

    @property
    def shared(self) -> int | None:
        """How many iterations its users share; None when they share none."""
        offer = self.scenario.offer
        return offer.iterations_of(self.index, self.of) if isinstance(offer, Closed) and offer.shared else None

    @property
    def each(self) -> int | None:
        """How many iterations each of its users makes; None = as many as there is time for."""
        offer = self.scenario.offer
        return offer.iterations if isinstance(offer, Closed) and not offer.shared else None


def shard(scenario: Scenario, index: int = 0, of: int = 1) -> Shard:
    """A part of the test: arrival k and user k belong to shard k mod `of`."""
    return Shard(scenario=scenario, index=index, of=of)
