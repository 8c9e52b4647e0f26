"""Armed: could Automatic be trusted now? Not armed says why, at noon rather than at 3 a.m.

Here: trust in feeds, wiring and agents. Each function returns the reasons against; empty means trust.
"""

from __future__ import annotations

from functools import lru_cache

from ostkeeper.api.common import condition_of
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import Level
from ostkeeper.api.phases import ORDERLY
from ostkeeper.core.addresses import normalised
from ostkeeper.core.devices import board_of, distrusted, identifies
from ostkeeper.core.digest import digest
from ostkeeper.core.identity import key, reported
from ostkeeper.core.view import View

DRILLED, SECOND, ACCEPTED = "Drilled", "SecondDevice", "SoleWitnessAccepted"
"""What can bear out the OFF of a fencing level (`Certificate.proof`)."""


def armed(view: View) -> tuple[str, ...]:
    """Why Automatic would act as Manual now. Every plan asks for it, and it changes rarely."""
    pair, status = view.pair, view.status
    if pair is None or status is None:
        return ("the pair has no status yet",)
    rests_on: list[object] = [
        pair.spec,
        status.assignments,
        *view.osts.values(),
        status.boards,
        status.fenced,
        status.wiring,
    ]
    rests_on += [view.active, view.problems, view.policies, *view.devices.values()]
    for node in pair.servers:
        rests_on += [_seen_alive(view, node), view.overdue_disks(node), view.unreported(node)]
        report = view.report(node)
        rests_on += [view.boot(node), report.peer.boot_id if report else ""]
        rests_on += [report.hazards, report.refusal, report.system_uuid, report.disks] if report else [None]
    return view.keep("armed", tuple(rests_on), _armed)


def _armed(view: View) -> tuple[str, ...]:
    """It looks at nothing but what `armed` says that it rests on."""
    pair, status = view.pair, view.status
    assert pair is not None
    assert status is not None
    assigned = {a.target for a in status.assignments}
    reasons = [
        p.message for p in view.problems if p.nodes or p.devices or p.identities or assigned.intersection(p.targets)
    ]
    if view.policies is not True:
        reasons.append("the admission policies are not known to be in force")
    fo = view.active
    if fo is not None and not (fo.spec.type in ORDERLY and fo.phase == "AwaitingApproval"):
        reasons.append(f"{fo.name} is open")  # a slot that was taken for nothing yet is no failover
    if not status.assignments:
        reasons.append("no target is assigned yet")
    for node in pair.servers:
        reasons += _server(view, node)
    return tuple(reasons)


def would_not_act(view: View) -> list[str]:
    """Why no server would be fenced unasked now although all is trusted. For the condition only.

    Decisions look at each of these themselves, for the server that they are about.
    """
    assert view.pair is not None
    assert view.status is not None
    reasons = ["spec.paused is set"] if view.pair.spec.paused else []
    reasons += [
        f"{node} is in maintenance: neither server is fenced unasked"
        for node in view.servers
        if view.in_maintenance(node)
    ]
    reasons += [
        f"{n.failover} of {n.node} ended without an act: not asked about again before {n.node} is well, or spec.askAgain names it"
        for n in view.status.noted
        if n.type == "Failover"
    ]
    return reasons


def armed_to_fence(view: View, node: str) -> tuple[str, ...]:
    """Why a living server may not be fenced unasked. What its own agent suffers from is not held against it."""
    assert view.pair is not None
    own = set(_agent(view, node))
    return tuple([why for why in armed(view) if why not in own])


def _seen_alive(view: View, node: str) -> bool:
    """Whether its lease was seen to move in this term."""
    pulse = view.heartbeats.pulses.get(node)
    return pulse is not None and pulse.moved


def _server(view: View, node: str) -> list[str]:
    assert view.pair is not None
    reasons = _agent(view, node) + _witness(view, node)
    drilled = 0
    for level in view.pair.fencing_of(node):
        reasons += [f"level {level.name} of {node}: {why}" for why in level_untrusted(view, node, level)]
        drilled += level_drilled(view, node, level)
    borne_out = any(borne_out_by(view, node, level) for level in view.pair.fencing_of(node))
    if view.pair.spec.failover.wiring == "Declared" and not borne_out:
        reasons.append(
            f"no fencing level of {node} has a second witness: drill one, declare feeds on two devices, or set "
            f"failover.soleWitness: Accept"
        )
    if view.pair.spec.failover.wiring == "Drilled" and not drilled:
        reasons.append(
            f"no fencing level of {node} was drilled: kubectl patch spec.drill, or ostkeeper fence-test --really"
        )
    return reasons


def _witness(view: View, node: str) -> list[str]:
    """Whether the partner has had an answer on the network in this boot: silence proves nothing before."""
    assert view.pair is not None
    partner, boot = view.pair.partner_of(node), view.boot(node)
    report = view.report(partner)
    if report is None or not boot or report.peer.boot_id == boot:
        return []
    return [f"{partner} has had no answer from {node} on TCP 7845 in boot {boot}: open that port between the servers"]


def _agent(view: View, node: str) -> list[str]:
    report = view.report(node)
    if report is None:
        return [view.unreported(node) or f"the agent of {node} has not reported"]
    reasons = [f"{node}: {hazard}" for hazard in report.hazards]
    if report.refusal:
        reasons.append(f"{node} serves nothing: {report.refusal}")
    assert view.pair is not None
    theirs = tuple([a.target for a in view.held_by(view.pair.partner_of(node))])
    blind = view.reads_some(node, theirs)
    return [*reasons, blind] if blind else reasons


def unread_disks(view: View) -> list[str]:
    """What each server cannot read of the pair's disks. That disarms nothing: all other targets fail over."""
    assert view.pair is not None
    assert view.status is not None
    said = []
    for node in view.pair.servers:
        unread = [a.target for a in view.status.assignments if view.unreadable(node, a.target)]
        if unread:
            said.append(f"{node} cannot read {', '.join(unread)}")
    return said


def level_untrusted(view: View, node: str, level: Level) -> list[str]:
    """Why a level may not be trusted to kill: a device without trust, or a BMC of another board."""
    reasons = []
    for feed in level.feeds:
        device = view.devices.get(feed.device_name)
        if device is None:
            reasons.append(f"FenceDevice {feed.device_name} does not exist")
            continue
        ready = condition_of(device.status.conditions, "Ready") if device.status else None
        if ready is None or ready.status != "True":
            why = f"{ready.reason}: {ready.message}" if ready else "not probed yet"
            reasons.append(f"FenceDevice {feed.device_name} is not Ready ({why})")
        reasons += _feed_faults(device, feed.outlet or "")
        why = distrusted(view, node, device)
        reasons += [why] if why else []
        reasons += _lies(view, node, device, feed.outlet or "")
    return reasons


def _feed_faults(device: FenceDevice, outlet: str) -> list[str]:
    """What is wrong with this feed alone, such as an outlet that the PDU does not have."""
    readings = device.status.feeds if device.status else ()
    return [
        f"feed {device.name}/{r.outlet}: {r.reason}: {r.message}" for r in readings if r.outlet == outlet and r.reason
    ]


def _lies(view: View, node: str, device: FenceDevice, outlet: str) -> list[str]:
    """A feed that reads OFF while its server lives has lied, or is wired elsewhere."""
    readings = device.status.feeds if device.status else ()
    off = any(r.outlet == outlet and r.state == "PoweredOff" for r in readings)
    verdict_fenced = view.status is not None and any(f.node == node for f in view.status.fenced)
    if off and _seen_alive(view, node) and not verdict_fenced and not device.spec.has_outlets:
        return [f"{device.name} reads OFF while {node} lives"]
    return []


def fingerprint(view: View, node: str, level: Level) -> str:
    """What a drill proved: these feeds, on these devices at these addresses, of this board. A change voids it."""
    parts = []
    for feed in level.feeds:
        device = view.devices.get(feed.device_name)
        uid, address = (device.metadata.uid, device.spec.address) if device else ("", "")
        identity = reported(device) if device else ""
        identity = identity if identifies(view, identity) else ""
        parts.append(mark_of(feed.device_name, feed.outlet or "", uid, address, identity))
    return fingerprint_of(node, level.name, parts, board_of(view, node))


def mark_of(device: str, outlet: str, uid: str, address: str, identity: str) -> list[str]:
    """One feed in a fingerprint: spellings of its address and identity make no difference, another device does."""
    return [device, outlet, uid, normalised(address), key(identity) if identity else ""]


def fingerprint_of(node: str, level: str, feeds: list[list[str]], board: str) -> str:
    """The same of what a Failover took a snapshot of: `mark_of` each feed."""
    return _fingerprint(node, level, tuple(tuple(feed) for feed in feeds), board)


@lru_cache(maxsize=1024)
def _fingerprint(node: str, level: str, feeds: tuple[tuple[str, ...], ...], board: str) -> str:
    return digest([node, level, feeds, board])[:16]


def level_drilled(view: View, node: str, level: Level) -> bool:
    """Whether a drill proved this level as it is declared now."""
    status = view.status
    return status is not None and any(
        w.node == node and w.level == level.name and w.proven and w.fingerprint == fingerprint(view, node, level)
        for w in status.wiring
    )


def borne_out_by(view: View, node: str, level: Level) -> str:
    """What would bear out the OFF of a level, as far as it is known before a failover."""
    assert view.pair is not None
    if level_drilled(view, node, level):
        return DRILLED
    if len({feed.device_name for feed in level.feeds}) > 1:
        return SECOND
    return ACCEPTED if view.pair.spec.failover.sole_witness == "Accept" else ""


def wiring_trusted(view: View, node: str) -> bool:
    """Whether the feeds of a server are proven enough for what asks for it: Automatic, and clearing MMP."""
    assert view.pair is not None
    if view.pair.spec.failover.wiring == "Declared":
        return True
    return any(level_drilled(view, node, level) for level in view.pair.fencing_of(node))
