"""When a Failover is opened, and with what: the slot first, then the object, then its first phase.

Here: everything up to the first phase of type Failover. Not here: what follows, and the other types.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ostkeeper.api.common import ObjectMeta, seconds
from ostkeeper.api.failover import (
    Evidence,
    Failover,
    FailoverSpec,
    FeedSnapshot,
    LevelSnapshot,
    PolicySnapshot,
    Type,
)
from ostkeeper.api.osspair import Noted
from ostkeeper.core import budget
from ostkeeper.core.able import claimed, foreign, not_unasked, released, said_to_a_person
from ostkeeper.core.acts import OPENS, OVERDUE
from ostkeeper.core.addresses import normalised
from ostkeeper.core.armed import armed, armed_to_fence, level_drilled, wiring_trusted
from ostkeeper.core.devices import identifies
from ostkeeper.core.events import Effect
from ostkeeper.core.identity import reported
from ostkeeper.core.verdict import Life, Verdict, evidence_digest, evidence_of, verdict_of
from ostkeeper.core.view import View
from ostkeeper.core.writes import write_failover, write_pair


@dataclass(frozen=True, slots=True)
class Question:
    """What a Failover of one server would be about, and why."""

    node: str
    verdict: str
    """The verdict, or ReleaseOverdue."""
    sentence: str


def decide(view: View, now: float) -> list[Effect]:
    """Open a Failover for a server that has failed or has an overdue release, if it may be opened now."""
    for question in (*failures(view, now), *overdue(view, now)):
        if may_open(view, question.node, now):
            return reserve(view, question.node, question.sentence)
    return []


def failures(view: View, now: float) -> list[Question]:
    """Servers that have failed, or of which a person decides, unless a person was asked already."""
    found = []
    for node in view.servers:
        question = _failure(view, node, now) if view.held_by(node) else None
        if question is not None and not _asked_already(view, question):
            found.append(question)
    return found


def overdue(view: View, now: float) -> list[Question]:
    """Servers with an overdue release, unless a person was asked already.

    A failure of the same server is asked about first. Where a person was asked about that, a release adds nothing as long as
    the server stays silent.
    """
    assert view.status is not None
    found = []
    for node in view.servers:
        silent = view.silent(node)
        if not (silent or view.fresh(node, now)) or _failure(view, node, now) is not None:
            continue
        if silent and any((n.node, n.type) == (node, "Failover") for n in view.status.noted):
            continue
        question = Question(node, OVERDUE, release_overdue(view, node, now, by_hand=False))
        if question.sentence and not _asked_already(view, question):
            found.append(question)
    return found


def may_open(view: View, node: str, now: float) -> bool:
    """Whether a Failover of the server may be opened now: no object claims its feeds, and the last one is not too recent."""
    if claimed(view, node):
        return False
    if now < view.reopen_at.get(node, now):
        view.wake_by(view.reopen_at[node])
        return False
    return True


def _failure(view: View, node: str, now: float) -> Question | None:
    verdict = verdict_of(view, node, now)
    gone = verdict.name == "Sick" and not view.fresh(node, now) and verdict.witnesses.lasting
    asks = verdict.act in OPENS or gone or _nobody_will_know(view, node, verdict, now)
    return Question(node, verdict.name, verdict.sentence) if asks else None


def _nobody_will_know(view: View, node: str, verdict: Verdict, now: float) -> bool:
    """A silent server of which its partner cannot say whether it writes: waiting tells nobody more, and a Restart needs no partner.

    Not where anything shows life, and not while the fuse is open. A partner that suffers itself is no reason against it: a
    Restart needs none, and nothing else ends the outage. The server is not known to be dead, so it is never fenced unasked.
    When the partner reads its disks again, it is another question.
    """
    assert view.pair is not None
    seen = verdict.witnesses
    if verdict.rule != "blind" or not seen.lasting or Life.FRESH in (seen.node, seen.network):
        return False
    if view.pair.spec.failover.mode == "Observe":
        return False
    view.stay_awake()  # the leases of other pairs open and close the fuse
    return not view.heartbeats.fuse(node, now)


def noted(view: View, node: str, type_: Type) -> bool:
    """Whether a person was asked already, and the server has not been well since."""
    status = view.status
    return status is not None and any(n.node == node and n.type == type_ for n in status.noted)


def _asked_already(view: View, question: Question) -> bool:
    """The same question; that a server does not let go is another one than that it is dead."""
    assert view.status is not None
    notes = [n for n in view.status.noted if n.node == question.node and n.type == "Failover"]
    return any(about_release(view, n) == (question.verdict == OVERDUE) for n in notes)


def about_release(view: View, note: Noted) -> bool:
    """Whether what was noted is that a living server does not let go."""
    fo = view.failovers.get(note.failover)
    return fo is not None and fo.spec.evidence.verdict == OVERDUE


def release_overdue(
    view: View, node: str, now: float, *, by_hand: bool = True, of: Collection[str] | None = None
) -> str:
    """A server that does not let go. `by_hand=False`: of what it could let go of, and what may end in a shot."""
    assert view.pair is not None
    limit = seconds(view.pair.spec.failover.release_timeout)
    late = []
    for a in view.held_by(node):
        since = view.moving.get(a.target)
        if of is not None and a.target not in of:
            continue
        if a.intent != "Release" or since is None or released(view, a) or (foreign(view, a) and not by_hand):
            continue
        if view.ost(a.target) is None:
            continue  # its OST was deleted: nobody waits for the release
        if now - since >= limit:
            late.append(a.target)
        else:
            view.wake_by(since + limit)
    return f"{node} has not released {', '.join(late)} within releaseTimeout" if late else ""


def reserve(view: View, node: str, why: str) -> list[Effect]:
    """Take the slot: the next epoch is the Failover's name, written to the pair before the object exists."""
    assert view.status is not None
    assert view.pair is not None
    epoch = view.status.epoch + 1
    name = f"{view.pair.name}-{epoch}"
    return write_pair(view, f"open {name}: {why}", epoch=epoch, active_failover=name)


def draft(
    view: View, type_: Type, node: str, evidence: Evidence, targets: tuple[str, ...] | None = None, **more: Any
) -> Failover:
    """The Failover under the name that the pair's slot gives, with a snapshot of the policy."""
    pair, status = view.pair, view.status
    assert pair is not None
    assert status is not None
    spec = FailoverSpec(
        pair_name=pair.name,
        epoch=int(status.active_failover.rsplit("-", 1)[1]),
        type=type_,
        node=node,
        partner=pair.partner_of(node),
        targets=tuple(a.target for a in view.held_by(node)) if targets is None else targets,
        evidence=evidence,
        policy=snapshot(view, node, now_armed=not armed(view)),
        **more,
    )
    meta = ObjectMeta(name=status.active_failover, namespace=pair.metadata.namespace)
    return Failover(metadata=meta, spec=spec)


def snapshot(view: View, node: str, *, now_armed: bool) -> PolicySnapshot:
    """The pair's policy now; what concerns a suspect is judged as it stood when suspicion began."""
    assert view.pair is not None
    policy = view.pair.spec.failover
    suspicion = view.suspicions.get(node)
    levels = []
    for level in view.pair.fencing_of(node):
        feeds = []
        for feed in level.feeds:
            device = view.devices.get(feed.device_name)
            seen: dict[str, Any] = {"device_name": feed.device_name, "outlet": feed.outlet or ""}
            if device is not None:
                identity = reported(device)
                seen |= {
                    "device_uid": device.metadata.uid,
                    "address": normalised(device.spec.address),
                    "load": device.spec.load,
                    "identity": identity if identifies(view, identity) else "",
                }
            feeds.append(FeedSnapshot(**seen, accepted=feed.device_name in policy.accept_unidentified))
        drilled = level_drilled(view, node, level)
        levels.append(LevelSnapshot(name=level.name, drilled=drilled, feeds=tuple(feeds)))
    return PolicySnapshot(
        mode=policy.mode,
        automatic_after=policy.automatic_after,
        armed=suspicion.armed if suspicion else now_armed,
        levels=tuple(levels),
        confirm=policy.confirm,
        sole_witness=policy.sole_witness,
        clear_mmp=policy.mmp == "ClearWhenCertified" and wiring_trusted(view, node),
        valid_for=policy.approval.valid_for,
        boot_timeout=policy.boot_timeout,
        release_timeout=policy.release_timeout,
        release_failed=policy.release_failed,
    )


def first_phase(view: View, fo: Failover, now: float) -> list[Effect]:
    """Observe stops here, Automatic goes on, everything else asks."""
    if not view.watched(fo.spec.node):
        return []  # a leader that is new to it asks nobody before it can say whether it needs to
    digest = evidence_digest(fo.spec.evidence, 1)
    sentence = fo.spec.evidence.sentence
    if fo.spec.policy.mode == "Observe":
        message = f"would fence {fo.spec.node} and move {', '.join(fo.spec.targets)} to {fo.spec.partner}: {sentence}"
        return write_failover(view, fo, message, phase="Observed", evidence=digest)
    why = not_unasked(view, fo, 0.0, now)
    if not why:
        budget.take(view, fo.spec.node, fo.name)
        update: dict[str, Any] = {"evidence": digest, "asked": 1, "answer": "Failover", "answered_by": "policy"}
        return write_failover(view, fo, f"unasked: {sentence}", phase="Holding", **update)
    against = said_to_a_person(view, fo, why, now)
    message = f"{fo.spec.node} is {fo.spec.evidence.verdict}: {sentence}; {against}. Failover, Restart or Dismiss?"
    return write_failover(view, fo, message, phase="AwaitingApproval", evidence=digest, asked=1)


def draft_of(view: View, question: Question, now: float) -> Failover:
    """The draft for a server that has failed, or has an overdue release."""
    evidence = evidence_of(view, verdict_of(view, question.node, now), question.node, now)
    said = {"verdict": question.verdict, "sentence": question.sentence}
    fo = draft(view, "Failover", question.node, evidence.model_copy(update=said))
    if question.verdict != OVERDUE or fo.spec.policy.release_failed != "Fence":
        return fo
    policy = fo.spec.policy.model_copy(update={"armed": not armed_to_fence(view, question.node)})
    return fo.model_copy(update={"spec": fo.spec.model_copy(update={"policy": policy})})
