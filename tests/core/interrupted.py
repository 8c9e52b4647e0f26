"""Worlds that begin in the middle of something: what one moment of a Failover leaves in the API server, and no leader yet.

`start  MOMENT of NODE[, OPTION]...[; EVENT]...`: what an operator had written when it was lost, and what had befallen the
floor by then. A minute passes, and another operator leads from second 0. Moments are phases, `slot taken` (the pair names a
Failover that was never created) and `created` (its first phase was never written). Here: the stored objects of a moment,
as a real run leaves them (`test_interrupted` holds both together). Not here: what happens (`story`, `mishaps`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.world import NAMESPACE, PAIR, World
from ostkeeper.api.common import ObjectMeta
from ostkeeper.api.failover import (
    Approval,
    Certificate,
    DiskProof,
    Evidence,
    Failover,
    FailoverSpec,
    FailoverStatus,
    FeedProof,
    FeedSnapshot,
    LevelSnapshot,
    PolicySnapshot,
    Shot,
    Witness,
)
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import Assignment, CertificateWarrant, Fenced, Nonce, OSSPair, OSSPairStatus, Warrant
from ostkeeper.core.addresses import normalised
from ostkeeper.core.fencing import seal
from ostkeeper.core.identity import reported
from ostkeeper.core.verdict import RULES, evidence_digest
from ostkeeper.core.writes import failover_conditions

SETTLED, AGO, LEADERLESS = 3.0, 20.0, 1.5
"""Seconds: until the agents have said what they have; from the events of `start` to the moment; from it to a new leader."""
HEAD = re.compile(r"(?P<moment>[A-Za-z ]+?) of (?P<node>oss\d)(?P<options>(?:, [^,]+)*)")
EARLY = ("slot taken", "created", "AwaitingApproval", "Observed")
"""Moments before any Hold."""
CERTIFIED = ("Relocating", "PoweringOn", "Recovering", "Complete")
SENTENCES = {
    "Failed": "no witness sees {node} any more; {partner} is fresh and reads every disk",
    "Isolated": next(r.sentence for r in RULES if r.name == "isolated"),
    "ReleaseOverdue": "{node} has not released its targets within releaseTimeout",
}


@dataclass(slots=True)
class Moment:
    """One `start` line."""

    name: str
    node: str
    events: tuple[str, ...] = ()
    epoch: int = 42
    """The Failover's; the Hold is one more, what came after it two more."""
    type: str = "Failover"
    verdict: str = "Failed"
    level: int = 0
    asked: int = 1
    answer: str = ""
    """What is carried out; empty: Failover, unless it is only asked."""
    by: str = "policy"
    person: tuple[str, str] = ("", "")
    """A person's answer that nobody has acted upon yet, and whose it is."""
    word: str = ""
    """Who confirmed the death."""
    held: bool | None = None
    """Whether the Hold is written; None: as the moment implies."""
    given_back: bool = False
    """The targets are the server's again at a newer epoch."""
    freed: bool = False
    """The pair's slot is free again: the relocation is written."""
    releasing: bool = False
    """Its targets are to be released, and are not yet."""
    ordered_on: bool = False
    """What was cut was ordered on, and is noted as such."""
    missing: tuple[str, ...] = field(default=("level pdus: left/1 is UNKNOWN: left: no answer in time",))

    @property
    def hold(self) -> int:
        """The epoch of its Hold; 0: there was none."""
        early = self.name in EARLY or self.name == "Holding"
        held = not early if self.held is None else self.held
        return self.epoch + 1 if held else 0


OPTIONS: list[tuple[str, Callable[..., dict[str, Any]]]] = [
    (r"at epoch (\d+)", lambda epoch: {"epoch": int(epoch)}),
    (r"second level", lambda: {"level": 1}),
    (r"as (Isolated|ReleaseOverdue)", lambda verdict: {"verdict": verdict}),
    (r"asked (\d+) times", lambda asked: {"asked": int(asked)}),
    (r"(ann|bob) has answered (\w+)", lambda by, answer: {"person": (by, answer)}),
    (r"chosen by (\w+)", lambda by: {"by": by}),
    (r"for Restart", lambda: {"answer": "Restart"}),
    (r"confirmed by (\w+)", lambda by: {"word": by, "by": by}),
    (r"the Hold durable", lambda: {"held": True}),
    (r"targets given back", lambda: {"given_back": True}),
    (r"slot free", lambda: {"freed": True}),
    (r"ordered on", lambda: {"ordered_on": True}),
    (r"told to let go", lambda: {"releasing": True}),
    (r"(\S+) has not taken over yet", lambda partner: {"missing": (f"{partner} has no fresh heartbeat",)}),
]


def moment_of(start: str) -> Moment:
    """Read a `start` line. Raises ValueError for what means nothing."""
    head, *events = (part.strip() for part in start.split(";"))
    found = HEAD.fullmatch(head)
    if found is None:
        raise ValueError(f"start: {head!r} means nothing; MOMENT of NODE, OPTION, OPTION; EVENT; EVENT")
    how: dict[str, Any] = {}
    for option in found["options"].split(", ")[1:]:
        how |= _option(option)
    name = found["moment"]
    if name in ("Recovering", "Complete"):
        how["freed"] = True
    return Moment(name=name, node=found["node"], events=tuple(events), **how)


def _option(text: str) -> dict[str, Any]:
    for pattern, meaning in OPTIONS:
        if found := re.fullmatch(pattern, text):
            return meaning(*found.groups())
    raise ValueError(f"start: {text!r} means nothing")


def begin(world: World, start: str, happen: Callable[[World, str], None]) -> World:
    """Bring a world that was just built to the moment, and let an operator lead."""
    moment = moment_of(start)
    world.log.muted = True
    world.clock.run(world.now + SETTLED)
    boots = {s.name: s.boot for s in world.floor.servers.values()}
    for words in moment.events:
        happen(world, words)
    world.clock.run(world.now + AGO)
    store(world, moment, boots)
    world.clock.run(world.now + LEADERLESS)
    world.zero = world.now
    world.log.muted = False
    world.start_operator()
    return world


def store(world: World, moment: Moment, boots: dict[str, str]) -> None:
    """Put the objects of the moment into the API server."""
    pair = world.pair
    assert pair.status is not None
    spec = _spec(world, moment, boots)
    status = _status(world, moment, spec) if moment.name not in ("slot taken", "created") else None
    failover = None
    if moment.name != "slot taken":
        meta = ObjectMeta(name=f"{PAIR}-{moment.epoch}", namespace=NAMESPACE)
        if moment.person[0] and status is not None:
            answer = {"answer": moment.person[1], "evidence": status.evidence, "by": moment.person[0]}
            spec = spec.model_copy(update={"approval": Approval.model_validate(answer)})
        failover = world.store.put(Failover(metadata=meta, spec=spec, status=status))
    certificate = status.certificate if status else None
    world.store.put(pair.model_copy(update={"status": _pair_status(pair, moment, failover, certificate)}))


def _spec(world: World, moment: Moment, boots: dict[str, str]) -> FailoverSpec:
    pair, node = world.pair, moment.node
    partner = pair.partner_of(node)
    policy = pair.spec.failover
    assert pair.status is not None
    return FailoverSpec(
        pair_name=PAIR,
        epoch=moment.epoch,
        type="Failover",
        node=node,
        partner=partner,
        targets=tuple(a.target for a in pair.status.assignments if a.node == node),
        evidence=_evidence(world, moment, boots, partner),
        policy=PolicySnapshot(
            mode=policy.mode,
            automatic_after=policy.automatic_after,
            armed=all(w.proven for w in pair.status.wiring),
            levels=_levels(world, node),
            confirm=policy.confirm,
            clear_mmp=policy.mmp == "ClearWhenCertified",
            valid_for=policy.approval.valid_for,
            boot_timeout=policy.boot_timeout,
            release_timeout=policy.release_timeout,
        ),
    )


def _levels(world: World, node: str) -> tuple[LevelSnapshot, ...]:
    levels = []
    for level in world.pair.fencing_of(node):
        devices = [(world.store.get(FenceDevice, f.device_name), f.outlet or "") for f in level.feeds]
        feeds = tuple(
            FeedSnapshot(
                device_name=d.name,
                outlet=outlet,
                device_uid=d.metadata.uid,
                address=normalised(d.spec.address),
                identity=reported(d),
            )
            for d, outlet in devices
        )
        drilled = any(w.proven for w in world.status.wiring if (w.node, w.level) == (node, level.name))
        levels.append(LevelSnapshot(name=level.name, drilled=drilled, feeds=feeds))
    return tuple(levels)


def _evidence(world: World, moment: Moment, boots: dict[str, str], partner: str) -> Evidence:
    """What the lost leader had seen."""
    node, verdict = moment.node, moment.verdict
    alive = verdict == "ReleaseOverdue"
    states = {
        "heartbeat": "Fresh" if alive else "Stale",
        "node": _node_witness(world, node, alive=alive),
        "disk": "Stale" if verdict == "Failed" else "Fresh",
        "network": "Fresh" if alive else "Stale",
        "Lustre": "Fresh",
        "partner": "Fresh",
    }
    return Evidence(
        verdict=verdict,
        sentence=SENTENCES[verdict].format(node=node, partner=partner),
        boot_id=boots[node],
        partner_boot_id=boots[partner],
        witnesses=tuple(Witness(name=n, state=s) for n, s in states.items()),
    )


def _node_witness(world: World, node: str, *, alive: bool) -> str:
    state = world.nodes.get(node)
    if alive:
        return "Fresh" if state else "Unknown"
    return "Stale" if state is not None and state.ready != "True" else "Unknown"


def _status(world: World, moment: Moment, spec: FailoverSpec) -> FailoverStatus:
    name: Any = moment.name
    asking = name in ("AwaitingApproval", "Observed")
    cut = moment.hold > 0 and name not in ("Holding", "Aborted") and not moment.ordered_on
    levels = spec.policy.levels[: moment.level + 1] if name != "Blocked" else spec.policy.levels
    shots = tuple(
        Shot(device_name=f.device_name, outlet=f.outlet, level=i) for i, level in enumerate(levels) for f in level.feeds
    )
    message = {"Blocked": f"{spec.node} is not proven dead: {'; '.join(moment.missing)}"}.get(name, "as it was left")
    return FailoverStatus(
        phase=name,
        evidence=evidence_digest(spec.evidence, moment.asked),
        asked=0 if name == "Observed" else moment.asked,
        answer="" if asking else moment.answer or "Failover",
        answered_by="" if asking else moment.by,
        hold_epoch=moment.hold if name != "Holding" else 0,
        level=min(len(levels) - 1, moment.level) if name != "Blocked" else len(levels) - 1,
        shots=shots if cut else (),
        missing=moment.missing if name == "Blocked" else (),
        certificate=_certificate(world, moment, spec) if name in CERTIFIED else None,
        message=message,
        conditions=failover_conditions(name, message, 1),
        observed_generation=1,
    )


def _certificate(world: World, moment: Moment, spec: FailoverSpec) -> Certificate:
    """Written by an operator that had proven it."""
    server, partner = world.floor.servers[spec.node], world.floor.servers[spec.partner]
    assert not server.could_write, f"start: {spec.node} is {server.system}; nobody can have certified its death"
    moves = moment.answer != "Restart"
    marks = {t: world.floor.disks[t].mark for t in spec.targets}
    reports = [world.floor.disk_report(partner, t) for t in spec.targets] if moves else []
    level = spec.policy.levels[moment.level]
    proofs = tuple(
        FeedProof(
            device_name=f.device_name,
            outlet=f.outlet,
            state="PoweredOff",
            reads=spec.policy.confirm.rounds,
            boot=world.floor.devices[f.device_name].boot,
            identity=f.identity,
        )
        for f in level.feeds
    )
    return seal(
        Certificate(
            node=spec.node,
            boot_id=spec.evidence.boot_id,
            hold_epoch=moment.hold,
            level="" if moment.word else level.name,
            feeds=() if moment.word else proofs,
            proof="Person" if moment.word else "Drilled" if moves else "SameServer",
            disks=tuple(
                DiskProof(target=r.target, state=r.state, block=r.block, mark=marks[r.target], reported=marks[r.target])
                for r in reports
            ),
            nonce="t0-3" if moves else "",
            clear_mmp=spec.policy.clear_mmp and moves and not moment.word,
            confirmed_by=moment.word or None,
        )
    )


def _pair_status(pair: OSSPair, moment: Moment, fo: Failover | None, dead: Certificate | None) -> OSSPairStatus:
    """Slot, Hold and relocation, as far as they had come."""
    before = pair.status
    assert before is not None
    name = f"{PAIR}-{moment.epoch}"
    epoch = moment.hold + 1 if moment.given_back or moment.freed else max(moment.epoch, moment.hold)
    update: dict[str, Any] = {}
    if moment.freed:
        assert dead is not None
        warrant = Warrant(certificate=CertificateWarrant(failover=name, digest=dead.digest, node=dead.node))
        update = {"node": pair.partner_of(moment.node), "intent": "Serve", "warrant": warrant}
    elif moment.releasing:
        epoch, update = moment.epoch, {"intent": "Release"}
    elif moment.hold:
        update = {"intent": "Serve" if moment.given_back else "Hold"}

    def after(a: Assignment) -> Assignment:
        at = epoch - 1 if moment.releasing else epoch
        return a.model_copy(update={**update, "epoch": at}) if update and a.node == moment.node else a

    fenced = (*before.fenced,)
    if dead is not None and (moment.freed or (moment.given_back and moment.name == "PoweringOn")):
        fenced = (*fenced, Fenced(node=moment.node, failover=name, boot_id=dead.boot_id))
    held = bool(moment.hold)
    nonce = Nonce(value="t0-3", failover=name if held else "", level=0 if held else -1, open=held and not moment.freed)
    change = {
        "epoch": epoch,
        "assignments": tuple(after(a) for a in before.assignments),
        "active_failover": "" if moment.freed else name,
        "fenced": fenced,
        "nonce": nonce,
    }
    return before.model_copy(update=change)
