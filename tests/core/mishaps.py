"""More words for scenarios: what happens to objects, backups, outlets and questions. The rest stands in `story`."""

from __future__ import annotations

from collections.abc import Callable

from core.apistore import RefusedError
from core.lens import lagging
from core.world import World
from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Approval, Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e
from ostkeeper.core.claims import find_problems

PAIR_KEY = (OSSPair.kind, "pair-a")
KINDS: dict[str, type[Resource]] = {"pair": OSSPair, "ost": OST, "device": FenceDevice, "failover": Failover}


def _key(kind: str, name: str) -> tuple[str, str]:
    full = f"scratch-ost{name}" if kind == "ost" else name
    return KINDS[kind].kind, full


def delete(world: World, kind: str, name: str) -> None:
    """Somebody deletes an object; the watch says that it is gone."""
    key = _key(kind, name)
    world.store.objects.pop(key)
    if world.api_up:
        world.tell(world.operator, e.Gone(key[0], f"scratch/{key[1]}"))


def create_anew(world: World, kind: str, name: str) -> None:
    """Deleted and created again from Git: another UID, and nothing in its status."""
    key = _key(kind, name)
    old = world.store.objects.pop(key)
    meta = old.metadata.model_copy(update={"uid": f"uid-{key[1]}-again"})
    world.store.put(old.model_copy(update={"metadata": meta, "status": None}))


def _outlet(world: World, device: str, outlet: str, state: str) -> None:
    """A person at the rack."""
    world.floor.devices[device].outlets[outlet] = state == "on"


def _button(world: World, name: str, state: str) -> None:
    world.floor.servers[name].chassis = state == "on"


def _blind(world: World, name: str, words: str, target: str) -> None:
    server = world.floor.servers[name]
    others = tuple(t for t in server.blind if t != f"scratch-{target}")
    server.blind = others if words == "can read" else (*others, f"scratch-{target}")


def _reports(world: World, name: str, words: str) -> None:
    """Its lease is taken all the same."""
    world.floor.servers[name].reports_refused = words == "refuses"


def _late_write(world: World, target: str) -> None:
    """A command that a server had queued in the array lands, of the MMP block."""
    world.floor.disks[f"scratch-{target}"].moved_at = world.now


def _password(world: World, name: str, words: str) -> None:
    world.floor.devices[name].fault = "unauthorized" if words == "refuses the password" else ""


def _reads(world: World, by: str) -> None:
    """A person looks at the question, and will answer that one."""
    status = world.last.status
    assert status is not None
    world.read_question[by] = (world.last.name, status.evidence)


def _answers_what_was_read(world: World, by: str, answer: str) -> None:
    name, evidence = world.read_question[by]
    approval = Approval.model_validate({"answer": answer, "evidence": evidence, "by": by})
    try:
        world.store.edit(Failover, name, approval=approval.wire())
    except RefusedError as refusal:
        world.log.world_says(f"refused: {refusal}")


def _backup(world: World) -> None:
    world.backup = dict(world.store.objects)


def _restore(world: World) -> None:
    """etcd comes back as it was when the backup was taken, its revision raised, as its manual asks; all list anew."""
    world.crash_operator()
    world.store.objects = dict(world.backup)
    for obj in world.backup.values():
        meta = obj.metadata.model_copy(update={"resource_version": world.store.tick()})
        world.store.objects[obj.kind, obj.name] = obj.model_copy(update={"metadata": meta})
    for server in world.floor.servers.values():
        server.reported = None


def _restore_raised(world: World, unnoticed: str | None) -> None:
    """The same with `--bump-revision --mark-compacted`: each object has its version of the backup, later writes have higher
    ones than ever, and all watches list. The operator lives; its canary has gone back, which it notices unless nobody tells it."""
    world.store.objects = dict(world.backup)
    for server in world.floor.servers.values():
        server.reported = None
        if server.lives and PAIR_KEY in world.backup:
            world.agents.list_anew(server, world.store.get(OSSPair, "pair-a"))
    operator = world.operator
    if operator is None:
        return
    for obj in world.backup.values():
        world.tell(operator, e.Seen(obj))
    if unnoticed is None:
        operator.heartbeats.pulses.clear()
        operator.heartbeats.restart(world.now)
        world.leader = operator.name = f"{operator.name}b"
        world.tell(operator, e.Led(operator.name))


def _leads(world: World, name: str, server: str) -> None:
    """The address of a BMC leads to the BMC of a server."""
    real = f"bmc-{server}"
    world.floor.devices[name].leads_to = "" if real == name else real


def _leads_pdu(world: World, name: str, other: str) -> None:
    """One PDU answers at both addresses."""
    world.floor.devices[name].leads_to = "" if other == name else other


def _no_identity(world: World, name: str) -> None:
    world.floor.devices[name].serial = "-"


def _identified(world: World, name: str) -> None:
    """The prober records the identity of the device that answers, and objects are compared."""
    old = world.store.get(FenceDevice, name)
    assert old.status is not None
    identity = world.floor.identity(world.floor.at(name))
    told = {"identity": identity, "system_uuid": identity.removeprefix("guid:") if old.spec.ipmi else ""}
    world.store.put(old.model_copy(update={"status": old.status.model_copy(update=told)}))
    world.set_problems(*find_problems((world.pair,), (), world.store.every(FenceDevice), world.store.every(OSS)))


Act = Callable[..., None]
VERBS: list[tuple[str, Act]] = [
    (r"delete (pair|ost|device|failover) (\S+)", delete),
    (r"(pair|ost|device|failover) (\S+) is created anew", create_anew),
    (r"(left|right)/(\d) is switched (on|off) by hand", _outlet),
    (r"(oss\d) is switched (on|off) at its BMC", _button),
    (r"(oss\d) (cannot read|can read) (OST\w+)", _blind),
    (r"(left|right|bmc-oss\d) (refuses|takes) the password", lambda w, n, t: _password(w, n, f"{t} the password")),
    (r"the API server (refuses|takes) the reports of (oss\d)", lambda w, t, n: _reports(w, n, t)),
    (r"a late write of (OST\w+) lands", _late_write),
    (r"(ann|bob) reads the question", _reads),
    (r"(ann|bob) answers (\w+) to what (?:he|she) read", _answers_what_was_read),
    (r"the watch of (oss\d)'s reports is late by ([\d.]+)s", lambda w, n, t: lagging(w, {f"OSS {n}": float(t)})),
    (r"(bmc-oss\d) leads to (oss\d)'s board", _leads),
    (r"(left|right) leads to the PDU (left|right)", _leads_pdu),
    (r"(left|right) was replaced by another unit", lambda w, n: w.floor.replace_unit(n)),
    (r"(left|right|bmc-oss\d) reports no identity", _no_identity),
    (r"the prober identifies (left|right|bmc-oss\d)", _identified),
    (r"a backup of etcd is taken", _backup),
    (r"etcd is restored from that backup", _restore),
    (r"etcd is restored from that backup with a raised revision(, and no canary tells)?", _restore_raised),
]
