"""A site that was dark and powers on: hundreds of pairs under one operator, on one clock. Their servers boot as they like.

Half a second of an agent's life is ten here, and a heartbeat twenty: the times between which anything is decided are the
product's own (bootTimeout, the fuse's), and those are minutes. Nor is anything mirrored for people, on which nothing is
decided. Here: the site and its morning. Not here: expectations.
"""

from __future__ import annotations

import math
from random import Random

import pytest

from core import agents, world
from core.clockwork import Clockwork
from core.pairs import build
from core.world import World
from ostkeeper.core import plan
from ostkeeper.core.heartbeats import Heartbeats

HEARTBEAT = {"interval": "20s", "timeout": "60s"}
CANARY, TOLD = 2.8, 11.2
"""Seconds between two proofs that the watch lives, below the gap that starts all clocks again; and between two of which each
pair is told."""
POWER_FAILS = 1060.0
DARK = 120.0
"""Seconds for which nothing runs, and no operator either."""


class Site:
    """So many pairs; those from number `fresh` on were never adopted, and nobody has seen a lease of theirs."""

    def __init__(self, patch: pytest.MonkeyPatch, pairs: int, fresh: int, seed: int) -> None:
        patch.setattr(agents, "TURN", 10.0)
        patch.setattr(agents, "KUBELET_EVERY", 600.0)
        patch.setattr(agents, "REPORT_EVERY", 300.0)
        patch.setattr(world, "CANARY", TOLD)
        patch.setattr(plan, "mirror", lambda view, now: [])
        self.random = Random(seed)
        self.clock, self.beats = Clockwork(1000.0), Heartbeats()
        self.clock.every(CANARY, lambda: self.beats.proven(self.clock.now, self.clock.now))
        known = self._build(range(fresh), adopted=True)
        self._lead(known)
        self.clock.run(POWER_FAILS)
        self.worlds = known
        self._go_dark()
        self.clock.run(POWER_FAILS + DARK)
        new = self._build(range(fresh, pairs), adopted=False)
        self.worlds = [*known, *new]
        self._go_dark()

    def _build(self, numbers: range, *, adopted: bool) -> list[World]:
        return [
            build(
                names=(f"oss{2 * i + 1}", f"oss{2 * i + 2}"),
                clock=self.clock,
                beats=self.beats,
                adopted=adopted,
                nodes=False,
                spec={"heartbeat": HEARTBEAT},
            )
            for i in numbers
        ]

    def _lead(self, worlds: list[World]) -> None:
        self.beats.restart(self.clock.now)
        for each in worlds:
            each.zero = self.clock.now
            each.log.muted = True
            each.start_operator()

    def _go_dark(self) -> None:
        for each in self.worlds:
            each.crash_operator()
            for server in each.floor.servers.values():
                server.mains = False
            each.floor.settle_power()
            each.writes.clear()

    def power_on(self, within: float, change: float = math.inf) -> None:
        """The operator starts, and each server is up at some second of the next so many, in no order. Lets that time pass.

        `change`: the second at which another operator leads.
        """
        self._forget()
        self._lead(self.worlds)
        for each in self.worlds:
            for server in each.floor.servers.values():
                server.mains, server.boot_time = True, self.random.uniform(0.0, within)
            each.floor.settle_power()
        self.run(min(change, within))
        if change < within:
            self.change_leader()
            self.run(within - change)

    def change_leader(self) -> None:
        """The operator is lost, and another one leads, which knows nothing but what it is told."""
        for each in self.worlds:
            each.crash_operator()
        self._forget()
        self._lead(self.worlds)

    def _forget(self) -> None:
        for memory in (self.beats.out, self.beats.pulses, self.beats.fuses, self.beats.booted):
            memory.clear()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(self.clock.now + seconds)

    def shot(self) -> list[str]:
        """Every server that was ever ordered off since the site powered on."""
        return [each.last.spec.node for each in self.worlds if "CutPower" in {type(w).__name__ for w in each.writes}]

    def open_failovers(self) -> list[str]:
        """All that is neither over nor done, and what it says."""
        return [
            f"{f.spec.node}: {f.phase}: {f.status.message if f.status else ''}"
            for each in self.worlds
            for f in each.failovers
            if f.phase not in ("Aborted", "Complete")
        ]

    def not_at_home(self) -> list[str]:
        """Targets that are not mounted where they belong, and only there."""
        wrong = []
        for each in self.worlds:
            mounted = each.mounted()
            for target, home in zip(each.floor.disks, each.floor.servers, strict=True):
                if [server for server, has in mounted.items() if target in has] != [home]:
                    wrong.append(f"{target} of {home}")
        return wrong
