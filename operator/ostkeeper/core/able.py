"""Questions that several plans ask: can the partner take over, who must answer first, may we act unasked.

Each returns the sentence that says why not; empty means yes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import Assignment, ReleasedWarrant
from ostkeeper.core import budget
from ostkeeper.core.acts import ASKS_FOR, OVERDUE, Act
from ostkeeper.core.addresses import normalised
from ostkeeper.core.devices import another, misidentified, said_of_levels, snapshot_of
from ostkeeper.core.power import Feed
from ostkeeper.core.verdict import verdict_of
from ostkeeper.core.view import View

SHOT_DEADLINE = 2.0
"""Seconds from the start of the quorum read within which a shot may leave; also what a new leader waits before its first."""


def partner_unable(view: View, partner: str, targets: tuple[str, ...], now: float) -> str:
    """Why the partner could serve none of the targets now: it must be alive, read a disk of them, and be of sound mind."""
    if not view.fresh(partner, now):
        return f"{partner} has no fresh heartbeat"
    if view.in_maintenance(partner):
        return f"{partner} is in maintenance"
    report = view.report(partner)
    if report is None:
        return view.unreported(partner) or f"{partner}'s last report has not been seen yet"
    if report.refusal:
        return f"{partner} serves nothing: {report.refusal}"
    refusal = view.board_refusal(partner) or view.reads_some(partner, targets)
    if refusal:
        return refusal
    return _soaking(view, partner, now)


def left_behind(view: View, partner: str, targets: Iterable[str]) -> tuple[str, ...]:
    """Those of the targets that the partner says it cannot read: they do not move."""
    return tuple([target for target in targets if view.unreadable(partner, target)])


def what_is_left(view: View, partner: str, targets: Iterable[str]) -> str:
    """The same as a clause; empty: nothing is left behind."""
    left = left_behind(view, partner, targets)
    if not left:
        return ""
    return f"{partner} cannot read {', '.join(left)}: not moved before it can"


def _soaking(view: View, partner: str, now: float) -> str:
    """A server that was fenced itself must have been seen alive, in a later boot, for partnerSoak."""
    assert view.pair is not None
    assert view.status is not None
    entry = next((f for f in view.status.fenced if f.node == partner and not f.drill), None)
    if entry is None:
        return ""
    if view.boot(partner) == entry.boot_id:
        return f"{partner} was fenced in {entry.failover} and has not been seen in a later boot"
    soak = seconds(view.pair.spec.failover.partner_soak)
    soaked = view.well_since.get(partner, now) + soak
    if now < soaked:
        view.wake_by(soaked)
        return f"{partner} was fenced in {entry.failover} and has not been well for partnerSoak ({soak:g}s) yet"
    return ""


def released(view: View, a: Assignment) -> ReleasedWarrant | None:
    """The server's own report that it carried out exactly this Release."""
    report = view.target_report(a.node, a.target)
    done = report.released if report else None
    if a.intent != "Release" or done is None or done.epoch != a.epoch:
        return None
    return ReleasedWarrant(node=a.node, epoch=done.epoch, dirty=done.dirty)


def desired(view: View, target: str) -> bool:
    """Whether it is to be mounted. A target that nobody declares any more is: absence orders nothing."""
    ost = view.ost(target)
    return ost is None or ost.spec.desired == "Mounted"


def held_by_failover(view: View) -> bool:
    """Whether a Failover is open and has put targets in Hold: no other assignment changes before it ends."""
    status = view.status
    if status is None or not status.active_failover:
        return False
    opened = int(status.active_failover.rpartition("-")[2])
    return any(a.intent == "Hold" and a.epoch > opened for a in status.assignments)


def partner_fenced(view: View, partner: str) -> bool:
    """Whether the partner has not been seen alive in a boot after its own fencing."""
    status = view.status
    entry = next((f for f in status.fenced if f.node == partner), None) if status else None
    if entry is None:
        return False
    pulse = view.heartbeats.pulses.get(partner)
    return pulse is None or not pulse.moved or view.boot(partner) == entry.boot_id


def unanswered(view: View, now: float) -> tuple[str, ...]:
    """Living agents that have not answered a nonce of this term: no off and no assignment before they have.

    Whoever is not proven silent counts as living, unless it is the server that is to be dead.
    """
    fo = view.active
    suspect = fo.spec.node if fo is not None and fo.spec.type == "Failover" else ""
    living = tuple(n for n in view.servers if view.fresh(n, now) or (n != suspect and not view.silent(n)))
    nonce = view.status.nonce if view.status else None
    if nonce is None or not nonce.value.startswith(f"{view.term}-"):
        return living or view.servers
    return tuple(n for n in living if not answered(view, n))


def answered(view: View, node: str) -> bool:
    """Whether the server has answered any nonce of this term."""
    oss = view.osses.get(node)
    nonce = oss.status.nonce if oss and oss.status else None
    return nonce is not None and nonce.value.startswith(f"{view.term}-")


def foreign(view: View, a: Assignment) -> bool:
    """Whether somebody mounted it by hand on the server that it is assigned to: no agent will unmount that."""
    report = view.target_report(a.node, a.target)
    return report is not None and report.state == "ForeignMount"


def not_unasked(view: View, failover: Failover, waited: float, now: float) -> str:
    """Why nothing is done about it without a person, who has been asked for `waited` seconds; empty: act now."""
    return next((why for _, scruple in SCRUPLES if (why := scruple(view, failover, waited, now))), "")


def said_to_a_person(view: View, failover: Failover, why: str, now: float) -> str:
    """`why` nothing is done unasked, which levels cannot be used because of a device's identity, and which of the two answers
    is possible where the partner cannot take over now."""
    levels = said_of_levels(view, failover)
    why = f"{why}; {levels}" if levels else why
    unable = _partner(view, failover, 0.0, now)
    if not unable:
        left = what_is_left(view, failover.spec.partner, failover.spec.targets)
        return "; ".join(said for said in (why, left) if said)
    besides = "" if unable in why else f"{unable}: "
    return f"{why}; {besides}no Failover before that is over, a Restart needs no partner"


def _not_dead(view: View, failover: Failover, waited: float, now: float) -> str:
    spec = failover.spec
    if ASKS_FOR.get(spec.evidence.verdict) is Act.FENCE:
        return ""
    if spec.evidence.verdict == OVERDUE and spec.policy.release_failed == "Fence":
        return (
            ""
            if cannot_release(view, spec.node, now)
            else f"{spec.node} is not Sick: releaseFailed leaves it to a person"
        )
    left = spec.evidence.verdict == OVERDUE and cannot_release(view, spec.node, now)
    why = " (spec.failover.releaseFailed is Ask)" if left else ""
    return f"{spec.node} is {spec.evidence.verdict}, not Failed: a person decides{why}"


def cannot_release(view: View, node: str, now: float) -> bool:
    """Whether a server lives, cannot serve, and has not released a target that is to be mounted."""
    late = [a.target for a in view.held_by(node) if a.intent == "Release" and not released(view, a)]
    sick = view.fresh(node, now) and verdict_of(view, node, now).name == "Sick"
    return sick and any(desired(view, target) for target in late)


def _mode(view: View, failover: Failover, waited: float, now: float) -> str:
    policy = failover.spec.policy
    if policy.mode == "Automatic":
        return ""
    if policy.mode != "Manual" or policy.automatic_after is None:
        return f"mode is {policy.mode}"
    left = seconds(policy.automatic_after) - waited
    if left <= 0:
        return ""
    view.wake_by(now + left)
    return f"mode is Manual, and automaticAfter {policy.automatic_after} has not passed"


def _unarmed(view: View, failover: Failover, waited: float, now: float) -> str:
    if failover.spec.policy.armed:
        return ""
    suspicion = view.suspicions.get(failover.spec.node)
    return "the pair was not armed when suspicion began" + (f": {suspicion.reason}" if suspicion else "")


def _maintenance(view: View, failover: Failover, waited: float, now: float) -> str:
    return f"{failover.spec.node} is in maintenance" if view.in_maintenance(failover.spec.node) else ""


def _paused(view: View, failover: Failover, waited: float, now: float) -> str:
    return "the pair is paused" if view.pair and view.pair.spec.paused else ""


def _fuse(view: View, failover: Failover, waited: float, now: float) -> str:
    fuse = view.heartbeats.fuse(failover.spec.node, now)
    if fuse:
        view.stay_awake()  # the leases of other pairs close it
    return f"the fuse is open: {fuse}" if fuse else ""


def _budget(view: View, failover: Failover, waited: float, now: float) -> str:
    spent = budget.spent(view.heartbeats, failover.spec.node)
    return f"the budget is spent: {spent}" if spent else ""


def _partner(view: View, failover: Failover, waited: float, now: float) -> str:
    return partner_unable(view, failover.spec.partner, failover.spec.targets, now)


SCRUPLES: tuple[tuple[str, Callable[[View, Failover, float, float], str]], ...] = (
    ("verdict", _not_dead),
    ("mode", _mode),
    ("armed", _unarmed),
    ("maintenance", _maintenance),
    ("paused", _paused),
    ("fuse", _fuse),
    ("budget", _budget),
    ("partner", _partner),
)
"""What stands between a verdict and a shot that nobody was asked about, by name: the first that says why is what a person
reads."""


def claimed(view: View, node: str) -> str:
    """Why the server may not be shot: two objects claim one of its feeds, or the server itself."""
    return next((p.message for p in view.problems if node in p.nodes), "")


def level_feeds(failover: Failover, level: int) -> tuple[Feed, ...]:
    """The feeds of one fencing level, as the Failover's snapshot has them."""
    return tuple(Feed(f.device_name, f.outlet) for f in failover.spec.policy.levels[level].feeds)


def changed_device(view: View, failover: Failover, feed: Feed) -> str:
    """Why the feed counts as silent in this Failover: its device is not the one that the snapshot names."""
    snapshot = snapshot_of(failover, feed)
    device = view.devices.get(feed.device)
    if device is None:
        return f"FenceDevice {feed.device} does not exist"
    if snapshot is not None and device.metadata.uid != snapshot.device_uid:
        return f"FenceDevice {feed.device} was deleted and created again since this Failover was opened"
    if snapshot is not None and normalised(device.spec.address) != normalised(snapshot.address):
        return f"FenceDevice {feed.device} is at {device.spec.address} now, {snapshot.address} when this Failover was opened"
    return another(view, failover, feed)


def unusable_feed(view: View, failover: Failover, feed: Feed) -> str:
    """Why the feed is not cut and proves nothing: its device has changed, or nothing identifies it."""
    return changed_device(view, failover, feed) or misidentified(view, failover, feed)
