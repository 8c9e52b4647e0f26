"""What can be known of a drill's feeds without a cut, or after the cut of one feed alone: whose they are.

A BMC tells its board. Outlets tell by their load, where it is measured, and by what earlier drills proved.
"""

from __future__ import annotations

from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import Level
from ostkeeper.core.able import level_feeds, released
from ostkeeper.core.armed import level_drilled
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.devices import identifies
from ostkeeper.core.events import Effect, ReadPower
from ostkeeper.core.identity import GUID, matches, reported
from ostkeeper.core.power import Feed
from ostkeeper.core.view import View

RISE_WATTS = 20.0
"""A load that rose by more than this, and by a quarter, took over from the feed that was cut."""


def at_risk(view: View, node: str, level_name: str) -> str:
    """Why a cut of the level could take the power of the partner while it serves; empty: it could not, or a person accepts it."""
    assert view.pair is not None
    request, partner = view.pair.spec.drill, view.pair.partner_of(node)
    level = next(lv for lv in view.pair.fencing_of(node) if lv.name == level_name)
    serves = [a.target for a in view.held_by(partner) if released(view, a) is None]
    if not serves or (request is not None and request.accept_partner_outage):
        return ""
    unknown = _unknown(view, node, partner, level)
    if not unknown:
        return ""
    return (
        f"{partner} serves {', '.join(serves)}, and nothing but the cut can tell whether {', '.join(unknown)} feed {node} or "
        f"{partner}: drill while {partner} serves nothing, or set spec.drill.acceptPartnerOutage"
    )


def _unknown(view: View, node: str, partner: str, level: Level) -> list[str]:
    """The feeds of a level that could be the partner's, as far as anybody knows before the cut."""
    assert view.pair is not None
    if level_drilled(view, node, level):
        return []
    outlets = {(f.device_name, f.outlet) for f in level.feeds if f.outlet}
    for other in view.pair.fencing_of(partner):
        theirs = {(f.device_name, f.outlet) for f in other.feeds}
        if all(f.outlet for f in other.feeds) and not theirs & outlets and level_drilled(view, partner, other):
            outlets = set()  # without all of these the partner was seen to die: it has no other supply
    found = [f"{device}/{outlet}" for device, outlet in sorted(outlets, key=str)]
    return found + [f.device_name for f in level.feeds if not f.outlet and not _own_board(view, node, f.device_name)]


def _own_board(view: View, node: str, name: str) -> bool:
    """Whether a BMC tells the board that the server's agent reads."""
    device, report = view.devices.get(name), view.report(node)
    said = reported(device) if device is not None else ""
    board = report.system_uuid if report else ""
    return bool(said and board) and identifies(view, board) and matches(GUID + board, said)


# --- loads, in a step that cuts one feed


def _measured(view: View, fo: Failover) -> list[Feed]:
    """The outlets of both servers of which a probe has measured the load."""
    assert view.pair is not None
    theirs = {
        Feed(f.device_name, f.outlet) for lv in view.pair.fencing_of(fo.spec.partner) for f in lv.feeds if f.outlet
    }
    both = theirs | {feed for feed in level_feeds(fo, 0) if feed.outlet}
    return sorted(feed for feed in both if _meters(view, feed))


def _meters(view: View, feed: Feed) -> bool:
    device = view.devices.get(feed.device)
    readings = device.status.feeds if device is not None and device.status else ()
    return any(r.outlet == feed.outlet and r.watts is not None for r in readings)


def before(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Look at the loads before the first off of a step; empty: they are known, or nothing is measured."""
    if c.before is None and not c.poll_ops and not c.looked:
        c.looked, c.loads = True, {}
        return _look(view, _measured(view, fo), c, now)
    if c.before is None and not c.poll_ops:
        c.before, c.looked = dict(c.loads), False
    return []


def after(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Look at the same loads once more, with the feed off."""
    if c.looked or not c.before:
        return []
    c.looked, c.loads = True, {}
    return _look(view, sorted(c.before), c, now)


def _look(view: View, feeds: list[Feed], c: Campaign, now: float) -> list[Effect]:
    c.poll_ops = {view.next_op(): feed for feed in feeds}
    return [ReadPower(op, feed, now + 5.0) for op, feed in c.poll_ops.items()]


def surprise(view: View, fo: Failover, c: Campaign, cut: tuple[Feed, ...]) -> str:
    """The load of a cut feed went to an outlet of the partner and to none of the server's own: the cord is the partner's."""
    own, then = level_feeds(fo, 0), c.before or {}
    rose = [f for f, watts in c.loads.items() if f in then and watts > max(then[f] + RISE_WATTS, 1.25 * then[f])]
    theirs = [str(f) for f in rose if f not in own]
    if not theirs or any(f in own for f in rose):
        return ""
    names, there = ", ".join(map(str, cut)), ", ".join(theirs)
    return f"the load of {names} went to {there} of {fo.spec.partner} when it was cut: the feed is not {fo.spec.node}'s"
