"""Invariants of the pair's status: who may mount what. See `invariants` for their sentences.

Each function says what breaks its rule; empty: it holds.
"""

from __future__ import annotations

from ostkeeper.api.failover import Certificate
from ostkeeper.api.osspair import Assignment
from ostkeeper.core.facts import PairWrite


def said(old: Assignment | None, new: Assignment) -> str:
    """One change in words."""
    before = f"{old.intent} at {old.node}, epoch {old.epoch}" if old else "nowhere"
    return f"{new.target}: {before} > {new.intent} at {new.node}, epoch {new.epoch}"


def epoch_goes_back(w: PairWrite) -> str:
    """The pair's, or an assignment's."""
    if w.before is not None and w.after.epoch < w.before.epoch:
        return f"{w.before.epoch} > {w.after.epoch}"
    return next((said(o, n) for o, n in w.changes if o is not None and n.epoch < o.epoch), "")


def grant_ahead(w: PairWrite) -> str:
    """An assignment above its pair's epoch."""
    ahead = (said(o, n) for o, n in w.changes if n.epoch > w.after.epoch)
    return next((f"{words}, the pair's is {w.after.epoch}" for words in ahead), "")


def grant_lost(w: PairWrite) -> str:
    """An assignment that was there is not any more; its target was not in Release, or a Failover holds targets."""
    if w.before is None or w.after.assignments is w.before.assignments:
        return ""
    kept = {a.target for a in w.after.assignments}
    gone = [a for a in w.before.assignments if a.target not in kept]
    held = bool(w.before.active_failover) and any(a.intent == "Hold" for a in w.before.assignments)
    may = w.after.epoch > w.before.epoch and not held
    return ", ".join(a.target for a in gone if not may or a.intent != "Release")


def serve_for_two(w: PairWrite) -> str:
    """A target with two assignments."""
    if not w.changes:
        return ""
    targets = [a.target for a in w.after.assignments]
    return ", ".join(sorted({t for t in targets if targets.count(t) > 1}))


def silent_change(w: PairWrite) -> str:
    """Another intent or node, and not at an epoch that is new with this very write."""
    for old, new in w.changes:
        if old is None or w.before is None or (old.node, old.intent) == (new.node, new.intent):
            continue
        if not (new.epoch == w.after.epoch > w.before.epoch):
            return said(old, new)
    return ""


def unwarranted_place(w: PairWrite) -> str:
    """A target that was assigned nowhere, and is placed by anything but the nonce that stands open."""
    asked = w.before.nonce.value if w.before and w.before.nonce else ""
    for old, new in w.changes:
        adopted = new.warrant.adopted
        if old is None and (adopted is None or not asked or adopted.nonce != asked):
            return said(old, new)
    return ""


def unwarranted_move(w: PairWrite) -> str:
    """A move without a new warrant, or with one that is not its own."""
    for old, new in w.moves:
        warrant, released = new.warrant, new.warrant.released
        if warrant == old.warrant:
            return f"{said(old, new)}, on its old warrant"
        if released is not None and not (
            old.intent == "Release" and (released.node, released.epoch) == (old.node, old.epoch)
        ):
            return f"{said(old, new)}, on a release of {released.node} at epoch {released.epoch}"
        if warrant.certificate is not None and old.intent != "Hold":
            return f"{said(old, new)}, by a certificate without a Hold"
        if released is None and warrant.certificate is None and not w.by_person:
            return f"{said(old, new)}, adopted without a person's word"
    return ""


def _certified(w: PairWrite) -> list[tuple[Assignment, Assignment]]:
    return [(o, n) for o, n in w.moves if n.warrant.certificate is not None]


def certificate_of(w: PairWrite, new: Assignment) -> Certificate | None:
    """The certificate that an assignment's warrant names, if it exists and has that digest."""
    warrant = new.warrant.certificate
    failover = w.find(warrant.failover) if warrant else None
    certificate = failover.status.certificate if failover and failover.status else None
    return certificate if warrant and certificate and certificate.digest == warrant.digest else None


def certificate_misused(w: PairWrite) -> str:
    """Another server's, another Hold's, another Failover's, or none at all."""
    for old, new in _certified(w):
        certificate, named = certificate_of(w, new), new.warrant.certificate
        if certificate is None or named is None:
            return f"{said(old, new)}: there is no such certificate"
        if w.before is None or w.before.active_failover != named.failover:
            return f"{said(old, new)}: {named.failover} does not hold the pair's slot"
        if certificate.node != old.node:
            return f"{said(old, new)}: the certificate is {certificate.node}'s"
        if certificate.hold_epoch != old.epoch:
            return f"{said(old, new)}: the certificate is for the Hold at epoch {certificate.hold_epoch}"
    return ""


def held_left_behind(w: PairWrite) -> str:
    """A relocation that moves other targets than those whose disks its certificate names, or to several places or epochs."""
    certified = _certified(w)
    if not certified or w.before is None:
        return ""
    gone, moved = {old.node for old, _ in certified}, {old.target for old, _ in certified}
    found = [c for _, new in certified if (c := certificate_of(w, new)) is not None]
    named = {disk.target for certificate in found for disk in certificate.disks}
    left = [a.target for a in w.before.assignments if a.node in gone and a.target in named and a.target not in moved]
    if left:
        return f"{', '.join(left)} stays behind"
    if found and moved - named:
        return f"the certificate names no disk of {', '.join(sorted(moved - named))}"
    places = {(new.node, new.epoch, new.warrant.certificate.digest) for _, new in certified if new.warrant.certificate}
    return "" if len(places) == 1 else f"the held targets go to {sorted(places)}"


def dead_not_noted(w: PairWrite) -> str:
    """A relocation after which the pair does not know that its server is fenced."""
    for old, new in _certified(w):
        certificate = certificate_of(w, new)
        boot = certificate.boot_id if certificate else ""
        if not any(f.node == old.node and f.boot_id == boot for f in w.after.fenced):
            return f"{old.node} in boot {boot or '(none was seen)'}"
    return ""


def hold_disturbed(w: PairWrite) -> str:
    """While a Failover is open, what changes beside the targets in its Hold, or a part of them only.

    A relocation may change a part: that which its certificate names. A Hold of an earlier Failover is none of its business.
    """
    if w.before is None or not w.before.active_failover or not w.changes or w.by_person:
        return ""
    opened = int(w.before.active_failover.rpartition("-")[2] or 0)
    held = {a.target for a in w.before.assignments if a.intent == "Hold" and a.epoch > opened}
    changed = {n.target for _, n in w.changes}
    if not held or changed == held or (changed < held and _certified(w)):
        return ""
    return f"{', '.join(sorted(held))} in Hold, and {', '.join(sorted(changed))} changed"


def slot_taken_over(w: PairWrite) -> str:
    """A Failover that takes the slot from another, or under a name that is not its epoch's."""
    before, after = (w.before.active_failover if w.before else ""), w.after.active_failover
    if after in ("", before):
        return ""
    if before:
        return f"{before} > {after}"
    return "" if after == f"{w.name}-{w.after.epoch}" else f"{after} at epoch {w.after.epoch}"
