"""Drills: wiring is proven, not declared.

Each feed of a level alone, and the server stays up, since the others carry it; then all together, and this server's
heartbeat stops and comes back with a new boot ID, while its partner's goes on. Only on a server without targets, and it ends
at the first sign that its partner suffers: power comes back first.
Here: the steps of a Drill. Not here: what a proven level allows (`armed`).
"""

from __future__ import annotations

import math

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import DrillProgress, Failover, FailoverStatus
from ostkeeper.api.osspair import Wiring
from ostkeeper.core import drilllooks
from ostkeeper.core.able import SHOT_DEADLINE, changed_device, claimed, level_feeds, unusable_feed
from ostkeeper.core.armed import fingerprint_of, mark_of
from ostkeeper.core.campaign import Campaign, Rounds, Shot
from ostkeeper.core.devices import board_of, expected
from ostkeeper.core.ending import ON_PATIENCE
from ostkeeper.core.events import CutPower, Effect, PowerOn, ReadPower
from ostkeeper.core.fencing import READ_MAX_AGE, UNSENT_TRIES, load_of, request_timeout, shots_of
from ostkeeper.core.opening import draft
from ostkeeper.core.power import Feed
from ostkeeper.core.verdict import evidence_of, verdict_of
from ostkeeper.core.view import View
from ostkeeper.core.writes import read_all, write_failover, write_pair


def refused(view: View, now: float) -> list[Effect]:
    """A drill that may not be run gets its answer at once, but not from a leader that has hardly seen the servers yet."""
    request = view.pair.spec.drill if view.pair else None
    if request is None or view.status is None or any(w.id == request.id for w in view.status.wiring):
        return []
    why = _refusal(view, request.node, request.level, now)
    if not why:
        return []
    if now < view.led_at + 2 * view.timeout():
        view.stay_awake()
        return []
    entry = Wiring(
        node=request.node, level=request.level, id=request.id, proven=False, fingerprint="", message=f"refused: {why}"
    )
    return write_pair(view, f"drill {request.id} is refused: {why}", wiring=_with(view, entry))


def _with(view: View, entry: Wiring) -> tuple[Wiring, ...]:
    """All results, with this one in the place of an older one of its level; a refused drill voids no proof."""
    assert view.status is not None
    refused = not entry.fingerprint
    same = (entry.node, entry.level)
    old = tuple(w for w in view.status.wiring if (w.node, w.level) != same or (refused and w.proven))
    return (*old[-15:], entry)


def _refusal(view: View, node: str, level: str, now: float) -> str:
    """Why a server may not be drilled; empty when it may."""
    assert view.pair is not None
    if node not in view.servers:
        return f"spec.drill.node: {node} is not a server of this pair"
    if level not in [entry.name for entry in view.pair.fencing_of(node)]:
        return f"spec.drill.level: {node} has no level {level}"
    held = [a.target for a in view.held_by(node)]
    if held:
        return f"{node} holds {', '.join(held)}: put it in maintenance first"
    partner = view.pair.partner_of(node)
    if verdict_of(view, partner, now).name != "Healthy":
        return f"{partner} is {verdict_of(view, partner, now).name}, not Healthy"
    if verdict_of(view, node, now).name != "Healthy":
        return f"{node} is {verdict_of(view, node, now).name}, not Healthy"
    return claimed(view, node) or drilllooks.at_risk(view, node, level)


def pending(view: View, now: float) -> bool:
    """Whether a person asks for a drill that may be run and was not."""
    request = view.pair.spec.drill if view.pair else None
    if request is None or view.status is None or any(w.id == request.id for w in view.status.wiring):
        return False
    return not _refusal(view, request.node, request.level, now)


def draft_of(view: View, now: float) -> Failover:
    """The draft of the drill that a person asks for."""
    assert view.pair is not None
    assert view.pair.spec.drill is not None
    request = view.pair.spec.drill
    evidence = evidence_of(view, verdict_of(view, request.node, now), request.node, now)
    fo = draft(view, "Drill", request.node, evidence, drill_level=request.level, drill_id=request.id)
    levels = tuple(level for level in fo.spec.policy.levels if level.name == request.level)
    policy = fo.spec.policy.model_copy(update={"levels": levels})
    return fo.model_copy(update={"spec": fo.spec.model_copy(update={"policy": policy})})


def result(view: View, fo: Failover) -> tuple[Wiring, ...]:
    """What the pair remembers of an ended drill."""
    assert view.status is not None
    board = board_of(view, fo.spec.node)
    feeds = [
        mark_of(f.device_name, f.outlet, f.device_uid, f.address, f.identity) for f in fo.spec.policy.levels[0].feeds
    ]
    entry = Wiring(
        node=fo.spec.node,
        level=fo.spec.drill_level,
        id=fo.spec.drill_id,
        proven=fo.phase == "Complete",
        fingerprint=fingerprint_of(fo.spec.node, fo.spec.drill_level, feeds, board),
        message=fo.status.message[:1024] if fo.status else "",
    )
    return _with(view, entry)


def first_phase(view: View, fo: Failover) -> list[Effect]:
    """Written before the first off: what is going to be cut."""
    shots = shots_of(fo, FailoverStatus(phase="Fencing"), 0)
    return write_failover(
        view, fo, f"drill of {fo.spec.node}, level {fo.spec.drill_level}", phase="Fencing", shots=shots
    )


def steps(fo: Failover) -> list[tuple[Feed, ...]]:
    """Each feed alone where there are several, then all together."""
    feeds = level_feeds(fo, 0)
    return [*([(feed,) for feed in feeds] if len(feeds) > 1 else []), feeds]


def advance(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """The next thing to do in a drill."""
    status = fo.status
    assert status is not None
    progress = status.drill or DrillProgress(
        boot_id=view.boot(fo.spec.node), partner_boot_id=view.boot(fo.spec.partner)
    )
    if status.drill is None:
        return [] if view.busy else write_failover(view, fo, "each feed alone first", phase="Fencing", drill=progress)
    feeds = steps(fo)[progress.step]
    if c.level != progress.step:
        c.begin_level(progress.step)
        c.on_done, c.on_ops, c.phase_since, c.on_began = set(), {}, now, math.inf
        c.on_refused = {}
        c.before, c.loads, c.looked = None, {}, False
    view.wake_by(now + 0.1)
    if progress.back_on:
        return _back_on(view, fo, c, progress, feeds, now)
    return _cut(view, fo, c, progress, feeds, now)


def _cut(
    view: View, fo: Failover, c: Campaign, progress: DrillProgress, feeds: tuple[Feed, ...], now: float
) -> list[Effect]:
    """Off, OFF in rounds, then what the heartbeats say about it."""
    if not c.shots:
        if view.busy:
            return []
        looks = [] if _together(fo, progress) else drilllooks.before(view, fo, c, now)
        return looks or ([] if c.poll_ops else _shoot(view, fo, c, progress, feeds, now))
    if not math.isfinite(c.last_ack):
        return []
    unsent = [f"{feed} was not sent its off: {shot.detail}" for feed, shot in c.shots.items() if not shot.sent]
    if unsent and c.unsent < UNSENT_TRIES:
        c.unsent += 1
        c.begin_level(progress.step)
        return []
    if unsent:
        return [] if view.busy else _turn(view, fo, progress, "; ".join(unsent))
    confirm = fo.spec.policy.confirm
    if c.rounds is None:
        patience = max(request_timeout(view, feed) for feed in feeds)
        loads = {feed: load_of(fo, feed) for feed in feeds}
        c.rounds = Rounds(feeds, confirm.rounds, seconds(confirm.interval), patience, c.last_ack, loads, c.last_ack)
    effects: list[Effect] = []
    if c.rounds.due(now):
        ops = {view.next_op(): feed for feed in feeds}
        c.rounds.start(ops, now)
        effects += [ReadPower(op, feed, now + request_timeout(view, feed)) for op, feed in ops.items()]
    wrong = c.rounds.failure or _wrong(view, fo, c, progress, now)
    if wrong and not view.busy:
        return effects + _turn(view, fo, progress, wrong)
    if not (c.rounds.done and _as_expected(view, fo, c, progress, now)) or view.busy:
        return effects
    if not _together(fo, progress):
        looks = drilllooks.after(view, fo, c, now)
        if looks or c.poll_ops:
            return effects + looks
        wrong = drilllooks.surprise(view, fo, c, feeds)
    return effects + _turn(view, fo, progress, wrong)


def _together(fo: Failover, progress: DrillProgress) -> bool:
    return progress.step == len(steps(fo)) - 1


def _wrong(view: View, fo: Failover, c: Campaign, progress: DrillProgress, now: float) -> str:
    """What contradicts the declared wiring."""
    node, partner, feeds = fo.spec.node, fo.spec.partner, steps(fo)[progress.step]
    names = ", ".join(map(str, feeds))
    if view.heartbeats.stale_for(partner) >= view.timeout():
        return f"{partner} fell silent when {names} was cut: the feed is not {node}'s"
    if view.boot(partner) != progress.partner_boot_id:
        return f"{partner} rebooted when {names} was cut: the feed is not {node}'s"
    if view.heartbeats.late(partner, view.interval(), now):
        return (
            f"{partner} is late with its heartbeat while {names} is off: the feed is not {node}'s, or {node} is needed"
        )
    if not _together(fo, progress):
        if view.heartbeats.stale_for(node) >= view.timeout() or view.boot(node) != progress.boot_id:
            return f"{node} did not survive the loss of {names} alone: its other feed does not carry it"
        return ""
    if view.waited(c.last_ack, now) > 3 * view.timeout() + 5.0:
        return f"{node} goes on living without {names}: the feeds are not its own, or it has others"
    return ""


def _as_expected(view: View, fo: Failover, c: Campaign, progress: DrillProgress, now: float) -> bool:
    """Alone: the server was seen alive after the off. Together: it fell silent, and its partner did not."""
    node, partner = fo.spec.node, fo.spec.partner
    if not _together(fo, progress):
        return view.heartbeats.renewed_since(node, c.last_ack) and now - c.last_ack >= view.interval()
    report = view.report(partner)
    silent = report is not None and report.peer.state == "Silent"
    return silent and view.heartbeats.stale_for(node) >= view.timeout() and view.fresh(partner, now)


def _shoot(
    view: View, fo: Failover, c: Campaign, progress: DrillProgress, feeds: tuple[Feed, ...], now: float
) -> list[Effect]:
    why = next((why for f in feeds if (why := unusable_feed(view, fo, f))), "") or claimed(view, fo.spec.node)
    if view.held_by(fo.spec.node):
        why = f"{fo.spec.node} was given a target meanwhile"
    partner = verdict_of(view, fo.spec.partner, now)
    if partner.name not in ("Healthy", "Suspect"):
        why = why or f"{fo.spec.partner} is {partner.name}, not Healthy: {partner.sentence}"
    if why:
        return _turn(view, fo, progress, why)
    if partner.name == "Suspect" and view.waited(c.phase_since, now) > view.timeout() + SHOT_DEADLINE:
        return write_failover(view, fo, f"{fo.spec.partner} is Suspect: {partner.sentence}", phase="Aborted", shots=())
    if now < view.led_at + SHOT_DEADLINE or partner.name == "Suspect":
        return []
    if not 0 <= now - c.read_began <= READ_MAX_AGE:
        return read_all(view)
    deadline = c.read_began + SHOT_DEADLINE
    assert view.status is not None
    effects: list[Effect] = []
    for feed in feeds:
        op = view.next_op()
        c.shots[feed] = Shot(op)
        why = f"{fo.name}: drill of {fo.spec.node}"
        effects.append(CutPower(op, feed, deadline, why, expected(view, fo, feed).identity))
    return effects


def _turn(view: View, fo: Failover, progress: DrillProgress, wrong: str) -> list[Effect]:
    """Written before the power comes back: what was found, and that the step is over."""
    names = ", ".join(map(str, steps(fo)[progress.step]))
    after = progress.model_copy(update={"back_on": True})
    message = f"wrong: {wrong}" if wrong else f"{names} cut: as declared"
    return write_failover(view, fo, message, phase="Fencing", drill=after, missing=(wrong[:1024],) if wrong else ())


def _back_on(
    view: View, fo: Failover, c: Campaign, progress: DrillProgress, feeds: tuple[Feed, ...], now: float
) -> list[Effect]:
    """On again, read ON; then the next step, or the server comes back in a new boot."""
    status = fo.status
    assert status is not None
    left = [f for f in feeds if f not in c.on_done]
    changed = [f for f in left if f in c.on_refused or changed_device(view, fo, f)]
    effects: list[Effect] = []
    over = now - c.on_began > ON_PATIENCE or left == changed or view.board_refusal(fo.spec.node)
    if left and over and not c.on_ops:
        return [] if view.busy else _given_up(view, fo, left)
    if left:
        if not c.on_ops and now >= max(c.on_at + 3.0, view.led_at + SHOT_DEADLINE, c.read_began + SHOT_DEADLINE):
            c.on_at, c.on_began = now, min(c.on_began, now)
            for feed in (f for f in left if f not in changed):
                op = view.next_op()
                c.on_ops[op] = feed
                until, identity = now + request_timeout(view, feed), expected(view, fo, feed).identity
                effects.append(PowerOn(op, feed, until, f"{fo.name}: on again", identity))
        return effects
    if view.busy:
        return []
    needed = _needed(view, fo, progress, now)
    if status.missing or needed:
        if not _seen_or_silent(view, fo, c):
            return []
        return write_failover(view, fo, "; ".join(status.missing) or needed, phase="Aborted", shots=())
    if not _together(fo, progress):
        if view.heartbeats.stale_for(fo.spec.node) >= view.timeout() and view.waited(c.on_at, now) > view.timeout():
            message = f"{fo.spec.node} fell silent, although {', '.join(map(str, feeds))} is on again"
            return write_failover(view, fo, message, phase="Aborted", shots=())
        if not view.heartbeats.renewed_since(fo.spec.node, c.on_at):
            return []
        after = progress.model_copy(update={"step": progress.step + 1, "back_on": False})
        return write_failover(view, fo, f"{', '.join(map(str, feeds))} is on again", phase="Fencing", drill=after)
    return _proven(view, fo, c, progress, now)


def _needed(view: View, fo: Failover, progress: DrillProgress, now: float) -> str:
    """Why the drilled server may be needed, so that the drill ends with its power on."""
    partner = fo.spec.partner
    if view.boot(partner) != progress.partner_boot_id:
        return f"{partner} rebooted during the drill"
    verdict = verdict_of(view, partner, now)
    if verdict.name in ("Healthy", "Degraded"):
        return ""
    return f"{partner} is {verdict.name}, and {fo.spec.node} may be needed: {verdict.sentence}"


def _given_up(view: View, fo: Failover, left: list[Feed]) -> list[Effect]:
    """A device does not take its order on: end all the same, and name what may be off."""
    status = fo.status
    assert status is not None
    names = ", ".join(map(str, left))
    still = f"{names} did not take the order on and may be off: look at it"
    return write_failover(view, fo, "; ".join((*status.missing, still)), phase="Aborted", shots=())


def _seen_or_silent(view: View, fo: Failover, c: Campaign) -> bool:
    """Whether the server was seen alive since its power came back, or has been silent for the time-out.

    Between the two its last renewal, of before the off, would pass for a sign of life: it would be taken for able, and its
    partner shot while it lies down itself.
    """
    node = fo.spec.node
    return view.heartbeats.renewed_since(node, c.on_at) or view.heartbeats.stale_for(node) >= view.timeout()


def _proven(view: View, fo: Failover, c: Campaign, progress: DrillProgress, now: float) -> list[Effect]:
    node, boot = fo.spec.node, view.boot(fo.spec.node)
    if view.fresh(node, now) and boot != progress.boot_id and view.boot(fo.spec.partner) == progress.partner_boot_id:
        message = f"level {fo.spec.drill_level} of {node} is wired as declared: it came back as boot {boot}"
        return write_failover(view, fo, message, phase="Complete", shots=())
    if now - c.on_at > seconds(fo.spec.policy.boot_timeout):
        return write_failover(view, fo, f"{node} has not come back within bootTimeout", phase="Aborted", shots=())
    return []
