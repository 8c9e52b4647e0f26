"""What is really so in a world, whatever anybody in it believes: as one JSON object.

Here: asking power plane, kernel, monitor and load, and putting it together. Not here: what the API server says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ostkeeper.testbed.host import Host

if TYPE_CHECKING:
    from ostkeeper.testbed.world import World


async def tell(world: World) -> dict[str, Any]:
    """The whole truth. Takes some 0.1 s a target that is mounted nowhere: its records are looked for in a copy.

    `overlaps` counts what `violations` lists. Raises `MonitorGone`: without a monitor nothing is true.
    """
    records = await world.load.check(list(world.hosts.values()))
    verdict = await world.monitor.verdict()
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "hosts": {name: _host(world, host, verdict.holders) for name, host in world.hosts.items()},
        "targets": {
            target: {
                "device": image.device,
                "sector_size": image.sector_size,
                "held_by": verdict.holders.get(target, []),
            }
            for target, image in world.images.items()
        },
        "overlaps": len(verdict.overlaps),
        "violations": verdict.overlaps,
        "monitor": {"samples": verdict.samples, "longest_gap": verdict.longest_gap},
        "records": {"acknowledged": records.acknowledged, "lost": records.lost, "missing": records.missing},
        "operators": _operators(world),
        "errors": list(world.plane.errors),
    }


def _operators(world: World) -> dict[str, str]:
    if not world.has_operators:
        return {}
    return {name: world.operators.state(name) for name in world.operators.names}


def _host(world: World, host: Host, holders: dict[str, list[str]]) -> dict[str, Any]:
    plane, name = world.plane, host.name
    return {
        "power": plane.powered(name),
        "bmc": plane.bmc(name),
        "ac": plane.ac(name),
        "feeds": {str(feed): plane.outlet(feed.device, feed.outlet) for feed in plane.feeds(name)},
        "running": host.running,
        "hung": host.hung,
        "stalled": host.stalled,
        "partitions": sorted(host.cuts),
        "boot_id": host.boot_id if host.running else "",
        "board": host.board,
        "agent_starts": world.agents_started.get(name, 0),
        "kubelet": world.kubelet_alive(name),
        "mounts": host.mounts(),
        "holds": sorted(target for target, names in holders.items() if name in names),
    }
