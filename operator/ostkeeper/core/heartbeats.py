"""How long each lease has stood still, as this observer saw it, and the fuse that counts them.

Staleness accrues only while the canary, a lease of the operator's own on the same watch, proves that the watch lives: a
canary written at t and seen later proves that all changes committed before t have been delivered. A gap in the canary is
an amnesty: every clock starts again. Shared by all pairs of one operator; no I/O, `now` is handed in.
Not here: what a stale heartbeat means (`verdict`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ostkeeper.core.events import Beat

CANARY_INTERVAL = 1.0
"""Seconds between two renewals of the canary when nobody asks for one."""
CANARY_GAP = 3.0
"""A canary that needs longer than this from one proof to the next proves nothing about the time between."""


def newer(version: str, than: str) -> bool:
    """Whether one resourceVersion of an object is younger than another of the same kind (they are numbers, KEP-5504)."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


@dataclass(slots=True)
class Pulse:
    """What was seen of one lease."""

    beat: Beat
    changed_at: float
    """When its last change was seen, or when the clocks last started again."""
    moved: bool = False
    """Whether it was ever seen to move in this term."""
    recent: tuple[float, ...] = ()
    """When its last renewals were seen, newest last; at most eight."""


@dataclass(slots=True)
class Server:
    """What the fuse needs to know of one server."""

    interval: float
    groups: tuple[str, ...]
    """Its file systems and power domains."""
    excused: bool = False
    """Certified dead, or in maintenance: it does not count."""


@dataclass(slots=True)
class Heartbeats:
    """All leases of all pairs."""

    started: float = 0.0
    """When the clocks last started again."""
    horizon: float = 0.0
    """Everything committed before this second has been seen."""
    pulses: dict[str, Pulse] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)

    def restart(self, now: float) -> None:
        """Every clock starts again: a new leader, or the watch was dead for a while."""
        self.started = self.horizon = now
        for pulse in self.pulses.values():
            pulse.changed_at = now
            pulse.moved = False
            pulse.recent = ()

    def seen(self, beat: Beat, now: float) -> bool:
        """The watch showed a lease. Returns whether it moved; the first sight of a lease is no movement."""
        pulse = self.pulses.get(beat.node)
        if pulse is None:
            self.pulses[beat.node] = Pulse(beat, max(now, self.started))
            return False
        if not newer(beat.version, pulse.beat.version):
            return False
        pulse.beat = beat
        pulse.changed_at = now
        pulse.moved = True
        pulse.recent = (*pulse.recent[-7:], now)
        return True

    def proven(self, written: float, now: float) -> None:
        """The canary written at `written` was seen. After too long a gap all clocks start again."""
        if written - self.horizon > CANARY_GAP:
            self.restart(now)
        else:
            self.horizon = max(self.horizon, written)

    def known(self, node: str) -> bool:
        """Whether a lease of that server was ever seen."""
        return node in self.pulses

    def stale_for(self, node: str) -> float:
        """Seconds for which the lease is proven to have stood still: no longer than the canary reaches."""
        pulse = self.pulses.get(node)
        since = pulse.changed_at if pulse else self.started
        return max(0.0, self.horizon - since)

    def unseen_for(self, node: str, now: float) -> float:
        """Seconds since the last change was seen, proven or not. For lateness, never for death."""
        pulse = self.pulses.get(node)
        return max(0.0, now - (pulse.changed_at if pulse else self.started))

    def late(self, node: str, interval: float, now: float) -> bool:
        """Whether a renewal is overdue: over one and a half intervals."""
        return self.unseen_for(node, now) > 1.5 * interval

    def renewed_since(self, node: str, moment: float) -> bool:
        """Whether a renewal was seen that began after `moment`.

        An agent renews one after the other, so the second change seen after `moment` began after it.
        """
        pulse = self.pulses.get(node)
        return pulse is not None and sum(1 for at in pulse.recent if at > moment) >= 2

    def fuse(self, node: str, now: float) -> str:
        """Empty when the fuse is closed for this server; else why nothing is fenced unasked.

        For each file system and power domain it counts the servers whose heartbeat is late at this moment, and opens above
        the larger of two and ten percent.
        """
        mine = self.servers.get(node)
        for group in mine.groups if mine else ():
            members = [(name, s) for name, s in self.servers.items() if group in s.groups]
            late = [name for name, s in members if not s.excused and self.late(name, s.interval, now)]
            if len(late) > max(2.0, len(members) / 10):
                names = ", ".join(late[:6])
                return f"{len(late)} of {len(members)} servers of {group} are late at the same moment ({names})"
        return ""
