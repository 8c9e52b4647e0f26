"""One Failover, phase by phase: what its durable phase asks for next.

Any replica can take it up at any point: everything is derived from the pair, the Failover and what this leader reads
itself (`campaign`). AwaitingApproval → Holding → Fencing → Relocating → Recovering → Complete; see `api.phases` for all
edges. Here: the handlers of type Failover. Not here: when one is opened (`opening`), the shooting (`fencing`), orderly
types (`orderly`), drills (`drill`).
"""

from __future__ import annotations

from collections.abc import Callable

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Certificate, Evidence, Failover
from ostkeeper.api.osspair import Assignment, CertificateWarrant, Fenced, Nonce, Noted, Wiring
from ostkeeper.api.phases import TERMINAL
from ostkeeper.core import budget, fencing, waiting
from ostkeeper.core.able import (
    SHOT_DEADLINE,
    claimed,
    desired,
    not_unasked,
    partner_unable,
    released,
    said_to_a_person,
    unanswered,
)
from ostkeeper.core.acts import OVERDUE
from ostkeeper.core.blocked import blocked
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.devices import said_of_levels
from ostkeeper.core.ending import (
    DISMISSED,
    RETURNED,
    abort,
    aborting,
    dismissal,
    given_back,
    power_on,
    returned,
    still_off,
    valid_answer,
)
from ostkeeper.core.events import Effect
from ostkeeper.core.power import Feed
from ostkeeper.core.verdict import evidence_digest, evidence_of, verdict_of
from ostkeeper.core.view import View
from ostkeeper.core.writes import assign, write_failover, write_pair

Handler = Callable[[View, Failover, Campaign, float], list[Effect]]
ANOTHER_QUESTION = {"Isolated": ("Failed",), "Sick": ("Failed",), "Suspect": ("Failed", "Isolated", "Sick")}
"""By what a person was asked about: the verdicts that make it another question. Only one about a Failed server acts unasked."""


def campaign_of(view: View, fo: Failover, now: float) -> Campaign:
    """What this leader saw of it; begun anew when it takes it up."""
    uid = fo.metadata.uid
    if view.campaign is None or (view.campaign.name, view.campaign.uid) != (fo.name, uid):
        view.campaign = Campaign(fo.name, now, uid)
    view.campaign.enter(fo.phase, now)
    return view.campaign


def free_slot(view: View, fo: Failover, wiring: tuple[Wiring, ...] | None = None) -> list[Effect]:
    """The Failover has ended, or only reports from here on: another may open.

    What was asked is noted, so that it is not asked again at once.
    """
    assert view.status is not None
    noted = tuple(n for n in view.status.noted if (n.node, n.type) != (fo.spec.node, fo.spec.type))
    dismissed = fo.phase == "Aborted" and fo.status is not None and fo.status.message.startswith(DISMISSED)
    if fo.phase == "Observed" or dismissed:
        boot = fo.spec.evidence.boot_id
        noted = (*noted[-7:], Noted(node=fo.spec.node, type=fo.spec.type, failover=fo.name, boot_id=boot))
    epoch, why = (
        view.status.epoch + 1,
        f"{fo.name} {'has ended' if fo.phase in TERMINAL else 'only reports'}: {fo.phase}",
    )
    if wiring is not None:
        return write_pair(view, why, epoch=epoch, active_failover="", wiring=wiring)
    return write_pair(view, why, epoch=epoch, active_failover="", noted=noted)


def _awaiting(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """A person is asked, or Automatic waits until it may act."""
    if view.busy:
        return []
    status, node = fo.status, fo.spec.node
    assert status is not None
    verdict = verdict_of(view, node, now)
    gone = _reason_gone(view, fo, verdict.name)
    if gone:
        return write_failover(view, fo, gone, phase="Aborted")
    approval = valid_answer(view, fo, now)
    if approval is not None and approval.answer == "Dismiss":
        return write_failover(view, fo, dismissal(approval), phase="Aborted")
    if not view.watched(node):
        return []  # the question stands, and so does an answer: nothing is seen yet that would change or carry out either
    stands = evidence_digest(_current_evidence(view, fo, now), status.asked) == status.evidence
    if stands and approval is not None and approval.answer in ("Failover", "Restart"):
        why = _refuse_answer(view, fo, approval.answer, now)
        if not why:
            message = f"{approval.by} answered {approval.answer}: {approval.note or fo.spec.evidence.sentence}"
            return _go(view, fo, approval.answer, approval.by, message)
        said = f"{approval.by}'s answer {approval.answer} waits: {why}"
        if said not in status.message:
            return write_failover(view, fo, said, phase="AwaitingApproval")
    about_release = fo.spec.evidence.verdict == OVERDUE
    if (verdict.name == "Failed" or about_release) and not not_unasked(view, fo, now - c.phase_since, now):
        budget.take(view, node, fo.name)
        return _go(view, fo, "Failover", "policy", f"unasked: {fo.spec.evidence.sentence}")
    return _renew_question(view, fo, c, now)


def _reason_gone(view: View, fo: Failover, verdict: str) -> str:
    """Why the question is moot."""
    if fo.spec.evidence.verdict == OVERDUE:
        if verdict == "Failed":
            return f"{fo.spec.node} did not let go, and now it is Failed: that is another question"
        waiting = [a for a in view.held_by(fo.spec.node) if a.intent == "Release" and view.ost(a.target) is not None]
        overdue = any(not released(view, a) for a in waiting)
        return "" if overdue else f"{fo.spec.node} has let go"
    if verdict == "Silent":
        return f"{fo.spec.node} holds no target any more"
    if verdict in ("Healthy", "Degraded"):
        return f"{RETURNED}: {fo.spec.node} is {verdict}"
    if verdict in ANOTHER_QUESTION.get(fo.spec.evidence.verdict, ()):
        return f"{fo.spec.node} was {fo.spec.evidence.verdict}, and now it is {verdict}: that is another question"
    return "" if view.held_by(fo.spec.node) else f"{fo.spec.node} holds no target any more"


def _refuse_answer(view: View, fo: Failover, answer: str, now: float) -> str:
    problem = claimed(view, fo.spec.node)
    if problem or answer == "Restart":
        return problem
    return partner_unable(view, fo.spec.partner, fo.spec.targets, now)


def _go(view: View, fo: Failover, answer: str, by: str, message: str) -> list[Effect]:
    return write_failover(view, fo, message, phase="Holding", answer=answer, answered_by=by)


def _current_evidence(view: View, fo: Failover, now: float) -> Evidence:
    """What the question rests on now. Whoever was asked because a living server does not let go is asked just that."""
    if fo.spec.evidence.verdict == OVERDUE:
        return fo.spec.evidence
    return evidence_of(view, verdict_of(view, fo.spec.node, now), fo.spec.node, now)


def _renew_question(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """The evidence changed, or an answer lapsed: ask anew, so that no answer is acted upon that rests on something else."""
    status = fo.status
    assert status is not None
    if view.heartbeats.blind(now):
        return []  # what seems to have changed may be the API server's silence
    current = _current_evidence(view, fo, now)
    approval = fo.spec.approval
    lapsed = approval is not None and approval.evidence == status.evidence and valid_answer(view, fo, now) is None
    if not lapsed and evidence_digest(current, status.asked) == status.evidence:
        levels = said_of_levels(view, fo)
        if levels and levels not in status.message:
            message = (
                f"{fo.spec.node} is {current.verdict}: {current.sentence}; {levels}. Failover, Restart or Dismiss?"
            )
            return write_failover(view, fo, message, phase="AwaitingApproval")
        if approval is not None and approval.evidence == status.evidence:
            view.wake_by(now + 1.0)
        return []
    asked = status.asked + 1
    why = "an answer lapsed" if lapsed else "the evidence changed"
    asks = said_to_a_person(view, fo, not_unasked(view, fo, now - c.phase_since, now), now)
    said = f"{current.sentence}; {asks}" if asks else current.sentence
    message = f"{why}; {fo.spec.node} is {current.verdict}: {said}. Failover, Restart or Dismiss?"
    digest = evidence_digest(current, asked)
    return write_failover(view, fo, message, phase="AwaitingApproval", asked=asked, evidence=digest)


def _holding(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Write the Hold on all targets of the server; only once it is durable may anything be cut."""
    if view.busy:
        return []
    status = view.status
    assert status is not None
    back = returned(view, fo, c, now)
    if back:
        return abort(view, fo, c, back, now)
    held = view.held_by(fo.spec.node)
    if held and all(a.intent == "Hold" and a.epoch == status.epoch for a in held) and status.epoch > fo.spec.epoch:
        assert fo.status is not None
        message = f"the Hold at epoch {status.epoch} is durable; level {fo.spec.policy.levels[0].name}"
        shots = fencing.shots_of(fo, fo.status, 0)
        return write_failover(view, fo, message, phase="Fencing", hold_epoch=status.epoch, level=0, shots=shots)
    if fencing.too_early(view, fo, now):
        return []
    if agents := unanswered(view, now):
        return waiting.ask(view, fo, c, agents, now)
    epoch = status.epoch + 1
    targets = [a.target for a in held]
    assignments = assign(status.assignments, targets, epoch, intent="Hold")
    return write_pair(view, f"{fo.name}: Hold {', '.join(targets)}", epoch=epoch, assignments=assignments)


def _fencing(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Cut one level, confirm it; a server that returns before its level is complete is spared."""
    status = fo.status
    assert status is not None
    if c.level != status.level:
        c.begin_level(status.level)
    back = returned(view, fo, c, now)
    if back or aborting(view, fo):
        return [] if view.busy else abort(view, fo, c, back or RETURNED, now)
    if status.missing and valid_answer(view, fo, now) is not None:
        return [] if view.busy else fencing.resume(view, fo, c)
    if c.shots:
        return fencing.confirm(view, fo, c, now)
    if view.busy or fencing.too_early(view, fo, now):
        return []
    spared = fencing.spared(view, fo, c, now)
    if spared:
        agents = unanswered(view, now) if "nonce" in spared else ()
        late = waiting.overdue(view, c, agents, now)
        if agents and not late:
            return fencing.ask_term(view, now)
        if late or view.waited(c.phase_since, now) > view.timeout() + SHOT_DEADLINE:
            c.partner_missing = True
            return fencing.block(view, fo, c, [late or spared])
        view.wake_by(now + 0.2)
        return []
    return fencing.shoot(view, fo, c, now)


def _relocating(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """One write gives exactly the held targets that the certificate names to the partner, and frees the slot.

    What the partner could not read stays in Hold: another Failover moves it once the partner can.
    """
    if view.busy:
        return []
    status, fs = view.status, fo.status
    assert status is not None
    assert fs is not None
    assert fs.certificate is not None
    held = {a.target: a for a in view.held_by(fo.spec.node)}
    if any((a.intent, a.epoch) != ("Hold", fs.certificate.hold_epoch) for a in held.values()):
        return _certified_too_late(view, fo, c, now)
    if fo.spec.partner in unanswered(view, now):
        return waiting.ask(view, fo, c, (fo.spec.partner,), now)
    epoch = status.epoch + 1
    warrant = {
        "certificate": CertificateWarrant(failover=fo.name, digest=fs.certificate.digest, node=fs.certificate.node)
    }
    proven = [d.target for d in fs.certificate.disks if d.target in held]
    left = [t for t in held if t not in proven]
    serve = [t for t in proven if desired(view, t)]
    idle = [t for t in proven if t not in serve]
    assignments = assign(status.assignments, serve, epoch, intent="Serve", node=fo.spec.partner, **warrant)
    assignments = assign(assignments, idle, epoch, intent="Release", node=fo.spec.partner, **warrant)
    return write_pair(
        view,
        f"{fo.name}: {', '.join(proven)} to {fo.spec.partner}" + (f"; {', '.join(left)} in Hold" if left else ""),
        epoch=epoch,
        assignments=assignments,
        active_failover="",
        fenced=with_fenced(view, fo, fs.certificate),
        nonce=closed_nonce(view),
    )


def _certified_too_late(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """A deposed leader's certificate arrived after its successor had given the targets back: it warrants nothing any more.

    What was cut is switched on, as in the abort that it ran into; then it ends. Should the server be dead, another opens.
    """
    effects: list[Effect] = []
    if fo.status is not None and fo.status.shots and not power_on(view, fo, c, now, effects):
        return effects
    message = f"nothing moved: {fo.spec.node} was given its targets back before this certificate was written"
    return write_failover(view, fo, message + still_off(view, fo, c), phase="Complete", shots=())


def with_fenced(view: View, fo: Failover, certificate: Certificate) -> tuple[Fenced, ...]:
    """The boots that are certified dead, with this one."""
    assert view.status is not None
    others = tuple(f for f in view.status.fenced if f.node != fo.spec.node)
    drill = fo.spec.type == "Drill"
    return (*others, Fenced(node=fo.spec.node, failover=fo.name, boot_id=certificate.boot_id, drill=drill))


def closed_nonce(view: View) -> Nonce | None:
    """The nonce, no longer open: agents go back to their usual pace."""
    nonce = view.status.nonce if view.status else None
    return nonce.model_copy(update={"open": False}) if nonce else None


def _powering_on(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Restart: the targets are the server's own again at a new epoch, then its power comes back, then it boots."""
    if view.busy:
        return []
    status, fs = view.status, fo.status
    assert status is not None
    assert fs is not None
    assert fs.certificate is not None
    held = [a.target for a in view.held_by(fo.spec.node) if a.intent == "Hold"]
    if held and (agents := unanswered(view, now)):
        return waiting.ask(view, fo, c, agents, now)
    if held:
        epoch = status.epoch + 1
        assignments = given_back(view, held, epoch)
        fenced, why = with_fenced(view, fo, fs.certificate), f"{fo.name}: {fo.spec.node} keeps its targets"
        return write_pair(view, why, epoch=epoch, assignments=assignments, fenced=fenced)
    effects: list[Effect] = []
    if fs.shots:
        if not power_on(view, fo, c, now, effects):
            return effects
        view.note_powered_on(fo.spec.node, now)
        message = f"{fo.spec.node} was ordered on and boots{still_off(view, fo, c)}"
        return write_failover(view, fo, message, phase="PoweringOn", shots=())
    if view.fresh(fo.spec.node, now) and view.boot(fo.spec.node) != fs.certificate.boot_id:
        message = f"{fo.spec.node} is back in boot {view.boot(fo.spec.node)}; mounting"
        return write_failover(view, fo, message, phase="Recovering")
    limit = c.phase_since + seconds(fo.spec.policy.boot_timeout)
    if now >= limit:
        return write_failover(view, fo, f"{fo.spec.node} has not come back within bootTimeout", phase="Aborted")
    view.wake_by(limit)
    return []


def tail(view: View, fo: Failover, now: float) -> list[Effect]:
    """A Failover that has given its slot back: it only reports from here on."""
    if fo.phase == "Relocating":
        assert view.status is not None
        gone = [a.target for a in view.status.assignments if a.target in fo.spec.targets and a.node == fo.spec.partner]
        kept = [a.target for a in view.held_by(fo.spec.node) if a.target in fo.spec.targets and a.intent == "Hold"]
        message = f"{', '.join(gone)} now {fo.spec.partner}'s; mounting" if gone else "nothing has moved"
        message += f"; {', '.join(kept)} in Hold until {fo.spec.partner} reads its disk" if kept else ""
        return write_failover(view, fo, message, phase="Recovering")
    if fo.phase == "Recovering":
        return _recovering(view, fo, now)
    if fo.phase in TERMINAL or (fo.phase == "" and not _slot_lost(view, fo)):
        return []
    shots = fo.status.shots if fo.status else ()
    cut = ", ".join(str(Feed(s.device_name, s.outlet)) for s in shots)
    left = f"; {cut} was ordered off and is not ordered on by it any more" if cut else ""
    return write_failover(view, fo, f"the pair no longer names this Failover{left}", phase="Aborted")


def _slot_lost(view: View, fo: Failover) -> bool:
    """Whether one without a phase will never get one: the pair that is seen has reached its epoch, and names another or none.

    The slot is written at that epoch, before the object. A pair that is seen below it may yet be shown with it.
    """
    return view.status is not None and view.status.epoch >= fo.spec.epoch


def _recovering(view: View, fo: Failover, now: float) -> list[Effect]:
    """Complete once every target that moved is mounted and Lustre's recovery is over, or has moved on since.

    After a Restart: every target that stayed, on the server that is back.
    """
    assert view.status is not None
    server = fo.spec.node if fo.status is not None and fo.status.answer == "Restart" else fo.spec.partner
    mine = [a for a in view.status.assignments if a.target in fo.spec.targets and a.node == server]
    waiting = [a.target for a in mine if a.intent == "Serve" and not served(view, a.node, a.target)]
    if any(view.ost(target) is not None for target in waiting):  # nobody mounts what no OST declares
        return []
    said = (f"{a.target} {'unmounted, now with' if _idle(a, waiting) else 'on'} {a.node}" for a in mine)
    where = ", ".join(said) or f"none of them is with {server}"
    return write_failover(view, fo, where, phase="Complete")


def _idle(a: Assignment, waiting: list[str]) -> bool:
    return a.intent != "Serve" or a.target in waiting


def served(view: View, node: str, target: str) -> bool:
    """Whether the server reports the target mounted and its recovery complete."""
    report = view.target_report(node, target)
    return report is not None and report.state == "Mounted" and report.recovery in ("", "COMPLETE")


HANDLERS: dict[str, Handler] = {
    "AwaitingApproval": _awaiting,
    "Holding": _holding,
    "Fencing": _fencing,
    "Relocating": _relocating,
    "PoweringOn": _powering_on,
    "Blocked": blocked,
}
