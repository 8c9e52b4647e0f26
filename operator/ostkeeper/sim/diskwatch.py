"""An agent's watch of its disks, as `agent.watch` and `agent.disks` keep it, without threads.

Here: when each disk is read, and what is told of it. Not here: what follows from readings (`core.diskview`, the same code).
All disks that are due at about the same time are read in one event.
"""

from __future__ import annotations

import math
from typing import Protocol

from ostkeeper.api.common import DISK_READING_MAX_AGE
from ostkeeper.core import hostevents as ev
from ostkeeper.core.diskview import DiskView, Probe, next_reading, next_view, normal_interval, reading_of
from ostkeeper.sim.kernel import Actor, Kernel

SLACK = 0.2
"""The share of an interval by which a reading may come early, to be taken together with others."""
A_MOMENT = 0.001
"""Seconds that a reading takes, and after which one that is asked for begins."""


class Reader(Protocol):
    """The server, as its agent reads its disks."""

    stalled: bool

    def probe(self, target: str, began: float) -> Probe:
        """One reading that began then on the server's clock, complete now."""
        ...


class Listener(Protocol):
    """The agent that is told."""

    actor: Actor

    def tell(self, event: ev.HostEvent) -> None:
        """One event for the machine."""
        ...


class Watch:
    """One disk that is watched."""

    __slots__ = ("hurried", "interval", "parked", "ref", "started", "stuck", "view")

    def __init__(self, ref: ev.DiskRef, now: float) -> None:
        self.ref, self.started = ref, now
        self.view: DiskView | None = None
        self.interval = normal_interval(0.0)
        """Seconds between two readings when nothing is suspected; 0 before the first."""
        self.stuck = math.inf
        """When the reading began that is stuck in the kernel."""
        self.parked = False
        """Its descriptors are closed for a mount."""
        self.hurried = False
        """A reading was asked for that begins now."""

    def take(self, probe: Probe) -> DiskView:
        """One more reading, and what all of them say."""
        self.view = view = next_view(self.view, probe)
        self.interval = normal_interval((view.good or view.probe).update_interval)
        return view

    def age(self, now: float) -> float:
        """Seconds since the latest good reading began."""
        good = self.view.good if self.view else None
        return now - (good.began if good else self.started)

    def due(self, fast: float) -> float:
        """When it is to be read next, on the server's clock; `fast`: the interval, 0 for the normal one."""
        if self.parked or self.stuck < math.inf:
            return math.inf
        if self.hurried or self.view is None:
            return -math.inf
        return next_reading(self.view, fast or self.interval)


class DiskWatches:
    """All disks that one run of an agent watches."""

    def __init__(self, kernel: Kernel, host: Reader, agent: Listener, fast: float) -> None:
        """`fast`: seconds between two readings while a nonce is open."""
        self._kernel, self._host, self._agent, self._fast = kernel, host, agent, fast
        self.watches: dict[str, Watch] = {}
        self._interval = 0.0
        self._due = math.inf
        """The true second at which the next look is scheduled."""

    def set(self, asked: ev.WatchDisks) -> None:
        """Watch these and no others, at this pace."""
        now = self._agent.actor.clock(self._kernel.now)
        wanted = {ref.target: ref for ref in asked.disks}
        kept = {name: watch for name, watch in self.watches.items() if wanted.get(name) == watch.ref}
        self.watches = {name: kept.get(name) or Watch(ref, now) for name, ref in wanted.items()}
        self._interval = self._fast if asked.fast else 0.0
        self._schedule()

    def unread(self) -> tuple[str, ...] | None:
        """The targets whose latest good reading is overdue; None where nothing is watched."""
        if not self.watches:
            return None
        now = self._agent.actor.clock(self._kernel.now)
        return tuple([name for name, watch in self.watches.items() if watch.age(now) > DISK_READING_MAX_AGE])

    def read_now(self, targets: tuple[str, ...]) -> None:
        """One reading each that begins after this."""
        for name in targets:
            if name in self.watches:
                self.watches[name].hurried = True
        self._schedule()

    def park(self, target: str, parked: bool) -> None:
        """Close the descriptors of a disk for a mount, or watch it again."""
        watch = self.watches.get(target)
        if watch is not None:
            watch.parked = parked
            self._schedule()

    def go_on(self) -> None:
        """Disks that stalled answer: what was stuck is complete."""
        for watch in list(self.watches.values()):
            if watch.stuck < math.inf:
                began, watch.stuck = watch.stuck, math.inf
                self._take(watch, began)
        self._schedule()

    def _schedule(self) -> None:
        fast = self._interval
        due = min([watch.due(fast) for watch in self.watches.values()], default=math.inf)
        if due == math.inf:
            return
        now = self._kernel.now
        at = max(self._agent.actor.when(due) if due > -math.inf else now, now) + A_MOMENT
        if at < self._due - 1e-9:
            self._due = at
            self._kernel.at(at, self._agent.actor, self._look, at)

    def _look(self, at: float) -> None:
        if at != self._due:
            return
        self._due = math.inf
        now, fast = self._agent.actor.clock(self._kernel.now), self._interval
        for watch in list(self.watches.values()):
            if watch.due(fast) <= now + SLACK * (fast or watch.interval):
                watch.hurried = False
                if self._host.stalled:
                    watch.stuck = now
                else:
                    self._take(watch, now)
        self._schedule()

    def _take(self, watch: Watch, began: float) -> None:
        view = watch.take(self._host.probe(watch.ref.target, began))
        self._agent.tell(ev.DiskSeen(reading_of(watch.ref.target, view)))
