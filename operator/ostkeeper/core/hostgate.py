"""The agent's way out: every effect that could harm a disk is held against the invariants before it leaves.

What breaks one is not carried out and answered as a failure, so that the target says `InvariantBroken` in its report and
is tried again later; the heartbeat goes on. Raising would end the agent, and a server whose agent is silent is shot, with
all the targets that are well. Here: how an effect of the host machine becomes facts. Not here: the rules (`invariants`).
"""

from __future__ import annotations

from ostkeeper.core import hostevents as ev
from ostkeeper.core import invariants
from ostkeeper.core.facts import MemoryWrite, MountOrder, ReleaseReport, UnmountOrder
from ostkeeper.core.hoststate import Host, Target

BROKEN = "InvariantBroken"
"""The reason that a target reports."""


def refused(host: Host, effect: ev.HostEffect, now: float) -> ev.MountEnded | ev.UnmountEnded | ev.Stored | None:
    """None: the effect may leave. Else the answer that it gets at once, as if it had been tried in vain."""
    match effect:
        case ev.Mount():
            why = invariants.broken(MountOrder(host, host.targets[effect.target], effect, now))
            if why:
                return ev.MountEnded(effect.op, effect.target, ok=False, reason=BROKEN, message="; ".join(why))
        case ev.Unmount():
            why = invariants.broken(UnmountOrder(host, host.targets[effect.target], effect))
            if why:
                return ev.UnmountEnded(effect.op, effect.target, ok=False, reason=BROKEN, message="; ".join(why))
        case ev.Remember():
            why = invariants.broken(MemoryWrite(host, effect))
            if why:
                return ev.Stored(effect.op, ok=False, detail=f"{BROKEN}: {'; '.join(why)}")
        case _:
            pass
    return None


def told(host: Host, target: Target) -> str:
    """Why the release that a target is about to report must not be told; empty: it may."""
    grant, released = host.assignment(target.name), target.released
    if grant is None or released is None:
        return ""
    if (grant.node, grant.intent, grant.epoch) != (host.server.node, "Release", released.epoch):
        return ""  # of an earlier Release: the pair asks for another, or for none
    return "; ".join(invariants.broken(ReleaseReport(host, target)))
