"""How mutants are broken: each function makes a broken one from the right one.

Here: one slip each, as a programmer might make it. Not here: which function it replaces (`mutants`), when it shows
(`mutantnights`).
"""

# ruff: noqa: D103 - what each does wrong is the sentence of its mutant

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from ostkeeper.api.failover import Certificate, DiskProof
from ostkeeper.api.oss import Released
from ostkeeper.api.osspair import ReleasedWarrant
from ostkeeper.core import ending, fencing, heartbeats, hosttargets, permission
from ostkeeper.core.campaign import Rounds
from ostkeeper.core.diskview import MmpState
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.power import PowerState
from ostkeeper.core.verdict import Life
from ostkeeper.core.view import View
from ostkeeper.core.writes import assign, write_failover
from ostkeeper.sim.acts import MountAct


@contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Something else under a name, for as long as the right function runs."""
    right = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, right)


def always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *args, **named: value


def constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: property(lambda self: value)


def unknown_is_off(right: Any) -> Any:
    def take(self: Rounds, op: int, reading: Any, now: float) -> None:
        unknown = reading.state is PowerState.UNKNOWN
        right(self, op, replace(reading, state=PowerState.OFF) if unknown else reading, now)

    return take


def on_is_off(right: Any) -> Any:
    def take(self: Rounds, op: int, reading: Any, now: float) -> None:
        right(self, op, replace(reading, state=PowerState.OFF, watts=None), now)

    return take


def whoever_answers(_: Any) -> Any:
    return lambda view, failover, feed, reading: reading


def whoever_answers_beside(_: Any) -> Any:
    return lambda view, failover, feed, reading: reading.state


def straight_to_fencing(_: Any) -> Any:
    def holding(view: Any, fo: Any, c: Any, now: float) -> Any:
        shots = fencing.shots_of(fo, fo.status, 0)
        update = {"hold_epoch": view.status.epoch, "level": 0, "shots": shots}
        return [] if view.busy else write_failover(view, fo, "at once", phase="Fencing", **update)

    return holding


def released_at_once(_: Any) -> Any:
    def release(turn: Any, target: Any, grant: Any) -> None:
        target.released = Released(epoch=grant.epoch, boot_id=turn.host.server.boot_id)

    return release


def any_release(_: Any) -> Any:
    def released(view: Any, a: Any) -> Any:
        report = view.target_report(a.node, a.target)
        done = report.released if report else None
        if a.intent != "Release" or done is None:
            return None
        return ReleasedWarrant(node=a.node, epoch=a.epoch, dirty=done.dirty)

    return released


def same_epoch(_: Any) -> Any:
    def same(assignments: Any, targets: Any, epoch: int, **named: Any) -> Any:
        return assign(assignments, targets, epoch - 1, **named)

    return same


def partner_s_feeds(right: Any) -> Any:
    def snapshot(view: Any, node: str, **named: Any) -> Any:
        return right(view, view.pair.partner_of(node), **named)

    return snapshot


def word_clears(right: Any) -> Any:
    def seal(certificate: Any) -> Any:
        word = certificate.confirmed_by is not None
        return right(certificate.model_copy(update={"clear_mmp": True}) if word else certificate)

    return seal


def sealed(**update: Any) -> Callable[[Any], Any]:
    """A certificate that says something else."""
    return lambda right: lambda certificate: right(certificate.model_copy(update=update))


def still_whatever(right: Any) -> Any:
    def disk_report(target: Any, now: float) -> Any:
        report = right(target, now)
        return report.model_copy(update={"state": "Still"}) if report.state == "Advancing" else report

    return disk_report


def power_first(right: Any) -> Any:
    def abort(view: Any, fo: Any, c: Any, why: str, now: float) -> Any:
        effects: list[Any] = []
        if fo.status.shots and not ending.power_on(view, fo, c, now, effects) and effects:
            return effects
        return right(view, fo, c, why, now)

    return abort


def everything_moves(right: Any) -> Any:
    def relocating(view: Any, fo: Any, c: Any, now: float) -> Any:
        with _instead(View, "held_by", lambda self, _: self.status.assignments):
            return right(view, fo, c, now)

    return relocating


def clear_always(right: Any) -> Any:
    def clearing(host: Any, target: Any, grant: Any, now: float) -> Any:
        told = right(host, target, grant, now)
        return permission.Clearing(True, why="why not") if target.reading and target.reading.ordinary else told

    return clearing


def prepared_at_once(right: Any) -> Any:
    def prepared(turn: Any, target: Any, grant: Any) -> bool:
        right(turn, target, grant)
        return target.reading is not None

    return prepared


def never_again(right: Any) -> Any:
    def fail(self: Any, target: Any, reason: str, message: str, now: float) -> None:
        right(self, target, reason, message, now)
        target.retry_at = 1e12

    return fail


def no_flush(_: Any) -> Any:
    return lambda self: None


def first_feed(right: Any) -> Any:
    return lambda fo, level: right(fo, level)[:1]


def no_reading(_: Any) -> Any:
    return property(lambda self: True)


def read_long_ago(right: Any) -> Any:
    def shoot(view: Any, fo: Any, c: Any, now: float) -> Any:
        c.read_began = max(now - 5.0, c.phase_since)
        return [replace(e, deadline=now + 60.0) if hasattr(e, "deadline") else e for e in right(view, fo, c, now)]

    return shoot


def without_shots(right: Any) -> Any:
    return lambda fo, status, level: ()


def never_noted(right: Any) -> Any:
    return lambda view, fo, certificate: view.status.fenced


def acknowledged_at_once(right: Any) -> Any:
    def confirm(view: Any, fo: Any, c: Any, now: float) -> Any:
        for shot in c.shots.values():
            if shot.ended == math.inf:
                shot.ended, shot.ok, shot.sent = now, True, True
        return right(view, fo, c, now)

    return confirm


def network_unheard(right: Any) -> Any:
    return lambda peer, dead: False


def beats_unheard(_: Any) -> Any:
    return lambda self, beat: None


def cached_pair(right: Any) -> Any:
    def prepared(turn: Any, target: Any, grant: Any) -> bool:
        return bool(right(turn, target, grant)) or turn.host.seen_for(target) == grant.epoch

    return prepared


def never_read(right: Any) -> Any:
    def shoot(view: Any, fo: Any, c: Any, now: float) -> Any:
        c.read_began = now
        return right(view, fo, c, now)

    return shoot


def released_once_for_all(right: Any) -> Any:
    def release(turn: Any, target: Any, grant: Any) -> None:
        if target.released is not None:
            target.released = target.released.model_copy(update={"epoch": grant.epoch})
        right(turn, target, grant)

    return release


def cuts_marks(right: Any) -> Any:
    def compared(host: Any, target: Any, certificate: Certificate, proof: Any) -> str:
        same = proof.mark[:64] == proof.reported[:64] != ""
        return "" if same else right(host, target, certificate, proof)

    return compared


def unmounts_in_hold(right: Any) -> Any:
    def plan(turn: Any, target: Any) -> None:
        right(turn, target)
        grant = turn.host.assignment(target.name)
        if (
            grant
            and (grant.node, grant.intent) == (turn.host.server.node, "Hold")
            and not target.busy
            and turn.now >= target.retry_at
        ):
            hosttargets._release(turn, target, grant)

    return plan


def unmounts_under_its_successor(right: Any) -> Any:
    def plan(turn: Any, target: Any) -> None:
        right(turn, target)
        if permission._served_elsewhere(turn.host, target) and not target.busy and turn.now >= target.retry_at:
            hosttargets._release(turn, target, turn.host.assignment(target.name))

    return plan


def stops_only_if_certified(_: Any) -> Any:
    return lambda host: permission._certified_dead(host)


def fsck_is_still(right: Any) -> Any:
    def reading_of(target: str, view: Any) -> Any:
        reading = right(target, view)
        checked = reading.activity == "Fsck"
        return reading._replace(activity="Still", ordinary=True) if checked else reading

    return reading_of


def no_fsck(_: Any) -> Any:
    return SimpleNamespace(CLEAN=MmpState.CLEAN, FSCK=None)


def clears_unflushed(right: Any) -> Any:
    def look(self: MountAct) -> None:
        with _instead(MountAct, "flush_cache", lambda self: None):
            right(self)

    return look


def late_too_late(right: Any) -> Any:
    def watch_fuse(self: Heartbeats, now: float) -> None:
        with _instead(heartbeats, "LATE_AFTER", 5.0):
            right(self, now)

    return watch_fuse


def unsettled(right: Any) -> Any:
    def certify(view: Any, fo: Any, c: Any, now: float) -> Any:
        with _instead(fencing, "seconds", lambda _: 0.0):
            return right(view, fo, c, now)

    return certify


def any_nonce(right: Any) -> Any:
    def proofs(view: Any, fo: Any, c: Any, now: float) -> Any:
        report, asked = view.report(fo.spec.partner), c.final_nonce
        if report and report.nonce:
            c.final_nonce = report.nonce.value
        try:
            return right(view, fo, c, now)
        finally:
            c.final_nonce = asked

    return proofs


def proofs_of_all(right: Any) -> Any:
    def proofs(view: Any, fo: Any, c: Any, now: float) -> Any:
        found, waiting = right(view, fo, c, now)
        named = {proof.target for proof in found}
        rest = [a.target for a in view.held_by(fo.spec.node) if found and a.target not in named]
        return (*found, *(DiskProof(target=target, state="Still") for target in rest)), waiting

    return proofs


def proof_of_one(right: Any) -> Any:
    def proofs(view: Any, fo: Any, c: Any, now: float) -> Any:
        held = [a.target for a in view.held_by(fo.spec.node)]
        found, waiting = right(view, fo, c, now)
        return (found[:1], waiting) if len(held) > 1 and len(found) > 1 else (found, waiting)

    return proofs


def all_held_move(right: Any) -> Any:
    def relocating(view: Any, fo: Any, c: Any, now: float) -> Any:
        disks = tuple(DiskProof(target=a.target, state="Still") for a in view.held_by(fo.spec.node))
        certificate = fo.status.certificate.model_copy(update={"disks": disks})
        status = fo.status.model_copy(update={"certificate": certificate})
        return right(view, fo.model_copy(update={"status": status}), c, now)

    return relocating


def no_deadline(right: Any) -> Any:
    def order(self: Any, sender: str, feed: Any, on: bool, deadline: float, *rest: Any) -> None:
        right(self, sender, feed, on, deadline if on else deadline + 20.0, *rest)

    return order


def no_restart(_: Any) -> Any:
    def restart(self: Heartbeats, now: float) -> None:
        self.started = self.horizon = now

    return restart


def drills_whatever(right: Any) -> Any:
    def shoot(view: Any, fo: Any, c: Any, feeds: Any, now: float) -> Any:
        with _instead(View, "held_by", lambda self, node: ()):
            return right(view, fo, c, feeds, now)

    return shoot


def any_boot_is_dead(_: Any) -> Any:
    def certified_dead(host: Any) -> str:
        for name, failover in sorted(host.failovers.items()):
            if failover.status and failover.status.certificate and failover.spec.node == host.server.node:
                return f"{name} certifies this server"
        return ""

    return certified_dead


def dead_when_asked(right: Any) -> Any:
    def awaiting(view: Any, fo: Any, c: Any, now: float) -> Any:
        approval = ending.valid_answer(view, fo, now)
        if approval is None or view.busy:
            return right(view, fo, c, now)
        dead = Certificate(node=fo.spec.node, boot_id=fo.spec.evidence.boot_id, hold_epoch=0, confirmed_by=approval.by)
        return write_failover(view, fo, "confirmed", phase="Relocating", certificate=fencing.seal(dead))

    return awaiting


def silent_is_silent(_: Any) -> Any:
    def network(report: Any, boot: str) -> Any:
        if report is None or report.peer.state == "Unknown":
            return Life.UNKNOWN
        return Life.FRESH if report.peer.state == "Answering" else Life.STALE

    return network


def same_name(right: Any) -> Any:
    def begin(self: Any) -> str:
        return str(self.election.term)

    return begin
