"""An agent's lease and the partner that it asks, as `agent.heartbeat` and `agent.peer` have it. One event serves both.

Not here: whether the lease may be renewed (`core.permission`), what silence means (`core`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Beat

if TYPE_CHECKING:
    from ostkeeper.sim.agents import AgentRun

LEAST_WITHIN = 0.2
"""Seconds that a renewal is given at the least; else 0.8 intervals."""


class Pulse:
    """Of one run of an agent."""

    __slots__ = (
        "_ask_due",
        "_ask_every",
        "_at",
        "_heard",
        "_peer",
        "_renew_due",
        "_renewing",
        "_run",
        "_version",
        "beat",
    )

    def __init__(self, run: AgentRun) -> None:
        self._run = run
        self.beat = ev.Beat(False, 2.0, 10.0)
        self._renewing = False
        self._renew_due = self._ask_due = self._at = math.inf
        self._peer, self._ask_every = "", 2.0
        self._version = 0
        self._heard = False
        """Something was told of the partner, if only that it did not answer."""

    def set(self, beat: ev.Beat) -> None:
        """Begin, stop, or change the pace, at once."""
        self.beat = beat
        self._renew_due = -math.inf if beat.allowed else math.inf
        self._plan()

    def ask(self, node: str, interval: float) -> None:
        """Ask this partner from now on."""
        self._peer, self._ask_every, self._ask_due = node, interval, -math.inf
        self._plan()

    def _plan(self) -> None:
        """Renewing and asking have the same pace: one event for both."""
        due = min(math.inf if self._renewing else self._renew_due, self._ask_due)
        if due < math.inf:
            at = max(self._run.actor.when(due) if due > -math.inf else 0.0, self._run.kernel.now)
            if at < self._at - 1e-6:
                self._at = at
                self._run.kernel.at(at, self._run.actor, self._beat_due, at)

    def _beat_due(self, at: float) -> None:
        if at != self._at:
            return
        self._at = math.inf
        now = self._run.actor.clock(self._run.kernel.now)
        if self._ask_due <= now + 0.3 * self._ask_every:
            self._ask_due = now + self._ask_every
            self._ask_partner()
        if self._renew_due <= now + 1e-6 and not self._renewing and self._run.alive:
            self._renew(now)
        else:
            self._plan()

    def _renew(self, began: float) -> None:
        run = self._run
        store, node, boot, report, unread = run.world.store, run.host.name, run.boot, run.report, run.disks.unread()
        pending = None if run.pending_since is None else max(0.0, began - run.pending_since)
        self._renewing = True

        def renewed(beat: Beat | None) -> None:
            self._renewing = False
            interval = self.beat.interval
            self._renew_due = began + (interval if beat is not None else interval / 2)
            if not self.beat.allowed:
                self._renew_due = math.inf
            if beat is not None:
                self._compare(int(beat.version))
                self._run.tell(ev.Renewed(began))
            self._plan()

        within = max(LEAST_WITHIN, 0.8 * self.beat.interval)
        self._run.client.call_at_once(lambda: store.beat(node, boot, report, unread, pending), renewed, within)

    def _compare(self, version: int) -> None:
        """Where versions went back, etcd was restored: list anew."""
        before, self._version = self._version, version
        if version < before:
            self._run.news.relist()

    def _ask_partner(self) -> None:
        """What comes back in time is told; that nothing did, once: it only begins the count of silence."""
        world, me, peer = self._run.world, self._run.host.name, self._peer
        agent = world.agents.get(peer)
        boot = ""
        if agent is not None and world.network.reaches(me, peer) and world.network.reaches(peer, me):
            boot = agent.answering if not world.hosts[peer].filtered else ""
        if boot:
            world.hosts[peer].spoken.add(boot)
        if boot or not self._heard:
            self._heard = True
            self._run.tell(ev.PeerSeen(boot))
