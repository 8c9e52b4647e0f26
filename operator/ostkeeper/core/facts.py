"""What the invariants are about: one value a fact, with all that it takes to judge it.

Here: plain values. Not here: the rules (`invariants`), how an effect becomes one of these (`gate`, `hostgate`).
Times are seconds on the observer's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ostkeeper.api.failover import Certificate, Failover, FailoverStatus
from ostkeeper.api.osspair import Assignment, OSSPairStatus
from ostkeeper.core import hostevents as ev
from ostkeeper.core.hoststate import Host, Target
from ostkeeper.core.power import Feed

Find = Callable[[str], Failover | None]
"""A Failover of the pair's namespace, by name."""
Change = tuple[Assignment | None, Assignment]
"""An assignment before (None: there was none) and after."""


@dataclass(frozen=True, slots=True)
class PairWrite:
    """OSSPair.status is replaced."""

    name: str
    """The pair's name."""
    before: OSSPairStatus | None
    after: OSSPairStatus
    changes: tuple[Change, ...]
    """The assignments that are not what they were."""
    find: Find

    @classmethod
    def of(cls, name: str, before: OSSPairStatus | None, after: OSSPairStatus, find: Find) -> PairWrite:
        """The write, with what it changes."""
        if before is not None and after.assignments is before.assignments:
            return cls(name, before, after, (), find)
        old = {a.target: a for a in before.assignments} if before else {}
        pairs = ((old.get(a.target), a) for a in after.assignments)
        return cls(name, before, after, tuple((o, n) for o, n in pairs if o is not n and o != n), find)

    @property
    def by_person(self) -> bool:
        """A person's `spec.adopt` is carried out: everything is assigned as it is found."""
        return self.before is not None and self.after.adopted != self.before.adopted

    @property
    def moves(self) -> tuple[tuple[Assignment, Assignment], ...]:
        """The assignments that change their server."""
        return tuple((o, n) for o, n in self.changes if o is not None and o.node != n.node)


@dataclass(frozen=True, slots=True)
class FailoverWrite:
    """Failover.status is replaced."""

    failover: Failover
    """As it was before."""
    after: FailoverStatus
    pair: OSSPairStatus | None
    """As the writer knows the pair; None: judged on the Failover alone."""


@dataclass(frozen=True, slots=True)
class CertificateWrite:
    """A leader writes a certificate, from what it saw itself."""

    failover: Failover
    certificate: Certificate
    pair: OSSPairStatus
    now: float
    settled_at: float
    rounds: int
    """How many rounds in a row this leader read OFF on every feed."""
    moves: bool
    """Targets move to the partner by it; a Restart's certificate moves nothing."""
    read: frozenset[str] = frozenset()
    """The targets whose disks the partner has read, as it answered the certificate's nonce."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A Failover is created."""

    pair: OSSPairStatus | None
    failover: Failover


@dataclass(frozen=True, slots=True)
class OffOrder:
    """One feed is ordered off."""

    pair: OSSPairStatus
    failover: Failover | None
    feed: Feed
    now: float
    deadline: float
    read_began: float
    """When the quorum read began that it rests on; negative: there was none."""
    partner_fenced: bool
    """The partner was fenced and has not been seen alive in a later boot."""
    identity: str = ""
    """The identity of the device to which alone it is sent."""


@dataclass(frozen=True, slots=True)
class OnOrder:
    """One feed is ordered on."""

    pair: OSSPairStatus
    failover: Failover | None
    feed: Feed
    now: float
    shots_over: float
    """When the last shot of this or of an earlier leader could have left."""


@dataclass(frozen=True, slots=True)
class MountOrder:
    """A server is about to mount a target."""

    host: Host
    target: Target
    order: ev.Mount
    now: float


@dataclass(frozen=True, slots=True)
class UnmountOrder:
    """A server is about to unmount a target."""

    host: Host
    target: Target
    order: ev.Unmount


@dataclass(frozen=True, slots=True)
class MemoryWrite:
    """A server's store is written."""

    host: Host
    order: ev.Remember


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """A server reports a target released, as the pair asks for it now."""

    host: Host
    target: Target
