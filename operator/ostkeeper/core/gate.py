"""The planner's way out: every effect is held against the invariants before it leaves.

Here: how an effect of the pair machine becomes facts, from what the machine knows. Not here: the rules (`invariants`), and
any decision. It runs for effects only: a step that does nothing costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Certificate, Failover
from ostkeeper.core import invariants
from ostkeeper.core.able import partner_fenced
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.events import CreateFailover, CutPower, Effect, PowerOn, WriteFailover, WritePair
from ostkeeper.core.facts import CertificateWrite, Creation, FailoverWrite, OffOrder, OnOrder, PairWrite
from ostkeeper.core.failoverrules import SHOT_LIMIT
from ostkeeper.core.view import View


def leave(view: View, effects: Iterable[Effect], now: float) -> None:
    """Let the effects of one step go. Raises InvariantBroken: then none of them may be carried out."""
    for effect in effects:
        match effect:
            case WritePair():
                _pair(view, effect)
            case WriteFailover():
                _failover(view, effect, now)
            case CreateFailover():
                invariants.check(Creation(view.status, effect.failover))
            case CutPower():
                _off(view, effect, now)
            case PowerOn():
                _on(view, effect, now)
            case _:
                pass


def _pair(view: View, effect: WritePair) -> None:
    assert view.pair is not None
    invariants.check(PairWrite.of(view.pair.name, view.pair.status, effect.status, view.failovers.get))


def _failover(view: View, effect: WriteFailover, now: float) -> None:
    failover = view.failovers[effect.key.rpartition("/")[2]]
    invariants.check(FailoverWrite(failover, effect.status, view.status))
    certificate = effect.status.certificate
    if certificate is not None and (failover.status is None or failover.status.certificate is None):
        _certificate(view, failover, certificate, effect.status.phase == "Relocating", now)


def _certificate(view: View, failover: Failover, certificate: Certificate, moves: bool, now: float) -> None:
    c, settle = view.campaign, seconds(failover.spec.policy.confirm.settle)
    began = math.inf if c is None else c.last_ack if certificate.confirmed_by is None else c.asked_at
    rounds = c.rounds.count if c is not None and c.rounds is not None else 0
    assert view.status is not None
    oss = view.osses.get(failover.spec.partner)
    answer = oss.status.nonce if oss is not None and oss.status is not None else None
    disks = answer.disks if answer is not None and answer.value == certificate.nonce else ()
    read = frozenset(d.target for d in disks if d.state not in ("Unreadable", "Unknown"))
    invariants.check(CertificateWrite(failover, certificate, view.status, now, began + settle, rounds, moves, read))


def _off(view: View, effect: CutPower, now: float) -> None:
    failover, c = view.active, view.campaign
    assert view.status is not None
    alone = failover is not None and failover.spec.type != "Drill" and failover.status is not None
    helps = alone and failover is not None and failover.status is not None and failover.status.answer != "Restart"
    fenced = helps and failover is not None and partner_fenced(view, failover.spec.partner)
    read_began = c.read_began if c is not None else -1.0
    order = OffOrder(view.status, failover, effect.feed, now, effect.deadline, read_began, fenced, effect.identity)
    invariants.check(order)


def _on(view: View, effect: PowerOn, now: float) -> None:
    c = next((c for c in (view.campaign, view.rejoin) if c is not None and effect.op in c.on_ops), None)
    assert view.status is not None
    over = max(view.led_at + SHOT_LIMIT, _last_shot(c))
    failover = view.failovers.get(c.name) if c is not None else None
    invariants.check(OnOrder(view.status, failover, effect.feed, now, over))


def _last_shot(c: Campaign | None) -> float:
    """When the last off that this leader let go could have left."""
    return c.read_began + SHOT_LIMIT if c is not None and c.shots else -math.inf
