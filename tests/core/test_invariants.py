"""Each safety rule broken once: it is noticed, and the API server's rules notice what they can see of it, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ostkeeper.api.common import ObjectMeta
from ostkeeper.api.failover import (
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
)
from ostkeeper.api.osspair import (
    AdoptedWarrant,
    Assignment,
    CertificateWarrant,
    Confirm,
    OSSPairStatus,
    ReleasedWarrant,
    Warrant,
)
from ostkeeper.core import invariants, referee
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.invariants import InvariantBroken
from ostkeeper.core.power import Feed

pytestmark = pytest.mark.scenario

T = "scratch-OST0000"
ADOPTED = Warrant(adopted=AdoptedWarrant(nonce="n"))
LEFT, RIGHT = Feed("left", "1"), Feed("right", "1")


def grant(node: str = "oss1", intent: Any = "Hold", epoch: int = 43, warrant: Warrant = ADOPTED) -> Assignment:
    return Assignment(target=T, node=node, intent=intent, epoch=epoch, warrant=warrant)


def status(*assignments: Assignment, epoch: int = 43, active: str = "pair-a-42") -> OSSPairStatus:
    return OSSPairStatus(epoch=epoch, active_failover=active, assignments=assignments)


def proof(feed: Feed, state: str = "PoweredOff", reads: int = 3) -> FeedProof:
    return FeedProof(device_name=feed.device, outlet=feed.outlet, state=state, reads=reads)


def sealed(**change: Any) -> Certificate:
    base: dict[str, Any] = {
        "node": "oss1",
        "boot_id": "boot1",
        "hold_epoch": 43,
        "level": "pdus",
        "feeds": (proof(LEFT), proof(RIGHT)),
        "disks": (DiskProof(target=T, state="Still"),),
    }
    certificate = Certificate(**{**base, **change})
    return certificate.model_copy(update={"digest": certificate_digest(certificate)})


def failover(phase: Any = "Fencing", certificate: Certificate | None = None, type_: Any = "Failover") -> Failover:
    feeds = tuple(FeedSnapshot(device_name=f.device, outlet=f.outlet) for f in (LEFT, RIGHT))
    policy = PolicySnapshot(
        mode="Automatic",
        armed=True,
        levels=(LevelSnapshot(name="pdus", feeds=feeds),),
        confirm=Confirm(),
        clear_mmp=True,
        valid_for="2m",
        boot_timeout="15m",
        release_timeout="5m",
    )
    spec = FailoverSpec(
        pair_name="pair-a",
        epoch=42,
        type=type_,
        node="oss1",
        partner="oss2",
        evidence=Evidence(verdict="Failed", sentence="dead"),
        policy=policy,
    )
    held = FailoverStatus(phase=phase, hold_epoch=43, certificate=certificate)
    return Failover(metadata=ObjectMeta(name="pair-a-42", namespace="scratch"), spec=spec, status=held)


def shoot(pair: OSSPairStatus, fo: Failover, **change: Any) -> None:
    how: dict[str, Any] = {"now": 100.1, "deadline": 102.0, "read_began": 100.0, "partner_fenced": False, **change}
    invariants.check_shot(pair, fo, **how)


def certify(certificate: Certificate, *, now: float = 110.0, moves: bool = True) -> None:
    invariants.check_certificate(certificate, (LEFT, RIGHT), 3, now, 105.0, moves=moves)


def relocate(pair: OSSPairStatus, fo: Failover, *targets: Assignment) -> None:
    invariants.check_relocation(pair, fo, {a.target: a for a in targets})


HELD = status(grant())


def test_what_is_right_passes() -> None:
    shoot(HELD, failover())
    certify(sealed())
    relocate(HELD, failover("Relocating", sealed()), grant())
    invariants.check_power_on(status(grant(intent="Serve", epoch=44), epoch=44), "oss1")
    invariants.check_pair(status(grant(intent="Serve", epoch=41), epoch=42), HELD)
    invariants.check_creation(HELD, failover())


BROKEN: dict[str, Callable[[], None]] = {
    "an off before the Hold": lambda: shoot(status(grant(intent="Serve")), failover()),
    "an off under an older Hold": lambda: shoot(status(grant(epoch=42)), failover()),
    "an off outside of Fencing": lambda: shoot(HELD, failover("Holding")),
    "an off without the slot": lambda: shoot(status(grant(), active="pair-a-44"), failover()),
    "an off on an old read": lambda: shoot(HELD, failover(), read_began=97.0),
    "an off before its read": lambda: shoot(HELD, failover(), now=99.0),
    "an off of the partner of a fenced server": lambda: shoot(HELD, failover(), partner_fenced=True),
    "a drill of a server that holds targets": lambda: shoot(HELD, failover(type_="Drill")),
    "an on while targets are in Hold": lambda: invariants.check_power_on(HELD, "oss1"),
    "a certificate with a feed that reads ON": lambda: certify(sealed(feeds=(proof(LEFT), proof(RIGHT, "PoweredOn")))),
    "a certificate with a feed that is UNKNOWN": lambda: certify(sealed(feeds=(proof(LEFT), proof(RIGHT, "Unknown")))),
    "a certificate without a feed": lambda: certify(sealed(feeds=(proof(LEFT),))),
    "a certificate of two rounds": lambda: certify(sealed(feeds=(proof(LEFT, reads=2), proof(RIGHT)))),
    "a certificate of nothing": lambda: certify(sealed(feeds=())),
    "a certificate without a Hold": lambda: certify(sealed(hold_epoch=0)),
    "a certificate before settle": lambda: certify(sealed(), now=104.9),
    "a certificate over a moving disk": lambda: certify(sealed(disks=(DiskProof(target=T, state="Advancing"),))),
    "a certificate over an unread disk": lambda: certify(sealed(disks=(DiskProof(target=T, state="Unreadable"),))),
    "a certificate with another digest": lambda: certify(sealed().model_copy(update={"boot_id": "boot2"})),
    "a person's word that clears MMP": lambda: certify(sealed(feeds=(), confirmed_by="ann", clear_mmp=True)),
    "relocation without a certificate": lambda: relocate(HELD, failover("Relocating"), grant()),
    "relocation by a certificate of an older Hold": lambda: relocate(
        HELD, failover("Relocating", sealed(hold_epoch=42)), grant()
    ),
    "relocation of another server": lambda: relocate(HELD, failover("Relocating", sealed(node="oss2")), grant()),
    "relocation of less than what is held": lambda: relocate(HELD, failover("Relocating", sealed())),
    "relocation without the slot": lambda: relocate(
        status(grant(), active=""), failover("Relocating", sealed()), grant()
    ),
    "an epoch that goes back": lambda: invariants.check_pair(HELD, status(grant(), epoch=42)),
    "an assignment ahead of its pair": lambda: invariants.check_pair(None, status(grant(epoch=44))),
    "an assignment that vanishes": lambda: invariants.check_pair(HELD, status()),
    "a Failover without the slot": lambda: invariants.check_creation(status(active=""), failover()),
    "a phase that skips the Hold": lambda: invariants.check_failover(
        failover("AwaitingApproval"), FailoverStatus(phase="Fencing")
    ),
    "an end that goes on": lambda: invariants.check_failover(failover("Aborted"), FailoverStatus(phase="Fencing")),
    "relocation written without a certificate": lambda: invariants.check_failover(
        failover(), FailoverStatus(phase="Relocating")
    ),
    "a certificate that is edited": lambda: invariants.check_failover(
        failover("Relocating", sealed()), FailoverStatus(phase="Recovering", certificate=sealed(boot_id="boot2"))
    ),
    "a certificate that is taken back": lambda: invariants.check_failover(
        failover("Relocating", sealed()), FailoverStatus(phase="Recovering")
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rule_is_noticed(rule: str) -> None:
    with pytest.raises(InvariantBroken):
        BROKEN[rule]()


CERTIFIED = Warrant(certificate=CertificateWarrant(failover="pair-a-42", digest="d"))
RELEASED = Warrant(released=ReleasedWarrant(node="oss1", epoch=43))
MOVES: dict[str, tuple[Assignment, Assignment, bool]] = {
    "by a certificate from Hold": (grant(), grant("oss2", "Serve", 44, CERTIFIED), True),
    "by its release": (grant(intent="Release"), grant("oss2", "Serve", 44, RELEASED), True),
    "by adoption": (
        grant(intent="Serve"),
        grant("oss2", "Serve", 44, Warrant(adopted=AdoptedWarrant(nonce="m"))),
        True,
    ),
    "back to Serve at a new epoch": (grant(), grant(intent="Serve", epoch=44), True),
    "at a new epoch only": (grant(), grant(epoch=44), True),
    "by a certificate without a Hold": (grant(intent="Serve"), grant("oss2", "Serve", 44, CERTIFIED), False),
    "by a release of another epoch": (grant(intent="Release", epoch=42), grant("oss2", "Serve", 44, RELEASED), False),
    "by a release that was not asked for": (grant(intent="Serve"), grant("oss2", "Serve", 44, RELEASED), False),
    "by a release of another server": (grant("oss2", "Release"), grant("oss1", "Serve", 44, RELEASED), False),
    "on its old warrant": (grant(), grant("oss2", "Serve", 44), False),
    "at the same epoch": (grant(), grant("oss2", "Serve", 43, CERTIFIED), False),
    "to another intent at the same epoch": (grant(), grant(intent="Serve"), False),
    "to an older epoch": (grant(), grant(epoch=42), False),
}


@pytest.mark.parametrize("how", MOVES)
def test_move_is_judged_alike_by_the_machine_and_by_the_api_server(how: str) -> None:
    old, new, allowed = MOVES[how]
    try:
        invariants.check_move(old, new)
        believed = True
    except InvariantBroken:
        believed = False
    taken = not list(referee.assignment_broken(old, new))
    assert (believed, taken) == (allowed, allowed)
