"""An API server in memory: resourceVersions, optimistic concurrency, and the rules that the CRDs' CEL enforces.

The rules stand here a second time, in Python and on purpose not in terms of `core.invariants`: what the machine believes
and what the API server refuses must agree, and a test fails where they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from ostkeeper.api.common import Resource
from ostkeeper.api.failover import Certificate, Failover, FailoverStatus
from ostkeeper.api.osspair import Assignment, OSSPair, OSSPairStatus
from ostkeeper.api.phases import ANSWERABLE, CERTIFIED, ORDERLY, TERMINAL, may_follow
from ostkeeper.core.events import Outcome

ResourceT = TypeVar("ResourceT", bound=Resource)
Watcher = Callable[[Resource], None]


class RefusedError(Exception):
    """The API server refuses an object, as it would with 422; the text is what a rule says."""


def _rule(holds: bool, message: str, *about: object) -> None:
    if not holds:
        raise RefusedError(": ".join([message, *map(str, about)]))


class ApiStore:
    """All objects. Writes are immediate; latency, outages and who hears of them are the world's part."""

    def __init__(self) -> None:
        self.version = 1000
        self.objects: dict[tuple[str, str], Resource] = {}
        self.watcher: Watcher = lambda _: None
        self.refusals: list[str] = []

    def find(self, kind: type[ResourceT], name: str) -> ResourceT | None:
        """The object of this kind and name; there is one namespace in this world."""
        found = self.objects.get((kind.kind, name))
        return found if isinstance(found, kind) else None

    def get(self, kind: type[ResourceT], name: str) -> ResourceT:
        """As `find`, but it has to be there."""
        found = self.find(kind, name)
        assert found is not None, f"{kind.kind} {name} does not exist"
        return found

    def every(self, kind: type[ResourceT]) -> tuple[ResourceT, ...]:
        """All objects of a kind, by name."""
        return tuple(o for _, o in sorted(self.objects.items()) if isinstance(o, kind))

    def tick(self) -> str:
        """The next resourceVersion."""
        self.version += 1
        return str(self.version)

    def put(self, obj: ResourceT) -> ResourceT:
        """Store without any check but the schema: what a person or the test's setup does."""
        before = self.objects.get((obj.kind, obj.name))
        meta: dict[str, Any] = {"resource_version": self.tick()}
        if before is None:
            meta |= {"uid": obj.metadata.uid or f"uid-{obj.name}-{self.version}", "generation": 1}
        stored = obj.model_copy(update={"metadata": obj.metadata.model_copy(update=meta)})
        stored = type(obj).parse(stored.wire())
        self.objects[obj.kind, obj.name] = stored
        self.watcher(stored)
        return stored

    def create(self, obj: Resource) -> tuple[Outcome, Resource | None, str]:
        """Create; CONFLICT where it exists."""
        if (obj.kind, obj.name) in self.objects:
            return Outcome.CONFLICT, None, f"{obj.kind} {obj.name} exists"
        try:
            if isinstance(obj, Failover):
                _check_new(obj)
            return Outcome.OK, self.put(obj), ""
        except (RefusedError, ValidationError) as refusal:
            return self._refused(refusal)

    def replace(
        self, kind: type[Resource], name: str, version: str, status: Any
    ) -> tuple[Outcome, Resource | None, str]:
        """Replace the status, guarded by resourceVersion (empty: unguarded)."""
        before = self.objects.get((kind.kind, name))
        if before is None:
            return Outcome.GONE, None, f"{kind.kind} {name} does not exist"
        if version and before.version != version:
            return Outcome.CONFLICT, None, f"{kind.kind} {name} is at {before.version}, not {version}"
        after = before.model_copy(update={"status": status})
        try:
            if isinstance(before, OSSPair) and isinstance(after, OSSPair):
                check_pair(before, after)
            if isinstance(before, Failover) and isinstance(after, Failover):
                check_failover(before, after)
            return Outcome.OK, self.put(after), ""
        except (RefusedError, ValidationError) as refusal:
            return self._refused(refusal)

    def edit(self, kind: type[ResourceT], name: str, **spec: Any) -> ResourceT:
        """A person edits the spec: the generation rises."""
        before = self.get(kind, name)
        wire = before.wire()
        after = kind.parse({**wire, "spec": {**wire.get("spec", {}), **spec}})
        if isinstance(before, Failover) and isinstance(after, Failover):
            check_approval(before, after)
        meta = before.metadata.model_copy(update={"generation": before.metadata.generation + 1})
        return self.put(after.model_copy(update={"metadata": meta}))

    def _refused(self, refusal: Exception) -> tuple[Outcome, None, str]:
        self.refusals.append(str(refusal))
        return Outcome.REFUSED, None, str(refusal)


def check_pair(before: OSSPair, after: OSSPair) -> None:
    """The rules of OSSPair.status."""
    new, old = after.status, before.status
    _rule(old is None or new is not None, "status vanishes")
    if new is None:
        return
    servers = [n.name for n in after.spec.nodes]
    _rule(all(a.node in servers for a in new.assignments), "a server that holds targets is not in spec.nodes")
    _rule(all(a.epoch <= new.epoch for a in new.assignments), "an assignment above status.epoch")
    if old is None:
        return
    _rule(old.epoch <= new.epoch <= old.epoch + 1000, "epoch goes back or jumps", old.epoch, new.epoch)
    for a in old.assignments:
        check_assignment(a, new)


def check_assignment(old: Assignment, status: OSSPairStatus) -> None:
    """The transition rules of one assignment."""
    new = next((a for a in status.assignments if a.target == old.target), None)
    if new is None:
        raise RefusedError(f"assignments lose {old.target}")
    same = (new.node, new.intent) == (old.node, old.intent)
    _rule(new.epoch >= old.epoch if same else new.epoch > old.epoch, "epoch must rise with node or intent", old, new)
    if new.node == old.node:
        return
    w = new.warrant
    _rule(w != old.warrant, "a move without a new warrant", new)
    _rule(w.certificate is None or old.intent == "Hold", "a certificate without a Hold", new)
    released = w.released is None or (
        old.intent == "Release" and (w.released.node, w.released.epoch) == (old.node, old.epoch)
    )
    _rule(released, "a release of something else", old, new)


def _check_new(failover: Failover) -> None:
    spec = failover.spec
    _rule(failover.name == f"{spec.pair_name}-{spec.epoch}", "name is not PAIR-EPOCH", failover.name, spec.epoch)
    _rule(spec.approval is None, "an approval from the beginning")
    _rule(spec.node != spec.partner, "partner is the node itself")


def check_failover(before: Failover, after: Failover) -> None:
    """The rules of Failover.status."""
    new, old = after.status, before.status
    if new is None:
        _rule(old is None, "status vanishes")
        return
    source = old.phase if old else ""
    _rule(may_follow(source, new.phase, after.spec.type), "phase must not go", source, new.phase)
    _rule(source not in TERMINAL or source == new.phase, "an ended Failover goes on", source, new.phase)
    certified = after.spec.type != "Failover" or new.phase not in CERTIFIED
    _rule(certified or new.certificate is not None, "certificate is missing", new.phase)
    if old is not None:
        _rule(old.certificate in (None, new.certificate), "certificate is edited")
        _rule(new.hold_epoch >= old.hold_epoch, "holdEpoch goes back")
        jump = (source, new.phase) == ("Blocked", "Relocating")
        word = new.certificate is not None and bool(new.certificate.confirmed_by)
        _rule(not jump or word, "Blocked to Relocating without confirmedBy")
    if new.certificate is not None:
        _check_certificate(after, new, new.certificate)


def _check_certificate(failover: Failover, status: FailoverStatus, c: Certificate) -> None:
    spec = failover.spec
    _rule(c.node == spec.node and c.hold_epoch > spec.epoch, "certificate of another server or before the Hold")
    _rule(all(d.state in ("Still", "Clean", "Fsck") for d in c.disks), "certificate over a live disk")
    if c.confirmed_by:
        _rule(not c.clear_mmp, "a person's word clears MMP")
        return
    _rule(all(f.state == "PoweredOff" for f in c.feeds) and len(c.feeds) > 0, "feeds prove nothing")
    _rule(all(f.reads >= spec.policy.confirm.rounds for f in c.feeds), "too few rounds")
    proven = {(f.device_name, f.outlet) for f in c.feeds}
    level = next((lv for lv in spec.policy.levels if lv.name == c.level), None)
    whole = level is not None and all((f.device_name, f.outlet) in proven for f in level.feeds)
    _rule(whole, "not every feed of one level", c.level, status.phase)


def check_approval(before: Failover, after: Failover) -> None:
    """The rules of Failover.spec.approval."""
    new, old, status = after.spec.approval, before.spec.approval, before.status
    if new == old:
        return
    if new is None or status is None:
        raise RefusedError("an approval is withdrawn, or nothing is asked")
    _rule(old is None or old.evidence != status.evidence, "an approval is answered twice")
    _rule(status.phase in ANSWERABLE, "nothing is asked in this phase", status.phase)
    _rule(new.evidence == status.evidence, "is not the current status.evidence")
    waiting = ("Failover", "Restart", "Dismiss", "Failback")
    allowed = waiting if status.phase == "AwaitingApproval" else ("ConfirmDead", "Restart", "Dismiss")
    _rule(new.answer in allowed, "no answer for this phase", new.answer, status.phase)
    _rule(new.answer != "ConfirmDead" or status.hold_epoch > 0, "ConfirmDead before the Hold")
    orderly = before.spec.type in ORDERLY
    fits = new.answer == "Dismiss" or (orderly if new.answer == "Failback" else before.spec.type == "Failover")
    _rule(fits, "no answer for this type", new.answer, before.spec.type)
