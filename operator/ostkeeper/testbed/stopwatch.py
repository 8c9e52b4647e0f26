"""The seconds of one failover, counted from the fault: noticed, fenced, certified, assigned, mounted.

noticed: the Failover's first timeline entry. fenced: the server's last feed really lost current, by the power plane.
certified: the timeline entry that brings the certificate. assigned: the pair's write that gives the targets to the
partner, as a watch shows it. mounted: the last of them is in the partner's mount table. None: it never came to that.
Here: taking and computing these times. Not here: making a fault, waiting for anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ostkeeper.testbed.observer import BASE
from ostkeeper.testbed.world import World

STEPS = ("noticed", "fenced", "certified", "assigned", "mounted")
Seconds = dict[str, float | None]
MOUNT_POLL = 0.02
"""Seconds between two looks at the partner's mount table."""
OWN_FAULT = 0.5
"""Seconds after the fault within which a loss of power is the fault itself, not the fencing."""


@dataclass(slots=True)
class Moments:
    """What the stopwatch itself saw, on the monotonic clock."""

    fault: float
    assigned: float | None = None
    mounted: float | None = None


class Stopwatch:
    """Watches one failover of a server's targets to its partner, from before the fault on."""

    def __init__(self, world: World, host: str) -> None:
        self._world = world
        self._host = host
        pair = world.layout.pair_of(host)
        self._pair = pair.name
        self._partner = next(name for name in pair.hosts if name != host)
        self._targets = set(world.hosts[host].mounts())
        self.moments = Moments(time.monotonic())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Stopwatch]:
        """Watch until the block is left. Enter it before the fault; set `moments.fault` when it was made."""
        async with self._world.control_plane.client() as client:
            listed = await client.get(f"{BASE}/{self._world.layout.namespace}/osspairs")
            events = client.watch(
                f"{BASE}/{self._world.layout.namespace}/osspairs", listed["metadata"]["resourceVersion"]
            )
            tasks = [asyncio.create_task(self._see_assigned(events)), asyncio.create_task(self._see_mounted())]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _see_assigned(self, events: AsyncIterator[dict[str, Any]]) -> None:
        async for event in events:
            pair = event["object"]
            if pair["metadata"].get("name") == self._pair and self.moments.assigned is None:
                rows = pair.get("status", {}).get("assignments", [])
                mine = {row["target"] for row in rows if row["node"] == self._partner and row["intent"] == "Serve"}
                if self._targets <= mine:
                    self.moments.assigned = time.monotonic()

    async def _see_mounted(self) -> None:
        while not self._targets <= set(self._world.hosts[self._partner].mounts()):
            await asyncio.sleep(MOUNT_POLL)
        self.moments.mounted = time.monotonic()

    @property
    def mounted(self) -> bool:
        """Whether the partner really has mounted all of them."""
        return self.moments.mounted is not None

    def seconds(self, failover: Mapping[str, Any]) -> Seconds:
        """The seconds so far; `failover` as the API server has it now."""
        fenced = power_lost(read_events(self._world.directory / "events.jsonl"), self._host, self.moments.fault)
        wall = time.time() - (time.monotonic() - self.moments.fault)
        return seconds(self.moments, wall, failover, fenced)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The world's log, one event a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def power_lost(events: Iterable[Mapping[str, Any]], host: str, fault: float) -> float | None:
    """When the server was fenced: its last feed or its chassis relay went off, by nobody's hand but the operator's."""
    for event in events:
        off = event["what"] in ("ac", "bmc") and event.get("host") == host and event.get("on") is False
        if off and (event["what"] == "ac" or event["monotonic"] > fault + OWN_FAULT) and event["monotonic"] > fault:
            return float(event["monotonic"])
    return None


def seconds(moments: Moments, fault_wall: float, failover: Mapping[str, Any], fenced: float | None) -> Seconds:
    """Put together the five; `fault_wall`: the fault in Unix seconds, since timelines know no other clock."""
    timeline = failover.get("status", {}).get("timeline", [])
    certified = [entry["time"] for entry in timeline if entry["phase"] == "Relocating"]

    def since(moment: float | None) -> float | None:
        return None if moment is None else round(moment - moments.fault, 3)

    def stamped(times: list[str]) -> float | None:
        return round(datetime.fromisoformat(times[0]).timestamp() - fault_wall, 3) if times else None

    return {
        "noticed": stamped([entry["time"] for entry in timeline]),
        "fenced": since(fenced),
        "certified": stamped(certified),
        "assigned": since(moments.assigned),
        "mounted": since(moments.mounted),
    }
