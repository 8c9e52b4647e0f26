"""Delete finished Failovers beyond the last ones of a pair.

Kept in any case: one that is open, and one that a warrant, `fenced` or `noted` of the pair names: a server that it has fenced
may be powered on by it.
"""

from __future__ import annotations

from ostkeeper.api.phases import TERMINAL
from ostkeeper.core.events import DeleteFailover, Effect
from ostkeeper.core.view import Shown, View

DELETE = "delete Failover "
"""Begins the key of a deletion under way in `View.mirrors`; the name follows."""
KEPT = 20
"""Finished Failovers of a pair that are kept."""


def forget_old(view: View, now: float) -> list[Effect]:
    """Delete the oldest finished Failover beyond KEPT, one at a time."""
    if view.status is None or len(view.failovers) <= KEPT:
        return []
    finished = sorted((fo for fo in view.failovers.values() if fo.phase in TERMINAL), key=lambda fo: fo.spec.epoch)
    named = _named(view)
    old = next((fo for fo in finished[:-KEPT] if fo.name not in named), None)
    if old is None:
        return []
    key = DELETE + old.name
    retry = view.mirror_retry.get(key, 0.0)
    if now < retry:
        view.wake_by(retry)
    if now < retry or any(shown.startswith(DELETE) for shown in view.mirrors):
        return []
    view.mirrors[key] = Shown(view.next_op(), old.name)
    return [DeleteFailover(view.mirrors[key].op, old.key, old.version)]


def _named(view: View) -> set[str]:
    """Failovers that the pair's status rests on."""
    status = view.status
    assert status is not None
    warrants = {a.warrant.certificate.failover for a in status.assignments if a.warrant.certificate is not None}
    return {
        status.active_failover,
        *warrants,
        *(f.failover for f in status.fenced),
        *(n.failover for n in status.noted),
    }
