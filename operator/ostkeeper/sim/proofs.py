"""What a decision rests on, against what was really read, answered and renewed: certificates, and decisions unasked.

Here: readings of feeds as the devices answered them, nonces as agents' reports answered them, leases as they were renewed;
and what the checker makes of it when a certificate, or a decision that nobody was asked about, is committed. Not here: orders
to devices (`orders`), acts of agents (`permits`), whether the certified server really has no power (`checker`), the operator's
own rules (`core.invariants`): those judge what a machine believes, these what is so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ostkeeper.api.common import REPORT_MAX_PENDING, seconds
from ostkeeper.api.failover import Certificate, Failover
from ostkeeper.api.oss import OSSStatus
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.claims import pair_key
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.sim.store import Store

STALE_LAG = 5.0
"""Seconds from a report's being overdue to its lease's being seen by whoever decides, and to the write of what was decided."""
LAG = 5.3
"""Seconds by which a leader that decides may be behind what is so: a gap in its watch that is no amnesty yet, and its write."""


class Proofs:
    """One run's. Told of each exchange with a device, each report, and each step of a Failover."""

    def __init__(self, now: Callable[[], float], broken: Callable[[str, str], None], store: Store) -> None:
        self._now, self._broken, self._store = now, broken, store
        self._over: dict[tuple[str, Feed], float] = {}
        """By operator: when its last off of a feed had ended, acknowledged or not."""
        self._off: dict[tuple[str, Feed], dict[float, None]] = {}
        """By operator: when the readings began by which a feed was OFF since then."""
        self._readable: dict[tuple[str, str], set[str]] = {}
        """By server and nonce: the disks that its last answer has read."""
        self._answered: dict[tuple[str, str], float] = {}
        """By server and nonce: when the first report with its answer was stored."""

    # --- what is said

    def ordered(self, who: str, feed: Feed, on: bool) -> None:
        """An order has ended, for the operator that sent it."""
        if not on:
            self._over[who, feed] = self._now()
            self._off[who, feed] = {}

    def read(self, who: str, feed: Feed, began: float, state: PowerState) -> None:
        """A device has answered a reading."""
        if state is PowerState.OFF:
            self._off.setdefault((who, feed), {})[began] = None
        else:
            self._off.pop((who, feed), None)

    def reported(self, server: str, status: OSSStatus) -> None:
        """An agent's report was stored."""
        if status.nonce is not None:
            self._answered.setdefault((server, status.nonce.value), self._now())
            read = {disk.target for disk in status.nonce.disks if disk.state not in ("Unreadable", "Unknown")}
            self._readable[server, status.nonce.value] = read

    # --- what is decided upon it

    def certified(self, failover: Failover, certificate: Certificate, who: str) -> None:
        """A certificate was stored: its rounds and its nonce are of the time after the last off, and all disks were read."""
        nonce, off, moves = certificate.nonce, -math.inf, failover.phase == "Relocating"
        if certificate.confirmed_by is None:
            off = self._rounds(failover, certificate, who)
        since, settle = self._now() - off, seconds(failover.spec.policy.confirm.settle)
        if moves and since < 0.99 * settle:
            self._broken(
                "a certificate before settle", f"{failover.name}: {since:.1f}s after the last off, of {settle:g}s"
            )
        pair, read = self._store.find(OSSPair, pair_key(failover)), [proof.target for proof in certificate.disks]
        held = [a.target for a in pair.status.assignments if a.node == certificate.node] if pair and pair.status else []
        readable = self._readable.get((failover.spec.partner, nonce), set())
        unread = [target for target in read if target not in readable]
        left = [target for target in held if target in readable and target not in read]
        if moves and (unread or not read):
            self._broken("a certificate over disks that nobody read", f"{failover.name}: {', '.join(unread or held)}")
        if moves and left:
            self._broken("a readable disk was left out", f"{failover.name}: {', '.join(left)}")
        answered = self._answered.get((failover.spec.partner, nonce), -1.0)
        if nonce and answered < off:
            said = f"at {answered:.3f}s" if answered >= 0 else "never"
            self._broken(
                "a certificate on another answer", f"{failover.name}: {failover.spec.partner} answered {nonce} {said}"
            )

    def _rounds(self, failover: Failover, certificate: Certificate, who: str) -> float:
        """Whether each feed was OFF often enough. When the last off had ended."""
        feeds = [Feed(proof.device_name, proof.outlet) for proof in certificate.feeds]
        off = max((self._over.get((who, feed), 0.0) for feed in feeds), default=0.0)
        needed = failover.spec.policy.confirm.rounds
        for feed in feeds:
            found = sum(1 for began in self._off.get((who, feed), {}) if began >= off)
            if found < needed:
                self._broken(
                    "a certificate without proof",
                    f"{failover.name}: {feed} was OFF in {found} readings after the last off, of {needed} that it takes",
                )
        return off

    def decided(self, failover: Failover) -> None:
        """It goes on unasked: that is wrong while more servers are late at once than the fuse lets pass."""
        mine = self._store.find(OSSPair, pair_key(failover))
        if mine is None:
            return
        beat = self._store.beat_of(failover.spec.partner)
        if beat is not None and beat.pending is not None and beat.pending > REPORT_MAX_PENDING + STALE_LAG:
            self._broken(
                "decided unasked on a stale report",
                f"{failover.name}: a report of {failover.spec.partner} has been pending for {beat.pending:.1f}s",
            )
        systems, late, members = self._store.systems_of(mine.key), [], 0
        for pair in self._store.every(OSSPair):
            if any(system in systems for system in self._store.systems_of(pair.key)):
                members += len(pair.servers)
                late += [server for server in pair.servers if self._late(pair, server)]
        if len(late) > max(2.0, members / 10):
            self._broken(
                "decided unasked while many are late", f"{failover.name}: {', '.join(late)} of {members} servers"
            )

    def _late(self, pair: OSSPair, server: str) -> bool:
        fenced = [entry.node for entry in pair.status.fenced] if pair.status else []
        renewed = self._store.renewed.get(server)
        if renewed is None or server in (*pair.spec.maintenance, *fenced):
            return False
        return self._store.clock() - renewed > 1.5 * seconds(pair.spec.heartbeat.interval) + LAG
