"""Fencing: from the durable Hold to the death certificate, or to the reasons why there is none.

One level at a time: quorum read, cut ALL its feeds, then rounds of readings, the partner's nonce, the vetoes and settle
side by side. Here: the phase Fencing of a Failover. Not here: the rounds themselves (`campaign`), what comes before and
after (`failover`), drills (`drill`).
"""

from __future__ import annotations

import math
import re
from typing import Any

from ostkeeper.api.common import seconds
from ostkeeper.api.failover import Certificate, DiskProof, Failover, FailoverStatus, FeedProof
from ostkeeper.api.failover import Shot as ShotRecord
from ostkeeper.api.oss import DiskReport, PeerReport
from ostkeeper.api.osspair import Nonce
from ostkeeper.core import witness
from ostkeeper.core.able import (
    SHOT_DEADLINE,
    changed_device,
    claimed,
    level_feeds,
    partner_fenced,
    partner_unable,
    unanswered,
    unusable_feed,
    what_is_left,
)
from ostkeeper.core.campaign import Campaign, Load, Rounds, Shot
from ostkeeper.core.devices import expected
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.events import CutPower, Effect, ReadPower
from ostkeeper.core.marks import disk_proof, with_hazards
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.core.verdict import evidence_digest
from ostkeeper.core.view import View
from ostkeeper.core.writes import read_all, write_failover, write_pair

READ_MAX_AGE = 1.0
"""Seconds: a quorum read older than this when the shot is due is made again."""
NONCE_PATIENCE = 15.0
"""Seconds for which the partner may take to answer the last nonce."""
UNSENT_TRIES = 2
"""How often a level is tried again of which an off never left: its deadline passed, or its device cannot be opened."""
TRIES_TOLD = 8
"""Tries from Blocked that have entries of their own in the timeline; the entries of later ones replace each other."""
LIVING = ("ReleaseOverdue", "Isolated", "Sick")
"""Verdicts about a server that lives: its heartbeat is no reason to spare it, a person has chosen."""


def request_timeout(view: View, feed: Feed) -> float:
    """How long one question to the feed's device may take, seconds."""
    device = view.devices.get(feed.device)
    return seconds(device.spec.request_timeout) if device else 5.0


def shoot(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Make this level's offs: after a fresh quorum read that shows the suspect unmoved and the partner able."""
    status = fo.status
    assert status is not None
    assert view.status is not None
    feeds = level_feeds(fo, status.level)
    unusable = list(dict.fromkeys(reason for feed in feeds if (reason := unusable_feed(view, fo, feed))))
    if unusable:
        return next_level(view, fo, c, "; ".join(unusable), now)
    ready_at = view.led_at + SHOT_DEADLINE
    if now < ready_at:
        view.wake_by(ready_at)
        return []
    if not 0 <= now - c.read_began <= READ_MAX_AGE or c.read_began < c.phase_since:
        return read_all(view)
    deadline = c.read_began + SHOT_DEADLINE
    effects: list[Effect] = []
    why = f"{fo.name}: level {fo.spec.policy.levels[status.level].name} of {fo.spec.node}"
    for feed in feeds:
        op = view.next_op()
        c.shots[feed] = Shot(op)
        effects.append(CutPower(op, feed, deadline, why, expected(view, fo, feed).identity))
    return effects


def too_early(view: View, fo: Failover, now: float) -> bool:
    """Whether a server that is to be silent may yet be seen alive: the clocks of this leader have just started again."""
    if fo.spec.evidence.verdict in LIVING:
        return False
    return view.heartbeats.blind(now) or not view.silent(fo.spec.node)


def spared(view: View, fo: Failover, c: Campaign, now: float) -> str:
    """Why the next off must not leave: the suspect moved, or its partner would be of no help."""
    assert fo.status is not None
    problem = claimed(view, fo.spec.node)
    if problem:
        return problem
    restart = fo.status.answer == "Restart"
    if not restart and partner_fenced(view, fo.spec.partner):
        return f"{fo.spec.partner} has not been seen alive in a boot after its own fencing"
    waiting = unanswered(view, now)
    if waiting:
        return f"{', '.join(waiting)} has not answered this leader's nonce yet"
    if restart:
        return ""
    unable = partner_unable(view, fo.spec.partner, fo.spec.targets, now)
    if unable or fo.spec.evidence.verdict in LIVING or view.outlived(fo.spec.node, fo.spec.partner):
        return unable
    return f"{fo.spec.partner} has not renewed its heartbeat since {fo.spec.node} missed its own"


def confirm(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """After the last off: rounds, the BMC beside the level, nonces, vetoes, settle; in the end the certificate."""
    status = fo.status
    assert status is not None
    if not math.isfinite(c.last_ack):
        return []
    unsent = [f"{feed} was not sent its off: {shot.detail}" for feed, shot in c.shots.items() if not shot.sent]
    if unsent and c.unsent < UNSENT_TRIES:
        c.unsent += 1
        c.begin_level(status.level)  # the deadline came first: read again, shoot again
        return []
    effects = _readings(view, fo, c, now)
    rounds = c.rounds
    assert rounds is not None
    settled = c.last_ack + seconds(fo.spec.policy.confirm.settle)
    if now < settled and not c.recounted and moved_since_asked(view, fo, c):
        c.count_again(settled)  # a write that was queued in the array: stillness is proven after it, from the start
        return effects
    veto = "; ".join(unsent) or rounds.failure or _checked(view, fo, c)
    lives = "" if veto else vetoes(view, fo, c, now)
    if lives and rounds.read_off:
        lives += " although all feeds read OFF: it is not tried again"
    alone = "" if veto or lives else _alone(fo, rounds)
    if veto or lives or alone:
        refuted = bool(alone or (lives and rounds.read_off))
        why = veto or lives or alone
        return effects + ([] if view.busy else next_level(view, fo, c, why, now, refuted=refuted))
    if view.busy:
        return effects
    if status.answer == "Restart":
        return effects + (_prove_restart(view, fo, c, now) if rounds.done else [])
    if not rounds.count:
        c.level_nonce = c.final_nonce = ""
        return effects
    lost = lost_question(view, c)
    if lost:
        return effects + ask(view, fo, attempt(status, c), lost)
    if not c.level_nonce:
        c.level_nonce = new_nonce(view)
        return effects + ask(view, fo, attempt(status, c), c.level_nonce)
    if rounds.done and not c.final_nonce:
        c.final_nonce = new_nonce(view)
        c.asked_at = now
        return effects + ask(view, fo, attempt(status, c), c.final_nonce)
    return effects + (_certify(view, fo, c, now) if rounds.done else [])


def _alone(fo: Failover, rounds: Rounds) -> str:
    """Why complete rounds of OFF prove nothing: one device alone says so. A Restart rests on nothing else, it moves nothing."""
    status = fo.status
    if status is None or status.answer == "Restart" or not rounds.done:
        return ""
    level = fo.spec.policy.levels[status.level]
    return "" if witness.beside(fo, level) else witness.lacking(level)


def _readings(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Start the next round where one is due, and the first look at the server's BMC on another level."""
    assert fo.status is not None
    policy = fo.spec.policy.confirm
    feeds = level_feeds(fo, fo.status.level)
    if c.rounds is None:
        patience = max(request_timeout(view, feed) for feed in feeds)
        loads = {feed: load_of(fo, feed) for feed in feeds}
        c.rounds = Rounds(feeds, policy.rounds, seconds(policy.interval), patience, c.last_ack, loads, c.last_ack)
        c.bystanders = dict.fromkeys(_bystanders(view, fo, feeds))
    if c.rounds.not_before < c.beat_at:
        c.rounds.again(c.beat_at)
    effects: list[Effect] = []
    if c.rounds.due(now):
        ops = {view.next_op(): feed for feed in feeds}
        c.rounds.start(ops, now)
        effects += [ReadPower(op, feed, now + request_timeout(view, feed)) for op, feed in ops.items()]
    if c.rounds.next_at > now:
        view.wake_by(c.rounds.next_at)
    return effects + _look_beside(view, fo, c, now)


def load_of(fo: Failover, feed: Feed) -> Load:
    """How the Failover's snapshot has the feed's measured load judged."""
    snapshots = (f for level in fo.spec.policy.levels for f in level.feeds)
    found = next((f for f in snapshots if (f.device_name, f.outlet) == (feed.device, feed.outlet)), None)
    return Load(seconds(found.load.grace), found.load.residue_watts) if found else Load()


def _look_beside(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """Read the server's BMCs that are not part of this level until none reads ON. Silence is no veto: its feeds are cut."""
    open_questions = [f for f, state in c.bystanders.items() if state in (None, PowerState.ON)]
    if c.bystander_ops or not open_questions:
        return []
    if now < c.bystander_next:
        view.wake_by(c.bystander_next)
        return []
    c.bystander_next = now + 0.5
    limit = max(now + 0.5, c.last_ack + seconds(fo.spec.policy.confirm.settle))
    c.bystander_ops = {view.next_op(): feed for feed in open_questions}
    return [ReadPower(op, feed, min(limit, now + 5.0)) for op, feed in c.bystander_ops.items()]


def _bystanders(view: View, fo: Failover, cut: tuple[Feed, ...]) -> list[Feed]:
    """The server's BMCs that are not part of this level: one that reads ON vetoes."""
    feeds = {Feed(f.device_name, f.outlet) for level in fo.spec.policy.levels for f in level.feeds if not f.outlet}
    return sorted(f for f in feeds if f not in cut and not changed_device(view, fo, f))


def vetoes(view: View, fo: Failover, c: Campaign, now: float) -> str:
    """What says that the server lives, whatever its feeds read; empty: nothing does."""
    settle = seconds(fo.spec.policy.confirm.settle)
    on = [str(feed) for feed, state in c.bystanders.items() if state is PowerState.ON]
    if on and now - c.bystander_on_since > 2 * settle + 5.0:
        return f"{', '.join(on)} reads ON"
    report = view.report(fo.spec.partner)
    peer = report.peer if report else None
    dead = fo.spec.evidence.boot_id
    asked = c.final_nonce and report and report.nonce and report.nonce.value == c.final_nonce
    late = now - c.last_ack > view.timeout() + NONCE_PATIENCE
    if asked and late and _answers(peer, dead):
        return f"{fo.spec.node} still answers on the network as boot {dead}"
    if asked and (moved := moved_since_asked(view, fo, c)):
        return f"{', '.join(moved)} is still being written, as {fo.spec.partner} reads the disk"
    if math.isfinite(c.beat_at) and c.beat_at > c.last_ack and now - c.last_ack > 3 * view.timeout() + settle:
        return f"heartbeats of boot {dead} go on after the off"
    return ""


def _checked(view: View, fo: Failover, c: Campaign) -> str:
    """Which of the disks somebody checks: nothing is to be mounted beside e2fsck."""
    report = view.report(fo.spec.partner)
    if not (c.final_nonce and report and report.nonce and report.nonce.value == c.final_nonce):
        return ""
    held = [a.target for a in view.held_by(fo.spec.node)]
    fsck = [d.target for d in report.nonce.disks if d.target in held and d.state == "Fsck"]
    return f"e2fsck holds {', '.join(fsck)}" if fsck else ""


def moved_since_asked(view: View, fo: Failover, c: Campaign) -> list[str]:
    """The dead server's disks that have moved since the first nonce of this count, as its partner answers."""
    report = view.report(fo.spec.partner)
    answer = report.nonce if report else None
    if answer is None or answer.value not in (c.level_nonce, c.final_nonce):
        return []
    return [a.target for a in view.held_by(fo.spec.node) if a.target in answer.moved]


def _answers(peer: PeerReport | None, dead: str) -> bool:
    """Whether the network witness still shows the boot that is to be dead. It takes some intervals to be Silent."""
    return peer is not None and peer.state == "Answering" and (not dead or peer.boot_id in ("", dead))


def attempt(status: FailoverStatus, c: Campaign) -> int:
    """Numbers one count at one level, and grows: agents count movement anew from the first nonce of each."""
    return 16 * (status.asked + status.tries) + 2 * c.level + c.recounted


def new_nonce(view: View) -> str:
    """A question that was never asked before: the term is part of it."""
    view.nonces += 1
    return f"{view.term}-{view.nonces}"


def lost_question(view: View, c: Campaign) -> str:
    """The nonce that was asked last and was never stored: the write that asked it failed. Empty: it was, or none was asked."""
    value = c.final_nonce or c.level_nonce
    nonce = view.status.nonce if view.status else None
    return "" if nonce is not None and nonce.value == value else value


def ask(view: View, fo: Failover | None, level: int, value: str = "") -> list[Effect]:
    """Ask the pair's agents to read everything again."""
    value = value or new_nonce(view)
    nonce = Nonce(value=value, failover=fo.name if fo else "", level=level, open=True)
    return write_pair(view, f"ask nonce {value}", nonce=nonce)


def ask_term(view: View, now: float) -> list[Effect]:
    """Ask this term's nonce, unless it is asked already."""
    nonce = view.status.nonce if view.status else None
    if nonce is not None and nonce.value.startswith(f"{view.term}-"):
        view.wake_by(now + 1.0)
        return []
    return ask(view, None, -1)


def _certify(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """The rounds are complete: wait for the partner's answer, quiet and settle, then write the certificate."""
    status = fo.status
    assert status is not None
    assert c.rounds is not None
    settled = c.last_ack + seconds(fo.spec.policy.confirm.settle)
    if math.isfinite(c.beat_at):
        settled = max(settled, c.beat_at + view.timeout())
    disks, waiting = disk_proofs(view, fo, c, now)
    if waiting:
        if view.waited(c.asked_at, now) > view.timeout() + NONCE_PATIENCE:
            c.partner_missing = True
            return block(view, fo, c, [waiting])
        return []
    if any(state is None for state in c.bystanders.values()) or PowerState.ON in c.bystanders.values():
        view.wake_by(now + 0.1)
        return []
    if now < settled:
        view.wake_by(settled)
        return []
    feeds = level_feeds(fo, status.level)
    proofs = feed_proofs(feeds, c.rounds)
    certificate = seal(
        Certificate(
            node=fo.spec.node,
            boot_id=fo.spec.evidence.boot_id,
            hold_epoch=status.hold_epoch,
            level=fo.spec.policy.levels[status.level].name,
            feeds=proofs,
            disks=disks,
            nonce=c.final_nonce,
            proof=witness.beside(fo, fo.spec.policy.levels[status.level]),
            clear_mmp=fo.spec.policy.clear_mmp,
        )
    )
    still = "; ".join(f"{d.target} {d.state}" for d in disks)
    left = what_is_left(view, fo.spec.partner, [a.target for a in view.held_by(fo.spec.node)])
    still += f"; {left}" if left else ""
    read = f"{', '.join(map(str, feeds))} read OFF in {c.rounds.count} rounds"
    read += "" if certificate.proof == "Drilled" else f" ({certificate.proof})"
    message = with_hazards(f"{fo.spec.node} is dead: {read}; {still}", disks)
    return write_failover(view, fo, message, phase="Relocating", certificate=certificate, missing=())


def feed_proofs(feeds: tuple[Feed, ...], rounds: Rounds) -> tuple[FeedProof, ...]:
    """What the complete rounds proved of each feed."""
    return tuple(
        FeedProof(
            device_name=feed.device,
            outlet=feed.outlet,
            state="PoweredOff",
            reads=rounds.count,
            boot=rounds.boots.get(feed, ""),
            identity=rounds.identities.get(feed, "")[:128],
        )
        for feed in feeds
    )


def seal(certificate: Certificate) -> Certificate:
    """The certificate with its digest."""
    return certificate.model_copy(update={"digest": certificate_digest(certificate)})


def disk_proofs(view: View, fo: Failover, c: Campaign, now: float) -> tuple[tuple[DiskProof, ...], str]:
    """The partner's answer to the last nonce about the dead server's disks, or what it is waiting for.

    A disk that the partner cannot read is left out: only what the certificate names moves. One disk in service has to be read.
    """
    report = view.report(fo.spec.partner)
    if report is None or not view.fresh(fo.spec.partner, now):
        return (), f"{fo.spec.partner}, who must read the disks, has no fresh heartbeat"
    if report.nonce is None or report.nonce.value != c.final_nonce:
        return (), f"{fo.spec.partner} has not answered nonce {c.final_nonce}"
    if _answers(report.peer, fo.spec.evidence.boot_id):
        return (), f"{fo.spec.node} still answers on the network, as {fo.spec.partner} sees it"
    disks = {d.target: d for d in report.nonce.disks}
    proofs = []
    held = tuple([a.target for a in view.held_by(fo.spec.node)])
    for target in held:
        disk = disks.get(target)
        if unread(disk) and view.unreadable(fo.spec.partner, target):
            continue
        if disk is None or disk.state not in ("Still", "Clean"):
            return (), f"{target} is {disk.state if disk else 'not read'} for {fo.spec.partner}"
        proofs.append(disk_proof(view, fo, disk))
    in_service = view.in_service(held)
    if not any(proof.target in in_service for proof in proofs):
        return (), f"{fo.spec.partner} cannot read {', '.join(in_service)}"
    return tuple(proofs), ""


def unread(disk: DiskReport | None) -> bool:
    """Whether an answer to a nonce says that a disk was not read."""
    return disk is None or disk.state in ("Unreadable", "Unknown")


def _prove_restart(view: View, fo: Failover, c: Campaign, now: float) -> list[Effect]:
    """For Restart: the same server mounts again, so its own OFF readings are all the proof that is needed."""
    status = fo.status
    assert status is not None
    assert c.rounds is not None
    feeds = level_feeds(fo, status.level)
    proofs = feed_proofs(feeds, c.rounds)
    certificate = seal(
        Certificate(
            node=fo.spec.node,
            boot_id=fo.spec.evidence.boot_id,
            hold_epoch=status.hold_epoch,
            level=fo.spec.policy.levels[status.level].name,
            feeds=proofs,
            proof="SameServer",
        )
    )
    message = f"{fo.spec.node} has no power: it keeps its targets and is switched on again"
    return write_failover(view, fo, message, phase="PoweringOn", certificate=certificate, missing=())


def next_level(view: View, fo: Failover, c: Campaign, why: str, now: float, *, refuted: bool = False) -> list[Effect]:
    """This level proves nothing: go on with the next, or block. What was cut stays cut.

    `refuted`: its OFF proves nothing in this Failover, since the server lived or nothing else bears it out. It is not tried again.

    Where one level was tried again from Blocked, Blocked is entered again: every level has its own wait between two tries.
    """
    status = fo.status
    assert status is not None
    why = f"{_of_level(fo, status.level)}{why}"
    names = status.refuted
    if refuted:
        names = (*names, fo.spec.policy.levels[status.level].name)
    c.note_try(status.level, why, now)
    level = status.level + 1
    if c.retry or level >= len(fo.spec.policy.levels):
        return block(view, fo, c, _why_each(fo, c), refuted=names)
    message = f"{why}; what is cut stays cut; next: level {fo.spec.policy.levels[level].name}"
    shots = shots_of(fo, status, level)
    return write_failover(view, fo, message, phase="Fencing", level=level, shots=shots, refuted=names)


def _of_level(fo: Failover, level: int) -> str:
    return f"level {fo.spec.policy.levels[level].name}: "


def _why_each(fo: Failover, c: Campaign) -> list[str]:
    """Why each level proves nothing: as this leader saw it, or else as the Failover already says."""
    assert fo.status is not None
    found = []
    for level in range(len(fo.spec.policy.levels)):
        said = (m for m in fo.status.missing if m.startswith(_of_level(fo, level)))
        found.append(c.failures.get(level) or next(said, ""))
    return [why for why in found if why]


def shots_of(fo: Failover, status: FailoverStatus, level: int) -> tuple[ShotRecord, ...]:
    """The feeds that were ordered off so far, and those of one more level."""
    more = (ShotRecord(device_name=f.device, outlet=f.outlet, level=level) for f in level_feeds(fo, level))
    known = {(s.device_name, s.outlet) for s in status.shots}
    return (*status.shots, *(s for s in more if (s.device_name, s.outlet) not in known))


def block(view: View, fo: Failover, c: Campaign, missing: list[str], **more: Any) -> list[Effect]:
    """Nothing proves the death: say what is missing, mount nothing, ask a person.

    After another try of a level that changed nothing but numbers it is the same question: an answer that a person is about
    to give to it stays valid.
    """
    status = fo.status
    assert status is not None
    c.poll, c.poll_base = {}, {}
    missing = [m[:1024] for m in dict.fromkeys(missing)][:16] or ["no fencing level is left"]
    same = c.retry and [*map(_numberless, missing)] == [*map(_numberless, status.missing)]
    asked = status.asked + (not same)
    message = (
        f"{fo.spec.node} is not proven dead: {'; '.join(missing)}. Nothing was mounted. Each level is tried again once all "
        f"of its feeds answer; or make sure that it has no power, then answer ConfirmDead"
    )
    update = {"missing": tuple(missing), "asked": asked, **more}
    update["evidence"] = evidence_digest(fo.spec.evidence, asked)
    if not (same and status.tries > TRIES_TOLD):
        return write_failover(view, fo, message, phase="Blocked", **update)
    said = f"tried again {status.tries} times; {message}"
    return write_failover(view, fo, said, phase="Blocked", instead_of=2, **update)


def resume(view: View, fo: Failover, c: Campaign) -> list[Effect]:
    """A person answers while a level is tried again: give the try up, the answer is carried out in Blocked."""
    assert fo.status is not None
    c.retry = True
    return block(view, fo, c, list(fo.status.missing))


def _numberless(sentence: str) -> str:
    """A sentence without its numbers: how long something took, how much was measured."""
    return re.sub(r"\d+(\.\d+)?", "#", sentence)
