"""The budget: how many servers may be out at once because we shot them unasked, per file system and per power domain.

The fuse counts who is silent at one moment; the budget counts what was shot, and is not back, however slowly that went on:
a fault that walks from server to server, or one of ours. Whoever is counted was decided on by policy, from the moment of
that decision until a later boot is seen alive, a person answers, or the server is put into maintenance. Counted from the
stored pairs and Failovers, so that a new leader counts the same. Above it Automatic acts as Manual; a person passes it.
Not here: what is late (`heartbeats`), what else forbids to act unasked (`able`).
"""

from __future__ import annotations

from ostkeeper.api.failover import Failover
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.view import View

UNDER_WAY = ("Holding", "Fencing", "Blocked", "Relocating")
"""Phases of an open Failover in which its server is being taken out."""


def take(view: View, node: str, name: str) -> None:
    """A Failover is about to go on unasked: it counts for all other pairs before its write has left."""
    view.heartbeats.out[node] = name


def recount(view: View) -> None:
    """What the stored objects of this pair say of its two servers, for all pairs to count."""
    out = view.heartbeats.out
    if view.busy or view.pair is None or view.status is None or not view.term:
        return
    if not (out or view.status.active_failover or view.status.fenced):
        return
    for node in view.servers:
        name = _spent_on(view, node)
        if name:
            out[node] = name
        else:
            out.pop(node, None)


def _spent_on(view: View, node: str) -> str:
    """The Failover by which the server is out unasked; empty: it is not."""
    fo, status = view.active, view.status
    assert status is not None
    if view.in_maintenance(node):
        return ""
    if fo is not None and fo.spec.node == node and fo.spec.type == "Failover" and fo.phase in UNDER_WAY:
        return fo.name if _unasked(fo) else ""
    entry = next((f for f in status.fenced if f.node == node and not f.drill), None)
    if entry is None or _back(view, node, entry.boot_id):
        return ""
    return entry.failover if _unasked(view.failovers.get(entry.failover)) else ""


def _unasked(fo: Failover | None) -> bool:
    """Whether no person decided on it; one that is not there any more counts."""
    return fo is None or fo.status is None or fo.status.answered_by == "policy"


def _back(view: View, node: str, dead: str) -> bool:
    """Whether a later boot was seen alive in this term."""
    pulse = view.heartbeats.pulses.get(node)
    return pulse is not None and pulse.moved and pulse.beat.boot_id != dead


def spent(heartbeats: Heartbeats, node: str) -> str:
    """Why no further server of this one's file systems and power domains is shot unasked; empty: it may be.

    With this server there may be two out at once, or ten percent of its group if that is more.
    """
    others = {n: name for n, name in heartbeats.out.items() if n != node}
    mine = heartbeats.servers.get(node)
    for group in mine.groups if mine and len(others) > 1 else ():
        out = [(n, name) for n, name in others.items() if (s := heartbeats.servers.get(n)) and group in s.groups]
        if len(out) < 2:
            continue
        members = sum(1 for s in heartbeats.servers.values() if group in s.groups)
        if len(out) + 1 > max(2.0, members / 10):
            names = ", ".join(f"{n} by {name}" for n, name in sorted(out)[:6])
            return (
                f"{len(out)} of {members} servers of {group} were shot unasked and are not back ({names}): repair them, "
                "or put them into maintenance"
            )
    return ""
