"""Words for what people do to a pair that works: targets that are added, cords that are pulled, hardware that is replaced.

Here: what such words do to the floor and the objects. Not here: faults (`story`, `mishaps`).
"""

from __future__ import annotations

from collections.abc import Callable

from core.machines import Disk, Mount
from core.pairs import ost
from core.world import World


def _add(world: World, name: str, home: str) -> None:
    """A new OST on a LUN that both servers see."""
    found = ost(int(name, 16), home)
    world.floor.disks.setdefault(found.target, Disk(found.target))
    world.store.put(found)


def _mounting(world: World, target: str, server: str) -> None:
    """A child of an agent that is gone is still mounting it."""
    world.floor.servers[server].mounts[f"scratch-{target}"] = Mount(0)


def _child_ends(world: World, target: str, server: str, how: str) -> None:
    name, on = f"scratch-{target}", world.floor.servers[server]
    if how == "fails":
        on.mounts.pop(name, None)
        return
    on.mounts[name].done, on.mounts[name].done_at = True, world.now
    disk = world.floor.disks[name]
    disk.dirty, disk.mark, disk.moved_at = True, server, world.now


def _hand_unmount(world: World, target: str, server: str) -> None:
    world.floor.end_mount(world.floor.servers[server], f"scratch-{target}")


def _checked(world: World, target: str) -> None:
    """Somebody ran e2fsck on what a dead mount left: its block is clean again."""
    world.floor.disks[f"scratch-{target}"].dirty = False


def _third_host(world: World, target: str, does: str) -> None:
    """A host that is none of the pair writes its own mark into the block, and goes on writing, or does not."""
    disk = world.floor.disks[f"scratch-{target}"]
    disk.dirty, disk.mark, disk.moved_at = True, "rescue-host", world.now
    disk.third_host = does == "keeps writing to it"


def _third_host_gone(world: World, target: str) -> None:
    disk = world.floor.disks[f"scratch-{target}"]
    disk.dirty, disk.third_host = False, False


def _marks_unread(world: World, server: str) -> None:
    world.floor.servers[server].marks_unread = True


def _cords(world: World, server: str, state: str) -> None:
    """Its cords and its button, by hand: nobody has asked the operator."""
    floor = world.floor
    floor.servers[server].chassis = state == "on"
    for device, outlet in floor.servers[server].feeds:
        floor.devices[device].outlets[outlet] = state == "on"


def _recovery(world: World, wait: str) -> None:
    """Clients take so long to reconnect to what is mounted from now on."""
    world.floor.recovery_time = float(wait)


def _others_out(world: World, count: str) -> None:
    """Servers of other pairs that were shot unasked and are not back."""
    from ostkeeper.core.heartbeats import Server as Watched

    assert world.operator is not None
    for i in range(int(count)):
        world.operator.heartbeats.servers[f"far{i}"] = Watched(2.0, ("filesystem/scratch",), excused=True)
        world.operator.heartbeats.out[f"far{i}"] = f"pair-far{i}-7"


def _others_back(world: World) -> None:
    assert world.operator is not None
    for name in [n for n in world.operator.heartbeats.out if n.startswith("far")]:
        del world.operator.heartbeats.out[name]


Act = Callable[..., None]
VERBS: list[tuple[str, Act]] = [
    (r"OST(\w+) is added, its home (oss\d)", _add),
    (r"a child is mounting (OST\w+) on (oss\d)", _mounting),
    (r"the mount of (OST\w+) on (oss\d) (succeeds|fails)", _child_ends),
    (r"an admin unmounts (OST\w+) on (oss\d)", _hand_unmount),
    (r"an admin runs e2fsck on (OST\w+)", _checked),
    (r"a third host mounts (OST\w+) and (keeps writing to it|dies)", _third_host),
    (r"(oss\d) has not read back the marks of its mounts", _marks_unread),
    (r"the third host unmounts (OST\w+)", _third_host_gone),
    (r"an admin pulls (oss\d)'s cords", lambda w, n: _cords(w, n, "off")),
    (r"an admin switches (oss\d) on", lambda w, n: _cords(w, n, "on")),
    (r"clients need ([\d.]+)s to reconnect", _recovery),
    (r"(\d+) servers of other pairs were shot unasked", _others_out),
    (r"the servers of other pairs are back", _others_back),
]
