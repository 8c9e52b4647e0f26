"""Invariants about the identity of fence devices. See `invariants`.

Each function says what breaks its rule; empty: it holds.
"""

from __future__ import annotations

from ostkeeper.api.failover import Failover
from ostkeeper.api.osspair import OSSPairStatus
from ostkeeper.core.facts import CertificateWrite, OffOrder
from ostkeeper.core.identity import GUID, matches, usable
from ostkeeper.core.power import Feed


def _another(failover: Failover, pair: OSSPairStatus, feed: Feed, identity: str) -> str:
    """Whether an identity is not the one that the feed must have: a BMC's is the pinned board's, a PDU's the snapshot's."""
    found = [f for level in failover.spec.policy.levels for f in level.feeds if (f.device_name, f.outlet) == feed.names]
    if not found:
        return f"{feed} is not part of {failover.name}"
    boards = [GUID + board.system_uuid for board in pair.boards if board.node == failover.spec.node]
    pinned = boards[0] if boards and not feed.outlet else found[0].identity
    if found[0].accepted and not usable(identity):
        return ""
    if not usable(pinned):
        return "" if found[0].accepted else f"{feed}: nothing identifies its device"
    return "" if matches(pinned, identity) else f"{feed}: {identity or 'no identity'}, {pinned} is pinned"


def off_to_another(o: OffOrder) -> str:
    """An off that would be sent to whatever device answers, or to another one."""
    return _another(o.failover, o.pair, o.feed, o.identity) if o.failover else ""


def proven_by_another(w: CertificateWrite) -> str:
    """A proof that another device gave, or one that did not say who it is."""
    proofs = ((Feed(p.device_name, p.outlet), p.identity) for p in w.certificate.feeds)
    return next((why for feed, said in proofs if (why := _another(w.failover, w.pair, feed, said))), "")
