"""Invariants of a Failover: its phases, its certificate, and the power that is cut or given by it. See `invariants`.

Each function says what breaks its rule; empty: it holds.
"""

from __future__ import annotations

from ostkeeper.api.failover import Certificate, Failover, FailoverStatus
from ostkeeper.api.phases import CERTIFIED, TERMINAL, may_follow
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.facts import CertificateWrite, Creation, FailoverWrite, OffOrder, OnOrder
from ostkeeper.core.power import Feed, PowerState

SHOT_LIMIT = 2.0
"""Seconds from the start of the quorum read within which a shot may leave (design: the shooter is fenced in time)."""


def _before(w: FailoverWrite) -> str:
    return w.failover.phase


def _certificate(w: FailoverWrite) -> Certificate | None:
    """The certificate that this write brings; one that was there already has been judged."""
    old = w.failover.status
    return None if old is not None and w.after.certificate == old.certificate else w.after.certificate


def phase_off_its_edges(w: FailoverWrite) -> str:
    """A step that the table of phases does not have."""
    legal = may_follow(_before(w), w.after.phase, w.failover.spec.type)
    return "" if legal else f"{_before(w) or '(none)'} > {w.after.phase} of a {w.failover.spec.type}"


def end_goes_on(w: FailoverWrite) -> str:
    """A phase after the last."""
    ended = _before(w) in TERMINAL and _before(w) != w.after.phase
    return f"{w.failover.name}: {_before(w)} > {w.after.phase}" if ended else ""


def certificate_edited(w: FailoverWrite) -> str:
    """Another certificate than the one that was written."""
    old = w.failover.status.certificate if w.failover.status else None
    return "" if old is None or old == w.after.certificate else f"{w.failover.name}: digest {old.digest}"


def uncertified(w: FailoverWrite) -> str:
    """A phase that only the dead reach."""
    needs = w.failover.spec.type == "Failover" and w.after.phase in CERTIFIED
    return f"{w.failover.name} in {w.after.phase}" if needs and w.after.certificate is None else ""


def fencing_without_hold(w: FailoverWrite) -> str:
    """Fencing is entered, and the Hold that it needs is not what the pair says."""
    if w.failover.spec.type != "Failover" or w.after.phase != "Fencing" or _before(w) == "Fencing":
        return ""
    if w.after.hold_epoch <= w.failover.spec.epoch:
        return f"{w.failover.name}: holdEpoch {w.after.hold_epoch}"
    return _not_held(w, w.after.hold_epoch)


def _not_held(w: FailoverWrite, epoch: int) -> str:
    """Targets of the server that the pair, as the writer knows it, does not have in Hold at this epoch."""
    mine = [a for a in w.pair.assignments if a.node == w.failover.spec.node] if w.pair else []
    return ", ".join(
        f"{a.target}: {a.intent} at epoch {a.epoch}" for a in mine if (a.intent, a.epoch) != ("Hold", epoch)
    )


def certificate_without_proof(w: FailoverWrite) -> str:
    """A feed of its level that was not read OFF in every round. UNKNOWN is never OFF."""
    certificate, policy = _certificate(w), w.failover.spec.policy
    if certificate is None or certificate.confirmed_by:
        return ""
    level = next((lv for lv in policy.levels if lv.name == certificate.level), None)
    if level is None:
        return f"{w.failover.name}: level {certificate.level or '(none)'} is none of its policy"
    proven = {
        Feed(p.device_name, p.outlet)
        for p in certificate.feeds
        if p.state == PowerState.OFF and p.reads >= policy.confirm.rounds
    }
    missing = [f for f in (Feed(f.device_name, f.outlet) for f in level.feeds) if f not in proven]
    return f"{w.failover.name}: {', '.join(map(str, missing))}" if missing else ""


def certificate_on_one_word(w: FailoverWrite) -> str:
    """A death that one device alone tells, of a level that no drill proved, without somebody who accepts it."""
    certificate, policy = _certificate(w), w.failover.spec.policy
    if certificate is None or certificate.confirmed_by or w.after.answer == "Restart":
        return ""
    level = next((lv for lv in policy.levels if lv.name == certificate.level), None)
    if level is None:
        return ""
    borne_out = {
        "Drilled": level.drilled,
        "SecondDevice": len({f.device_name for f in level.feeds}) > 1,
        "SoleWitnessAccepted": policy.sole_witness == "Accept",
    }
    return (
        ""
        if borne_out.get(certificate.proof)
        else f"{w.failover.name}: {certificate.proof or 'nothing'} beside {level.name}"
    )


def certificate_of_another(w: FailoverWrite) -> str:
    """Another server, boot or Hold than the Failover's, or contents that its digest does not cover."""
    certificate, spec = _certificate(w), w.failover.spec
    if certificate is None:
        return ""
    if certificate.digest != certificate_digest(certificate):
        return f"{w.failover.name}: digest {certificate.digest or '(none)'}"
    if (certificate.node, certificate.boot_id) != (spec.node, spec.evidence.boot_id):
        return f"{certificate.node} in boot {certificate.boot_id}, not {spec.node} in {spec.evidence.boot_id}"
    if certificate.hold_epoch != w.after.hold_epoch or certificate.hold_epoch <= spec.epoch:
        return f"{w.failover.name}: Hold at epoch {certificate.hold_epoch}, written was {w.after.hold_epoch}"
    return _not_held(w, certificate.hold_epoch)


def over_a_live_disk(w: FailoverWrite) -> str:
    """A disk of the dead server that moves, that nobody could read, or that e2fsck holds."""
    certificate = _certificate(w)
    disks = certificate.disks if certificate else ()
    return ", ".join(f"{d.target} {d.state}" for d in disks if d.state not in ("Still", "Clean"))


def word_not_given(w: FailoverWrite) -> str:
    """Confirmed by somebody who has not said so."""
    certificate, answer = _certificate(w), w.failover.spec.approval
    if certificate is None or certificate.confirmed_by is None:
        return ""
    given = answer is not None and (answer.answer, answer.by) == ("ConfirmDead", certificate.confirmed_by)
    return "" if given else f"{w.failover.name}: {certificate.confirmed_by}"


def held_undecided(w: FailoverWrite) -> str:
    """A Hold that neither the policy nor a person's answer to the current evidence has decided; in Observe: any."""
    policy, answer, before = w.failover.spec.policy, w.failover.spec.approval, w.failover.status
    if w.after.phase != "Holding" or _before(w) == "Holding":
        return ""
    if policy.mode == "Automatic" or (policy.mode == "Manual" and policy.automatic_after is not None):
        return ""
    shoots = answer is not None and answer.answer in ("Failover", "Restart")
    current = shoots and before is not None and answer is not None and answer.evidence == before.evidence
    return "" if current and policy.mode != "Observe" else f"{w.failover.name}: mode {policy.mode}"


def clears_unasked(w: FailoverWrite) -> str:
    """A certificate that allows to clear MMP, and should not."""
    certificate = _certificate(w)
    if certificate is None or not certificate.clear_mmp:
        return ""
    if certificate.confirmed_by is not None:
        return f"{w.failover.name}, confirmed by {certificate.confirmed_by}"
    return "" if w.failover.spec.policy.clear_mmp else f"{w.failover.name}: the policy is Wait"


# ---- a certificate, as its writer knows it


def rounds_missing(w: CertificateWrite) -> str:
    """Fewer whole rounds than the policy asks for, as this leader counted them."""
    needed = w.failover.spec.policy.confirm.rounds
    enough = w.certificate.confirmed_by is not None or w.rounds >= needed
    return "" if enough else f"{w.failover.name}: {w.rounds} of {needed}"


def before_settle(w: CertificateWrite) -> str:
    """Commands may still be queued in the array."""
    early = w.moves and w.now < w.settled_at
    return f"{w.failover.name}: {w.settled_at - w.now:.1f}s too early" if early else ""


def disk_left_out(w: CertificateWrite) -> str:
    """Nothing that would move, or a target that is left out although the partner has read its disk."""
    named = {d.target for d in w.certificate.disks}
    mine = [a.target for a in w.pair.assignments if a.node == w.certificate.node]
    if not w.moves:
        return ""
    if not named & set(mine):
        return ", ".join(mine) or w.failover.name
    return ", ".join(t for t in mine if t not in named and t in w.read)


def created_without_slot(c: Creation) -> str:
    """Another name than the pair has written down."""
    slot = c.pair.active_failover if c.pair else ""
    return "" if slot == c.failover.name else f"{c.failover.name}, the slot is {slot or 'free'}"


# ---- power


def _status(failover: Failover | None) -> FailoverStatus | None:
    return failover.status if failover else None


def shot_without_slot(o: OffOrder) -> str:
    """No open Failover in Fencing, or the slot is another's."""
    status = _status(o.failover)
    if o.failover is None or status is None or o.pair.active_failover != o.failover.name:
        return f"{o.feed}: the slot is {o.pair.active_failover or 'free'}"
    return "" if status.phase == "Fencing" else f"{o.feed}: {o.failover.name} is in {status.phase}"


def shot_on_old_read(o: OffOrder) -> str:
    """Before its quorum read, or a deadline that lies too far behind it."""
    right = 0 <= o.read_began <= o.now <= o.deadline <= o.read_began + SHOT_LIMIT
    return "" if right else f"{o.feed}: read at {o.read_began:.1f}, now {o.now:.1f}, until {o.deadline:.1f}"


def shot_before_hold(o: OffOrder) -> str:
    """A target of the server that is not in Hold at the epoch that was written; for a drill: any target."""
    if o.failover is None:
        return str(o.feed)
    mine = [a for a in o.pair.assignments if a.node == o.failover.spec.node]
    if o.failover.spec.type == "Drill":
        return ", ".join(a.target for a in mine)
    status = _status(o.failover)
    hold = status.hold_epoch if status else 0
    if hold <= o.failover.spec.epoch:
        return f"{o.feed}: holdEpoch {hold}"
    return ", ".join(f"{a.target}: {a.intent} at {a.epoch}" for a in mine if (a.intent, a.epoch) != ("Hold", hold))


def both_down(o: OffOrder) -> str:
    """The partner lies down itself. A Restart asks nothing of the partner, a drill that it is Healthy."""
    return o.failover.spec.partner if o.partner_fenced and o.failover else ""


def shot_not_written(o: OffOrder) -> str:
    """A feed that a crash would leave off unseen."""
    status = _status(o.failover)
    written = {Feed(s.device_name, s.outlet) for s in status.shots} if status else set()
    return "" if o.feed in written else str(o.feed)


def on_in_hold(o: OnOrder) -> str:
    """It would boot into what may move at any moment."""
    node = o.failover.spec.node if o.failover else ""
    return ", ".join(a.target for a in o.pair.assignments if a.node == node and a.intent == "Hold")


def on_not_cut(o: OnOrder) -> str:
    """A feed that this Failover never ordered off."""
    status = _status(o.failover)
    cut = {Feed(s.device_name, s.outlet) for s in status.shots} if status else set()
    return "" if o.feed in cut else str(o.feed)


def on_before_late_shots(o: OnOrder) -> str:
    """An off that was let go may arrive after this on."""
    return "" if o.now >= o.shots_over else f"{o.feed}: {o.shots_over - o.now:.1f}s too early"
