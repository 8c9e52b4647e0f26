"""A server that lives and cannot serve: errors that its agent reports, disks that stand still, conditions of its Node.

Here: what it suffers from, the clocks of that, and whether its partner suffers from the same. Not here: the verdict
(`verdict`), what is done about it (`orderly`).

A disk that stalls under a healthy agent: MMP's block is rewritten by the server's kernel every update interval, so where
the mounting server's own agent reads it Still (unmoved for twice that interval), nothing gets through any more: a frozen
file system, a path that queues. It may go on at any moment, so the server is not dead, and nothing but its own unmount or
its power ends what it may yet write. Only what lasts counts: right after a mount the block is as its predecessor left it
until the first write is read.
"""

from __future__ import annotations

from ostkeeper.api.common import seconds
from ostkeeper.core.view import View

STALL_PATIENCE = 30.0
"""Seconds for which this leader must have seen a disk stand still under its own server, on top of the twice update interval
that make it Still: longer than a path or a controller of an array takes to fail over."""
SETTLE = 10.0
"""Seconds for which a server must have been ailing before it is emptied: a fault that both servers see shows on both by then,
since each reads every disk within that time or reports it unreadable."""


def watch(view: View, now: float) -> None:
    """Keep the clocks: since when a mounted disk stands still, a Node has a condition that counts, a server is ailing."""
    if view.status is None:
        return
    before, view.motionless = view.motionless, {}
    for node in view.servers:
        for target in _motionless(view, node):
            since = view.motionless[node, target] = before.get((node, target), now)
            _wake(view, since + STALL_PATIENCE, now)
    _watch_conditions(view, now)
    ailing, view.ailing = view.ailing, {}
    for node in view.servers:
        if troubles(view, node, now):
            view.ailing[node] = ailing.get(node, now)


def _watch_conditions(view: View, now: float) -> None:
    assert view.pair is not None
    before, view.unhealthy = view.unhealthy, {}
    for node in view.servers:
        state = view.nodes.get(node)
        for wanted in view.pair.spec.unhealthy_conditions if state else ():
            if state and (wanted.type, wanted.status) in state.conditions:
                key = (node, wanted.type, wanted.status)
                view.unhealthy[key] = before.get(key, now)
                _wake(view, view.unhealthy[key] + seconds(wanted.duration), now)


def _wake(view: View, at: float, now: float) -> None:
    if at > now:
        view.wake_by(at)


def _motionless(view: View, node: str) -> list[str]:
    """Targets to which nothing gets through from the living server that has them, as far as this moment shows."""
    assert view.pair is not None
    report = view.report(node)
    if report is None:
        return []
    advancing = {d.target for d in report.disks if d.state == "Advancing"}
    here = [t.target for t in report.targets if t.state in ("Mounted", "Unmounting") and t.target not in advancing]
    if not here or not _watched(view, node):
        return []
    mine = {a.target for a in view.held_by(node)}
    return [target for target in here if target in mine and _nothing_written(view, node, target)]


def _nothing_written(view: View, node: str, target: str) -> bool:
    """Both sides heard: what the partner sees moving is being written, and one side alone may have lost its path.

    A server whose reads never return reports Unknown. Its partner's Still is then the evidence.
    """
    assert view.pair is not None
    own, theirs = _reads(view, node, target), _reads(view, view.pair.partner_of(node), target)
    if own == "Unreadable":
        return theirs in ("Still", "Unreadable")
    return (own == "Still" and theirs != "Advancing") or (own == "Unknown" and theirs == "Still")


def _watched(view: View, node: str) -> bool:
    """Whether its lease was seen to move in this term, and not to stand still for the time-out since."""
    pulse = view.heartbeats.pulses.get(node)
    return pulse is not None and pulse.moved and view.heartbeats.stale_for(node) < view.timeout()


def _reads(view: View, node: str, target: str) -> str:
    """What a living server reads of a disk; Unknown where it has not said so just now."""
    report = view.report(node) if _watched(view, node) else None
    disk = view.disks(node).get(target) if report else None
    if disk is not None:
        return disk.state
    said = next((d.state for d in report.disks if d.target == target), "Unknown") if report else "Unknown"
    return said if said == "Unreadable" else "Unknown"


def errors(view: View, node: str) -> tuple[str, ...]:
    """Targets with errors, as the server's own agent reported them last."""
    report = view.report(node)
    return tuple([t.target for t in report.targets if t.errors]) if report else ()


def stalled(view: View, node: str, now: float) -> tuple[str, ...]:
    """Targets whose disks have stood still under this server for STALL_PATIENCE."""
    return tuple(t for (n, t), since in view.motionless.items() if n == node and now >= since + STALL_PATIENCE)


def conditions(view: View, node: str, now: float) -> tuple[str, ...]:
    """Conditions of the Node that `spec.unhealthyConditions` names and that have stood for their duration."""
    wanted = view.pair.spec.unhealthy_conditions if view.pair else ()
    return tuple(
        f"{w.type} is {w.status}"
        for w in wanted
        if (since := view.unhealthy.get((node, w.type, w.status))) is not None and now >= since + seconds(w.duration)
    )


def troubles(view: View, node: str, now: float) -> tuple[str, ...]:
    """All that the server suffers from, one clause each; empty: it can serve, or nobody has said otherwise."""
    flagged, still, node_says = errors(view, node), stalled(view, node, now), conditions(view, node, now)
    if not (flagged or still or node_says):
        return ()
    said = []
    if flagged:
        said.append(f"{', '.join(flagged)}: its agent reports errors")
    if still:
        said.append(f"{', '.join(still)}: mounted, and nothing is written any more")
    if node_says:
        said.append(f"its Node says {', '.join(node_says)}")
    return tuple(said)


def settled(view: View, node: str, now: float) -> bool:
    """Whether the server has been ailing for so long that its partner would show the same by now."""
    settles = view.ailing.get(node, now) + SETTLE
    _wake(view, settles, now)
    return now >= settles


def shared(view: View, node: str, partner: str, now: float) -> bool:
    """Whether a fault of the server's disks is its partner's as well: then a move would help nobody.

    The partner cannot read one of the disks concerned, or has errors or motionless disks of its own.
    """
    concerned = (*errors(view, node), *stalled(view, node, now))
    if not concerned:
        return False
    if errors(view, partner) or any(n == partner for n, _ in view.motionless):
        return True
    return any(_reads(view, partner, target) == "Unreadable" for target in concerned)
