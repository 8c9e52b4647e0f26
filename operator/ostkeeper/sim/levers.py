"""How each kind of fault is made to happen in a world, and how it is undone.

Here: one short function a kind, that pulls at the parts of the world. Not here: what there is to go wrong (`faults`), when
(`run`), what follows (the machines).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Answer, Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import DrillRequest, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.diskview import MmpState
from ostkeeper.sim.config import NAMESPACE
from ostkeeper.sim.hosts import Memory
from ostkeeper.sim.network import API, EVERYONE

if TYPE_CHECKING:
    from ostkeeper.sim.world import World

Undo = Callable[[], None]
SLOW_DEVICE = (0.8, 3.0)
"""Seconds that a slow device takes to answer."""
LOSSY = 0.35
SLOW_API = 2.5
SLOW_WATCH = 6.0
EMPTYING, DRILLING = 12.0, 60.0
"""Seconds that a person waits for a server to be empty before its drill, and for one drill before the next."""


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


def _nobody(why: str) -> None:
    """Whom it is told."""


# --- network


def _end(name: str) -> str:
    return {"all": EVERYONE, "api": API}.get(name, name)


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


# --- operators


def _operator_dies(world: World, operator: str) -> Undo:
    world.operators[operator].kill()
    return world.operators[operator].start


def _operator_restarts(world: World, operator: str) -> None:
    world.operators[operator].kill()
    world.operators[operator].start()


def _operator_pauses(world: World, operator: str) -> Undo:
    world.operators[operator].pause()
    return world.operators[operator].resume


def _leader(lever: Callable[[World, str], Undo]) -> Callable[[World], Undo | None]:
    def to_the_leader(world: World) -> Undo | None:
        leader = next((name for name, shell in world.operators.items() if shell.leads), None)
        return lever(world, leader) if leader else None

    return to_the_leader


# --- the API server


def _api_down(world: World) -> Undo:
    world.store.go_down()
    return world.store.come_up


def _store(word: str, value: float) -> Callable[[World], Undo]:
    def lever(world: World) -> Undo:
        setattr(world.store, word, value)
        return lambda: setattr(world.store, word, 0.0)

    return lever


def _watches_break(world: World, a: str) -> None:
    until = world.kernel.now + world.kernel.random.uniform(0.0, 20.0)
    for stream in world.watches.of(a):
        world.watches.interrupt(stream, until)


def _watches_lag(world: World, a: str) -> Undo:
    streams = world.watches.of(a)
    for stream in streams:
        stream.slow = SLOW_WATCH

    def keep_up() -> None:
        for stream in streams:
            stream.slow = 0.0

    return keep_up


def _etcd_restored(world: World) -> Undo:
    backup = world.store.backup()

    def restore() -> None:
        world.store.restore(backup)

    return restore


# --- people


def _answers(world: World, answer: str) -> None:
    """As soon as somebody is asked."""
    world.people.will_answer(cast("Answer", answer))


def _answers_late(world: World, answer: str) -> None:
    world.people.will_answer(cast("Answer", answer), late=True)


def _answers_twice(world: World, answer: str) -> None:
    world.people.will_answer(cast("Answer", answer), times=2)


def _edit(world: World, words: str) -> Undo | None:
    """`NAME.field=value` of a pair, an OST or a device; nothing, while it is deleted."""
    name, _, rest = words.partition(".")
    field, _, value = rest.partition("=")
    key = f"{NAMESPACE}/{name}"
    kinds: tuple[type[Resource], ...] = (OSSPair, OST, FenceDevice)
    for kind in kinds:
        before = world.store.find(kind, key)
        if before is not None:
            world.people.edit(kind, key, field, value)
            spec = before.spec  # type: ignore[attr-defined]
            return lambda: world.people.take_back(kind, key, spec)
    return None


_DELETED: Mapping[str, type[Resource]] = {kind.kind: kind for kind in (OST, OSSPair, FenceDevice, Failover, OSS)}


def _delete(world: World, what: str) -> Undo | None:
    """`KIND/NAME`, or `Failover/open`. It is created again, without its status, as from Git."""
    kind, _, name = what.partition("/")
    if what == "Failover/open":
        open_ = next((fo.name for fo in world.store.every(Failover) if not fo.status or not _over(fo)), "")
        name = open_ or "none"
    key = name if kind == OSS.kind else f"{NAMESPACE}/{name}"
    found = world.store.find(_DELETED[kind], key)
    if found is None or not world.store.up:
        return None
    world.store.delete(_DELETED[kind], key, "ann")
    if kind in (Failover.kind, OSS.kind):
        return None
    return lambda: world.people.create_again(found)


def _over(failover: Failover) -> bool:
    return failover.phase in ("Complete", "Aborted", "Observed")


def _drill(world: World, host: str) -> Undo | None:
    """First it is emptied, as a person would; then each of its levels is drilled; then it is in service again."""
    pair = next((pair for pair in world.store.every(OSSPair) if host in pair.servers), None)
    if pair is None or pair.spec.maintenance:
        return None
    world.people.edit_spec(OSSPair, pair.key, maintenance=(host,))
    for place, level in enumerate(pair.fencing_of(host)):
        request = DrillRequest(node=host, level=level.name, id=f"drill-{world.kernel.events}-{place}")
        wait = EMPTYING + DRILLING * place
        world.kernel.after(wait, world.kernel.net, world.people.edit_if_there, OSSPair, pair.key, {"drill": request})

    def in_service() -> None:
        world.people.edit_spec(OSSPair, pair.key, maintenance=())

    return in_service


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
    "cut": _cut,
    "cut-one-way": _cut_one_way,
    "device-silent": _device(silent=True),
    "device-slow": _device(latency=SLOW_DEVICE),
    "device-lossy": _device(loss=LOSSY),
    "device-stuck": _device(stuck=True),
    "device-lying": _device(liar=True),
    "device-reads-on": _device(reads_on=True),
    "device-wrong-password": _device(password=False),
    "device-reboots": _device_reboots,
    "device-reboots-on": _device_reboots_on,
    "cords-swapped": _cords_swapped,
    "operator-dies": _operator_dies,
    "operator-pauses": _operator_pauses,
    "operator-restarts": _operator_restarts,
    "leader-dies": _leader(_operator_dies),
    "leader-pauses": _leader(_operator_pauses),
    "api-down": _api_down,
    "api-slow": _store("slow", SLOW_API),
    "answers-lost": _store("lossy", 0.5),
    "conflicts": _store("meddling", 0.5),
    "watches-break": _watches_break,
    "watches-lag": _watches_lag,
    "etcd-restored": _etcd_restored,
    "answers": _answers,
    "answers-late": _answers_late,
    "answers-twice": _answers_twice,
    "edit": _edit,
    "delete": _delete,
    "drill": _drill,
}
"""By kind. What is returned undoes it; None: it happened once."""
