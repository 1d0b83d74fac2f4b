"""Who was told of which alert, when, and what came of it: for the person who asks why his pager was silent.

Belongs to whoever holds the store's lock (`Store.together`); reading needs none.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from perfmon.monitor.store import Store

__all__ = ["Deliveries", "Delivery", "Said"]

ALERTS_KEPT = 10_000

Said = Literal["firing", "reminder", "resolved"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing that one address was told of one alert, as often as it came to the same."""

    said: Said
    starts_at: float  # of the episode, Unix time
    outcome: str  # one of `notify.OUTCOMES`
    words: str = ""  # what the receiver answered, or what was wrong
    at: float  # Unix time of the first
    again_at: float  # and of the last
    times: int = 1


class Deliveries:
    """By alert and address; what is news is in the state file, so a restart does not forget it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Mapping[str, Delivery]] = dict(store.deliveries(Delivery))

    def note(self, identity: str, address: str, delivery: Delivery) -> None:
        """Remember what came of telling an address of an alert, in place of what it was told before."""
        known = self._known.pop(identity, {})
        before = known.get(address)
        same = before is not None and _kind(before) == _kind(delivery)
        if before is not None and same:
            delivery = replace(delivery, at=before.at, times=before.times + 1)
        self._known[identity] = {**known, address: delivery}
        if not same:
            self._store.put_deliveries(identity, self._known[identity])
        while len(self._known) > ALERTS_KEPT:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._store.put_deliveries(oldest, {})

    def of(self, identity: str) -> Mapping[str, Delivery]:
        """What is known of an alert, by address."""
        return self._known.get(identity, {})


def _kind(delivery: Delivery) -> tuple[str, float, str]:
    return delivery.said, delivery.starts_at, delivery.outcome
