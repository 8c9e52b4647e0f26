"""Virtual time: a heap of (time, seq, actor, event), and the actors that may stop, go on, or end.

Here: order, and nothing else. The same calls give the same order in every process: equal times run in the order in which
they were scheduled. Not here: what any event means.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Any

Act = Callable[..., None]


class Actor:
    """A process: it may be paused, go on, or be gone. Its monotonic clock is its own, and may drift."""

    __slots__ = ("alive", "backlog", "name", "offset", "paused", "rate")

    def __init__(self, name: str, rate: float = 1.0, offset: float = 0.0) -> None:
        """`rate`: seconds of its clock in a true second; `offset`: what its clock showed at second 0."""
        self.name, self.rate, self.offset = name, rate, offset
        self.alive, self.paused = True, False
        self.backlog: list[tuple[Act, tuple[Any, ...]]] = []

    def clock(self, now: float) -> float:
        """What its monotonic clock shows at a true second."""
        return self.offset + now * self.rate

    def when(self, local: float) -> float:
        """The true second at which its clock shows `local`; infinity stays infinity."""
        return (local - self.offset) / self.rate if local != math.inf else math.inf


class Kernel:
    """Runs what is scheduled. Everything random in a run comes from `random`."""

    __slots__ = ("_heap", "_seq", "events", "net", "now", "random")

    def __init__(self, seed: int, start: float = 0.0) -> None:
        self.now = start
        self.random = Random(seed)
        self.events = 0
        """How many have run."""
        self.net = Actor("net")
        """What was sent is on its way, whatever became of its sender. Never paused, never killed."""
        self._heap: list[tuple[float, int, Actor, Act, tuple[Any, ...]]] = []
        self._seq = 0

    def at(self, when: float, actor: Actor, act: Act, *args: Any) -> None:
        """Run it at a true second, as this actor; a time that has passed means now. Infinity means never."""
        if when == math.inf:
            return
        self._seq += 1
        heapq.heappush(self._heap, (when if when > self.now else self.now, self._seq, actor, act, args))

    def after(self, wait: float, actor: Actor, act: Act, *args: Any) -> None:
        """Run it so many true seconds from now."""
        self.at(self.now + wait, actor, act, *args)

    def pause(self, actor: Actor) -> None:
        """Stop it: what is due, or arrives, waits for it."""
        actor.paused = True

    def resume(self, actor: Actor) -> None:
        """Let it go on: what has waited comes first, in order. If it is paused again meanwhile, the rest waits on."""
        if not actor.paused:
            return
        actor.paused = False
        backlog, actor.backlog = actor.backlog, []
        for act, args in backlog:
            self.at(self.now, actor, act, *args)

    def kill(self, actor: Actor) -> None:
        """End it for good: nothing that is scheduled for it happens."""
        actor.alive = False
        actor.backlog.clear()

    def run(self, until: float) -> None:
        """Let time pass up to and including a true second."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until:
            self.now, _, actor, act, args = pop(heap)
            if not actor.alive:
                continue
            if actor.paused:
                actor.backlog.append((act, args))
                continue
            self.events += 1
            act(*args)
        self.now = max(self.now, until)

    def run_until(self, condition: Callable[[], bool], limit: float, every: float = 1.0) -> bool:
        """Let time pass until a condition holds, looked at every so many seconds; False: not within `limit` seconds."""
        end = self.now + limit
        while not condition():
            if self.now >= end:
                return False
            self.run(min(end, self.now + every))
        return True
