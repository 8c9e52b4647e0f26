"""How faults of the cluster are made to happen, and how they are undone: operators, the API server, and what people do.

Here: one short function a kind. Not here: the same for what stands on the floor, and the table of all (`levers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Answer, Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import DrillRequest, OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.sim.config import NAMESPACE

if TYPE_CHECKING:
    from ostkeeper.sim.world import World

Undo = Callable[[], None]
SLOW_API = 2.5
SLOW_WATCH = 6.0
RETIRING, LOOKS = 2.0, 20
"""Seconds between two looks whether an OST is unmounted, and how many they are."""
EMPTYING, DRILLING = 12.0, 60.0
"""Seconds that a person waits for a server to be empty before its drill, and for one drill before the next."""


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


def _machine_breaks(world: World, pair: str) -> None:
    """The leader's: a standby's would know nothing anyway."""
    for shell in world.operators.values():
        if shell.leads and shell.process is not None:
            shell.process.fall_over(f"{NAMESPACE}/{pair}")


# --- the API server


def _api_down(world: World) -> Undo:
    world.store.go_down()
    return world.store.come_up


def _store(word: str, value: float) -> Callable[[World], Undo]:
    def lever(world: World) -> Undo:
        setattr(world.store, word, value)
        return lambda: setattr(world.store, word, 0.0)

    return lever


def _reports_refused(world: World, host: str) -> Undo:
    """The API server takes a server's lease and refuses its report: a schema or a policy that the agent's report breaks."""
    world.store.refuses.setdefault(host, world.kernel.now)

    def taken() -> None:
        world.store.refuses.pop(host, None)

    return taken


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


def _etcd_restored(*, raised: bool) -> Callable[[World], Undo]:
    def lever(world: World) -> Undo:
        backup = world.store.backup()

        def restore() -> None:
            world.store.restore(backup, raised=raised)

        return restore

    return lever


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
            return _undo(world, before, world.store.find(kind, key))
    return None


def _undo(world: World, before: Any, after: Any) -> Undo:
    return lambda: world.people.take_back(type(before), before.key, before.spec, after.spec)


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


def _retire(world: World, target: str) -> None:
    """Unmounted first, then deleted; not by one who forgets to wait. It stays in Git if it cannot be unmounted."""
    ost = next((ost for ost in world.store.every(OST) if ost.target == target), None)
    if ost is not None and world.people.edit_spec(OST, ost.key, desired="Unmounted"):
        world.kernel.after(RETIRING, world.kernel.net, _delete_unmounted, world, ost.key, LOOKS)


def _delete_unmounted(world: World, key: str, looks: int) -> None:
    ost = world.store.find(OST, key)
    if ost is None or ost.spec.desired != "Unmounted":
        return
    if world.store.up and ost.status is not None and ost.status.state == "Unmounted":
        world.people.retired.add(key)
        world.store.delete(OST, key, "ann")
    elif looks:
        world.kernel.after(RETIRING, world.kernel.net, _delete_unmounted, world, key, looks - 1)


def _drill(world: World, host: str) -> Undo | None:
    """First it is emptied, as a person would; then each of its levels is drilled; then it is in service again."""
    pair = next((pair for pair in world.store.every(OSSPair) if host in pair.servers), None)
    if pair is None or pair.spec.maintenance:
        return None
    world.people.edit_spec(OSSPair, pair.key, maintenance=(host,))
    for place, level in enumerate(pair.fencing_of(host)):
        name = f"drill-{world.kernel.events}-{place}"
        request = DrillRequest(node=host, level=level.name, id=name, accept_partner_outage=True)
        wait = EMPTYING + DRILLING * place
        world.kernel.after(wait, world.kernel.net, world.people.edit_if_there, OSSPair, pair.key, {"drill": request})

    def in_service() -> None:
        world.people.edit_spec(OSSPair, pair.key, maintenance=())

    return in_service


CLUSTER: Mapping[str, Callable[..., Undo | None]] = {
    "operator-dies": _operator_dies,
    "operator-pauses": _operator_pauses,
    "operator-restarts": _operator_restarts,
    "leader-dies": _leader(_operator_dies),
    "leader-pauses": _leader(_operator_pauses),
    "machine-breaks": _machine_breaks,
    "api-down": _api_down,
    "api-slow": _store("slow", SLOW_API),
    "answers-lost": _store("lossy", 0.5),
    "conflicts": _store("meddling", 0.5),
    "reports-refused": _reports_refused,
    "watches-break": _watches_break,
    "watches-lag": _watches_lag,
    "etcd-restored": _etcd_restored(raised=False),
    "etcd-restored-raised": _etcd_restored(raised=True),
    "answers": _answers,
    "answers-late": _answers_late,
    "answers-twice": _answers_twice,
    "edit": _edit,
    "delete": _delete,
    "retire": _retire,
    "drill": _drill,
}
"""By kind, as in `levers.LEVERS`."""
