"""The only loop: waits for an event or for the machine's `wake_at`, steps the machine, hands its effects out.

Here: `drive`, for both machines. Not here: what an effect does (`controller`, `agent`), what it is for (`core`), and any
error handling: what `step` raises is a bug of ours, and a process that ends is restarted, which changes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ostkeeper.core.events import Tick
from ostkeeper.ports import Clock

EventT = TypeVar("EventT")
EventIn = TypeVar("EventIn", contravariant=True)
EffectT = TypeVar("EffectT")
EffectOut = TypeVar("EffectOut", covariant=True)

LEAST_WAIT = 0.001
"""Seconds between two Ticks in a row: a machine that leaves `wake_at` in the past must not eat a core of its server."""


class Machine(Protocol[EventIn, EffectOut]):
    """A machine without I/O. `step` is called by one loop only, one event after the other."""

    @property
    def wake_at(self) -> float:
        """When a Tick is due: seconds on `Clock.monotonic`; `math.inf`: nothing is due."""
        ...

    def step(self, event: EventIn | Tick, now: float) -> Sequence[EffectOut]:
        """Take one event in; return what is to be done, in order."""
        ...


async def drive(
    machine: Machine[EventT, EffectT],
    inbox: asyncio.Queue[EventT],
    perform: Callable[[EffectT], None],
    clock: Clock,
) -> None:
    """Drive the machine until cancelled. Never returns; raises whatever `step` or `perform` raises.

    `perform` must not block: it spawns tasks whose answers come back as events into `inbox`. `clock` must run like the
    event loop's own (both are CLOCK_MONOTONIC). A Tick that is due comes before the next event, but never twice in a row
    while events wait: neither a flood of events nor a `wake_at` in the past starves the other.
    """
    ticked = False
    while True:
        event: EventT | Tick
        if machine.wake_at <= clock.monotonic() and not ticked:
            event = Tick()
        else:
            event = await _next(inbox, machine.wake_at, clock)
        ticked = isinstance(event, Tick)
        for effect in machine.step(event, clock.monotonic()):
            perform(effect)


async def _next(inbox: asyncio.Queue[EventT], wake_at: float, clock: Clock) -> EventT | Tick:
    """Give the next event, or a Tick once `wake_at` has come. No event is lost when both happen at once."""
    if not inbox.empty():
        return inbox.get_nowait()
    wait = None if wake_at == math.inf else max(LEAST_WAIT, wake_at - clock.monotonic())
    try:
        async with asyncio.timeout(wait):
            return await inbox.get()
    except TimeoutError:
        return Tick()
