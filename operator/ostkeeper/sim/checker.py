"""Ground truth against what must never be: the checker sees the disks, the power and every commit, and no machine sees it.

Here: what is watched while a run goes on, in words and code. Not here: the rules that machines check themselves
(`core.invariants`; the store checks them again at each commit), orders to fence devices (`orders`), what decisions rest on
(`proofs`), whether agents may do what they do (`permits`), whether all are served in the end (`run`).

A server could write to a disk from the moment at which it begins to mount it until it has let go, or its boot is over. Cut
off, hung, stalled: it could still. `Host` says so of itself; the checker compares them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Protocol

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Certificate, Failover
from ostkeeper.api.oss import OSS, OSSStatus
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.claims import pair_key
from ostkeeper.core.diskview import Mark, MmpState
from ostkeeper.core.hostgate import BROKEN
from ostkeeper.core.invariants import InvariantBroken
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.sim.coverage import edge_name
from ostkeeper.sim.orders import Orders, concerns
from ostkeeper.sim.permits import Permits
from ostkeeper.sim.proofs import Proofs

ACTING = ("Holding", "Relocating")
"""Phases of a failover that neither ask a person nor wait for a server's boot."""
PHASE_LIMIT = 90.0
"""Seconds."""


class Truth(Protocol):
    """What is really so of one server."""

    name: str
    boot: str
    """The boot that runs, or is frozen; empty: it has no power, or no system was started since."""
    targets: tuple[str, ...]
    """Those whose disks it sees."""
    boot_began: float
    """When that boot began, true seconds."""

    def could_write(self, target: str) -> bool:
        """It has begun to mount the target, or has it mounted, in the boot that runs."""
        ...

    def mark(self, target: str) -> Mark:
        """What its kernel writes into the target's MMP block."""
        ...

    def by_hand(self, target: str) -> bool:
        """What it has mounted there somebody mounted, past its agent."""
        ...


class Checker:
    """One run's. `broken` may be called by anything in the world that sees what must not be."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.hosts: Mapping[str, Truth] = {}
        self.violations: list[str] = []
        self.transitions: dict[str, int] = {}
        self.orders: Orders | None = None
        self.proofs: Proofs | None = None
        self.permits: Permits | None = None
        """What it sees of orders to fence devices, of what decisions rest on, of what agents do; None: nobody decides here."""
        self._held: dict[tuple[str, int], float] = {}
        """When each epoch of each pair became durable."""
        self._entered: dict[str, tuple[str, str, float]] = {}
        """By Failover: its type, its phase, and since when it is in that phase."""
        self._foreign: dict[str, set[str]] = defaultdict(set)
        """By server: what somebody has mounted there by hand, as its last report says."""

    def broken(self, rule: str, detail: str = "") -> None:
        """Something that must never be was seen."""
        self.violations.append(f"{self.now():.3f}s: {rule}{': ' + detail if detail else ''}")

    def stopped(self, who: str, error: Exception) -> None:
        """A machine was about to break a rule, or broke, and stopped itself: a bug all the same."""
        rule = "an invariant stopped a machine" if isinstance(error, InvariantBroken) else "a machine broke"
        self.broken(rule, f"{who}: {type(error).__name__}: {error}")

    def forbidden(self, error: InvariantBroken, who: str) -> None:
        """As `stopped`."""
        self.stopped(who, error)

    def look_for_waits(self) -> None:
        """A failover that has neither acted nor asked for so long waits without a limit. Longer than any seeded night."""
        for key, (type_, phase, since) in self._entered.items():
            if type_ == "Failover" and phase in ACTING and self.now() - since > PHASE_LIMIT:
                self.broken("a phase without a limit", f"{key} in {phase} for {self.now() - since:.0f}s")

    # --- power

    def leaves(self, who: str, feed: Feed, on: bool) -> None:
        """A packet with an order leaves an operator."""
        if self.orders is not None:
            self.orders.leaves(who, feed, on)

    def lost_power(self, feed: Feed, server: str) -> None:
        """An off has arrived, and a server has no power any more."""
        if self.orders is not None:
            self.orders.lost_power(feed, server)

    def misled(self, feed: Feed, server: str) -> None:
        """A server has no power any more by an off to a device that is not the declared one."""
        self.broken("a server that no decision named is shot", f"{server}: {feed} leads to another device")

    def ordered(self, who: str, feed: Feed, on: bool) -> None:
        """An order has ended, for the operator that sent it."""
        if self.proofs is not None:
            self.proofs.ordered(who, feed, on)

    def read(self, who: str, feed: Feed, began: float, state: PowerState) -> None:
        """A device answers a reading that began then."""
        if self.proofs is not None:
            self.proofs.read(who, feed, began, state)

    # --- disks

    def begins_to_write(self, host: str, target: str) -> None:
        """From now on a server could write to a disk: it begins to mount it. Called once what it says of itself is so."""
        for other in self.hosts.values():
            if other.name != host and other.could_write(target):
                self.broken(
                    "mounted twice", f"{target}: {host} begins to mount it, and {other.name} could still write to it"
                )

    def clears(self, host: str, target: str, state: MmpState, mark: Mark, *, stale: bool) -> None:
        """An agent writes CLEAN over a target's block, in which there was this; `stale`: its kernel has an old copy."""
        partners = [other for other in self.hosts.values() if other.name != host and target in other.targets]
        if mark not in [partner.mark(target) for partner in partners]:
            self.broken("MMP cleared over a third host's mark", f"{target}: by {host}, of {mark}")
        for other in self.hosts.values():
            if other.name != host and other.could_write(target):
                self.broken(
                    "MMP cleared under a writer", f"{target}: by {host}, and {other.name} could still write to it"
                )
        if state is MmpState.FSCK:
            self.broken("MMP cleared under e2fsck", f"{target}: by {host}")
        if stale:
            self.broken("MMP cleared over a stale page cache", f"{target}: by {host}")
        if self.permits is not None:
            self.permits.clears(host, target)

    def beside_a_third_host(self, host: str, target: str) -> None:
        """A server has mounted a target that a host outside of the site has mounted, too."""
        self.broken("mounted beside a third host", f"{target}: by {host}")

    def late_write(self, target: str, writer: str, mounted_on: str) -> None:
        """The array lands a write of a server on a disk that another has mounted since."""
        self.broken("a late write", f"{target}: of {writer}, and {mounted_on} has mounted it since")

    # --- the API

    def committed(self, before: Resource | None, after: Resource | None, who: str) -> None:
        """An object was committed; None before: created, None after: deleted."""
        if isinstance(after or before, OSSPair) and self.permits is not None:
            old, new = (found if isinstance(found, OSSPair) else None for found in (before, after))
            self.permits.committed(new, old)
        elif isinstance(before, Failover) and after is None and self.permits is not None:
            self.permits.deleted(before)
        if isinstance(after, OSSPair):
            self._pair(before if isinstance(before, OSSPair) else None, after)
        elif isinstance(after, Failover) and after.status is not None:
            self._failover(before if isinstance(before, Failover) else None, after, who)
        elif isinstance(after, OSS) and after.status is not None:
            self._report(after.name, after.status)
            if self.proofs is not None:
                self.proofs.reported(after.name, after.status)
        pair = concerns(after or before)
        if pair and self.orders is not None:
            self.orders.committed(pair)

    def durable(self, pair: str, epoch: int) -> None:
        """A pair begins at an epoch that was durable before second 0."""
        self._held[pair, epoch] = 0.0
        if self.orders is not None:
            self.orders.committed(pair)
        if self.permits is not None:
            self.permits.restored()

    def restored(self) -> None:
        """etcd was restored: what was durable is not any more."""
        self._held.clear()
        if self.orders is not None:
            self.orders.restored()
        if self.permits is not None:
            self.permits.restored()

    def _report(self, server: str, status: OSSStatus) -> None:
        """An agent refuses what would break an invariant, and says so of the target: a bug all the same."""
        self._foreign[server] = {told.target for told in status.targets if told.state == "ForeignMount"}
        for target in status.targets:
            if BROKEN in (target.reason, target.message.partition(":")[0]):
                self.broken("an invariant stopped an agent", f"{server}: {target.target}: {target.message}")

    def _pair(self, before: OSSPair | None, after: OSSPair) -> None:
        if after.status is None:
            return
        key = (after.key, after.status.epoch)
        if key not in self._held:
            self._held[key] = self.now()
        if before is None or before.status is after.status:
            return
        self._kept(before, after)
        for grant in after.status.assignments:
            old = before.status.assignment(grant.target) if before.status else None
            if grant.intent != "Serve" or (old is not None and old.node == grant.node and old.intent == "Serve"):
                continue
            stays = old is not None and old.node == grant.node
            for other in self.hosts.values():
                if other.name != grant.node and other.could_write(grant.target):
                    if other.by_hand(grant.target) and (stays or grant.target not in self._foreign[other.name]):
                        continue  # nothing is moved from where a mount by hand is told of, and no agent mounts beside it
                    self.broken(
                        "a grant too early",
                        f"{grant.target} to {grant.node} at epoch {grant.epoch}, and {other.name} could still write to it",
                    )

    def _kept(self, before: OSSPair, after: OSSPair) -> None:
        """No assignment is dropped while a server could write to its target, unless somebody mounted it by hand."""
        for grant in before.status.assignments if before.status else ():
            if after.status is not None and after.status.assignment(grant.target) is not None:
                continue
            for host in self.hosts.values():
                if host.could_write(grant.target) and not host.by_hand(grant.target):
                    self.broken(
                        "a mount forgotten", f"{grant.target} is dropped, and {host.name} could still write to it"
                    )

    def _failover(self, before: Failover | None, after: Failover, who: str) -> None:
        assert after.status is not None
        source = before.phase if before else ""
        if source != after.phase:
            self._entered[after.key] = (after.spec.type, after.phase, self.now())
            edge = edge_name(after.spec.type, source, after.phase)
            self.transitions[edge] = self.transitions.get(edge, 0) + 1
        policy, by = after.spec.policy, after.status.answered_by
        unasked = after.spec.type == "Failover" and by == "policy" and policy.mode != "Automatic"
        if after.phase == "Holding" and source != "Holding" and unasked and policy.automatic_after is None:
            self.broken("nobody was asked", f"{after.name}: mode is {policy.mode}")
        if self.proofs is not None and by == "policy" and after.phase == "Holding" and source != "Holding":
            self.proofs.decided(after)
        old = before.status.certificate if before and before.status else None
        if after.status.certificate is not None and old is None:
            self._certified(after, after.status.certificate)
            if self.proofs is not None:
                self.proofs.certified(after, after.status.certificate, who)

    def _certified(self, failover: Failover, certificate: Certificate) -> None:
        """After the Hold was durable, the boot that it names, and any other that ran then, had no power."""
        host = self.hosts.get(certificate.node)
        if host is None or not host.boot:
            return
        held = self._held.get((pair_key(failover), certificate.hold_epoch), 0.0)
        if host.boot == certificate.boot_id or host.boot_began < held:
            self.broken(
                "a false certificate",
                f"{failover.name}: {certificate.node} still runs {host.boot}, which began at {host.boot_began:.3f}s; "
                f"the Hold was durable at {held:.3f}s",
            )
