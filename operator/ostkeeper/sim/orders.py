"""Each order that leaves for a fence device, against what is stored and what is so: did anything justify it?

Here: offs and ons as the checker judges them, packet by packet, from the API server's objects, from when leases were really
renewed, and from who really lost power and booted since. Not here: what else the checker sees (`checker`), what a device
makes of an order (`power`), the operator's own rules (`core.invariants`): those judge what a machine believes, these what
is so.

A leader acts on a quorum read of a moment ago. So what justifies an off must have stood at some moment within `READ_AGE`,
and no longer ago: that is the time for which a shot may be under way, and which a successor lets pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ostkeeper.api.common import Resource, seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.claims import pair_key
from ostkeeper.core.power import Feed
from ostkeeper.sim.store import Store

READ_AGE = 2.1
"""Seconds for which what was read may be acted upon: the deadline of a shot, with what clocks may drift by in it."""
UNHEARD = 3.2
"""Seconds of silence that may be nobody's fault: a gap in the watch that is no amnesty yet."""
LIVING = ("ReleaseOverdue", "Isolated", "Sick")
"""What a person has a living server shot for."""


class Truth(Protocol):
    """What is really so of one server."""

    boot: str
    boot_began: float
    spoken: set[str]
    """The boots in which its partner has had an answer of it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A server that really lost its power by an order of ours."""

    at: float
    failover: str
    unasked: bool


class Orders:
    """One run's. Told of each commit, of each packet that leaves, and of each server that loses its power by one."""

    def __init__(
        self, now: Callable[[], float], broken: Callable[[str, str], None], store: Store, hosts: Mapping[str, Truth]
    ) -> None:
        self._now, self._broken, self._store, self._hosts = now, broken, store, hosts
        self._grounds: dict[str, dict[Feed, Failover]] = {}
        """By pair: the feeds that may be off now, and by which Failover."""
        self._ended: dict[Feed, tuple[Failover, float]] = {}
        """Feeds that might be ordered off until then."""
        self._held: dict[str, float] = {}
        """Servers of which a target is in Hold, since when."""
        self._owner: dict[Feed, tuple[str, str]] = {}
        """Pair and server of each declared feed."""
        self._meant: dict[Feed, Failover] = {}
        """By whom each feed was last ordered off."""
        self._cut: dict[str, Cut] = {}
        self._timeouts: dict[str, float] = {}
        """The heartbeat's time-out in force when each Failover took the slot: what is edited later decides nothing anew."""
        self._sent: dict[str, tuple[float, str, bool]] = {}
        """By server: when the last order for it left, by whom, and whether it was an on."""

    # --- what is stored

    def committed(self, pair: str) -> None:
        """An object of a pair was committed, deleted, or etcd was restored: what justifies a shot may be another."""
        before = self._grounds.get(pair, {})
        found = self._store.find(OSSPair, pair)
        after = self._grounds[pair] = self._judge(found) if found is not None else {}
        for feed, failover in before.items():
            if feed not in after:
                self._ended[feed] = (failover, self._now())
        if found is not None:
            self._look(found)
        if found is not None and found.status is not None and found.status.active_failover:
            self._timeouts.setdefault(found.status.active_failover, seconds(found.spec.heartbeat.timeout))

    def restored(self) -> None:
        """etcd was restored."""
        for pair in list(self._grounds):
            self.committed(pair)

    def _judge(self, pair: OSSPair) -> dict[Feed, Failover]:
        """The feeds that may be ordered off: of the open Failover's present level, written down, under a durable Hold."""
        if pair.status is None or not pair.status.active_failover:
            return {}
        fo = self._store.find(Failover, f"{pair.metadata.namespace}/{pair.status.active_failover}")
        if fo is None or fo.status is None or fo.phase != "Fencing" or fo.spec.type not in ("Failover", "Drill"):
            return {}
        mine = [(a.intent, a.epoch) for a in pair.status.assignments if a.node == fo.spec.node]
        drill, hold = fo.spec.type == "Drill", ("Hold", fo.status.hold_epoch)
        if (drill and mine) or any(held != hold for held in mine):
            return {}
        if not drill and fo.status.hold_epoch <= fo.spec.epoch:
            return {}
        level = fo.spec.policy.levels[fo.status.level].feeds
        written = {Feed(shot.device_name, shot.outlet) for shot in fo.status.shots}
        return {feed: fo for feed in (Feed(f.device_name, f.outlet) for f in level) if feed in written}

    def _look(self, pair: OSSPair) -> None:
        held = [a.node for a in pair.status.assignments if a.intent == "Hold"] if pair.status else []
        for node in pair.spec.nodes:
            if node.name not in held:
                self._held.pop(node.name, None)
            else:
                self._held.setdefault(node.name, self._now())
            for feed in (feed for level in node.fencing for feed in level.feeds):
                self._owner[Feed(feed.device_name, feed.outlet or "")] = (pair.key, node.name)

    # --- what leaves

    def leaves(self, who: str, feed: Feed, on: bool) -> None:
        """A packet with an order leaves an operator."""
        pair, server = self._owner.get(feed, ("", ""))
        if not server:
            self._broken("an order for nobody's feed", f"{who}: {feed}")
        elif on:
            self._on(who, feed, pair, server)
        else:
            self._off(who, feed)
        self._sent[server] = (self._now(), who, on)

    def _off(self, who: str, feed: Feed) -> None:
        now, pair = self._now(), self._owner[feed][0]
        failover = self._grounds.get(pair, {}).get(feed)
        if failover is None:
            failover, ended = self._ended.get(feed, (None, -READ_AGE))
            if failover is None or now - ended > READ_AGE:
                self._broken(
                    "a shot without grounds", f"{who} cuts {feed}: no open Failover says so under a durable Hold"
                )
                return
        self._meant[feed] = failover
        self._in_time(who, feed, failover)
        if self._owner[feed][1] != failover.spec.node:
            self._broken("the wrong server is shot", f"{feed} is of {self._owner[feed][1]}: {failover.name}")
        read = now - self._store.whole_reads.get((who, pair), -math.inf)
        if read > READ_AGE:
            self._broken("a shot on an old read", f"{who} cuts {feed}: its last read of the pair is {read:.1f}s old")
        if failover.spec.type == "Failover":
            self._silent(feed, failover, read)
            self._partner_stands(feed, failover)
            self._few(feed, failover)
            self._spoke(feed, failover)

    def _in_time(self, who: str, feed: Feed, failover: Failover) -> None:
        """A deposed leader's shots are over before its successor does anything that they could undo."""
        lost = self._store.deposed.get(who)
        if self._store.leads(who) or lost is None:
            return
        late = self._now() - lost
        if late > READ_AGE:
            self._broken("a shot too late", f"{who} cuts {feed} {late:.1f}s after it lost the lease")
        for server, on in ((failover.spec.node, True), (failover.spec.partner, False)):
            at, other, was_on = self._sent.get(server, (-1.0, who, on))
            if at > lost and other != who and was_on is on:
                self._broken("a shot too late", f"{who} cuts {feed}, and {other} has switched {server} since")

    def _silent(self, feed: Feed, failover: Failover, read: float) -> None:
        """Who is shot as dead has not renewed its lease for the time-out in which it could have; or since the last read."""
        node, timeout = failover.spec.node, self._timeouts.get(failover.name)
        renewed = self._store.renewed.get(node)
        if timeout is None or renewed is None or failover.spec.evidence.verdict in LIVING:
            return
        silent = self._store.clock() - renewed
        if read < silent < 0.99 * timeout - UNHEARD:
            self._broken(
                "a living server is shot", f"{feed}: {node} renewed its lease {silent:.1f}s ago ({failover.name})"
            )

    def _partner_stands(self, feed: Feed, failover: Failover) -> None:
        """Who is to take over lives; if we cut it, it has booted since, and soaked. A Restart asks nothing of the partner."""
        name, pair = failover.spec.partner, self._store.find(OSSPair, pair_key(failover))
        partner, cut = self._hosts.get(name), self._cut.get(name)
        if pair is None or partner is None or (failover.status is not None and failover.status.answer == "Restart"):
            return
        silent = self._store.clock() - self._store.renewed.get(name, math.inf)
        if silent > 1.5 * seconds(pair.spec.heartbeat.interval) + READ_AGE + UNHEARD:
            self._broken("a shot that helps nobody", f"{feed}: {name} renewed its lease {silent:.1f}s ago")
        if cut is not None and partner.boot_began < cut.at:
            self._broken(
                "both servers of a pair are shot", f"{feed}: {name} was cut by {cut.failover} and has not booted since"
            )
        elif cut is not None:
            fenced = self._store.find(Failover, cut.failover)
            whole = fenced is not None and fenced.status is not None and fenced.status.certificate is not None
            soaked = self._now() - partner.boot_began
            if whole and soaked < 0.99 * seconds(pair.spec.failover.partner_soak) - READ_AGE:
                self._broken("a partner that has not soaked", f"{feed}: {name} booted {soaked:.1f}s ago")

    def _spoke(self, feed: Feed, failover: Failover) -> None:
        """Nobody is shot unasked on the silence of a witness that never spoke in that boot."""
        boot, host = failover.spec.evidence.boot_id, self._hosts.get(failover.spec.node)
        unasked = failover.status is not None and failover.status.answered_by == "policy"
        if host is not None and boot and unasked and boot not in host.spoken:
            self._broken("a shot on a witness that never spoke", f"{feed}: {failover.spec.node} in boot {boot}")

    def _few(self, feed: Feed, failover: Failover) -> None:
        """No more servers of a file system are out unasked than the larger of two and ten percent."""
        if failover.status is None or failover.status.answered_by != "policy":
            return
        mine = self._store.systems_of(pair_key(failover))
        out, members = [failover.spec.node], 0
        for pair in self._store.every(OSSPair):
            if not any(system in mine for system in self._store.systems_of(pair.key)):
                continue
            members += len(pair.servers)
            out += [
                server for server in pair.servers if server not in (*pair.spec.maintenance, *out) and self._out(server)
            ]
        if len(out) > max(2.0, members / 10):
            self._broken("too many servers are shot unasked", f"{feed}: {', '.join(out)} of {members}")

    def _out(self, server: str) -> bool:
        """Whether we cut it unasked, and it has not booted since; one whose Failover was aborted is on its way back."""
        cut = self._cut.get(server)
        if cut is None or not cut.unasked or self._hosts[server].boot_began > cut.at:
            return False
        failover = self._store.find(Failover, cut.failover)
        return failover is not None and failover.phase != "Aborted" and _unasked(failover)

    def _on(self, who: str, feed: Feed, pair: str, server: str) -> None:
        """Nobody is powered on who could be relocated at any moment, and nothing that we have not cut."""
        held = self._held.get(server)
        if held is not None and self._now() - held > READ_AGE:
            self._broken("power for a server in Hold", f"{who} switches {feed} on")
        written = (
            Feed(shot.device_name, shot.outlet)
            for failover in self._store.of_pair(Failover, pair)
            if failover.status is not None and failover.spec.node == server
            for shot in failover.status.shots
        )
        if feed not in self._meant and feed not in tuple(written):
            self._broken("power for what nobody cut", f"{who} switches {feed} on")

    # --- what follows

    def lost_power(self, feed: Feed, server: str) -> None:
        """An off has arrived, and a server has no power any more."""
        failover = self._meant.get(feed)
        if failover is not None:
            meant = failover.spec.node == server
            self._cut[server] = Cut(self._now(), failover.key, meant and _unasked(failover))


def _unasked(failover: Failover) -> bool:
    return failover.status is not None and failover.status.answered_by == "policy"


def concerns(obj: Resource | None) -> str:
    """The pair by whose orders an object may matter; empty: by none's."""
    return obj.key if isinstance(obj, OSSPair) else pair_key(obj) if isinstance(obj, Failover) else ""
