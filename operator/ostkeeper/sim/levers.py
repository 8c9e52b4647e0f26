"""How each kind of fault is made to happen in a world, and how it is undone.

Here: one short function a kind, that pulls at the parts of the floor: servers, agents, network, fence devices. Not here: the
same for operators, API server and people (`clusterlevers`), what there is to go wrong (`faults`), when (`run`), what follows
(the machines).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.core.diskview import Mark, MmpState
from ostkeeper.sim.clusterlevers import CLUSTER, Undo
from ostkeeper.sim.config import NAMESPACE
from ostkeeper.sim.disks import THIRD_HOST
from ostkeeper.sim.hosts import Memory
from ostkeeper.sim.network import API, EVERYONE

if TYPE_CHECKING:
    from ostkeeper.sim.world import World

SLOW_DEVICE = (0.8, 3.0)
"""Seconds that a slow device takes to answer."""
LOSSY = 0.35
LATE_SWITCH = 4.0
"""Seconds from an acknowledged off until a late device switches; less than a failover waits for a feed that reads ON."""
METER_LAG = 6.0
"""Seconds in which meters that lag come down; less than `load.grace`."""


# --- servers


def _host_dies(world: World, host: str) -> Undo:
    world.hosts[host].repaired = False
    world.devices.settle()

    def repaired() -> None:
        world.hosts[host].repaired = True
        world.devices.settle()

    return repaired


def _host_loses_power(world: World, host: str) -> Undo:
    world.devices.plug_in(host, False)
    return lambda: world.devices.plug_in(host, True)


def _host_panics(world: World, host: str) -> Undo:
    boot = world.hosts[host].boot
    world.hosts[host].panic()

    def reset() -> None:
        if boot and world.hosts[host].boot == boot:
            world.hosts[host].reset()

    return reset


def _host_hangs(world: World, host: str) -> Undo:
    world.hosts[host].hang()
    return world.hosts[host].thaw


def _host_reboots(world: World, host: str) -> None:
    world.hosts[host].reset()


def _on_by_hand(world: World, host: str) -> None:
    world.devices.press(host, True)


def _off_by_hand(world: World, host: str) -> None:
    world.devices.press(host, False)


def _other_board(world: World, host: str) -> Undo:
    """The machine is swapped: the new one comes up in its place, the old one comes back in the end."""
    server = world.hosts[host]
    own = server.board

    def swap(board: str) -> None:
        world.devices.plug_in(host, False)
        server.board = board
        world.devices.plug_in(host, True)

    swap(f"another-{own}")
    return lambda: swap(own)


def _disks_stall(world: World, host: str) -> Undo:
    world.hosts[host].stall_disks()
    return world.hosts[host].unstall_disks


def _disks_lost(world: World, host: str) -> Undo:
    world.hosts[host].lose_disks()
    return world.hosts[host].find_disks


def _disk_gone(world: World, host: str, target: str) -> Undo | None:
    """Nothing, where the server is of another pair."""
    server = world.hosts[host]
    if target not in server.targets:
        return None
    server.lose_disk(target)
    return lambda: server.find_disk(target)


def _disk_errors(world: World, host: str) -> Undo:
    """Undone: somebody has run e2fsck on what it flagged."""
    flagged = [world.disks[target] for target in world.hosts[host].targets]
    world.hosts[host].disk_errors()

    def checked() -> None:
        for disk in flagged:
            disk.errors = False

    return checked


def _site_dark(world: World) -> Undo:
    """All servers at once; they come back one by one, in random order, each within its own time."""
    names = list(world.hosts)
    for name in names:
        world.devices.plug_in(name, False)

    def lit() -> None:
        world.kernel.random.shuffle(names)
        for place, name in enumerate(names):
            wait = place * world.kernel.random.uniform(0.0, 30.0)
            world.kernel.after(wait, world.kernel.net, world.devices.plug_in, name, True)

    return lit


# --- agents


def _agent_dies(world: World, host: str) -> Undo:
    world.agents[host].kill()
    return world.agents[host].revive


def _agent_restarts(world: World, host: str) -> None:
    world.agents[host].restart()


def _agent_pauses(world: World, host: str) -> Undo:
    world.agents[host].pause()
    return world.agents[host].resume


def _agent_forgets(world: World, host: str) -> None:
    world.agents[host].end()
    world.hosts[host].memory = Memory()
    world.agents[host].restart()


def _agent_corrupt(world: World, host: str) -> None:
    world.hosts[host].memory.corrupt = "state.json: cut off in the middle"
    world.agents[host].restart()


def _mounts(how: Literal["slow", "hang", "fail"]) -> Callable[[World, str], Undo]:
    """Mounts on a server misbehave."""

    def lever(world: World, host: str) -> Undo:
        world.hosts[host].table.set_mounting(how)
        return lambda: world.hosts[host].table.set_mounting("")

    return lever


def _umounts_hang(world: World, host: str) -> Undo:
    world.hosts[host].table.set_umount_hangs(True)
    return lambda: world.hosts[host].table.set_umount_hangs(False)


def _hand_mount(world: World, target: str, host: str) -> Undo:
    """Somebody who knows nothing of the operator; the kernel's own check is all that there is."""
    server = world.hosts[host]
    if target in server.targets and server.running:
        server.table.mount(target, f"/mnt/{target}", _nobody, by_hand=True)

    def unmount() -> None:
        mount = server.table.mounts.get(target)
        if mount is not None and mount.by_hand and mount.done:
            server.table.umount(target, _nobody)
        elif mount is not None and mount.by_hand:
            world.kernel.after(1.0, world.kernel.net, unmount)

    return unmount


def _e2fsck(world: World, target: str, host: str) -> Undo:
    """It refuses a file system that is in use, by its own look at MMP; else it marks the block as its own until it ends."""
    server, disk = world.hosts[host], world.disks[target]
    free = not any(writer.running for writer in disk.writers)
    if free and server.running and target in server.targets and server.exclusive(target):
        disk.write(MmpState.FSCK, world.kernel.now, server.mark(target))

    def ended() -> None:
        if disk.block(world.kernel.now)[0] is MmpState.FSCK:
            disk.write(MmpState.CLEAN, world.kernel.now)

    return ended


def _third_host(*, dies: bool) -> Callable[[World, str], Undo]:
    """A host outside of the site that sees the LUN mounts it once nobody writes to it, past what stands still in MMP.

    It runs a copy of a server's system disk: the node name in its mark is that server's, the device is another.
    """

    def lever(world: World, target: str) -> Undo:
        disk, trying = world.disks[target], [True]
        owner = next(host for host in world.hosts.values() if target in host.targets)
        mark = Mark(owner.mark(target).node, "sdq")

        def attempt() -> None:
            free = not any(writer.running for writer in disk.writers)
            if not trying or not free or disk.block(world.kernel.now)[0] is MmpState.FSCK:
                if trying:
                    world.kernel.after(1.0, world.kernel.net, attempt)
                return
            trying.clear()
            writer = disk.start(THIRD_HOST, mark, world.kernel.now)
            if dies:
                disk.end(writer, world.kernel.now, clean=False)

        def gone() -> None:
            trying.clear()
            writer = disk.third_host
            if writer is not None:
                disk.end(writer, world.kernel.now, clean=True)
            elif disk.block(world.kernel.now)[::2] == (MmpState.SEQUENCE, mark):
                disk.write(MmpState.CLEAN, world.kernel.now)  # somebody has found what it left, and checked it

        attempt()
        return gone

    return lever


def _nobody(why: str) -> None:
    """Whom it is told."""


# --- network


def _end(name: str) -> str:
    return {"all": EVERYONE, "api": API}.get(name, name)


def _witness_filtered(world: World, host: str) -> Undo:
    world.hosts[host].filtered += 1

    def opened() -> None:
        world.hosts[host].filtered -= 1

    return opened


def _cut(world: World, a: str, b: str) -> Undo:
    world.network.cut(_end(a), _end(b))
    return lambda: world.network.heal(_end(a), _end(b))


def _cut_one_way(world: World, a: str, b: str) -> Undo:
    world.network.cut(_end(a), _end(b), one_way=True)
    return lambda: world.network.heal(_end(a), _end(b), one_way=True)


# --- fence devices


def _device(**words: Any) -> Callable[[World, str], Undo]:
    """Set attributes of a device; undone, they are what they are when it is well."""

    def lever(world: World, device: str) -> Undo:
        found = world.devices.devices[device]
        before = {word: getattr(found, word) for word in words}
        for word, value in words.items():
            setattr(found, word, value)

        def well() -> None:
            for word, value in before.items():
                setattr(found, word, value)
            found.lied.clear()

        return well

    return lever


def _device_reboots(world: World, device: str) -> None:
    world.devices.reboot(device)


def _device_reboots_on(world: World, device: str) -> None:
    world.devices.reboot(device, on=True)


def _cords_swapped(world: World, a: str, b: str) -> Undo:
    world.devices.swap(a, b)
    return lambda: world.devices.swap(a, b)


def _bmc_misled(world: World, device: str, host: str) -> Undo:
    """Its address leads to the BMC of another server, for whatever reason: DHCP, a mistyped address, a swapped cable."""
    world.devices.lead(device, world.devices.bmc_of(host))
    return lambda: world.devices.lead(device, "")


def _pdu_replaced(world: World, device: str) -> Undo:
    """Another unit took over the address. The cords stay in the old one, and its outlets as they are."""
    world.devices.lead(device, world.devices.spare(device))
    return lambda: world.devices.lead(device, "")


def _declared_twice(world: World, a: str, b: str) -> Undo:
    """Somebody mistypes an address: an alias of another PDU's."""
    key = f"{NAMESPACE}/{b}"
    before = world.store.find(FenceDevice, key)
    if before is not None:
        world.people.edit(FenceDevice, key, "address", f"alias-of-{a}.example")
    world.devices.lead(b, a)
    edited = world.store.find(FenceDevice, key)

    def corrected() -> None:
        world.devices.lead(b, "")
        if before is not None and edited is not None:
            world.people.take_back(FenceDevice, key, before.spec, edited.spec)

    return corrected


def _boards(uuid: str) -> Callable[[World, str, str], Undo]:
    """Both boards report this system UUID from now on, and so do their BMCs; a person has accepted that."""

    def lever(world: World, a: str, b: str) -> Undo:
        own = {name: world.hosts[name].board for name in (a, b)}

        def update(boards: Mapping[str, str]) -> None:
            for name, board in boards.items():
                world.hosts[name].board = board
                world.people.accept_board(name)
                world.agents[name].restart()

        update(dict.fromkeys(own, uuid))
        return lambda: update(own)

    return lever


LEVERS: Mapping[str, Callable[..., Undo | None]] = {
    "host-dies": _host_dies,
    "host-loses-power": _host_loses_power,
    "host-panics": _host_panics,
    "host-hangs": _host_hangs,
    "host-reboots": _host_reboots,
    "host-on-by-hand": _on_by_hand,
    "host-off-by-hand": _off_by_hand,
    "host-other-board": _other_board,
    "disks-stall": _disks_stall,
    "disks-lost": _disks_lost,
    "disk-gone": _disk_gone,
    "disk-errors": _disk_errors,
    "site-dark": _site_dark,
    "agent-dies": _agent_dies,
    "agent-restarts": _agent_restarts,
    "agent-pauses": _agent_pauses,
    "agent-forgets": _agent_forgets,
    "agent-corrupt": _agent_corrupt,
    "mounts-slow": _mounts("slow"),
    "mounts-hang": _mounts("hang"),
    "mounts-fail": _mounts("fail"),
    "umounts-hang": _umounts_hang,
    "hand-mount": _hand_mount,
    "e2fsck": _e2fsck,
    "third-host": _third_host(dies=False),
    "third-host-dies": _third_host(dies=True),
    "witness-filtered": _witness_filtered,
    "cut": _cut,
    "cut-one-way": _cut_one_way,
    "device-silent": _device(silent=True),
    "device-slow": _device(latency=SLOW_DEVICE),
    "device-lossy": _device(loss=LOSSY),
    "device-stuck": _device(stuck=True),
    "device-lying": _device(liar=True),
    "device-reads-on": _device(reads_on=True),
    "device-late": _device(delay=LATE_SWITCH),
    "device-meter-lags": _device(lag=METER_LAG),
    "device-wrong-password": _device(password=False),
    "device-reboots": _device_reboots,
    "device-reboots-on": _device_reboots_on,
    "cords-swapped": _cords_swapped,
    "bmc-misled": _bmc_misled,
    "pdu-replaced": _pdu_replaced,
    "declared-twice": _declared_twice,
    "boards-alike": _boards("1c9d2f00-6a1e-4c1b-8b7e-0123456789ab"),
    "boards-unset": _boards("03000200-0400-0500-0006-000700080009"),
    **CLUSTER,
}
"""By kind. What is returned undoes it; None: it happened once."""
