"""Operators and agents that are broken on purpose: whoever hunts must find each, or finds nothing worth knowing.

Here: each mutant as replacements of functions of the core, of an agent's steps or of a driver's, and the hunt, which counts
runs until something is seen that must never be. Not here: the slips (`broken`), the nights that give them their occasion
(`mutantnights`), what is seen (`checker`, `core.invariants`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from random import Random
from typing import Any

from ostkeeper.core import (
    able,
    armed,
    blocked,
    budget,
    claims,
    devices,
    drill,
    ending,
    events,
    failover,
    fencing,
    gate,
    heartbeats,
    host,
    hostgate,
    hosttargets,
    mirror,
    nonces,
    opening,
    orderly,
    pair,
    permission,
    retiring,
    verdict,
    waiting,
    witness,
)
from ostkeeper.core.campaign import Rounds
from ostkeeper.sim import acts, broken, diskwatch, power, process
from ostkeeper.sim import mutantnights as nights
from ostkeeper.sim.acts import MountAct
from ostkeeper.sim.mutantnights import Night
from ostkeeper.sim.run import simulate

MOST = 60
"""Runs after which a hunt gives up."""
Patch = tuple[Any, str, Callable[[Any], Any]]
"""Where a function stands, its name there, and what makes the broken one from the right one."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way of being broken."""

    sentence: str
    night: Night
    patches: tuple[Patch, ...]
    helped: bool = True
    """People repair and answer in the end of its nights (`run.night`)."""


@contextmanager
def at_work(patches: tuple[Patch, ...]) -> Iterator[None]:
    """Break it, and mend it again. Raises LookupError where a function is not there any more: the mutant is out of date."""
    saved: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, broken in patches:
            right = owner[name] if isinstance(owner, dict) else vars(owner).get(name)
            if right is None:
                raise LookupError(f"{owner}: has no {name} any more; the mutant is out of date")
            saved.append((owner, name, right))
            _put(owner, name, broken(right))
        yield
    finally:
        for owner, name, right in reversed(saved):
            _put(owner, name, right)


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


UNGUARDED = Mutant(
    "no machine checks itself",
    nights.dies,
    (
        (gate, "leave", broken.always(None)),
        (hostgate, "refused", broken.always(None)),
        (hostgate, "told", broken.always("")),
    ),
)
"""Operators and agents without `core.invariants`: what is left is what the checker sees."""


def hunt(name: str, *, guarded: bool = True) -> int:
    """In which run the mutant was found; 0: in none. `guarded`: the machines check themselves, as they do."""
    mutant = MUTANTS[name]
    with at_work(mutant.patches), nullcontext() if guarded else at_work(UNGUARDED.patches):
        for seed in range(1, MOST + 1):
            if not simulate(*mutant.night(Random(seed)), seed, helped=mutant.helped).ok:
                return seed
    return 0


MUTANTS: dict[str, Mutant] = {
    "unknown-is-off": Mutant("Unknown counts as OFF", nights.dies_unseen, ((Rounds, "take", broken.unknown_is_off),)),
    "on-is-off": Mutant("any answer counts as OFF", nights.stuck("Restart"), ((Rounds, "take", broken.on_is_off),)),
    "shoots-before-the-hold": Mutant(
        "it fences without a Hold", nights.dies, ((failover.HANDLERS, "Holding", broken.straight_to_fencing),)
    ),
    "forgets-a-feed": Mutant(
        "one feed of a level is not cut and not read",
        nights.dies_on_pdus,
        ((fencing, "level_feeds", broken.first_feed),),
    ),
    "moves-unread-disks": Mutant(
        "a target moves whose disk the partner cannot read",
        nights.dies_beside_a_lost_disk,
        ((fencing, "disk_proofs", broken.proofs_of_all),),
    ),
    "leaves-readable-disks": Mutant(
        "a target stays behind although the partner reads its disk",
        nights.dies_beside_a_lost_disk,
        ((fencing, "disk_proofs", broken.proof_of_one),),
    ),
    "moves-what-no-certificate-names": Mutant(
        "all held targets move, whatever disks the certificate names",
        nights.dies_beside_a_lost_disk,
        ((failover.HANDLERS, "Relocating", broken.all_held_move),),
    ),
    "waits-for-an-agent-without-a-limit": Mutant(
        "a Failover waits for ever for an agent that cannot answer",
        nights.refused_before_a_restart,
        ((waiting, "overdue", broken.always("")),),
    ),
    "vouches-for-a-stale-report": Mutant(
        "a report counts although a newer one cannot be written",
        nights.refused_before_it_acts,
        ((events.Beat, "overdue", broken.constant(False)),),
    ),
    "needs-no-reading": Mutant("no round has to be read", nights.dies, ((Rounds, "done", broken.no_reading),)),
    "shoots-on-an-old-read": Mutant(
        "the quorum read is one of long ago", nights.dies, ((fencing, "shoot", broken.read_long_ago),)
    ),
    "shoots-unwritten": Mutant(
        "an off is not written before it is done", nights.dies, ((fencing, "shots_of", broken.without_shots),)
    ),
    "asks-nobody": Mutant(
        "Manual acts as Automatic",
        nights.asked,
        (
            (opening, "not_unasked", broken.always("")),
            (failover, "not_unasked", broken.always("")),
        ),
    ),
    "holds-at-the-same-epoch": Mutant(
        "a Hold takes no new epoch", nights.dies, ((failover, "assign", broken.same_epoch),)
    ),
    "moves-at-the-same-epoch": Mutant(
        "an orderly move takes no new epoch", nights.moved, ((orderly, "assign", broken.same_epoch),)
    ),
    "aborts-at-the-same-epoch": Mutant(
        "a target is given back at its old epoch", nights.stuck("Dismiss"), ((ending, "assign", broken.same_epoch),)
    ),
    "forgets-who-is-dead": Mutant(
        "the dead boot is not noted", nights.dies, ((failover, "with_fenced", broken.never_noted),)
    ),
    "moves-everything": Mutant(
        "all targets move, held or not", nights.dies, ((failover.HANDLERS, "Relocating", broken.everything_moves),)
    ),
    "takes-any-release": Mutant(
        "a release of another epoch counts", nights.moved_twice, ((orderly, "released", broken.any_release),)
    ),
    "powers-on-in-hold": Mutant(
        "power comes back before the grant", nights.stuck("Dismiss"), ((blocked, "abort", broken.power_first),)
    ),
    "word-clears-mmp": Mutant(
        "ConfirmDead clears MMP", nights.dead_and_silent, ((fencing, "seal", broken.word_clears),)
    ),
    "believes-still-disks": Mutant(
        "a moving disk is reported still, and counts as unmoved",
        nights.isolated_beside_a_liar,
        (
            (nonces, "disk_report", broken.still_whatever),
            (nonces, "_moved", broken.always(False)),
            (fencing, "vetoes", broken.always("")),
        ),
    ),
    "stays-blocked": Mutant(
        "Blocked is never left", nights.dies_unseen, ((failover.HANDLERS, "Blocked", broken.always([])),)
    ),
    "releases-at-once": Mutant(
        "released is told before it is", nights.moved, ((hosttargets, "_release", broken.released_at_once),)
    ),
    "mounts-unprepared": Mutant(
        "neither a fresh read nor the store is waited for",
        nights.moved,
        ((hosttargets, "_prepared", broken.prepared_at_once),),
    ),
    "clears-uncertified": Mutant(
        "MMP is cleared though the policy says Wait", nights.waits, ((permission, "clearing", broken.clear_always),)
    ),
    "clears-any-mark": Mutant(
        "MMP is cleared whoever wrote the block",
        nights.third_host_comes,
        ((permission, "_not_the_dead_servers", broken.always("")),),
    ),
    "cuts-marks": Mutant(
        "64 characters of two marks are compared, and not the device",
        nights.third_host_comes,
        ((permission, "_not_the_dead_servers", broken.cuts_marks),),
    ),
    "mounts-unflushed": Mutant(
        "what is cached is not flushed", nights.dies, ((MountAct, "flush_cache", broken.no_flush),)
    ),
    "certifies-another-epoch": Mutant(
        "a certificate of another Hold is used", nights.dies, ((fencing, "seal", broken.sealed(hold_epoch=41)),)
    ),
    "certifies-another-boot": Mutant(
        "the boot ID is not looked at", nights.dies, ((fencing, "seal", broken.sealed(boot_id="oss1-boot-0")),)
    ),
    "certifies-no-disk": Mutant(
        "no disk is read after the off", nights.dies, ((fencing, "seal", broken.sealed(disks=())),)
    ),
    "certifies-no-feed": Mutant("no feed is proven", nights.dies, ((fencing, "seal", broken.sealed(feeds=())),)),
    "counts-early-readings": Mutant(
        "readings count that began before the off had ended",
        nights.dies_on_a_lossy_pdu,
        ((fencing, "confirm", broken.acknowledged_at_once),),
    ),
    "skips-the-boot-of-a-certificate": Mutant(
        "a certificate of an earlier boot stops the machine",
        nights.dies,
        ((permission, "_certified_dead", broken.any_boot_is_dead),),
    ),
    "skips-the-boot-on-the-network": Mutant(
        "an answer on the network counts as one of a new boot",
        nights.answers_all_the_same,
        ((fencing, "_answers", broken.network_unheard),),
    ),
    "ignores-a-heartbeat": Mutant(
        "heartbeats of the boot that is to be dead are no veto",
        nights.beats_all_the_same,
        ((pair.PairMachine, "_beaten", broken.beats_unheard),),
    ),
    "mounts-on-a-cached-read": Mutant(
        "it mounts on the pair as its watch showed it", nights.moved, ((hosttargets, "_prepared", broken.cached_pair),)
    ),
    "shoots-on-a-cached-read": Mutant(
        "it shoots without a quorum read", nights.dies, ((fencing, "shoot", broken.never_read),)
    ),
    "releases-once-for-all": Mutant(
        "a release of an earlier epoch is told as one of this",
        nights.moved_twice,
        ((hosttargets, "_release", broken.released_once_for_all),),
    ),
    "unmounts-in-hold": Mutant(
        "it unmounts while its targets may be another's at any moment",
        nights.cannot_let_go,
        ((hosttargets, "plan", broken.unmounts_in_hold),),
    ),
    "stays-under-its-successor": Mutant(
        "what it has mounted is served elsewhere, and it goes on",
        nights.adopted_on_a_wrong_word,
        ((permission, "must_stop", broken.stops_only_if_certified),),
    ),
    "stays-under-its-successor-after-a-raised-restore": Mutant(
        "the same, where no version of a write has gone back",
        nights.adopted_after_a_raised_restore,
        ((permission, "must_stop", broken.stops_only_if_certified),),
    ),
    "unmounts-under-its-successor": Mutant(
        "what it has mounted is served elsewhere, and it unmounts it rather than stop",
        nights.adopted_on_a_wrong_word,
        (
            (permission, "must_stop", broken.stops_only_if_certified),
            (hosttargets, "plan", broken.unmounts_under_its_successor),
        ),
    ),
    "clears-fsck": Mutant(
        "a block that e2fsck holds counts as standing still, whoever's mark it carries",
        nights.checked_by_hand,
        (
            (diskwatch, "reading_of", broken.fsck_is_still),
            (acts, "MmpState", broken.no_fsck),
            (permission, "_not_the_dead_servers", broken.always("")),
        ),
    ),
    "clears-unflushed": Mutant(
        "the cache is not flushed before MMP is cleared",
        nights.dies,
        ((MountAct, "look_before_clear", broken.clears_unflushed),),
    ),
    "counts-the-fuse-too-late": Mutant(
        "the fuse counts only who is silent for the whole time-out",
        nights.hiccup,
        ((heartbeats.Heartbeats, "watch_fuse", broken.late_too_late),),
    ),
    "does-not-settle": Mutant("settle is not waited for", nights.dies, ((fencing, "_certify", broken.unsettled),)),
    "takes-any-answer": Mutant(
        "an answer to an earlier nonce counts", nights.answered_unread, ((fencing, "disk_proofs", broken.any_nonce),)
    ),
    "asks-the-same-again": Mutant(
        "a machine that begins anew in the same term asks what was asked before it",
        nights.breaks_while_it_shoots,
        ((process.Process, "_begin", broken.same_name),),
    ),
    "forgets-late-shots": Mutant(
        "power comes back while an off may be on its way",
        nights.returns_under_fire,
        ((ending, "_shots_over", broken.always(-1.0)),),
    ),
    "shoots-for-ever": Mutant(
        "a shot has no deadline", nights.shot_in_vain, ((power.Devices, "order", broken.no_deadline),)
    ),
    "knows-no-amnesty": Mutant(
        "the clocks do not start again after an outage, nor with a new term",
        nights.api_outage,
        ((heartbeats.Heartbeats, "restart", broken.no_restart),),
    ),
    "dead-when-asked": Mutant(
        "a person's answer counts as ConfirmDead before anything was tried",
        nights.answered("Failover"),
        ((failover.HANDLERS, "AwaitingApproval", broken.dead_when_asked),),
    ),
    "counts-no-budget": Mutant(
        "what was shot and is not back is not counted",
        nights.one_after_the_other,
        ((budget, "spent", broken.always("")),),
    ),
    "knows-no-soak": Mutant(
        "partnerSoak is not waited for", nights.dies_as_the_other_is_back, ((able, "_soaking", broken.always("")),)
    ),
    "shoots-beside-a-silent-partner": Mutant(
        "whether the partner could take over is not asked", nights.both_hang, ((fencing, "spared", broken.always("")),)
    ),
    "shoots-the-partner": Mutant(
        "the feeds of the wrong server are cut", nights.dies, ((opening, "snapshot", broken.partner_s_feeds),)
    ),
    "drills-what-serves": Mutant(
        "a server is drilled that holds targets",
        nights.drilled_too_early,
        ((drill, "_refusal", broken.always("")), (drill, "_shoot", broken.drills_whatever)),
    ),
    "keeps-ghosts": Mutant(
        "the assignment of a retired OST is kept", nights.retired, ((retiring, "retire", broken.always([])),)
    ),
    "drops-what-is-mounted": Mutant(
        "the assignment of a deleted OST is dropped at once",
        nights.deleted_in_service,
        ((retiring, "unproven", broken.always("")), (retiring, "_proven", broken.always(True))),
    ),
    "believes-one-device": Mutant(
        "a lone BMC that was never drilled proves a death",
        nights.lies_alone,
        ((witness, "beside", broken.always("Drilled")),),
    ),
    "believes-falling-load": Mutant(
        "load within the grace counts as none, and after it, too",
        nights.load_tells,
        ((Rounds, "_loaded", broken.always(False)),),
    ),
    "believes-the-acknowledgement": Mutant(
        "an off that was acknowledged counts as OFF, whatever is read",
        nights.switches_late,
        ((Rounds, "take", broken.on_is_off),),
    ),
    "believes-a-witness-that-never-spoke": Mutant(
        "a network witness that never answered in this boot counts as silent",
        nights.filtered,
        ((verdict, "_network", broken.silent_is_silent), (armed, "_witness", broken.always([]))),
    ),
    "fences-whoever-answers": Mutant(
        "the identity of a BMC is not compared",
        nights.leads_to_its_partner,
        (
            (fencing, "expected", broken.always(devices.Expected())),
            (pair, "judged", broken.whoever_answers),
            (pair, "beside", broken.whoever_answers_beside),
        ),
    ),
    "believes-any-unit": Mutant(
        "the identity of a PDU is not compared",
        nights.unit_replaced,
        (
            (fencing, "expected", broken.always(devices.Expected())),
            (pair, "judged", broken.whoever_answers),
            (pair, "beside", broken.whoever_answers_beside),
        ),
    ),
    "counts-one-unit-twice": Mutant(
        "two objects with one identity count as two devices",
        nights.one_unit_twice,
        ((claims, "_shared_identities", broken.always(())),),
    ),
    "trusts-a-placeholder": Mutant(
        "a placeholder counts as an identity",
        nights.boards_of("boards-unset"),
        ((devices, "usable", broken.always(True)),),
    ),
    "trusts-a-duplicate": Mutant(
        "an identity that two boards have counts as one",
        nights.boards_of("boards-alike"),
        ((claims, "_duplicate_boards", broken.always(())),),
    ),
    "never-tries-again": Mutant(
        "a mount that failed is not tried again",
        nights.fails_at_home,
        ((host.HostMachine, "_fail", broken.never_again),),
    ),
    "asks-whatever-the-mode": Mutant(
        "Automatic asks as Manual does",
        nights.dies_for_good,
        ((opening, "not_unasked", broken.always("mode")), (failover, "not_unasked", broken.always("mode"))),
        helped=False,
    ),
    "never-stalled": Mutant(
        "a pair whose targets are not served does not say that a person is needed",
        nights.asked_for_good,
        ((mirror, "stalled", broken.always(("", ""))),),
        helped=False,
    ),
    "gives-blocked-up": Mutant(
        "Blocked is not left although the device answers again",
        nights.dies_unseen_for_good,
        ((failover.HANDLERS, "Blocked", broken.always([])),),
        helped=False,
    ),
}
"""By name."""
