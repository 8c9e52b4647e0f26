"""Two pair machines side by side: the one under test, and one that plans on every event.

Told the same at the same times, they have to ask for the same; where they do not, the first one skipped a plan that it
should have made. A Tick comes when either wants one, so that a wake that the first one forgot is found as well.
What a view keeps from one plan to the next (`View.keep`) is made anew each time, and has to be the same.
Here: the two in the place of one. Not here: what they are told (`world`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import pytest

from ostkeeper.core import events as e
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.pair import PairMachine
from ostkeeper.core.view import View

KEEP = View.keep
SAME_MOMENT = 1e-6
"""Seconds: one wake reckoned from two plans may differ by a rounding."""


class Eager(PairMachine):
    """Plans on every event."""

    def _rests(self, changed: bool, signs: tuple[object, ...], now: float) -> bool:
        return False


class Twins(PairMachine):
    """In the place of a PairMachine. `skipped` counts the plans that only the second one made."""

    skipped = 0

    def __init__(self, key: str, heartbeats: Heartbeats) -> None:
        super().__init__(key, heartbeats)
        self.eager = Eager(key, heartbeats)
        self.told: list[str] = []

    def step(self, event: e.Event, now: float) -> list[e.Effect]:
        """One step of both. Raises AssertionError with the last events where they differ."""
        self.told = [*self.told[-20:], f"{now:.3f}s {event}"[:300]]
        pulses = self.view.heartbeats.pulses
        before = deepcopy(pulses) if isinstance(event, e.Read) else pulses
        effects = super().step(event, now)
        if isinstance(event, e.Read):  # what the leases in it tell, the other one has to be told as well
            pulses.clear()
            pulses.update(before)
        expected = self.eager.step(event, now)
        assert effects == expected, "\n".join([*self.told, f"got      {effects}", f"expected {expected}"])
        first, last = sorted((self.wake_at, self.eager.wake_at))
        self.wake_at = last if last - first < SAME_MOMENT else first
        return effects

    def _rests(self, changed: bool, signs: tuple[object, ...], now: float) -> bool:
        rests = super()._rests(changed, signs, now)
        Twins.skipped += rests
        return rests


def keep(self: View, what: str, of: tuple[object, ...], make: Callable[[View], Any]) -> Any:
    """In the place of `View.keep`. Raises AssertionError where what was kept is not what would be made now."""
    made = KEEP(self, what, of, make)
    assert made == make(self), f"{what} was kept, though something that it is made of is another"
    return made


@contextmanager
def twins() -> Iterator[None]:
    """Within it, each operator of a new world is two."""
    Twins.skipped = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.world.PairMachine", Twins)
        patch.setattr(View, "keep", keep)
        yield
