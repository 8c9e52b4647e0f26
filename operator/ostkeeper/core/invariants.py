"""The safety rules, once, in words and code: `INVARIANTS`. The planner, the agent and the simulator all check them.

Each rule is about one kind of fact: a write of the pair, a write of a Failover, an off, an on, a mount, an unmount, what a
server remembers or reports. It says nothing where it holds, else what it was broken by. The rules are told as what must be
true of the fact alone, and on purpose not with the functions that the planner decides by: a slip there must not be a slip here.

A broken invariant is a bug of ours. In the operator `InvariantBroken` ends the machine before the effect leaves, and a fresh
one starts (`controller.supervisor`). In the agent that one effect is refused and told, and the heartbeat goes on: an agent
that falls silent would be shot. Here: the table. Not here: how an effect becomes a fact (`gate`, `hostgate`), what the API
server refuses by itself (`referee`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core import failoverrules, hostrules, identityrules, pairrules
from ostkeeper.core.facts import (
    CertificateWrite,
    Creation,
    FailoverWrite,
    Find,
    MemoryWrite,
    MountOrder,
    OffOrder,
    OnOrder,
    PairWrite,
    ReleaseReport,
    UnmountOrder,
)


class InvariantBroken(Exception):
    """A step was about to break a safety rule. The text says which, and what it was about."""


class Invariant(NamedTuple):
    """One safety rule."""

    name: str
    """How logs and tests call it."""
    sentence: str
    """The rule, for people."""
    broken_by: Callable[[Any], str]
    """What breaks it in a fact of the kind that it is about; empty: it holds."""


PAIR = (
    Invariant("epoch-goes-back", "no epoch goes back", pairrules.epoch_goes_back),
    Invariant("grant-ahead", "no permission carries an epoch that its pair has not reached", pairrules.grant_ahead),
    Invariant("grant-lost", "no assignment vanishes but from Release, at a new epoch", pairrules.grant_lost),
    Invariant("serve-for-two", "no target is assigned twice: no Serve for two", pairrules.serve_for_two),
    Invariant("silent-change", "a change of intent or node takes a new epoch", pairrules.silent_change),
    Invariant("unwarranted-place", "first placement is adoption, by the nonce just asked", pairrules.unwarranted_place),
    Invariant(
        "unwarranted-move",
        "no assignment moves without its own release, a certificate, or adoption upon a person's word",
        pairrules.unwarranted_move,
    ),
    Invariant(
        "certificate-misused",
        "a certificate is used only at the Hold epoch, for the server, and by the Failover that it was made for",
        pairrules.certificate_misused,
    ),
    Invariant(
        "held-left-behind",
        "exactly the targets in Hold whose disks the certificate names move",
        pairrules.held_left_behind,
    ),
    Invariant("dead-not-noted", "who relocates notes which boot is dead", pairrules.dead_not_noted),
    Invariant(
        "hold-disturbed",
        "between Hold and relocation nothing else in the assignments changes",
        pairrules.hold_disturbed,
    ),
    Invariant("slot-taken-over", "one Failover a pair at a time, named after its epoch", pairrules.slot_taken_over),
)
FAILOVER = (
    Invariant("phase-off-its-edges", "phases go along their edges", failoverrules.phase_off_its_edges),
    Invariant("end-goes-on", "what has ended stays ended", failoverrules.end_goes_on),
    Invariant("certificate-edited", "a certificate is never edited or taken back", failoverrules.certificate_edited),
    Invariant("uncertified", "nothing is relocated or powered on uncertified", failoverrules.uncertified),
    Invariant("fencing-without-hold", "no fencing before the Hold is durable", failoverrules.fencing_without_hold),
    Invariant(
        "certificate-without-proof",
        "no certificate without whole rounds of positive OFF readings of every feed, or a person's word",
        failoverrules.certificate_without_proof,
    ),
    Invariant(
        "certificate-of-another",
        "a certificate is for the server, the boot and the Hold of its Failover, under its own digest",
        failoverrules.certificate_of_another,
    ),
    Invariant(
        "certificate-on-one-word",
        "no certificate rests on one device that could lie alone, unless somebody accepts that",
        failoverrules.certificate_on_one_word,
    ),
    Invariant("certificate-over-life", "no certificate over a moving or unread disk", failoverrules.over_a_live_disk),
    Invariant("word-not-given", "a person's word is that person's answer ConfirmDead", failoverrules.word_not_given),
    Invariant(
        "held-undecided",
        "no Hold without mode Automatic, automaticAfter or a person's answer to the current evidence",
        failoverrules.held_undecided,
    ),
    Invariant(
        "clears-unasked",
        "a person's word never clears MMP, nor does a policy that says Wait",
        failoverrules.clears_unasked,
    ),
)
CERTIFICATE = (
    Invariant("rounds-missing", "the rounds were counted by this very leader", failoverrules.rounds_missing),
    Invariant("before-settle", "no certificate that moves anything before settle", failoverrules.before_settle),
    Invariant(
        "proven-by-another", "each proof is of the device that is pinned for its feed", identityrules.proven_by_another
    ),
    Invariant(
        "disk-left-out",
        "every held disk that the partner reads was read after the last off, and one at least",
        failoverrules.disk_left_out,
    ),
)
CREATION = (Invariant("no-slot", "a Failover is created only in the pair's slot", failoverrules.created_without_slot),)
OFF = (
    Invariant("shot-without-slot", "who shoots holds the pair's slot, in Fencing", failoverrules.shot_without_slot),
    Invariant("shot-on-old-read", "a shot leaves within 2 s of its quorum read", failoverrules.shot_on_old_read),
    Invariant("shot-before-hold", "no off before the Hold is durable", failoverrules.shot_before_hold),
    Invariant(
        "both-down",
        "no server is fenced while its partner has not been seen alive in a boot after its own fencing",
        failoverrules.both_down,
    ),
    Invariant("off-to-another", "an off is sent to the pinned device only", identityrules.off_to_another),
    Invariant("shot-not-written", "every off is written before it is done", failoverrules.shot_not_written),
)
ON = (
    Invariant("on-in-hold", "no `on` while a target of that server is in Hold", failoverrules.on_in_hold),
    Invariant("on-not-cut", "only what was cut is powered on", failoverrules.on_not_cut),
    Invariant("on-before-late-shots", "late shots pass before an `on`", failoverrules.on_before_late_shots),
)
MOUNT = (
    Invariant("mount-unserved", "a mount needs a Serve with this server's name", hostrules.mount_unserved),
    Invariant("mount-below-seen", "at an epoch no lower than any seen, and durable", hostrules.mount_below_seen),
    Invariant("mount-unread", "on a fresh and consistent read of the pair", hostrules.mount_unread),
    Invariant("mount-without-lease", "under this server's own lease", hostrules.mount_without_lease),
    Invariant("mount-of-another-disk", "of the very disk and block that were read", hostrules.mount_of_another_disk),
    Invariant("mount-in-use", "that nobody has mounted, checks or holds", hostrules.mount_in_use),
    Invariant("mount-by-the-dead", "and never by a boot that is certified dead", hostrules.mount_by_the_dead),
    Invariant("clear-uncertified", "MMP is cleared under a complete certificate only", hostrules.clear_uncertified),
)
UNMOUNT = (
    Invariant("unmount-unasked", "an unmount needs a Release with this server's name", hostrules.unmount_unasked),
    Invariant("unmount-of-foreign", "of what this server has mounted or adopted", hostrules.unmount_of_foreign),
)
MEMORY = (
    Invariant("memory-goes-back", "no epoch that was remembered goes back", hostrules.memory_goes_back),
    Invariant("mount-forgotten", "what is mounted here is not forgotten", hostrules.mount_forgotten),
)
RELEASE = (
    Invariant(
        "released-too-early", "released: not mounted, no child, and not remembered", hostrules.released_too_early
    ),
)

INVARIANTS: dict[type, tuple[Invariant, ...]] = {
    PairWrite: PAIR,
    FailoverWrite: FAILOVER,
    CertificateWrite: CERTIFICATE,
    Creation: CREATION,
    OffOrder: OFF,
    OnOrder: ON,
    MountOrder: MOUNT,
    UnmountOrder: UNMOUNT,
    MemoryWrite: MEMORY,
    ReleaseReport: RELEASE,
}
"""All rules, by what they are about."""


def broken(fact: object) -> list[str]:
    """Which rules a fact breaks, each with its sentence and what it was about; none: it may be."""
    found = []
    for rule in INVARIANTS[type(fact)]:
        about = rule.broken_by(fact)
        if about:
            found.append(f"{rule.name}: {rule.sentence}: {about}")
    return found


def check(fact: object) -> None:
    """Raise InvariantBroken if a fact breaks any rule."""
    found = broken(fact)
    if found:
        raise InvariantBroken("; ".join(found))


def committed(before: Resource | None, after: Resource, find: Find) -> list[str]:
    """What a write that the API server has taken breaks, judged on stored objects alone; none: all is well.

    `find` gives a stored Failover of the pair's namespace by its name. For the simulator, at each commit: whoever wrote.
    """
    if before is None or before is after:
        return []
    if isinstance(before, OSSPair) and isinstance(after, OSSPair):
        if after.status is None or after.status is before.status:
            return []
        return broken(PairWrite.of(before.name, before.status, after.status, find))
    if isinstance(before, Failover) and isinstance(after, Failover):
        if after.status is None or after.status is before.status:
            return []
        return broken(FailoverWrite(before, after.status, None))
    return []
