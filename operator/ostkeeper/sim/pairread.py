"""The consistent read before an act, as `agent.pair_reader` makes it: several requests side by side, and a deadline.

Each request is consistent in itself; between two of them somebody may write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev

if TYPE_CHECKING:
    from ostkeeper.sim.agents import AgentRun

READ_WITHIN = 2.0
"""Seconds for the whole read."""


class ReadingPair:
    """The consistent read before an act."""

    __slots__ = ("asked", "began", "began_truly", "failed", "halves", "run")

    def __init__(self, run: AgentRun, asked: ev.ReadPair) -> None:
        self.run, self.asked = run, asked
        self.began, self.began_truly = run.actor.clock(run.kernel.now), run.kernel.now
        self.halves: dict[str, tuple[Any, ...]] = {}
        self.failed = False

    def begin(self) -> None:
        """Ask for both halves."""
        store, asked = self.run.world.store, self.asked
        key = f"{asked.namespace}/{asked.pair}"

        def pair() -> tuple[Any, ...]:
            failovers = (store.find(Failover, f"{asked.namespace}/{name}") for name in asked.failovers)
            return store.find(OSSPair, key), tuple(found for found in failovers if found is not None)

        def osts() -> tuple[Any, ...]:
            return store.of_pair(OST, key), store.find(OSS, asked.partner) if asked.partner else None

        self.run.client.call(pair, lambda half: self._came("pair", half), READ_WITHIN)
        self.run.client.call(osts, lambda half: self._came("osts", half), READ_WITHIN)

    def _came(self, what: str, half: tuple[Any, ...] | None) -> None:
        if self.failed:
            return
        if half is None:
            self.failed = True
            self.run.tell(ev.PairRead(self.asked.op, self.began, None, "no answer in time"))
            return
        self.halves[what] = half
        if len(self.halves) == 2:
            permits = self.run.world.checker.permits
            if permits is not None:
                permits.read(self.run.host.name, self.began_truly)
            (pair, failovers), (osts, partner) = self.halves["pair"], self.halves["osts"]
            snapshot = ev.HostSnapshot(pair, osts, partner, failovers)
            self.run.tell(ev.PairRead(self.asked.op, self.began, snapshot))
