"""Each act of an agent on a disk, against what the API server held: was it permitted, and did the agent read so just now?

Here: mounts, unmounts and clearing of MMP as they begin, and stops of whole machines. Not here: who writes to a disk at the
same time (`checker`), how an act goes (`acts`), the agent's own rules (`core.invariants`): those judge what it believes, these what
is so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ostkeeper.api.failover import Certificate, Failover
from ostkeeper.api.osspair import Assignment, OSSPair
from ostkeeper.sim.store import Store

READ_AGE = 2.1
"""Seconds for which an agent may act upon a read of its pair, with what clocks may drift by in it."""

STEPS = 1.0
"""Seconds that the steps of a mount before the clearing may take on top."""


class Permits:
    """One run's. Told of each commit of a pair, each read of one by an agent, and each act."""

    def __init__(self, now: Callable[[], float], broken: Callable[[str, str], None], store: Store) -> None:
        self._now, self._broken, self._store = now, broken, store
        self._grants: dict[str, Assignment] = {}
        """By target, as they are stored."""
        self._until: dict[tuple[str, str, str], float] = {}
        """By target, server and intent: when a permission that is stored no more was last stored."""
        self._read: dict[str, float] = {}
        """By server: when its agent's last whole read of the pair began."""
        self._lost_at = -math.inf
        """When certificates that agents may have read were last lost: etcd was restored, or a Failover deleted."""
        self._mounted: dict[tuple[str, str], float] = {}
        """By server and target: when it began to mount it."""

    # --- what is stored

    def committed(self, pair: OSSPair | None, before: OSSPair | None) -> None:
        """A pair was committed, or deleted."""
        old = before.status.assignments if before is not None and before.status else ()
        for grant in old:
            self._until[grant.target, grant.node, grant.intent] = self._now()
            self._grants.pop(grant.target, None)
        for grant in pair.status.assignments if pair is not None and pair.status else ():
            self._grants[grant.target] = grant

    def restored(self) -> None:
        """etcd was restored."""
        self._lost_at = self._now()
        for grant in self._grants.values():
            self._until[grant.target, grant.node, grant.intent] = self._now()
        self._grants.clear()
        for pair in self._store.every(OSSPair):
            self.committed(pair, None)

    def deleted(self, failover: Failover) -> None:
        """A Failover was deleted, and its certificate with it."""
        if failover.status is not None and failover.status.certificate is not None:
            self._lost_at = self._now()

    def _last(self, target: str, server: str, intent: str) -> float:
        """When a permission was last stored; before all time: never."""
        grant = self._grants.get(target)
        if grant is not None and (grant.node, grant.intent) == (server, intent):
            return self._now()
        return self._until.get((target, server, intent), -math.inf)

    # --- what an agent does

    def read(self, server: str, began: float) -> None:
        """An agent has read its pair, whole."""
        self._read[server] = began

    def mounts(self, server: str, target: str) -> None:
        """An agent begins to mount a target: it has just read that it may."""
        now = self._now()
        self._mounted[server, target] = now
        read = now - self._read.get(server, -math.inf)
        if read > READ_AGE:
            self._broken(
                "a mount on an old read", f"{target}: by {server}, whose last read of the pair is {read:.1f}s old"
            )
        if now - self._last(target, server, "Serve") > READ_AGE:
            self._broken("a mount without a grant", f"{target}: by {server}")

    def unmounts(self, server: str, target: str) -> None:
        """An agent begins to unmount a target: it was told to, since it has mounted it."""
        if self._last(target, server, "Release") < self._mounted.get((server, target), -1.0):
            self._broken("an unmount that nobody asked for", f"{target}: by {server}")

    def clears(self, server: str, target: str) -> None:
        """An agent clears MMP: a whole certificate of its partner allows it, of feeds and of this disk."""
        if self._now() - self._lost_at <= READ_AGE + STEPS:
            return
        grant = self._grants.get(target)
        warrant = grant.warrant.certificate if grant is not None and grant.node == server else None
        found = [fo for fo in self._store.every(Failover) if warrant is None or fo.name == warrant.failover]
        if not any(
            _allows(certificate, server, target)
            for fo in found
            if fo.status is not None and (certificate := fo.status.certificate) is not None and fo.spec.policy.clear_mmp
        ):
            self._broken("MMP cleared uncertified", f"{target}: by {server}")

    def stops(self, server: str, boot: str, mounted: tuple[str, ...]) -> None:
        """An agent stops its machine: a certificate names this very boot, or another may write to what it has mounted."""
        for failover in self._store.every(Failover):
            dead = failover.status.certificate if failover.status else None
            if dead is not None and (dead.node, dead.boot_id) == (server, boot):
                return
        for target in mounted:
            grant = self._grants.get(target)
            if grant is not None and grant.node != server and grant.intent == "Serve":
                return
        self._broken("a machine is stopped for nothing", f"{server} in {boot}, with {', '.join(mounted) or 'nothing'}")


def _allows(certificate: Certificate, server: str, target: str) -> bool:
    whole = certificate.clear_mmp and bool(certificate.feeds) and certificate.confirmed_by is None
    still = any(
        proof.target == target and proof.state == "Still" and proof.mark == proof.reported != ""
        for proof in certificate.disks
    )
    return whole and still and certificate.node != server
