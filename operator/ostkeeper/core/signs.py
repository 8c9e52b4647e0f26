"""Whether a plan may be skipped: nothing that it looks at has changed since the last one.

Most events are heartbeats, proofs of the watch and ticks that change nothing. After a plan that decided nothing, the next
one is made only when one of these is so:

* an event changed the view (`PairMachine` says so for each kind of event, `same_news` for objects);
* a *sign* changed: what a plan makes of the two leases and of what all pairs share, `signs_of`;
* `View.wake` has passed: the plan said by `wake_by` when something is due;
* the plan said `stay_awake`, or a Failover is open in a phase that is not in `CALM`.

So this is the rule for all that is decided, in whatever module. What a step looks at changes in four ways only. With an
event: nothing is to be done. With time (an age, a soak, a time-out): `wake_by` for the moment, on the branch that waits.
With a lease: only by its signs, which are not its age and not the moment of its last renewal. With anything else, such as
the leases of other pairs' servers: `stay_awake`. And a plan that was made twice on the same view asks for nothing the second
time; after one that asked only in passing (`IN_PASSING`), that much is taken for granted. A mirror that failed is no news:
it is tried again when its time has come. What is asked for again and again, the canary while a decision waits for it, is
asked for without a plan.
`tests/core/test_signs.py` holds a machine that skips plans against one that plans on every event.

Not here: what a plan does.
"""

from __future__ import annotations

import math

from ostkeeper.api.common import Resource, condition_of
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.ost import OST
from ostkeeper.core.events import DeleteFailover, Effect, Prepare, ProveWatch, WriteOSSReady, WriteOST, WritePair
from ostkeeper.core.heartbeats import LATE_AFTER
from ostkeeper.core.verdict import DISK_LAG
from ostkeeper.core.view import View

CALM = ("AwaitingApproval", "Blocked")
"""Phases that wait, for a person or a device, and may do so for hours. In all others every event is planned on."""


IN_PASSING = (WriteOST, WriteOSSReady, DeleteFailover, Prepare, ProveWatch)
"""What is asked for in passing: mirrors, and requests that have no answer. No step of the plan looks at whether they were
carried out, and all are noted where the plan asks for them, so that it asks once (`watch` before anything is decided)."""


def in_passing(view: View, effects: list[Effect]) -> bool:
    """Whether a plan asked for nothing, or only for that on which nothing is decided."""
    return all(
        isinstance(effect, IN_PASSING) or (isinstance(effect, WritePair) and effect.op == view.showing)
        for effect in effects
    )


def same_news(old: Resource, new: Resource, *, ours: bool) -> bool:
    """Whether a plan sees the same in a newer state of an object. `ours`: it is what this machine has just written.

    A device: all but how often and how fast it answers. What this machine showed on an OST or an OSS is no news to it;
    what anybody else wrote there is.
    """
    if old.metadata.uid != new.metadata.uid or old.metadata.generation != new.metadata.generation:
        return False
    match old, new:
        case FenceDevice(), FenceDevice():
            return old.spec == new.spec and _told_by(old) == _told_by(new)
        case OST(), OST():
            return ours and old.spec == new.spec
        case OSS(), OSS():
            shown = ours or _shown(old) == _shown(new)
            return shown and old.spec == new.spec and _reported(old) == _reported(new)
        case _:
            return False


def _told_by(device: FenceDevice) -> object:
    status = device.status
    if status is None:
        return None
    ready = condition_of(status.conditions, "Ready")
    why_not = None if ready is None else "" if ready.status == "True" else f"{ready.reason}: {ready.message}"
    return status.system_uuid, status.identity, why_not, [(reading.outlet, reading.state) for reading in status.feeds]


def _shown(oss: OSS) -> object:
    """The operator's part of its status."""
    return oss.status.conditions if oss.status else None


def _reported(oss: OSS) -> object:
    """The agent's part of its status."""
    return [value for name, value in oss.status if name != "conditions"] if oss.status else None


def signs_of(view: View, now: float) -> tuple[object, ...]:
    """What a plan makes of the leases, and who is out of all pairs. While it stays the same, a renewal changes nothing."""
    servers, interval, heartbeats = view.servers, view.interval(), view.heartbeats
    found: list[object] = [heartbeats.started, heartbeats.blind(now)]
    found += heartbeats.out.items()
    for place, node in enumerate(servers):
        pulse = heartbeats.pulses.get(node)
        changed_at = heartbeats.started
        if pulse is not None:
            changed_at = pulse.changed_at
            found += (
                pulse.moved,
                pulse.beat.boot_id,
                view.report(node) is not None,
                view.overdue_disks(node),
                view.unreported(node),
            )
            if pulse.moved and not pulse.late(interval, now):
                continue
        timeout, stale = view.timeout(), heartbeats.horizon - changed_at
        partner_lives = heartbeats.renewed_since(servers[1 - place], changed_at + interval)
        found += (now >= changed_at + timeout, stale >= timeout, stale >= timeout + DISK_LAG, partner_lives)
    return tuple(found)


def due_at(view: View, now: float) -> float:
    """When to look again if no event comes: what the plan waits for, the next request for the canary, the next late renewal."""
    due = min(view.wake, _late_at(view, now))
    return min(due, view.prove_at) if view.proving else due


def _late_at(view: View, now: float) -> float:
    """When the next renewal will be overdue; infinity where none is awaited."""
    interval = view.interval()
    wait = LATE_AFTER * interval
    due = math.inf
    for node in view.servers:
        pulse = view.heartbeats.pulses.get(node)
        if pulse is not None and pulse.moved and not pulse.late(interval, now):
            due = min(due, pulse.changed_at + wait + 0.001)
    return due


def calm(view: View) -> bool:
    """Whether no Failover is open, or one that waits."""
    status = view.status
    if status is None or not status.active_failover:
        return True
    failover = view.active
    return failover is not None and failover.phase in CALM
