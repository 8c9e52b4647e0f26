"""Blocked: nothing proves the death. It waits for a device, for the partner, for the server itself, or for a person.

Here: what leads out of Blocked, `ConfirmDead` among it. Not here: what leads into it (`fencing.block`).
"""

from __future__ import annotations

from typing import Any

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Approval, Certificate, Failover
from ostkeeper.core import fencing, waiting
from ostkeeper.core.able import claimed, level_feeds, partner_unable, unanswered, unusable_feed
from ostkeeper.core.campaign import FIRST_RETRY, Campaign
from ostkeeper.core.ending import abort, aborting, dismissal, returned, valid_answer, why_aborting
from ostkeeper.core.events import Effect, ReadPower
from ostkeeper.core.marks import with_hazards
from ostkeeper.core.power import PowerState
from ostkeeper.core.view import View
from ostkeeper.core.writes import write_failover

POLL_INTERVAL = 3.0
"""Seconds between two looks at the devices while Blocked."""


def blocked(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Something is missing: wait for a device, for the server itself, or for a person."""
    status = fo.status
    assert status is not None
    if status.certificate is not None:
        return _certified(view, fo, c, now)
    back, held = returned(view, fo, c, now), status.hold_epoch > fo.spec.epoch
    if back or (held and aborting(view, fo)):
        return [] if view.busy else abort(view, fo, c, back or why_aborting(fo), now)
    approval = valid_answer(view, fo, now)
    if approval is not None:
        return [] if view.busy else _answered_blocked(view, fo, c, approval, now)
    if not view.busy and unanswered(view, now):
        asked = fencing.ask_term(view, now)
        if asked:
            return asked
    if not held:
        return [] if claimed(view, fo.spec.node) else waiting.resume(view, fo, now)
    level = _level_to_try(view, fo, c, now)
    if level is None or view.busy or claimed(view, fo.spec.node):
        return _poll(view, fo, c, now)
    return _try_again(view, fo, c, level)


def _try_again(view: View, fo: Failover, c: Campaign, level: int) -> list[Effect]:
    """One more try of a level, with its own quorum read, offs and readings.

    What was missing stays in the object: a person is needed until the death is proven.
    """
    status = fo.status
    assert status is not None
    c.retry, c.partner_missing = not c.partner_missing, False
    c.begin_level(-1)
    tries = status.tries + 1
    why = "all of its feeds answer" if c.retry else f"{fo.spec.partner} is able again"
    message = f"try {tries} from Blocked: level {fo.spec.policy.levels[level].name}, {why}"
    shots = fencing.shots_of(fo, status, level)
    return write_failover(view, fo, message, phase="Fencing", level=level, tries=tries, shots=shots)


def _certified(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """The death is certified, and an agent did not answer: the certificate stays true, whatever is seen of a later boot."""
    approval = valid_answer(view, fo, now)
    if aborting(view, fo) or (approval is not None and approval.answer == "Dismiss"):
        return [] if view.busy else abort(view, fo, c, why_aborting(fo), now)
    if approval is not None and approval.answer == "Restart" and not view.busy:
        update: dict[str, Any] = {"answer": "Restart", "answered_by": approval.by, "missing": ()}
        return write_failover(view, fo, f"{approval.by} answered Restart", phase="PoweringOn", **update)
    return waiting.resume(view, fo, now)


def _answered_blocked(view: View, fo: Failover, c: Campaign, approval: Approval, now: float) -> list[Effect]:
    """A person's answer to Blocked."""
    status = fo.status
    assert status is not None
    if approval.answer == "Dismiss":
        return abort(view, fo, c, dismissal(approval), now)
    chosen: dict[str, Any] = {"answer": "Restart", "answered_by": approval.by}
    if approval.answer == "Restart" and status.hold_epoch <= fo.spec.epoch:
        return write_failover(view, fo, f"{approval.by} answered Restart", phase="Holding", missing=(), **chosen)
    if approval.answer == "Restart":
        c.begin_level(-1)
        c.retry = False
        update: dict[str, Any] = {"level": 0, "missing": (), **chosen}
        message = f"{approval.by} answered Restart"
        return write_failover(view, fo, message, phase="Fencing", shots=fencing.shots_of(fo, status, 0), **update)
    return _confirm_dead(view, fo, c, approval, now) if approval.answer == "ConfirmDead" else []


def _confirm_dead(view: View, fo: Failover, c: Campaign, approval: Approval, now: float) -> list[Effect]:
    """A person's word replaces power readings; never disk, heartbeat or network, and MMP is never cleared on it."""
    status = fo.status
    assert status is not None
    if c.level != len(fo.spec.policy.levels):
        c.begin_level(len(fo.spec.policy.levels))
        c.asked_at = now
    if not c.final_nonce:
        c.final_nonce = fencing.new_nonce(view)
        return fencing.ask(view, fo, fencing.attempt(status, c), c.final_nonce)
    lost = fencing.lost_question(view, c)
    if lost:
        return fencing.ask(view, fo, fencing.attempt(status, c), lost)
    settled = c.asked_at + max(seconds(fo.spec.policy.confirm.settle), view.timeout())
    veto = fencing.vetoes(view, fo, c, now) or partner_unable(view, fo.spec.partner, fo.spec.targets, now)
    if now - c.beat_at < view.timeout():
        veto = f"{fo.spec.node} renewed its heartbeat {now - c.beat_at:.1f}s ago"
    disks, waiting = fencing.disk_proofs(view, fo, c, now)
    if (veto or waiting) and view.waited(c.asked_at, now) > view.timeout() + fencing.NONCE_PATIENCE:
        c.begin_level(-1)
        return fencing.block(view, fo, c, [veto or waiting, f"{approval.by}'s word does not outweigh that"])
    if veto or waiting or now < settled:
        view.wake_by(max(settled, now + 0.2))
        return []
    dead = Certificate(
        node=fo.spec.node,
        boot_id=fo.spec.evidence.boot_id,
        hold_epoch=status.hold_epoch,
        disks=disks,
        nonce=c.final_nonce,
        confirmed_by=approval.by,
        proof="Person",
    )
    certificate = fencing.seal(dead)
    message = f"{approval.by} confirmed that {fo.spec.node} has no power: {approval.note or 'no reason given'}"
    message = with_hazards(message, disks)
    return write_failover(view, fo, message, phase="Relocating", certificate=certificate, answered_by=approval.by)


def _poll(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Look at every feed now and then, to see whether one answers again."""
    if c.poll_ops or now < c.poll_at:
        view.wake_by(c.poll_at if now < c.poll_at else now + POLL_INTERVAL)
        return []
    feeds = sorted({f for level in range(len(fo.spec.policy.levels)) for f in level_feeds(fo, level)})
    usable = [f for f in feeds if not unusable_feed(view, fo, f)]
    if not usable:
        return []  # an edit of a device is an event
    c.poll_at = now + POLL_INTERVAL
    c.poll_ops = {view.next_op(): feed for feed in usable}
    return [ReadPower(op, feed, now + fencing.request_timeout(view, feed)) for op, feed in c.poll_ops.items()]


def _level_to_try(view: View, fo: Failover, c: Campaign, now: float) -> int | None:
    """The first level that is due for another try, if all of its feeds answer and the partner could take over."""
    if c.partner_missing:
        return None if fencing.spared(view, fo, c, now) else (fo.status.level if fo.status else 0)
    if c.poll_ops or not c.poll:
        return None
    due = (level for level in range(len(fo.spec.policy.levels)) if _due(view, fo, c, level, now))
    level = next(due, None)
    if level is None or fencing.too_early(view, fo, now) or fencing.spared(view, fo, c, now):
        return None
    return level


def _due(view: View, fo: Failover, c: Campaign, level: int, now: float) -> bool:
    """Whether all feeds of the level answer, and its last try is long enough ago.

    A leader that has not tried it itself need not wait. Where a feed answers again, or reads OFF by now, the shortest wait
    is enough.
    """
    assert fo.status is not None
    if fo.spec.policy.levels[level].name in fo.status.refuted:
        return False
    feeds = level_feeds(fo, level)
    states = [PowerState.UNKNOWN if unusable_feed(view, fo, f) else c.poll.get(f, PowerState.UNKNOWN) for f in feeds]
    if PowerState.UNKNOWN in states:
        return False
    last = c.tried.get(level)
    if last is None:
        return True
    better = any(_better(c.poll_base.get(f), c.poll[f]) for f in feeds)
    due_at = last.at + (FIRST_RETRY if better else last.wait)
    if now < due_at:
        view.wake_by(due_at)
    return now >= due_at


def _better(then: PowerState | None, now: PowerState) -> bool:
    return (then is PowerState.UNKNOWN and now is not PowerState.UNKNOWN) or (
        then is PowerState.ON and now is PowerState.OFF
    )
