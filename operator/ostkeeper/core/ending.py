"""How a Failover ends without a relocation, and what tells that it should.

Signs of life of the server, a person's Dismiss: the targets are given back at a new epoch first, then what was cut is
switched on, then it ends. Here too: which answer of a person counts. Not here: what leads up to it (`failover`, `blocked`).
"""

from __future__ import annotations

import math

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Approval, Failover
from ostkeeper.api.osspair import Assignment
from ostkeeper.core import fencing, waiting
from ostkeeper.core.able import SHOT_DEADLINE, changed_device, desired, unanswered
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.devices import expected
from ostkeeper.core.events import Effect, PowerOn
from ostkeeper.core.power import Feed
from ostkeeper.core.view import View
from ostkeeper.core.writes import assign, write_failover, write_pair

ON_PATIENCE = 60.0
"""Seconds after which an end no longer waits for a device that does not take its order on; the message names the feed."""
ON_RETRY = 5.0
"""Seconds between two orders to power on what stays off."""

RETURNED = "seen alive again"
DISMISSED = "dismissed by "
"""How the message of an end begins that a person has chosen: the same is not asked again at once."""


def dismissal(approval: Approval) -> str:
    """The message of an end that a person has chosen."""
    return f"{DISMISSED}{approval.by}: {approval.note or 'no reason given'}"


def valid_answer(view: View, fo: Failover, now: float) -> Approval | None:
    """A person's answer to the question as it stands, if it was seen less than `validFor` ago."""
    approval, status = fo.spec.approval, fo.status
    if approval is None or status is None or approval.evidence != status.evidence:
        return None
    seen = view.approvals.setdefault(f"{fo.name}/{approval.evidence}", now)
    if now - seen > seconds(fo.spec.policy.valid_for):
        return None
    view.stay_awake()  # it waits until what stands against it is gone, or it lapses
    return approval


def returned(view: View, fo: Failover, c: Campaign, now: float) -> str:
    """Why this server is not to be fenced any more: it was seen alive since this leader took it up."""
    node, dead = fo.spec.node, fo.spec.evidence.boot_id
    pulse = view.heartbeats.pulses.get(node)
    if pulse is None or not pulse.moved or pulse.changed_at <= c.began:
        return "" if c.shots or fo.spec.evidence.verdict in fencing.LIVING else _stirs(view, fo, c, now)
    if dead and pulse.beat.boot_id != dead:
        return f"{RETURNED}: {node} runs in another boot, {pulse.beat.boot_id}"
    if (
        fo.spec.evidence.verdict in fencing.LIVING and fo.spec.evidence.verdict != "Sick"
    ):  # opened as its agent was gone
        return ""
    complete = c.shots and math.isfinite(c.last_ack) and all(shot.ok for shot in c.shots.values())
    if fo.phase == "Fencing" and complete:
        return ""
    return f"{RETURNED}: {node} renewed its heartbeat {now - pulse.changed_at:.1f}s ago, before its power was cut"


def _stirs(view: View, fo: Failover, c: Campaign, now: float) -> str:
    """The kubelet's heartbeat or the agent's report moved: what is not cut yet is spared for that, too.

    Since the first renewal that was missed; a person has seen what moved before the answer.
    """
    node, pulse = fo.spec.node, view.heartbeats.pulses.get(fo.spec.node)
    if view.fresh(node, now):
        return f"{RETURNED}: {node} renews its heartbeat"
    unasked = fo.status is not None and fo.status.answered_by == "policy" and pulse is not None
    since = pulse.changed_at + view.interval() if pulse and unasked else c.phase_since
    state = view.nodes.get(node)
    if view.node_moved.get(node, -math.inf) > since and state is not None and state.ready == "True":
        return f"{RETURNED}: the kubelet of {node} renewed its heartbeat"
    if view.report_moved.get(node, -math.inf) > since:
        return f"{RETURNED}: the agent of {node} reported"
    return ""


def aborting(view: View, fo: Failover) -> bool:
    """Whether an abort has begun: the server was given its targets back at a newer epoch."""
    held = view.held_by(fo.spec.node)
    return bool(held) and not all(a.intent == "Hold" for a in held)


def why_aborting(fo: Failover) -> str:
    """Why an abort that has begun was begun: by a person's Dismiss, which has to be remembered, or by a sign of life."""
    approval, status = fo.spec.approval, fo.status
    asked = approval is not None and status is not None and approval.evidence == status.evidence
    return dismissal(approval) if approval is not None and asked and approval.answer == "Dismiss" else RETURNED


def given_back(view: View, held: list[str], epoch: int) -> tuple[Assignment, ...]:
    """The assignments with what was in Hold its own server's again: to be served, or let go of where it is to be unmounted."""
    assert view.status is not None
    wanted = [target for target in held if desired(view, target)]
    idle = [target for target in held if target not in wanted]
    return assign(assign(view.status.assignments, wanted, epoch, intent="Serve"), idle, epoch, intent="Release")


def abort(view: View, fo: Failover, c: Campaign, why: str, now: float) -> list[Effect]:
    """Give the targets back at a new epoch first, then switch on what we cut, then end it."""
    status, pair_status = fo.status, view.status
    assert status is not None
    assert pair_status is not None
    held = [a.target for a in view.held_by(fo.spec.node) if a.intent == "Hold"]
    if held and (agents := unanswered(view, now)):
        return waiting.ask(view, fo, c, agents, now)
    if held:
        epoch = pair_status.epoch + 1
        return write_pair(view, f"{fo.name}: {why}", epoch=epoch, assignments=given_back(view, held, epoch))
    effects: list[Effect] = []
    if status.shots and not power_on(view, fo, c, now, effects):
        return effects
    return write_failover(view, fo, why + still_off(view, fo, c), phase="Aborted", shots=())


def still_off(view: View, fo: Failover, c: Campaign) -> str:
    """What is to be said about feeds that were cut and did not take their order on; empty: all did."""
    shots = fo.status.shots if fo.status else ()
    feeds = [Feed(s.device_name, s.outlet) for s in shots]
    left = [str(f) for f in feeds if f not in c.on_done and not view.board_refusal(fo.spec.node)]
    why = "".join(f" ({c.on_refused[f]})" for f in feeds if str(f) in left and f in c.on_refused)
    return f"; {', '.join(left)} did not take the order on and may be off{why}: look at it" if left else ""


def power_on(view: View, fo: Failover, c: Campaign, now: float, effects: list[Effect]) -> bool:
    """Order every feed on that was cut; True once all are acknowledged, or nobody waits any more for what is left.

    A new leader lets late shots pass first.
    """
    status = fo.status
    assert status is not None
    assert view.status is not None
    if view.board_refusal(fo.spec.node):
        return True
    feeds = [Feed(s.device_name, s.outlet) for s in status.shots]
    left = [f for f in feeds if f not in c.on_done and not changed_device(view, fo, f)]
    if not left or (now - c.on_began > ON_PATIENCE and not c.on_ops):
        return True
    ready_at = max(view.led_at + SHOT_DEADLINE, _shots_over(c), c.on_at + ON_RETRY)
    if now < ready_at or c.on_ops:
        view.wake_by(ready_at if now < ready_at else now + ON_RETRY)
        return False
    c.on_at, c.on_began = now, min(c.on_began, now)
    for feed in left:
        op = view.next_op()
        c.on_ops[op] = feed
        until, identity = now + fencing.request_timeout(view, feed), expected(view, fo, feed).identity
        effects.append(PowerOn(op, feed, until, f"{fo.name}: {fo.spec.node} on again", identity))
    return False


def _shots_over(c: Campaign) -> float:
    return c.read_began + SHOT_DEADLINE if c.shots else -math.inf
