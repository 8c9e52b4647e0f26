"""Each safety rule broken once, and what is right let through; the API server's rules notice what they can see of it, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from host import rig
from ostkeeper.api.common import ObjectMeta
from ostkeeper.api.failover import (
    Approval,
    Certificate,
    DiskProof,
    Evidence,
    Failover,
    FailoverSpec,
    FailoverStatus,
    FeedProof,
    FeedSnapshot,
    LevelSnapshot,
    PolicySnapshot,
    Shot,
)
from ostkeeper.api.oss import Released
from ostkeeper.api.osspair import (
    AdoptedWarrant,
    Assignment,
    Board,
    CertificateWarrant,
    Confirm,
    Fenced,
    Nonce,
    OSSPair,
    OSSPairStatus,
    ReleasedWarrant,
    Warrant,
)
from ostkeeper.core import hostevents as ev
from ostkeeper.core import referee
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.facts import (
    CertificateWrite,
    Creation,
    FailoverWrite,
    MemoryWrite,
    MountOrder,
    OffOrder,
    OnOrder,
    PairWrite,
    ReleaseReport,
    UnmountOrder,
)
from ostkeeper.core.invariants import INVARIANTS, InvariantBroken, broken, check, committed
from ostkeeper.core.power import Feed

pytestmark = pytest.mark.scenario

T = "scratch-OST0000"
ADOPTED = Warrant(adopted=AdoptedWarrant(nonce="n"))
LEFT, RIGHT = Feed("left", "1"), Feed("right", "1")


def grant(
    node: str = "oss1", intent: Any = "Hold", epoch: int = 43, warrant: Warrant = ADOPTED, target: str = T
) -> Assignment:
    return Assignment(target=target, node=node, intent=intent, epoch=epoch, warrant=warrant)


def status(*assignments: Assignment, epoch: int = 43, active: str = "pair-a-42", **more: Any) -> OSSPairStatus:
    return OSSPairStatus(epoch=epoch, active_failover=active, assignments=assignments, **more)


def proof(feed: Feed, state: str = "PoweredOff", reads: int = 3, identity: str = "") -> FeedProof:
    said = {"device_name": feed.device, "outlet": feed.outlet, "identity": identity or f"serial:{feed.device}"}
    return FeedProof(state=state, reads=reads, **said)


def sealed(**change: Any) -> Certificate:
    base: dict[str, Any] = {
        "node": "oss1",
        "boot_id": "boot1",
        "hold_epoch": 43,
        "level": "pdus",
        "feeds": (proof(LEFT), proof(RIGHT)),
        "disks": (DiskProof(target=T, state="Still"),),
        "proof": "SecondDevice",
    }
    certificate = Certificate(**{**base, **change})
    return certificate.model_copy(update={"digest": certificate_digest(certificate)})


def failover(
    phase: Any = "Fencing",
    certificate: Certificate | None = None,
    type_: Any = "Failover",
    approval: Any = None,
    **policy: Any,
) -> Failover:
    feeds = tuple(
        FeedSnapshot(device_name=f.device, outlet=f.outlet, identity=f"serial:{f.device}") for f in (LEFT, RIGHT)
    )
    how = {
        "mode": "Automatic",
        "armed": True,
        "levels": (LevelSnapshot(name="pdus", feeds=feeds),),
        "confirm": Confirm(),
        "clear_mmp": True,
        "valid_for": "2m",
        "boot_timeout": "15m",
        "release_timeout": "5m",
    }
    spec = FailoverSpec(
        pair_name="pair-a",
        epoch=42,
        type=type_,
        node="oss1",
        partner="oss2",
        evidence=Evidence(verdict="Failed", sentence="dead", boot_id="boot1"),
        policy=PolicySnapshot(**how | policy),
        approval=approval,
    )
    shots = tuple(Shot(device_name=f.device, outlet=f.outlet, level=0) for f in (LEFT, RIGHT))
    held = FailoverStatus(phase=phase, hold_epoch=43, certificate=certificate, shots=shots)
    return Failover(metadata=ObjectMeta(name="pair-a-42", namespace="scratch"), spec=spec, status=held)


# ---- facts that are right, each with what a test changes in it

T1 = "scratch-OST0001"
HELD = status(grant(), nonce=Nonce(value="n"))
DEAD = Fenced(node="oss1", failover="pair-a-42", boot_id="boot1")
SEALED = sealed()
NO_UUID = "03000200-0400-0500-0006-000700080009"
PINNED = status(grant(), boards=(Board(node="oss1", system_uuid="board-oss1"),))
UNPINNABLE = status(grant(), boards=(Board(node="oss1", system_uuid=NO_UUID),))
CERTIFIED = Warrant(certificate=CertificateWarrant(failover="pair-a-42", digest=SEALED.digest, node=SEALED.node))
SEALED_BOTH = sealed(disks=(DiskProof(target=T, state="Still"), DiskProof(target=T1, state="Still")))
CERTIFIED_BOTH = Warrant(
    certificate=CertificateWarrant(failover="pair-a-42", digest=SEALED_BOTH.digest, node=SEALED_BOTH.node)
)
NONE: dict[str, Failover] = {}
OPEN = {"pair-a-42": failover("Relocating", SEALED)}
OPEN_BOTH = {"pair-a-42": failover("Relocating", SEALED_BOTH)}


def pair(before: OSSPairStatus | None, after: OSSPairStatus, known: dict[str, Failover] | None = None) -> PairWrite:
    return PairWrite.of("pair-a", before, after, (OPEN if known is None else known).get)


def relocation(before: OSSPairStatus = HELD, known: dict[str, Failover] | None = None, **change: Any) -> PairWrite:
    """All that is in Hold goes to oss2 by the certificate."""
    moved = tuple(grant("oss2", "Serve", 44, CERTIFIED, a.target) for a in before.assignments if a.intent == "Hold")
    rest = tuple(a for a in before.assignments if a.intent != "Hold")
    after = status(*moved, *rest, epoch=44, active="", fenced=(DEAD,), nonce=before.nonce)
    return pair(before, after.model_copy(update=change), known)


def phase(before: Failover, after: Any, known: OSSPairStatus | None = HELD, **change: Any) -> FailoverWrite:
    assert before.status is not None
    return FailoverWrite(before, before.status.model_copy(update={"phase": after, **change}), known)


def certified(**change: Any) -> FailoverWrite:
    return phase(failover(), "Relocating", certificate=sealed(**change))


def certificate(certificate: Certificate = SEALED, **change: Any) -> CertificateWrite:
    how: dict[str, Any] = {"pair": HELD, "now": 110.0, "settled_at": 105.0, "rounds": 3, "moves": True}
    return CertificateWrite(failover(), certificate, **how | change)


def off(**change: Any) -> OffOrder:
    how: dict[str, Any] = {"pair": HELD, "failover": failover(), "feed": LEFT, "now": 100.1, "deadline": 102.0}
    more = {"read_began": 100.0, "partner_fenced": False, "identity": f"serial:{LEFT.device}"}
    return OffOrder(**how | more | change)


def on(**change: Any) -> OnOrder:
    given_back = status(grant(intent="Serve", epoch=44), epoch=44)
    how: dict[str, Any] = {"pair": given_back, "failover": failover(), "feed": LEFT, "now": 110.0, "shots_over": 105.0}
    return OnOrder(**how | change)


def mount(grants: list[Any] | None = None, **given: Any) -> tuple[rig.Rig, MountOrder]:
    """A mount that the machine has just ordered."""
    world = rig.Rig(grants=grants or [rig.grant("Serve", 3)], **given).start()
    host = world.machine.host
    return world, MountOrder(host, host.targets[rig.T], world.one(ev.Mount), world.now)


def mount_but(change: Callable[[rig.Rig], None] = lambda _: None, **order: Any) -> MountOrder:
    world, fact = mount()
    change(world)
    return replace(fact, order=replace(fact.order, **order))


def unmount_but(change: Callable[[rig.Rig], None] = lambda _: None, **order: Any) -> UnmountOrder:
    world = rig.Rig(stored=rig.holding(), mounts=rig.HERE, grants=[rig.grant("Release", 4)]).start()
    host = world.machine.host
    fact = UnmountOrder(host, host.targets[rig.T], world.one(ev.Unmount))
    change(world)
    return replace(fact, order=replace(fact.order, **order))


def memory(**order: Any) -> MemoryWrite:
    world = rig.Rig(stored=rig.holding(), mounts=rig.HERE).start()
    how: dict[str, Any] = {"op": 99, "cluster": rig.CLUSTER, "epochs": {}, "mounts": {}}
    return MemoryWrite(world.machine.host, ev.Remember(**how | order))


def release(**change: Any) -> ReleaseReport:
    """A release that is about to be reported."""
    world = rig.Rig(grants=[rig.grant("Release", 4)]).start()
    target = world.machine.host.targets[rig.T]
    target.busy, target.released = "", Released(epoch=4, boot_id=rig.BOOT)
    for name, value in change.items():
        setattr(target, name, value)
    return ReleaseReport(world.machine.host, target)


RIGHT_FACTS: dict[str, Callable[[], object]] = {
    "a Hold": lambda: pair(status(grant(intent="Serve", epoch=41), epoch=42), HELD),
    "a relocation": relocation,
    "a relocation of what the certificate names": lambda: relocation(
        BOTH, assignments=(grant("oss2", "Serve", 44, CERTIFIED), grant(target=T1))
    ),
    "a certificate without a disk that the partner cannot read": lambda: certificate(pair=BOTH),
    "a move of another target beside one that an earlier Failover left in Hold": lambda: pair(
        status(grant(epoch=40), grant("oss2", "Serve", target=T1)),
        status(grant(epoch=40), grant("oss2", "Release", 44, target=T1), epoch=44),
    ),
    "what was held given back": lambda: pair(HELD, status(grant(intent="Serve", epoch=44), epoch=44)),
    "a first placement": lambda: pair(
        status(epoch=1, active="", nonce=Nonce(value="n")), status(grant(epoch=2), epoch=2, active="")
    ),
    "a slot": lambda: pair(status(epoch=41, active=""), status(epoch=42)),
    "a creation": lambda: Creation(HELD, failover()),
    "a phase": lambda: phase(failover("Holding"), "Fencing"),
    "a certificate": certified,
    "a certificate on a person's word": lambda: phase(
        failover(approval=Approval(answer="ConfirmDead", evidence="e", by="ann")),
        "Relocating",
        certificate=sealed(feeds=(), level="", confirmed_by="ann"),
    ),
    "a certificate, seen from its leader": certificate,
    "an off": off,
    "an off to a pinned board": lambda: off(
        failover=with_bmc(), feed=Feed("bmc-oss1"), identity="guid:board-oss1", pair=PINNED
    ),
    "an off to a device whose identity nobody knows, as accepted": lambda: off(
        failover=with_bmc(accepted=True), feed=Feed("bmc-oss1"), identity="", pair=UNPINNABLE
    ),
    "an on": on,
    "a mount": mount_but,
    "an unmount": unmount_but,
    "a memory": lambda: memory(epochs={rig.UUID: 5}),
    "a release": release,
}


@pytest.mark.parametrize("what", RIGHT_FACTS)
def test_what_is_right_passes(what: str) -> None:
    check(RIGHT_FACTS[what]())


def lost_lease(world: rig.Rig) -> None:
    world.machine.host.lease_until = world.now


def forget(world: rig.Rig) -> None:
    world.machine.host.records.clear()


def seen_higher(world: rig.Rig) -> None:
    world.machine.host.epochs[rig.UUID] = 9


def unread(world: rig.Rig) -> None:
    world.machine.host.read_began -= 2.1


def read_otherwise(world: rig.Rig) -> None:
    held = rig.Rig(grants=[rig.grant("Hold", 3)])
    world.machine.host.read = held.pair


def in_use(world: rig.Rig) -> None:
    target = world.machine.host.targets[rig.T]
    assert target.reading is not None
    target.reading = target.reading._replace(activity="Advancing")


def held_by_child(world: rig.Rig) -> None:
    world.machine.host.targets[rig.T].holder = "mount, pid 7"


def served_elsewhere(world: rig.Rig) -> None:
    world.machine.host.pair = rig.Rig(grants=[rig.grant("Serve", 3, "oss2")]).pair


def undesired(world: rig.Rig) -> None:
    world.machine.host.targets[rig.T].ost = rig.ost(desired="Unmounted")


def dead(world: rig.Rig) -> None:
    own = rig.certificate(node="oss1", bootID=rig.BOOT)
    world.machine.host.failovers["pair-a-4"] = rig.failover(own)


def clearing(**held: Any) -> MountOrder:
    """A mount that clears MMP under this certificate, whatever the planner thought of it."""
    proof = rig.certificate(**held)
    _, fact = mount([rig.grant("Serve", 6, **rig.certified(proof))], failovers=[rig.failover(proof)], disk=rig.STILL)
    return replace(fact, order=replace(fact.order, clear=True))


BOTH: OSSPairStatus = status(grant(), grant(target=T1))


def with_bmc(**feed: Any) -> Failover:
    """A level of one BMC."""
    found = FeedSnapshot(device_name="bmc-oss1", **feed)
    fo = failover(levels=(LevelSnapshot(name="bmc", feeds=(found,)),))
    assert fo.status is not None
    shots = (Shot(device_name="bmc-oss1", level=0),)
    return fo.model_copy(update={"status": fo.status.model_copy(update={"shots": shots})})


OTHERS = status(grant(), grant("oss2", "Serve", 41, target=T1))
WORD = {"feeds": (), "level": "", "confirmed_by": "ann"}
BROKEN: dict[str, list[Callable[[], object]]] = {
    "epoch-goes-back": [
        lambda: pair(HELD, status(grant(), epoch=42)),
        lambda: pair(HELD, status(grant(epoch=42), epoch=44)),
    ],
    "grant-ahead": [lambda: pair(HELD, status(grant(epoch=44)))],
    "grant-lost": [
        lambda: pair(HELD, status(epoch=44)),
        lambda: pair(status(grant(intent="Serve"), active=""), status(epoch=44, active="")),
        lambda: pair(status(grant(intent="Release"), active=""), status(active="")),
        lambda: pair(status(grant(intent="Release"), grant(target=T1)), status(grant(target=T1), epoch=44)),
    ],
    "serve-for-two": [lambda: relocation(assignments=(grant(), grant("oss2", "Serve", 44, CERTIFIED)))],
    "silent-change": [
        lambda: pair(HELD, status(grant(intent="Serve"))),
        lambda: pair(HELD, status(grant(intent="Serve", epoch=44), epoch=45)),
    ],
    "unwarranted-place": [
        lambda: pair(status(epoch=43), HELD),
        lambda: pair(status(epoch=43, nonce=Nonce(value="m")), HELD),
        lambda: pair(status(epoch=43, nonce=Nonce(value="n")), status(grant(warrant=CERTIFIED))),
    ],
    "unwarranted-move": [
        lambda: pair(HELD, status(grant("oss2", "Serve", 44), epoch=44)),
        lambda: pair(HELD, status(grant("oss2", "Serve", 44, Warrant(adopted=AdoptedWarrant(nonce="m"))), epoch=44)),
        lambda: pair(
            status(grant(intent="Serve")), status(grant("oss2", "Serve", 44, CERTIFIED), epoch=44, fenced=(DEAD,))
        ),
    ],
    "certificate-misused": [
        lambda: relocation(known={}),
        lambda: relocation(known={"pair-a-42": failover("Relocating", sealed(boot_id="boot2"))}),
        lambda: relocation(status(grant(epoch=42))),
        lambda: relocation(status(grant(), active="pair-a-40")),
        lambda: relocation(status(grant("oss3"))),
    ],
    "held-left-behind": [
        lambda: relocation(BOTH, OPEN_BOTH, assignments=(grant("oss2", "Serve", 44, CERTIFIED_BOTH), grant(target=T1))),
        lambda: relocation(BOTH),
        lambda: relocation(
            status(grant(), grant(intent="Serve", target=T1)),
            OPEN_BOTH,
            assignments=(grant("oss2", "Serve", 44, CERTIFIED_BOTH), grant(intent="Serve", target=T1)),
        ),
        lambda: relocation(
            BOTH,
            assignments=(grant("oss2", "Serve", 44, CERTIFIED), grant("oss3", "Serve", 44, CERTIFIED, T1)),
        ),
    ],
    "dead-not-noted": [
        lambda: relocation(fenced=()),
        lambda: relocation(fenced=(DEAD.model_copy(update={"boot_id": ""}),)),
    ],
    "hold-disturbed": [
        lambda: relocation(
            OTHERS,
            assignments=(grant("oss2", "Serve", 44, CERTIFIED), grant("oss2", "Release", 44, target=T1)),
        ),
        lambda: pair(BOTH, status(grant(intent="Serve", epoch=44), grant(target=T1), epoch=44)),
    ],
    "slot-taken-over": [
        lambda: pair(HELD, status(grant(), epoch=44, active="pair-a-44")),
        lambda: pair(status(epoch=41, active=""), status(epoch=43)),
    ],
    "phase-off-its-edges": [lambda: phase(failover("AwaitingApproval"), "Fencing")],
    "end-goes-on": [lambda: phase(failover("Aborted"), "Fencing")],
    "certificate-edited": [
        lambda: phase(failover("Relocating", SEALED), "Recovering", certificate=sealed(boot_id="boot2")),
        lambda: phase(failover("Relocating", SEALED), "Recovering", certificate=None),
    ],
    "uncertified": [lambda: phase(failover(), "Relocating"), lambda: phase(failover(), "PoweringOn")],
    "fencing-without-hold": [
        lambda: phase(failover("Holding"), "Fencing", hold_epoch=0),
        lambda: phase(failover("Holding"), "Fencing", status(grant(intent="Serve"))),
        lambda: phase(failover("Holding"), "Fencing", status(grant(epoch=42))),
    ],
    "certificate-without-proof": [
        lambda: certified(feeds=(proof(LEFT), proof(RIGHT, "PoweredOn"))),
        lambda: certified(feeds=(proof(LEFT), proof(RIGHT, "Unknown"))),
        lambda: certified(feeds=(proof(LEFT),)),
        lambda: certified(feeds=(proof(LEFT, reads=2), proof(RIGHT))),
        lambda: certified(feeds=()),
        lambda: certified(level="bmc"),
    ],
    "certificate-of-another": [
        lambda: certified(node="oss2"),
        lambda: certified(boot_id="boot2"),
        lambda: certified(hold_epoch=0),
        lambda: certified(hold_epoch=44),
        lambda: phase(failover(), "Relocating", certificate=SEALED.model_copy(update={"clear_mmp": True})),
        lambda: phase(failover(), "Relocating", status(grant(epoch=45), epoch=45), certificate=SEALED),
    ],
    "certificate-on-one-word": [
        lambda: certified(proof=""),
        lambda: certified(proof="Drilled"),
        lambda: certified(proof="Person"),
        lambda: certified(proof="SoleWitnessAccepted"),
    ],
    "certificate-over-life": [
        lambda: certified(disks=(DiskProof(target=T, state="Advancing"),)),
        lambda: certified(disks=(DiskProof(target=T, state="Unreadable"),)),
        lambda: certified(disks=(DiskProof(target=T, state="Fsck"),)),
    ],
    "word-not-given": [
        lambda: certified(**WORD),
        lambda: phase(
            failover(approval=Approval(answer="Restart", evidence="e", by="ann")),
            "Relocating",
            certificate=sealed(**WORD),
        ),
    ],
    "held-undecided": [
        lambda: phase(failover("AwaitingApproval", mode="Manual"), "Holding"),
        lambda: phase(failover("AwaitingApproval", mode="Observe", automatic_after="5m"), "Holding"),
        lambda: phase(
            failover(
                "AwaitingApproval", mode="Manual", approval=Approval(answer="Failover", evidence="old", by="alice")
            ),
            "Holding",
        ),
    ],
    "clears-unasked": [
        lambda: certified(clear_mmp=True, **WORD),
        lambda: phase(failover(clear_mmp=False), "Relocating", certificate=sealed(clear_mmp=True)),
    ],
    "rounds-missing": [lambda: certificate(rounds=2)],
    "before-settle": [lambda: certificate(now=104.9)],
    "proven-by-another": [
        lambda: certificate(sealed(feeds=(proof(LEFT), proof(RIGHT, identity="serial:another")))),
        lambda: certificate(sealed(feeds=(proof(LEFT), proof(Feed("bmc-oss1"), identity="guid:board-oss1")))),
    ],
    "off-to-another": [
        lambda: off(identity=""),
        lambda: off(identity="serial:another"),
        lambda: off(feed=Feed("bmc-oss1"), identity="guid:board-oss1"),
        lambda: off(failover=with_bmc(), feed=Feed("bmc-oss1"), identity="guid:board-oss2", pair=PINNED),
        lambda: off(failover=with_bmc(), feed=Feed("bmc-oss1"), identity=f"guid:{NO_UUID}", pair=UNPINNABLE),
    ],
    "disk-left-out": [
        lambda: certificate(pair=BOTH, read=frozenset({T, T1})),
        lambda: certificate(sealed(disks=())),
        lambda: certificate(sealed(disks=(DiskProof(target=T1, state="Still"),))),
    ],
    "no-slot": [lambda: Creation(status(active=""), failover()), lambda: Creation(None, failover())],
    "shot-without-slot": [
        lambda: off(failover=failover("Holding")),
        lambda: off(failover=None),
        lambda: off(pair=status(grant(), active="pair-a-44")),
    ],
    "shot-on-old-read": [
        lambda: off(read_began=97.0),
        lambda: off(now=99.0),
        lambda: off(now=102.1),
        lambda: off(read_began=-1.0, now=0.0, deadline=1.0),
    ],
    "shot-before-hold": [
        lambda: off(pair=status(grant(intent="Serve"))),
        lambda: off(pair=status(grant(epoch=42))),
        lambda: off(failover=failover(type_="Drill")),
    ],
    "both-down": [lambda: off(partner_fenced=True)],
    "shot-not-written": [lambda: off(feed=Feed("bmc-oss1", ""))],
    "on-in-hold": [lambda: on(pair=HELD)],
    "on-not-cut": [lambda: on(feed=Feed("bmc-oss1", "")), lambda: on(failover=None)],
    "on-before-late-shots": [lambda: on(now=104.9)],
    "mount-unserved": [lambda: mount_but(served_elsewhere), lambda: mount_but(undesired)],
    "mount-below-seen": [lambda: mount_but(seen_higher), lambda: mount_but(forget)],
    "mount-unread": [lambda: mount_but(unread), lambda: mount_but(read_otherwise)],
    "mount-without-lease": [lambda: mount_but(lost_lease), lambda: mount_but(until=rig.START + 1e6)],
    "mount-of-another-disk": [lambda: mount_but(digest="d-other"), lambda: mount_but(uuid="uuid-other")],
    "mount-in-use": [lambda: mount_but(in_use), lambda: mount_but(held_by_child)],
    "mount-by-the-dead": [lambda: mount_but(dead)],
    "clear-uncertified": [
        lambda: mount_but(clear=True),
        lambda: clearing(clearMMP=False),
        lambda: clearing(confirmedBy="ann"),
        lambda: clearing(disks=[{"target": rig.T, "state": "Still", "block": "d-other", "mark": rig.THEIRS}]),
        lambda: clearing(disks=[{"target": rig.T, "state": "Clean", "block": "d-still", "mark": rig.THEIRS}]),
        lambda: clearing(disks=[{"target": rig.T, "state": "Still", "block": "d-still", "mark": rig.THEIRS}]),
        lambda: clearing(
            disks=[{"target": rig.T, "state": "Still", "block": "d-still", "mark": rig.THEIRS, "reported": "x"}]
        ),
        lambda: clearing(bootID=""),
    ],
    "unmount-unasked": [lambda: unmount_but(served_elsewhere), lambda: unmount_but(seen_higher)],
    "unmount-of-foreign": [
        lambda: unmount_but(forget),
        lambda: unmount_but(mount_point="/mnt/other"),
        lambda: unmount_but(mount_id=8),
    ],
    "memory-goes-back": [lambda: memory(epochs={rig.UUID: 2}), lambda: memory(cluster="another")],
    "mount-forgotten": [
        lambda: memory(mounts={rig.T: None}),
        lambda: memory(mounts={rig.T: rig.record(epoch=2)}),
        lambda: memory(mounts={rig.T: rig.record(disk="uuid-other")}),
    ],
    "released-too-early": [
        lambda: release(mounts=rig.HERE[rig.T]),
        lambda: release(holder="umount, pid 7"),
        lambda: release(released=Released(epoch=4, boot_id=rig.OLD_BOOT)),
    ],
}


def names(told: list[str]) -> list[str]:
    return [sentence.partition(":")[0] for sentence in told]


@pytest.mark.parametrize(("rule", "nth"), [(rule, i) for rule, cases in BROKEN.items() for i in range(len(cases))])
def test_broken_rule_is_noticed_under_its_name(rule: str, nth: int) -> None:
    fact = BROKEN[rule][nth]()
    assert rule in names(broken(fact))
    with pytest.raises(InvariantBroken, match=rule):
        check(fact)


def test_every_rule_is_broken_once() -> None:
    assert sorted(BROKEN) == sorted(rule.name for rules in INVARIANTS.values() for rule in rules)


def test_commit_is_judged_on_stored_objects_alone() -> None:
    raw = {"metadata": {"name": "pair-a", "namespace": "scratch"}, "spec": {"nodes": NODES}}
    before = OSSPair.parse(raw).model_copy(update={"status": HELD})
    moved = before.model_copy(update={"status": relocation().after})
    assert committed(before, moved, OPEN.get) == []
    assert names(committed(before, moved, NONE.get)) == ["certificate-misused", "dead-not-noted"]
    assert committed(None, before, OPEN.get) == []
    fencing, gone_on = failover(), failover("Relocating")
    assert names(committed(fencing, gone_on, NONE.get)) == ["uncertified"]


NODES = [{"name": n, "fencing": [{"name": "bmc", "feeds": [{"deviceName": f"bmc-{n}"}]}]} for n in ("oss1", "oss2")]
RELEASED = Warrant(released=ReleasedWarrant(node="oss1", epoch=43))
MOVES: dict[str, tuple[Assignment, Assignment, bool]] = {
    "by a certificate from Hold": (grant(), grant("oss2", "Serve", 46, CERTIFIED), True),
    "by its release": (grant(intent="Release"), grant("oss2", "Serve", 46, RELEASED), True),
    "by adoption": (
        grant(intent="Serve"),
        grant("oss2", "Serve", 46, Warrant(adopted=AdoptedWarrant(nonce="m"))),
        True,
    ),
    "back to Serve at a new epoch": (grant(), grant(intent="Serve", epoch=46), True),
    "at a new epoch only": (grant(), grant(epoch=44), True),
    "by a certificate without a Hold": (grant(intent="Serve"), grant("oss2", "Serve", 46, CERTIFIED), False),
    "by a release of another epoch": (grant(intent="Release", epoch=42), grant("oss2", "Serve", 46, RELEASED), False),
    "by a release that was not asked for": (grant(intent="Serve"), grant("oss2", "Serve", 46, RELEASED), False),
    "by a release of another server": (grant("oss2", "Release"), grant("oss1", "Serve", 46, RELEASED), False),
    "on its old warrant": (grant(), grant("oss2", "Serve", 46), False),
    "at the same epoch": (grant(), grant("oss2", "Serve", 43, CERTIFIED), False),
    "to another intent at the same epoch": (grant(), grant(intent="Serve"), False),
    "to an older epoch": (grant(), grant(epoch=42), False),
}


@pytest.mark.parametrize("how", MOVES)
def test_move_is_judged_alike_by_the_machine_and_by_the_api_server(how: str) -> None:
    old, new, allowed = MOVES[how]
    before = status(old, epoch=45, active="pair-a-42")
    after = status(new, epoch=max(46, new.epoch), active="", adopted=1, fenced=(DEAD,))
    written = PairWrite.of("pair-a", before, after.model_copy(update={"epoch": max(new.epoch, 46)}), OPEN.get)
    believed = not (set(names(broken(written))) & {"epoch-goes-back", "unwarranted-move", "silent-change"})
    taken = not list(referee.assignment_broken(old, new))
    assert (believed, taken) == (allowed, allowed)
