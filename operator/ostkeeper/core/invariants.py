"""The safety rules, once, in words and code. The planner, the agent and the simulator all check them.

A broken invariant is a bug of ours: `InvariantBroken` stops the pair's task before the effect leaves, and the story of the
target is in the error. Not here: what the API server referees by itself (`api`, the same rules again, in CEL).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ostkeeper.api.failover import Certificate, Failover, FailoverStatus
from ostkeeper.api.osspair import Assignment, OSSPairStatus
from ostkeeper.api.phases import TERMINAL, may_follow
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.power import Feed, PowerState


class InvariantBroken(Exception):
    """A step was about to break a safety rule. The text says which, and what it was about."""


def _must(holds: bool, rule: str, *about: object) -> None:
    if not holds:
        raise InvariantBroken(": ".join([rule, *(str(a) for a in about)]))


def check_pair(before: OSSPairStatus | None, after: OSSPairStatus) -> None:
    """No epoch goes back; no assignment vanishes, or moves without a higher epoch and a new warrant."""
    _must(all(a.epoch <= after.epoch for a in after.assignments), "an assignment is ahead of its pair", after.epoch)
    if before is None:
        return
    _must(after.epoch >= before.epoch, "an epoch goes back", before.epoch, after.epoch)
    for old in before.assignments:
        new = after.assignment(old.target)
        if new is None:
            raise InvariantBroken(f"an assignment vanishes: {old}")
        check_move(old, new)


def check_move(old: Assignment, new: Assignment) -> None:
    """A target leaves a server in two ways only: released in order, or under a certificate for a Hold of this epoch."""
    _must(new.epoch >= old.epoch, "an assignment's epoch goes back", old, new)
    if (new.node, new.intent) != (old.node, old.intent):
        _must(new.epoch > old.epoch, "a change of intent or node at the same epoch", old, new)
    if new.node == old.node:
        return
    w = new.warrant
    _must(w != old.warrant, "a target moves on its old warrant", old, new)
    if w.released is not None:
        granted = w.released.node == old.node and w.released.epoch == old.epoch and old.intent == "Release"
        _must(granted, "a target moves on a release of another node, epoch or intent", old, new)
    elif w.certificate is not None:
        _must(old.intent == "Hold", "a target moves under a certificate without a Hold", old, new)
    else:
        _must(w.adopted is not None, "a target moves without a warrant", old, new)


def check_failover(failover: Failover, after: FailoverStatus) -> None:
    """Phases go along their edges; a certificate is never edited, and nothing is relocated without one."""
    before = failover.status
    edge = (before.phase if before else "", after.phase)
    _must(may_follow(*edge, failover.spec.type), "a phase leaves its edges", failover.name, edge)
    if before is not None:
        _must(before.certificate in (None, after.certificate), "a certificate is edited", failover.name)
        _must(before.phase not in TERMINAL or before.phase == after.phase, "an ended Failover goes on", failover.name)
    proven = failover.spec.type != "Failover" or after.certificate is not None
    _must(proven or after.phase not in ("Relocating", "PoweringOn"), "relocation without a certificate", failover.name)


def check_creation(status: OSSPairStatus | None, failover: Failover) -> None:
    """A Failover is created only under the name that the pair has written down."""
    named = status is not None and status.active_failover == failover.name
    _must(named, "a Failover without the pair's slot", failover.name)


def check_certificate(
    certificate: Certificate, feeds: Iterable[Feed], rounds: int, now: float, settled_at: float, *, moves: bool
) -> None:
    """No certificate without whole rounds of positive OFF readings of every feed, or a person's word; never before settle."""
    _must(certificate.hold_epoch > 0, "a certificate without a Hold", certificate.node)
    _must(certificate.digest == certificate_digest(certificate), "a certificate's digest is wrong", certificate.node)
    _must(not moves or now >= settled_at, "a certificate before settle", certificate.node, now, settled_at)
    bad = [d.target for d in certificate.disks if d.state not in ("Still", "Clean")]
    _must(not moves or not bad, "a certificate over a moving or unread disk", bad)
    if certificate.confirmed_by is not None:
        _must(not certificate.clear_mmp, "a person's word never clears MMP", certificate.node)
        return
    proven = {
        Feed(p.device_name, p.outlet) for p in certificate.feeds if p.state == PowerState.OFF and p.reads >= rounds
    }
    missing = [str(feed) for feed in feeds if feed not in proven]
    _must(bool(certificate.feeds) and not missing, "a certificate without proof of every feed", missing)


def check_shot(
    status: OSSPairStatus, failover: Failover, *, now: float, deadline: float, read_began: float, partner_fenced: bool
) -> None:
    """No off before the Hold is durable, none later than 2 s after the quorum read it rests on began, and none while the
    partner has not been seen alive in a boot after its own fencing."""
    fs = failover.status
    _must(status.active_failover == failover.name, "a shot without the pair's slot", failover.name)
    _must(fs is not None and fs.phase == "Fencing", "a shot outside of Fencing", failover.name)
    _must(now >= read_began and deadline <= read_began + 2.0, "a shot on an old read", failover.name)
    if failover.spec.type == "Drill":
        _must(
            not any(a.node == failover.spec.node for a in status.assignments), "a drill of a server that holds targets"
        )
        return
    _must(not partner_fenced, "a shot while the partner itself is fenced", failover.spec.partner)
    hold = fs.hold_epoch if fs else 0
    held = [a for a in status.assignments if a.node == failover.spec.node]
    _must(
        hold > 0 and all(a.intent == "Hold" and a.epoch == hold for a in held),
        "an off before the Hold is durable",
        hold,
    )


def check_power_on(status: OSSPairStatus, node: str) -> None:
    """No `on` while a target of the server is in Hold."""
    held = [a.target for a in status.assignments if a.node == node and a.intent == "Hold"]
    _must(not held, "power on while targets are in Hold", node, held)


def check_relocation(status: OSSPairStatus, failover: Failover, targets: Mapping[str, Assignment]) -> None:
    """A certificate is used only at the Hold epoch, for the server, that it was made for; exactly the held targets move."""
    fs = failover.status
    certificate = fs.certificate if fs else None
    if certificate is None:
        raise InvariantBroken(f"relocation without a certificate: {failover.name}")
    _must(status.active_failover == failover.name, "relocation without the pair's slot", failover.name)
    _must(certificate.node == failover.spec.node, "a certificate for another server", certificate.node)
    held = {a.target for a in status.assignments if a.node == certificate.node}
    at_hold = all(a.intent == "Hold" and a.epoch == certificate.hold_epoch for a in targets.values())
    _must(at_hold and set(targets) == held, "a certificate used at another epoch", failover.name, sorted(held))
