"""What comes next for one pair: the first thing that wants to be done, in this order.

Here: the order. Each step is a function of the view and `now`; it returns effects, or nothing and the next one is asked.
A plan that would do nothing is not made: a step that waits for a moment says so by `View.wake_by`, one that looks at what
is not the pair's own by `View.stay_awake` (the whole rule: `signs`). Not here: the steps themselves.
"""

from __future__ import annotations

import math

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import PairRef
from ostkeeper.api.osspair import Noted
from ostkeeper.api.phases import ORDERLY, TERMINAL
from ostkeeper.core import adoption, ailing, budget, drill, due, ending, failover, fencing, opening, orderly, retiring
from ostkeeper.core.able import released
from ostkeeper.core.armed import armed
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.events import CreateOSS, Effect, Prepare, ProveWatch
from ostkeeper.core.history import forget_old
from ostkeeper.core.mirror import mirror
from ostkeeper.core.power import Feed
from ostkeeper.core.verdict import verdict_of
from ostkeeper.core.view import Shown, Suspicion, View
from ostkeeper.core.writes import create_failover, read_all, write_failover, write_pair

PROVE_EVERY = 0.25
"""Seconds between two requests for the canary while a decision waits for it."""


def plan(view: View, now: float) -> list[Effect]:
    """All that is to be done now. Sets `view.wake`."""
    if not view.term or view.pair is None:
        return []
    effects = watch(view, now)
    if now < view.retry_at:
        view.wake_by(view.retry_at)
        return effects + (_while_refused(view, now) if view.refused else [])
    if view.stale and not view.busy:
        return effects + read_all(view)
    if view.pair.status is None:
        return effects + ([] if view.busy else write_pair(view, "first sight of this pair", epoch=1))
    effects += _decide(view, now)
    if view.refused and not view.busy:
        view.refused = ""  # nothing is left to be written that was refused
    return effects + mirror(view, now) + ([] if view.status and view.status.active_failover else forget_old(view, now))


def _while_refused(view: View, now: float) -> list[Effect]:
    """A decision that the API server refused is tried again later: until then the conditions say so, and go on being written."""
    if view.busy or view.unshown:
        return []
    if view.stale:
        return read_all(view)
    return mirror(view, now) if view.status is not None else []


def _decide(view: View, now: float) -> list[Effect]:
    assert view.pair is not None
    effects = _objects(view, now)
    if view.busy and view.active is None:
        return effects
    if adoption.regressed(view) or adoption.word_given(view):
        return effects + ([] if view.busy else adoption.adopt(view, now))
    if view.status and view.status.active_failover and not view.pair.spec.paused:
        return effects + _open_failover(view, now) + _tails(view, now)
    if not view.busy:
        effects += [] if view.pair.spec.paused else _idle(view, now)
    return effects + _tails(view, now)


def _open_failover(view: View, now: float) -> list[Effect]:
    """The slot is taken."""
    assert view.status is not None
    fo = view.active
    if fo is None:
        if view.busy:
            return []
        if view.slot_known != view.status.active_failover:
            return read_all(view)
        return create(view, now)
    c = failover.campaign_of(view, fo, now)
    if fo.phase == "":
        return [] if view.busy else first_phase(view, fo, now)
    if fo.phase in (*TERMINAL, "Recovering"):
        if fo.phase == "Aborted" and fo.spec.type == "Failover":
            view.reopen_at[fo.spec.node] = now + view.timeout()
        wiring = drill.result(view, fo) if fo.spec.type == "Drill" else None
        return [] if view.busy else failover.free_slot(view, fo, wiring)
    if fo.spec.type == "Drill":
        return drill.advance(view, fo, c, now)
    if fo.phase == "AwaitingApproval":
        return [] if view.busy else _question(view, fo, c, now)
    if fo.spec.type in ORDERLY:
        return orderly.moving(view, fo, c, now)
    return failover.HANDLERS[fo.phase](view, fo, c, now)


def _question(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """A question waits for a person: it yields to what is more urgent, and holds up nothing that needs no slot."""
    ask = orderly.awaiting if fo.spec.type in ORDERLY else failover.HANDLERS[fo.phase]
    effects = due.give_way(view, fo, now) or ask(view, fo, c, now)
    for step in (_forget, retiring.retire, adoption.adopt, drill.refused, orderly.intents):
        if effects or view.busy:
            break
        effects = step(view, now)
    if effects or view.busy or not all(view.fresh(n, now) for n in view.servers):
        return effects  # a nonce that a silent server does not answer would stay open for as long as the question
    return _nonce(view, now)


def create(view: View, now: float) -> list[Effect]:
    """The slot is taken and the object does not exist: create it if there still is a reason, else give the slot back."""
    assert view.status is not None
    draft = next((d.draft() for d in due.due(view, now)), None)
    if draft is None and not all(view.watched(n) for n in view.servers if view.held_by(n)):
        return []  # a leader that is new to it: the reason may still be there
    if draft is None and any(orderly.unread(view, n, now) for n in view.servers):
        view.wake_by(now + 1.0)
        return []
    if draft is None:
        epoch = view.status.epoch + 1
        return write_pair(view, "the slot's reason is gone", epoch=epoch, active_failover="")
    return create_failover(view, draft, f"{draft.spec.type} of {draft.spec.node}: {draft.spec.evidence.sentence}")


def first_phase(view: View, fo: Failover, now: float) -> list[Effect]:
    """The first phase of an object that was just created."""
    if fo.spec.type == "Drill":
        return drill.first_phase(view, fo)
    if fo.spec.type in ORDERLY:
        return orderly.first_phase(view, fo, now)
    return opening.first_phase(view, fo, now)


def _idle(view: View, now: float) -> list[Effect]:
    """Nothing is open: what has failed comes first, what a person asks for next, then what is merely not at home."""
    effects = due.take(view, now, due.Rank.UNCLEAR)
    for step in (
        _forget, retiring.retire, adoption.adopt, drill.refused, orderly.intents, due.take, _rejoin, _nonce,
    ):  # fmt: skip
        if effects or view.busy:
            break
        effects = step(view, now)
    return effects


def _nonce(view: View, now: float) -> list[Effect]:
    """Ask each new term's nonce ahead of need, so that a failover does not wait for it; close it once it is answered."""
    assert view.status is not None
    nonce = view.status.nonce
    mine = nonce is not None and nonce.value.startswith(f"{view.term}-")
    if not mine:
        return fencing.ask_term(view, now) if view.status.assignments else []
    if nonce is None or not nonce.open or not all(view.fresh(n, now) for n in view.servers):
        return []
    if not all(
        adoption.answers(view, n, nonce.value) for n in view.servers
    ):  # an answer to an earlier one adopts nothing
        return []
    return write_pair(view, f"nonce {nonce.value} is answered", nonce=failover.closed_nonce(view))


def _objects(view: View, now: float) -> list[Effect]:
    """The servers' OSS objects, and the machines pinned under their names."""
    assert view.pair is not None
    effects: list[Effect] = []
    for node in view.servers:
        key = f"create OSS {node}"
        if node in view.osses or key in view.mirrors:
            continue
        if now < view.mirror_retry.get(key, 0.0):
            view.wake_by(view.mirror_retry[key])
            continue
        ref = PairRef(namespace=view.pair.metadata.namespace, name=view.pair.name)
        view.mirrors[key] = Shown(view.next_op(), ref)
        effects.append(CreateOSS(view.mirrors[key].op, node, ref))
    fo = view.active
    if view.busy or (view.status and view.status.active_failover and (fo is None or fo.phase != "AwaitingApproval")):
        return effects
    pinned = adoption.boards(view)
    return effects + (write_pair(view, "pin the servers' boards", boards=pinned) if pinned is not None else [])


def _forget(view: View, now: float) -> list[Effect]:
    """What was noted about a server that is well again, and fencings that lie behind a soak."""
    status = view.status
    assert status is not None
    if not status.noted and not status.fenced:
        return []
    healthy = {
        n
        for n in view.servers
        if verdict_of(view, n, now).name == "Healthy" and not opening.release_overdue(view, n, now)
    }
    leaving = orderly.leaving(view, now)
    noted = tuple(n for n in status.noted if _still_noted(view, n, leaving, healthy, now))
    fenced = tuple(
        f for f in status.fenced if f.node not in healthy or view.boot(f.node) == f.boot_id or _soaks(view, f.node, now)
    )
    if noted == status.noted and fenced == status.fenced:
        return []
    return write_pair(view, "well again", noted=noted, fenced=fenced)


def _still_noted(view: View, note: Noted, leaving: set[str], healthy: set[str], now: float) -> bool:
    """Whether what was asked or told is not asked again yet. A person may ask for it: `spec.askAgain`."""
    assert view.pair is not None
    if note.type == orderly.SICK:
        return bool(orderly.emptied(view, now))
    if note.failover == view.pair.spec.ask_again:
        return False
    if note.type in ORDERLY:
        return orderly.still_noted(view, note, now)
    return note.node not in healthy or (note.node in leaving and opening.about_release(view, note))


def _soaks(view: View, node: str, now: float) -> bool:
    """Whether a server has not been well for partnerSoak yet."""
    assert view.pair is not None
    soaked = view.well_since.get(node, now) + seconds(view.pair.spec.failover.partner_soak)
    if now < soaked:
        view.wake_by(soaked)
    return now < soaked


def _rejoin(view: View, now: float) -> list[Effect]:
    """Power a fenced server on as a standby, where the policy says so, once its relocation is complete."""
    assert view.pair is not None
    assert view.status is not None
    if view.pair.spec.rejoin != "PowerOn":
        return []
    for entry in view.status.fenced:
        fo = view.failovers.get(entry.failover)
        if fo is None or fo.status is None or fo.phase != "Complete" or not fo.status.shots:
            continue
        if view.rejoin is None or view.rejoin.name != fo.name:
            view.rejoin = Campaign(fo.name, now)
        if any(a.intent == "Hold" for a in view.held_by(entry.node)):
            continue  # its partner cannot read a disk of it yet: the relocation is not complete
        effects: list[Effect] = []
        if not ending.power_on(view, fo, view.rejoin, now, effects):
            return effects
        view.note_powered_on(entry.node, now)
        return write_failover(view, fo, f"{entry.node} was powered on as a standby", phase="Complete", shots=())
    return []


def _tails(view: View, now: float) -> list[Effect]:
    """Failovers that gave their slot back still report how the mounts go."""
    for name, fo in sorted(view.failovers.items()):
        if view.busy or (view.status and view.status.active_failover == name):
            continue
        effects = failover.tail(view, fo, now)
        if effects:
            return effects
    return []


def watch(view: View, now: float) -> list[Effect]:
    """Keep the clocks: since when a server is well or suspect, what is being released; ask for proof when it is due."""
    assert view.pair is not None
    effects: list[Effect] = []
    if view.pair.status is None:
        return effects
    fo = view.active
    boots = fo.spec.node if fo is not None and fo.phase == "PoweringOn" else ""
    for a in view.pair.status.assignments:
        if a.intent == "Release" and released(view, a) is None and a.node != boots:
            view.moving.setdefault(a.target, now)
        else:
            view.moving.pop(a.target, None)
    ailing.watch(view, now)
    orderly.watch(view, now)
    _remember_trust(view, now)
    budget.recount(view)
    for node in view.servers:
        effects += _watch_server(view, node, now)
    return effects


def _watch_server(view: View, node: str, now: float) -> list[Effect]:
    verdict = verdict_of(view, node, now)
    if verdict.name == "Healthy" and view.well_boot.get(node) == view.boot(node):
        view.well_since.setdefault(node, now)
    else:
        view.well_since.pop(node, None)
        view.well_boot[node] = view.boot(node)
        if verdict.name == "Healthy":
            view.well_since[node] = now
    if view.fresh(node, now):
        view.suspicions.pop(node, None)
        return []
    effects: list[Effect] = []
    suspicion = view.suspicions.get(node)
    if suspicion is None:
        effects.append(Prepare(_all_feeds(view, node)))
        reasons = _trusted_last(view, node)
        view.suspicions[node] = Suspicion(now, not reasons, reasons)
    elif not suspicion.armed and not (view.status and view.status.active_failover):
        reasons = view.trust[-1][1]
        view.suspicions[node] = Suspicion(suspicion.since, not reasons, reasons)
    if view.heartbeats.stale_for(node) < view.timeout():
        effects += _prove(view, node, now)
    return effects


def _prove(view: View, node: str, now: float) -> list[Effect]:
    """Ask for proof of the watch where a decision about a late server waits for it: at the time-out, and before that for as
    long as its partner was not heard to outlive it, since a renewal is dated by the proof that was seen before it."""
    silent_at = view.heartbeats.seen_at(node) + view.timeout()
    if now < silent_at:
        view.wake_by(silent_at + 0.001)
        pulse, partner = view.heartbeats.pulses.get(node), view.pair.partner_of(node) if view.pair else ""
        if pulse is None or not pulse.moved or view.outlived(node, partner):
            return []  # nobody whom this leader saw alive is missed, or all is heard
    view.proving = True
    return prove_again(view, now)


def prove_again(view: View, now: float) -> list[Effect]:
    """Ask for the canary if the last plan waits for it and it is time. All that decides whether it waits is a sign (`signs`)."""
    if not view.proving or now < view.prove_at:
        return []
    view.prove_at = now + PROVE_EVERY
    return [ProveWatch()]


def _remember_trust(view: View, now: float) -> None:
    """Whether Automatic could be trusted, as it changes.

    What dies takes witnesses along before its heartbeat is missed: its BMC reads OFF, or falls silent with its feeds.
    """
    reasons = "; ".join(armed(view))
    if not view.trust or view.trust[-1][1] != reasons:
        view.trust = (*view.trust[-15:], (now, reasons))


def _trusted_last(view: View, node: str) -> str:
    """Why the pair was not armed at any time since the suspect's last renewal was seen; empty: it was."""
    pulse = view.heartbeats.pulses.get(node)
    seen = pulse.changed_at if pulse else -math.inf
    before = [reasons for since, reasons in view.trust if since <= seen]
    later = [reasons for since, reasons in view.trust if since > seen]
    return min([*before[-1:], *later], key=bool)


def _all_feeds(view: View, node: str) -> tuple[Feed, ...]:
    assert view.pair is not None
    return tuple(Feed(f.device_name, f.outlet or "") for level in view.pair.fencing_of(node) for f in level.feeds)
