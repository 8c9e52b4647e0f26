"""How long each lease has stood still, as this observer saw it, and the fuse that counts them.

Staleness accrues only while the canary, a lease of the operator's own on the same watch, proves that the watch lives: a
canary written at t and seen later proves that all changes committed before t have been delivered. A gap in the canary is
an amnesty: every clock starts again. Shared by all pairs of one operator; no I/O, `now` is handed in.
Not here: what a stale heartbeat means (`verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from ostkeeper.core.events import Beat

LATE_AFTER = 1.5
"""Intervals without a renewal after which one is overdue."""
CANARY_INTERVAL = 1.0
"""Seconds between two renewals of the canary when nobody asks for one."""
CANARY_GAP = 3.0
"""A canary that needs longer than this from one proof to the next proves nothing about the time between."""
FUSE_REST = 30.0
"""Seconds for which the rest of a group has to be fresh again before its fuse closes."""
FUSE_PATIENCE = 900.0
"""Seconds without anybody coming back after which a fuse closes although some are missing: bootTimeout's default."""


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
    """For each of its last renewals, newest last and at most eight, a second before which it was not committed: the horizon
    when it was seen. When it was seen says less: after a pause renewals come in a burst, some older than the pause."""

    def late(self, interval: float, now: float) -> bool:
        """Whether a renewal is overdue: over one and a half intervals."""
        return now - self.changed_at > LATE_AFTER * interval


@dataclass(slots=True)
class Server:
    """What the fuse needs to know of one server."""

    interval: float
    groups: tuple[str, ...]
    """Its file systems and power domains."""
    excused: bool = False
    """Certified dead, or in maintenance: it does not count."""


@dataclass(slots=True)
class Fuse:
    """The open fuse of one file system or power domain."""

    since: float
    """When it was last above its limit, or somebody came back since."""
    late: int
    """How many servers were late when it was last seen above its limit."""
    members: int
    names: tuple[str, ...]
    """The first of those that were late."""
    fewest: int
    """The fewest that were late since then: below it somebody has come back."""
    booted: int = 0
    """How many have booted within FUSE_PATIENCE, where it is that which opened it, before this leader's time."""


@dataclass(slots=True)
class Heartbeats:
    """All leases of all pairs."""

    started: float = 0.0
    """When the clocks last started again."""
    horizon: float = 0.0
    """Everything committed before this second has been seen."""
    pulses: dict[str, Pulse] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    fuses: dict[str, Fuse] = field(default_factory=dict)
    """The fuses that are open, by group."""
    booted: dict[str, float] = field(default_factory=dict)
    """When each server booted, on this observer's clock, as its agent's last report tells: its uptime."""
    watched_at: float = -math.inf
    """When the servers that are late were last counted."""
    out: dict[str, str] = field(default_factory=dict)
    """Servers that were shot unasked and are not back, with the Failover's name. A restart of the clocks keeps them:
    each pair counts its own anew (`budget`)."""

    def restart(self, now: float) -> None:
        """Every clock starts again: a new leader, or the watch was dead for a while."""
        self.started = self.horizon = now
        for pulse in self.pulses.values():
            pulse.changed_at = now
            pulse.moved = False
            pulse.recent = ()

    def declared(self, names: Collection[str]) -> None:
        """Count these servers only: what no pair names any more holds no fuse open and spends no budget."""
        for name in [name for name in self.servers if name not in names]:
            del self.servers[name]
        for name in [name for name in self.out if name not in names]:
            del self.out[name]

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
        pulse.recent = (*pulse.recent[-7:], self.horizon)
        return True

    def proven(self, written: float, now: float) -> None:
        """The canary written at `written` was seen. After too long a gap all clocks start again."""
        if written - self.horizon > CANARY_GAP:
            self.restart(now)
        else:
            self.horizon = max(self.horizon, written)
        if now - self.watched_at >= CANARY_INTERVAL:
            self.watched_at = now
            self.watch_fuse(now)

    def blind(self, now: float) -> bool:
        """Whether the watch has not been proven alive for so long that the next proof starts all clocks again."""
        return now - self.horizon > CANARY_GAP

    def known(self, node: str) -> bool:
        """Whether a lease of that server was ever seen."""
        return node in self.pulses

    def seen_at(self, node: str) -> float:
        """When the last change was seen, or the clocks last started again."""
        pulse = self.pulses.get(node)
        return pulse.changed_at if pulse else self.started

    def stale_for(self, node: str) -> float:
        """Seconds for which the lease is proven to have stood still: no longer than the canary reaches."""
        return max(0.0, self.horizon - self.seen_at(node))

    def unseen_for(self, node: str, now: float) -> float:
        """Seconds since the last change was seen, proven or not. For lateness, never for death."""
        return max(0.0, now - self.seen_at(node))

    def late(self, node: str, interval: float, now: float) -> bool:
        """Whether a renewal of the server is overdue, or its first one since the clocks started."""
        pulse = self.pulses.get(node)
        return pulse.late(interval, now) if pulse else now - self.started > LATE_AFTER * interval

    def renewed_since(self, node: str, moment: float) -> bool:
        """Whether a renewal was seen that began after `moment`.

        An agent renews one after the other, so the second one committed after `moment` began after it.
        """
        pulse = self.pulses.get(node)
        return pulse is not None and sum([at > moment for at in pulse.recent]) >= 2

    def watch_fuse(self, now: float) -> None:
        """Count for each file system and power domain how many servers are late at this moment; open and close its fuse.

        It opens above the larger of two and ten percent. It closes once the rest has been fresh again for FUSE_REST; or,
        with no more than that number still missing, once nobody has come back for FUSE_PATIENCE: a site that powers on
        passes every number on its way, and whoever boots last is not dead. A leader that was not there to see it open takes
        the uptimes of those that are back for it: so many have booted lately that they were missing together, and somebody
        whom it has not seen alive may be booting still.
        """
        late: dict[str, list[str]] = {}
        back: dict[str, list[float]] = {}
        members: dict[str, int] = {}
        for name, server in self.servers.items():
            is_late = not server.excused and self.late(name, server.interval, now)
            booted = self._booted_lately(name, now)
            for group in server.groups:
                members[group] = members.get(group, 0) + 1
                if is_late:
                    late.setdefault(group, []).append(name)
                if booted is not None:
                    back.setdefault(group, []).append(booted)
        for group, size in members.items():
            missing, boots, limit = late.get(group, []), back.get(group, []), max(2.0, size / 10)
            if len(missing) > limit:
                self.fuses[group] = Fuse(now, len(missing), size, tuple(missing[:6]), len(missing))
            elif group in self.fuses:
                self._may_close(group, len(missing), now)
            elif len(boots) > limit and any(not self._moved(name) for name in missing):
                found = Fuse(max(boots), len(missing), size, tuple(missing[:6]), len(missing), len(boots))
                self.fuses[group] = found
                self._may_close(group, len(missing), now)
        for group in [g for g in self.fuses if g not in members]:
            del self.fuses[group]

    def _moved(self, node: str) -> bool:
        """Whether the server was seen alive in this term."""
        pulse = self.pulses.get(node)
        return pulse is not None and pulse.moved

    def _booted_lately(self, node: str, now: float) -> float | None:
        """When a server booted that is back, if a leader of so short a time cannot have seen by itself that it was missing."""
        booted = self.booted.get(node)
        if booted is None or not self._moved(node) or now - self.started > FUSE_PATIENCE:
            return None
        return booted if now - booted < FUSE_PATIENCE else None

    def _may_close(self, group: str, missing: int, now: float) -> None:
        fuse = self.fuses[group]
        if missing < fuse.fewest:
            fuse.fewest, fuse.since = missing, now
        if now - fuse.since >= (FUSE_REST if missing < 2 else FUSE_PATIENCE):
            del self.fuses[group]

    def fuse(self, node: str, now: float) -> str:
        """Empty when the fuse is closed for this server; else why nothing is fenced unasked."""
        self.watch_fuse(now)
        mine = self.servers.get(node)
        for group in mine.groups if mine else ():
            fuse = self.fuses.get(group)
            if fuse is not None:
                names = ", ".join(fuse.names)
                if fuse.booted:
                    many = f"{fuse.booted} of {fuse.members} servers of {group} have just booted"
                    return f"{many}, and {fuse.late} may be booting still ({names})"
                return f"{fuse.late} of {fuse.members} servers of {group} were late at the same moment ({names})"
        return ""
