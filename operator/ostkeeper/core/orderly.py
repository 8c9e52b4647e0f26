"""Orderly moves: a living server lets go, and only then the other one gets the target.

`Release` at epoch+1, the agent's report that it has let go, `Serve` for the other at a later epoch. No time-out ever means
"released". Here: failback, switchover, maintenance, a sick server, `desired: Unmounted`. Not here: anything that shoots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import Assignment, Noted, Warrant
from ostkeeper.api.ost import OST
from ostkeeper.core import waiting
from ostkeeper.core.able import (
    desired,
    foreign,
    held_by_failover,
    left_behind,
    partner_unable,
    released,
    unanswered,
    what_is_left,
)
from ostkeeper.core.acts import ASKS_FOR, OVERDUE, Act
from ostkeeper.core.ailing import SETTLE, STALL_PATIENCE, settled
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.ending import dismissal, valid_answer
from ostkeeper.core.events import Effect
from ostkeeper.core.failover import served
from ostkeeper.core.fencing import ask_term
from ostkeeper.core.opening import draft, noted, overdue, release_overdue, reserve
from ostkeeper.core.verdict import certified_dead, evidence_digest, evidence_of, verdict_of
from ostkeeper.core.view import View
from ostkeeper.core.writes import assign, write_failover, write_pair

SICK = "Sick"
"""The type under which it is noted that a sick server was emptied."""
DAY = 86400.0
"""Seconds within which a sick server is emptied once without asking a person."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One target that ought to be elsewhere."""

    target: str
    node: str
    to: str
    type: str
    why: str
    asks: bool
    """A person decides."""


def wish(view: View, a: Assignment, ost: OST, now: float) -> Wish | None:
    """Where a target ought to be, if that is not where it is."""
    assert view.pair is not None
    home, mode = ost.spec.home_node, view.pair.spec.failover.mode
    if home not in view.servers or a.node not in view.servers:
        return None
    want = view.wanted_at(ost)
    if a.node != want and (want != home or view.in_maintenance(a.node)):
        why = f"{a.node} is in maintenance" if view.in_maintenance(a.node) else f"serveFrom is {ost.spec.serve_from}"
        return Wish(a.target, a.node, want, "Switchover", why, asks=False)
    if verdict_of(view, a.node, now).act is Act.MOVE and view.fresh(a.node, now):
        return _away_from_sick(view, a, asks=mode != "Automatic", now=now)
    return _failback(view, a, want, now) if a.node != want else None


def _away_from_sick(view: View, a: Assignment, *, asks: bool, now: float) -> Wish | None:
    """To the partner, unless that one is no better off: once a day without a person."""
    assert view.pair is not None
    to = view.pair.partner_of(a.node)
    if verdict_of(view, to, now).name in ("Sick", "SharedFault") or not settled(view, a.node, now):
        return None
    why, before = verdict_of(view, a.node, now).sentence, emptied(view, now)
    why += f"; {before} has emptied a sick server of this pair within a day" if before else ""
    return Wish(a.target, a.node, to, "Switchover", why, asks=asks or bool(before))


def emptied(view: View, now: float) -> str:
    """The Failover that emptied a sick server of this pair within a day; empty: none has.

    For the pair, not for the server: a fault that moves along with a target would chase it to and fro. Durable is who did it;
    the day is counted from when this leader saw it first, so it is a day at least.
    """
    found = next((n.failover for n in view.status.noted if n.type == SICK), "") if view.status else ""
    return found if found and now < view.noted_at.get(found, now) + DAY else ""


def watch(view: View, now: float) -> None:
    """Keep the clocks: of that day, and of reports that a lease is ahead of."""
    for node in view.servers:
        if view.fresh(node, now) and view.report(node) is None:
            view.unread.setdefault(node, now)
        else:
            view.unread.pop(node, None)
    for note in view.status.noted if view.status else ():
        if note.type == SICK:
            since = view.noted_at.setdefault(note.failover, now)
            if since + DAY > now:
                view.wake_by(since + DAY)


def _with_emptied(view: View, fo: Failover) -> tuple[Noted, ...]:
    """What is noted, with the emptying of a sick server that begins with this write."""
    assert view.status is not None
    noted, evidence = view.status.noted, fo.spec.evidence
    if ASKS_FOR.get(evidence.verdict) is not Act.MOVE:
        return noted
    others = tuple(n for n in noted if n.type != SICK)
    return (*others[-7:], Noted(node=fo.spec.node, type=SICK, failover=fo.name, boot_id=evidence.boot_id))


def _failback(view: View, a: Assignment, home: str, now: float) -> Wish | None:
    """Home again, once the home server has been well for `soak`; a person decides while it may be sick again any moment."""
    assert view.pair is not None
    policy = view.pair.spec.failback
    soak = seconds(policy.soak)
    soaked = view.well_since.get(home, now) + soak
    if now < soaked:
        view.wake_by(soaked)
        return None
    soaked_for = f"has been well for {soak:g}s" if soak else "renews its heartbeat"
    why, before = f"{home} {soaked_for}", emptied(view, now)
    why += f", and {before} has emptied a sick server of this pair within a day" if before else ""
    return Wish(a.target, a.node, home, "Failback", why, asks=policy.mode == "Manual" or bool(before))


def wishes(view: View, now: float) -> list[Wish]:
    """All targets that ought to be elsewhere and could be, in order of their names.

    A server must be able to take all that ought to go there: one that has just booted reads its disks one after the other,
    and a person is asked once, not once a target.
    """
    return view.once("wishes", _wishes, now)


def _wishes(view: View, now: float) -> list[Wish]:
    found = _wanted_elsewhere(view, now)
    if not found:
        return found
    going = {to: tuple(w.target for w in found if w.to == to) for to in view.servers}
    able = [w for w in found if view.fresh(w.node, now) and not view.unreported(w.node)]
    able = [w for w in able if not partner_unable(view, w.to, going[w.to], now)]
    return [w for w in able if not view.unreadable(w.to, w.target)]


def _wanted_elsewhere(view: View, now: float) -> list[Wish]:
    assert view.status is not None
    found, blocked = [], view.blocked_targets()
    for a in sorted(view.status.assignments, key=lambda a: a.target):
        ost = view.ost(a.target)
        if ost is None or ost.spec.desired != "Mounted" or a.target in blocked or a.intent != "Serve":
            continue
        if foreign(view, a):
            continue
        w = wish(view, a, ost, now)
        if w is not None:
            found.append(w)
    return found


def moves(view: View, now: float) -> list[tuple[Wish, ...]]:
    """The moves that may be opened, those that ask nobody first: each is one Failover. A move that a person dismissed is not.

    What asks nobody is not held up by the dismissal of a question: maintenance empties a server all the same.
    """
    groups: dict[tuple[str, str, str, bool], list[Wish]] = {}
    for w in wishes(view, now):
        if not _was_answered(view, w):
            groups.setdefault((w.node, w.to, w.type, w.asks), []).append(w)
    return [tuple(group) for group in sorted(groups.values(), key=lambda g: (g[0].asks, g[0].type == "Failback"))]


def _was_answered(view: View, w: Wish) -> bool:
    """Whether a person was asked about such a move, or told of it, and its reason has not ended since."""
    assert view.pair is not None
    asks = w.asks or view.pair.spec.failover.mode == "Observe"
    return asks and noted(view, w.node, "Failback" if w.type == "Failback" else "Switchover")


def open_move(view: View, now: float) -> list[Effect]:
    """Take the slot for the first move."""
    for group in moves(view, now):
        return reserve(view, group[0].node, sentence_of(group))
    return []


def sentence_of(group: tuple[Wish, ...]) -> str:
    """What a move is and why."""
    w = group[0]
    return f"{w.type} of {', '.join(w.target for w in group)} to {w.to}: {w.why}"


def draft_of(view: View, group: tuple[Wish, ...], now: float) -> Failover:
    """The draft of a move."""
    first = group[0]
    evidence = evidence_of(view, verdict_of(view, first.node, now), first.node, now)
    evidence = evidence.model_copy(update={"sentence": first.why})
    type_: Literal["Failback", "Switchover"] = "Failback" if first.type == "Failback" else "Switchover"
    return draft(view, type_, first.node, evidence, tuple(w.target for w in group))


def first_phase(view: View, fo: Failover, now: float) -> list[Effect]:
    """Ask where a person decides, else go."""
    message = f"{', '.join(fo.spec.targets)} from {fo.spec.node} to {fo.spec.partner}: {fo.spec.evidence.sentence}"
    if fo.spec.policy.mode == "Observe":
        return write_failover(view, fo, f"would move {message}", phase="Observed")
    digest = evidence_digest(fo.spec.evidence, 1)
    if _unseen(view, now):
        return []
    if _asks(view, fo, now):
        question = f"{message}. Failback (to let them move) or Dismiss?"
        return write_failover(view, fo, question, phase="AwaitingApproval", evidence=digest, asked=1)
    answer = fo.spec.type
    return write_failover(view, fo, message, phase="Relocating", evidence=digest, answer=answer, answered_by="policy")


def unread(view: View, node: str, now: float) -> bool:
    """Whether the server's newest report is on its way: that is no inability before it has lasted for the time-out."""
    since = view.unread.get(node)
    return since is not None and now < since + view.timeout()


def _unseen(view: View, now: float) -> bool:
    """Whether a server may still turn out to live, or what it reports is on its way. What a move is for is not known then."""
    unseen = any((not view.fresh(n, now) and not view.silent(n)) or unread(view, n, now) for n in view.servers)
    if unseen:
        view.wake_by(now + 1.0)
    return unseen


def _asks(view: View, fo: Failover, now: float) -> bool:
    """Whether a person decides. A reason that a new leader cannot see yet (its soak begins anew) asks, unless policy does not."""
    assert view.pair is not None
    mine = [w for w in wishes(view, now) if w.target in fo.spec.targets and w.type == fo.spec.type]
    if mine:
        return any(w.asks for w in mine)
    return fo.spec.type != "Failback" or view.pair.spec.failback.mode == "Manual"


def _stands(view: View, fo: Failover, now: float) -> bool:
    """Whether there is still a reason to ask: also where a new leader's soak begins anew, and home is in the boot that soaked."""
    if any(
        w.target in fo.spec.targets and (w.to, w.type) == (fo.spec.partner, fo.spec.type) for w in wishes(view, now)
    ):
        return True
    to, targets = fo.spec.partner, fo.spec.targets
    if fo.spec.type != "Failback" or view.boot(to) != fo.spec.evidence.partner_boot_id:
        return False
    away = [
        a
        for a in view.held_by(fo.spec.node)
        if a.target in targets and (o := view.ost(a.target)) and _wants(view, o, to)
    ]
    return bool(away) and not partner_unable(view, to, targets, now)


def _wants(view: View, ost: OST, to: str) -> bool:
    return ost.spec.desired == "Mounted" and view.wanted_at(ost) == to


def awaiting(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """A person is asked whether to move; the question ends with its reason. `due` ends it when it has to yield."""
    if view.busy:
        return []
    if _unseen(view, now):
        return []
    if not _stands(view, fo, now):
        return write_failover(view, fo, "the reason for the move is gone", phase="Aborted")
    approval = valid_answer(view, fo, now)
    if approval is None:
        return _lapse(view, fo)
    if approval.answer == "Dismiss":
        return write_failover(view, fo, dismissal(approval), phase="Aborted")
    if approval.answer != "Failback":
        return []
    message = f"{approval.by} answered {approval.answer}"
    return write_failover(view, fo, message, phase="Relocating", answer=approval.answer, answered_by=approval.by)


def _lapse(view: View, fo: Failover) -> list[Effect]:
    status, approval = fo.status, fo.spec.approval
    assert status is not None
    if approval is None or approval.evidence != status.evidence:
        return []
    asked = status.asked + 1
    digest = evidence_digest(fo.spec.evidence, asked)
    return write_failover(
        view, fo, "an answer lapsed; asking again", phase="AwaitingApproval", asked=asked, evidence=digest
    )


def moving(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Release a few at a time, give each to the other server once its release was reported.

    What is not to be mounted any more stays where it is, released: it would be mounted only to be unmounted again.
    """
    if view.busy:
        return []
    assert view.pair is not None
    assert view.status is not None
    source, to = fo.spec.node, fo.spec.partner
    mine = [a for a in view.status.assignments if a.target in fo.spec.targets]
    there = [a for a in mine if a.node == source]
    left = [a for a in there if desired(view, a.target)]
    if not left:
        why = f"{', '.join(a.target for a in there)} stays at {source}: desired is Unmounted" if there else "all moved"
        return write_pair(view, f"{fo.name}: {why}", epoch=view.status.epoch + 1, active_failover="")
    overdue = release_overdue(view, source, now, of=[a.target for a in left])
    seen = verdict_of(view, source, now)
    lost = "" if view.fresh(source, now) or seen.name == "Suspect" else f"{source} does not answer: {seen.sentence}"
    if overdue or lost:
        return write_failover(view, fo, overdue or lost, phase="Aborted")
    agents = unanswered(view, now)
    if late := waiting.overdue(view, c, agents, now):
        return write_failover(view, fo, late, phase="Aborted")
    if agents:
        return ask_term(view, now)
    epoch = view.status.epoch + 1
    if unread(view, to, now) or (not view.fresh(to, now) and view.heartbeats.stale_for(to) < view.timeout()):
        view.wake_by(now + 1.0)
        return []
    unable = partner_unable(view, to, tuple(a.target for a in left), now)
    assignments, why = _step(view, left, mine, to, epoch, unable)
    if assignments is None:
        return [] if not unable or any(a.intent == "Release" for a in left) else _give_up(view, fo, unable)
    return write_pair(view, f"{fo.name}: {why}", epoch=epoch, assignments=assignments, noted=_with_emptied(view, fo))


def _give_up(view: View, fo: Failover, unable: str) -> list[Effect]:
    return write_failover(view, fo, unable, phase="Aborted")


def _step(
    view: View, left: list[Assignment], mine: list[Assignment], to: str, epoch: int, unable: str
) -> tuple[tuple[Assignment, ...] | None, str]:
    """The next assignments: what was released goes over, and as many more are released as may be under way.

    No target that two objects claim is granted or asked for. What is to be unmounted meanwhile is, on either side.
    """
    assert view.pair is not None
    assert view.status is not None
    assignments, said, claimed = view.status.assignments, [], view.blocked_targets()
    for a in left:
        done = released(view, a)
        if a.target in claimed:
            continue
        why = unable or what_is_left(view, to, [a.target])
        if why and a.intent == "Release":
            assignments = assign(assignments, [a.target], epoch, intent="Serve")
            said.append(f"{a.target} stays at {a.node}: {why}")
        elif done is not None:
            warrant = Warrant(released=done)
            gone = assign(assignments, [a.target], epoch, intent="Serve", node=to, released=warrant.released)
            assignments = gone
            said.append(f"{a.target} to {to}")
    going = [a for a in mine if desired(view, a.target)]
    for a in mine:
        if a not in going and a.intent == "Serve":
            assignments = assign(assignments, [a.target], epoch, intent="Release")
            said.append(f"{a.target}: desired is Unmounted")
        elif a in going and a.node == to and a.intent == "Release":
            assignments = assign(assignments, [a.target], epoch, intent="Serve")
            said.append(f"{a.target}: serve again at {to}")
    under_way = sum(1 for a in going if (a.node == to and not served(view, to, a.target)) or a.intent == "Release")
    room = view.pair.spec.failback.max_parallel - under_way
    kept = {*claimed, *left_behind(view, to, [a.target for a in left])}
    for a in [] if unable else [a for a in left if a.intent == "Serve" and a.target not in kept][: max(0, room)]:
        assignments = assign(assignments, [a.target], epoch, intent="Release")
        said.append(f"release {a.target}")
    return (assignments, "; ".join(said)) if said else (None, "")


def leaving(view: View, now: float) -> set[str]:
    """Servers that targets are to leave, or that are asked to release one."""
    assert view.status is not None
    return {w.node for w in wishes(view, now)} | {a.node for a in view.status.assignments if a.intent == "Release"}


def still_noted(view: View, note: Noted, now: float) -> bool:
    """Whether a question about a move that was dismissed, or told of, is not to be asked again yet.

    A reason that is out of sight for a moment, as while a heartbeat is late, has not ended. A Failback is asked about again
    once its home server has booted anew.
    """
    if any((w.node, w.type) == (note.node, note.type) for w in _wanted_elsewhere(view, now)):
        return True
    if not all(view.fresh(n, now) for n in view.servers):
        return True
    fo = view.failovers.get(note.failover)
    if note.type == "Failback" and fo is not None:
        away = any((o := view.ost(a.target)) and _wants(view, o, fo.spec.partner) for a in view.held_by(note.node))
        return away and view.boot(fo.spec.partner) == fo.spec.evidence.partner_boot_id
    return note.type == "Switchover" and verdict_of(view, note.node, now).name in ("Sick", "SharedFault")


def _awaited(view: View, a: Assignment, ost: OST, now: float) -> bool:
    """Whether a Release is not withdrawn, since a person is asked about its server, or is to be.

    A release that is overdue is withdrawn once the target is wanted where it is and its server has been healthy for so long
    that a fault which asked for the move would show again.
    """
    fo = view.active
    if fo is not None and fo.spec.type == "Failover" and fo.spec.node == a.node:
        if fo.spec.evidence.verdict != OVERDUE:
            return True
    elif a.node not in {q.node for q in overdue(view, now)} or not release_overdue(view, a.node, now, of=(a.target,)):
        return False
    well = view.well_since.get(a.node, now) + STALL_PATIENCE + SETTLE
    if view.wanted_at(ost) == a.node and now < well:
        view.wake_by(well)
    return view.wanted_at(ost) != a.node or now < well


def intents(view: View, now: float) -> list[Effect]:
    """`desired: Unmounted` and back, where the target stays with its server; and a Release that nobody wants any more."""
    assert view.status is not None
    if held_by_failover(view):
        return []
    epoch = view.status.epoch + 1
    assignments, said = view.status.assignments, []
    for a in view.status.assignments:
        ost = view.ost(a.target)
        if ost is None or a.target in view.blocked_targets():
            continue
        if a.intent == "Hold" and certified_dead(view, a.node):
            continue  # its partner could not read the disk: it moves once it can, or is its own again when it is back
        if ost.spec.desired == "Unmounted" and a.intent in ("Serve", "Hold"):
            assignments = assign(assignments, [a.target], epoch, intent="Release")
            said.append(f"{a.target}: desired is Unmounted")
        elif ost.spec.desired == "Mounted" and a.intent in ("Release", "Hold") and not _awaited(view, a, ost, now):
            assignments = assign(assignments, [a.target], epoch, intent="Serve")
            said.append(f"{a.target}: serve again at {a.node}")
    if not said:
        return []
    if unanswered(view, now):
        return ask_term(view, now)
    return write_pair(view, "; ".join(said), epoch=epoch, assignments=assignments)
