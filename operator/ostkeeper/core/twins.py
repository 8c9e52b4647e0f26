"""The API server's rules in Python: beside each CEL rule of `api.rules` the same sentence as a function of the models.

Here: one table a model class, in the order of its `rules`; a CEL rule without its twin, or a twin without its rule, fails at
import. Not here: which of them one write is held against (`referee`), enumerations and bounds (pydantic's, in the models).

A twin says whether the rule *holds*. One that is handed the last version as well is of a rule that reads `oldSelf`.
`has(x)` in CEL is "on the wire": what a model leaves out is None here, and a list that is left out is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic.alias_generators import to_snake

from ostkeeper.api import fieldrules
from ostkeeper.api import rules as cel
from ostkeeper.api.common import Model, Rule, seconds
from ostkeeper.api.failover import Certificate, Failover, FailoverSpec, FailoverStatus
from ostkeeper.api.fencedevice import FenceDeviceSpec, Probe
from ostkeeper.api.fieldrules import Bound
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import (
    ApprovalPolicy,
    Assignment,
    Confirm,
    FailbackPolicy,
    FailoverPolicy,
    Heartbeat,
    Level,
    NodeSpec,
    OSSPair,
    OSSPairSpec,
    OSSPairStatus,
    UnhealthyCondition,
    Warrant,
)
from ostkeeper.api.ost import Backend, OSTSpec
from ostkeeper.api.phases import ANSWERABLE, CERTIFIED, ORDERLY, may_follow

M = TypeVar("M", bound=Model)


class Twin(NamedTuple, Generic[M]):
    """One rule: where it points, what it says, and whether it holds for (the new, the old)."""

    path: str
    says: str
    holds: Callable[[M, M], bool]


class Twins(NamedTuple, Generic[M]):
    """The rules of one model class: of what it is, of how it may change, and of how it begins."""

    alone: tuple[Twin[M], ...]
    """Hold for each version by itself; `holds` is handed the new version twice."""
    change: tuple[Twin[M], ...]
    """Read `oldSelf`: asked only where there was an earlier version."""
    born: tuple[Twin[M], ...]
    """With optionalOldSelf: asked only where there was none; `holds` is handed the new version twice."""


def _twins(model: type[M], *holds: Callable[[M, M], bool]) -> Twins[M]:
    # strict: a CEL rule added without its twin stops the program here, not in the field.
    pairs = [(_when(rule), Twin(rule.path, rule.message, twin)) for rule, twin in zip(model.rules, holds, strict=True)]
    alone, change, born = (tuple(twin for when, twin in pairs if when == name) for name in ("alone", "change", "born"))
    return Twins(alone, change, born)


def _when(rule: Rule) -> str:
    if rule.optional_old_self:
        return "born"
    return "change" if "oldSelf" in rule.rule else "alone"


def _one_of(*members: object) -> bool:
    return sum(member is not None for member in members) == 1


# ---- what people declare


def _bounded(bounds: Iterable[Bound]) -> list[Callable[[Any, Any], bool]]:
    return [lambda v, _, bound=bound: bound.holds(getattr(v, to_snake(bound.field))) for bound in bounds]  # type: ignore[misc]


def _once(things: tuple[Any, ...]) -> bool:
    return len(set(things)) == len(things)


def _is_level(spec: OSSPairSpec) -> bool:
    asked = spec.drill
    return asked is None or any(
        node.name == asked.node and any(level.name == asked.level for level in node.fencing) for node in spec.nodes
    )


LEVEL = _twins(Level, lambda v, _: _once(tuple((f.device_name, f.outlet) for f in v.feeds)))
NODE = _twins(NodeSpec, lambda v, _: _once(tuple(level.name for level in v.fencing)))
HEARTBEAT = _twins(
    Heartbeat,
    *_bounded(fieldrules.HEARTBEAT),
    # In milliseconds, as the CEL rule: 3 x 0.1 s is no more than 0.3 s.
    lambda v, _: round(seconds(v.timeout) * 1000) >= 3 * round(seconds(v.interval) * 1000),
)
CONFIRM = _twins(Confirm, *_bounded(fieldrules.CONFIRM))
UNHEALTHY = _twins(UnhealthyCondition, *_bounded(fieldrules.UNHEALTHY))
APPROVAL_POLICY = _twins(ApprovalPolicy, *_bounded(fieldrules.APPROVAL))
FAILOVER_POLICY = _twins(
    FailoverPolicy,
    *_bounded(fieldrules.FAILOVER_POLICY),
    lambda v, _: v.automatic_after is None or v.mode != "Automatic",
)
FAILBACK = _twins(FailbackPolicy, *_bounded(fieldrules.FAILBACK))
PAIR_SPEC = _twins(
    OSSPairSpec,
    lambda v, _: v.nodes[0].name != v.nodes[1].name,
    lambda v, _: all(any(n.name == m for n in v.nodes) for m in v.maintenance),
    lambda v, _: _is_level(v),
    lambda v, _: all(any(n.name == b.node for n in v.nodes) for b in v.accept_boards),
)
PROBE = _twins(Probe, *_bounded(fieldrules.PROBE))
DEVICE_SPEC = _twins(
    FenceDeviceSpec,
    lambda v, _: _one_of(v.ipmi, v.snmp_pdu, v.redfish, v.fence_agent),
    *_bounded(fieldrules.DEVICE),
    lambda v, _: seconds(v.load.grace) <= 300,
)
BACKEND = _twins(Backend, lambda v, _: _one_of(v.ldiskfs, v.zfs, v.ext4))
OST_SPEC = _twins(
    OSTSpec,
    lambda v, old: v.file_system == old.file_system,
    lambda v, old: v.index == old.index,
    lambda v, old: v.pair_name == old.pair_name,
    lambda v, old: v.backend == old.backend,
    lambda v, _: v.deletion_policy == "Retain",
)
OSS_OBJECT = _twins(OSS, lambda v, old: v.spec is old.spec or v.spec == old.spec)

OST_FIELDS: tuple[Twin[OSTSpec], ...] = (
    Twin(
        ".mountPoint", cel.MOUNT_POINT.message, lambda v, _: bool(re.fullmatch(cel.MOUNT_POINT_PATTERN, v.mount_point))
    ),
    Twin(
        ".mountOptions",
        fieldrules.MOUNT_OPTION.message,
        lambda v, _: all(map(fieldrules.is_mount_option, v.mount_options)),
    ),
    Twin(".backend.ldiskfs.device", cel.LDISKFS_DEVICE.message, lambda v, _: _is_ldiskfs_device(v.backend)),
    Twin(".backend.ext4.device", cel.EXT4_DEVICE.message, lambda v, _: _is_ext4_device(v.backend)),
)
"""Rules that stand on single fields of an OST: what is handed to mount(8) on a storage server."""
DEVICE_FIELDS: tuple[Twin[FenceDeviceSpec], ...] = tuple(
    Twin(f".{name}.address", fieldrules.ADDRESS.message, holds)
    for name, holds in (
        ("ipmi", lambda v, _: v.ipmi is None or fieldrules.is_address(v.ipmi.address)),
        ("snmpPDU", lambda v, _: v.snmp_pdu is None or fieldrules.is_address(v.snmp_pdu.address)),
        ("redfish", lambda v, _: v.redfish is None or fieldrules.is_address(v.redfish.address)),
    )
)
"""Rules that stand on single fields of a FenceDevice."""


def _is_ldiskfs_device(backend: Backend) -> bool:
    return backend.ldiskfs is None or bool(re.fullmatch(cel.LDISKFS_DEVICE_PATTERN, backend.ldiskfs.device))


def _is_ext4_device(backend: Backend) -> bool:
    return backend.ext4 is None or bool(re.fullmatch(cel.EXT4_DEVICE_PATTERN, backend.ext4.device))


# ---- who may mount what


def _holders_are_declared(pair: OSSPair) -> bool:
    return pair.status is None or all(any(n.name == a.node for n in pair.spec.nodes) for a in pair.status.assignments)


def _no_jump(new: OSSPair, old: OSSPair) -> bool:
    if old.status is None or new.status is None or new.status.epoch <= old.status.epoch + cel.EPOCH_JUMP:
        return True
    return new.spec.adopt is not None and new.status.epoch <= new.spec.adopt + 1


def _keeps_targets(new: OSSPairStatus, old: OSSPairStatus) -> bool:
    if new.assignments is old.assignments:
        return True
    kept = {a.target for a in new.assignments}
    lost = [a for a in old.assignments if a.target not in kept]
    return not lost or (new.epoch > old.epoch and all(a.intent == "Release" for a in lost))


def _keeps_beside_hold(new: OSSPairStatus, old: OSSPairStatus) -> bool:
    if not old.active_failover or new.assignments is old.assignments:
        return True
    return not any(a.intent == "Hold" for a in old.assignments) or len(new.assignments) >= len(old.assignments)


def _keeps_boards(new: OSSPair, old: OSSPair) -> bool:
    if old.status is None or new.status is None or new.status.boards is old.status.boards:
        return True
    pinned = {b.node: b.system_uuid for b in new.status.boards}
    accepted = {(a.node, a.system_uuid) for a in new.spec.accept_boards}
    servers = {n.name for n in new.spec.nodes}
    return all(
        b.node not in servers
        or (b.node in pinned and (pinned[b.node] == b.system_uuid or (b.node, pinned[b.node]) in accepted))
        for b in old.status.boards
    )


def _certified_by_the_slot(new: OSSPairStatus, old: OSSPairStatus) -> bool:
    if new.assignments is old.assignments:
        return True
    for a in new.assignments:
        certificate = a.warrant.certificate
        if certificate is None or certificate.failover == old.active_failover:
            continue
        was = old.assignment(a.target)
        if was is None or was.warrant != a.warrant:
            return False
    return True


def _adopted_upon_a_word(new: OSSPairStatus, old: OSSPairStatus) -> bool:
    if new.adopted > old.adopted or new.assignments is old.assignments:
        return True
    had = {a.target: a.node for a in old.assignments}
    return all(a.warrant.adopted is None or had.get(a.target, a.node) == a.node for a in new.assignments)


def _is_the_release(new: Assignment, old: Assignment) -> bool:
    released = new.warrant.released
    if new.node == old.node or released is None:
        return True
    return old.intent == "Release" and (released.node, released.epoch) == (old.node, old.epoch)


PAIR = _twins(
    OSSPair,
    lambda v, old: old.status is None or v.status is not None,
    lambda v, _: _holders_are_declared(v),
    _no_jump,
    _keeps_boards,
)
PAIR_STATUS = _twins(
    OSSPairStatus,
    lambda v, old: v.epoch >= old.epoch,
    _keeps_targets,
    _keeps_beside_hold,
    lambda v, _: all(a.epoch <= v.epoch for a in v.assignments),
    lambda v, old: not old.active_failover or v.active_failover in ("", old.active_failover),
    _certified_by_the_slot,
    _adopted_upon_a_word,
)
ASSIGNMENT = _twins(
    Assignment,
    lambda v, old: v.epoch >= old.epoch if (v.node, v.intent) == (old.node, old.intent) else v.epoch > old.epoch,
    lambda v, old: v.node == old.node or v.warrant != old.warrant,
    lambda v, old: v.node == old.node or v.warrant.certificate is None or old.intent == "Hold",
    lambda v, old: v.node == old.node or v.warrant.certificate is None or v.warrant.certificate.node == old.node,
    _is_the_release,
)
WARRANT = _twins(Warrant, lambda v, _: _one_of(v.adopted, v.released, v.certificate))

# ---- a failover


def _feeds_prove(c: Certificate) -> bool:
    return bool(c.confirmed_by) or (bool(c.feeds) and all(f.state == "PoweredOff" and f.reads >= 1 for f in c.feeds))


def _is_of_this_hold(failover: Failover) -> bool:
    c = failover.status.certificate if failover.status else None
    return c is None or (c.node == failover.spec.node and c.hold_epoch > failover.spec.epoch)


def _proves_a_level(failover: Failover) -> bool:
    c, policy = (failover.status.certificate if failover.status else None), failover.spec.policy
    if c is None or c.confirmed_by is not None:
        return True
    proven = {(f.device_name, f.outlet) for f in c.feeds}
    whole = any(
        level.name == c.level and all((f.device_name, f.outlet) in proven for f in level.feeds)
        for level in policy.levels
    )
    return whole and all(f.reads >= policy.confirm.rounds for f in c.feeds)


def _begins_rightly(new: Failover, old: Failover) -> bool:
    return old.status is not None or new.status is None or may_follow("", new.status.phase, new.spec.type)


def _follows(new: Failover, old: Failover) -> bool:
    return old.status is None or new.status is None or may_follow(old.phase, new.phase, new.spec.type)


def _is_certified(failover: Failover) -> bool:
    status = failover.status
    moves = status is not None and failover.spec.type == "Failover" and status.phase in CERTIFIED
    return not moves or (status is not None and status.certificate is not None)


def _has_a_persons_word(new: Failover, old: Failover) -> bool:
    certified = old.status is not None and old.status.certificate is not None
    if (old.phase, new.phase) != ("Blocked", "Relocating") or new.status is None or certified:
        return True
    return new.status.certificate is not None and new.status.certificate.confirmed_by is not None


def _is_unanswered(new: Failover, old: Failover) -> bool:
    """Whether this write brings no other answer than the one that was there; CEL: _UNCHANGED."""
    return new.spec.approval is None or new.spec.approval == old.spec.approval


def _stands(new: Failover, old: Failover) -> bool:
    was, now = old.spec.approval, new.spec.approval
    if was is None or was == now:
        return True
    return now is not None and old.status is not None and was.evidence != old.status.evidence


def _is_of_this_evidence(new: Failover) -> bool:
    said, status = new.spec.approval, new.status
    return said is not None and status is not None and said.evidence == status.evidence


def _answers_the_phase(new: Failover) -> bool:
    said = new.spec.approval.answer if new.spec.approval else ""
    answers = {
        "AwaitingApproval": ("Failover", "Restart", "Dismiss", "Failback"),
        "Blocked": ("ConfirmDead", "Restart", "Dismiss"),
    }
    phase = "Blocked" if _tried_again(new) else new.phase
    return new.status is None or said in answers.get(phase, ())


def _tried_again(new: Failover) -> bool:
    """Whether a level is tried again, and Blocked's question stands; CEL: _TRIED_AGAIN."""
    return new.phase == "Fencing" and new.status is not None and bool(new.status.missing)


def _answers_the_type(new: Failover) -> bool:
    said, type_ = (new.spec.approval.answer if new.spec.approval else ""), new.spec.type
    return said == "Dismiss" or type_ in (ORDERLY if said == "Failback" else ("Failover",))


def _may_confirm(new: Failover) -> bool:
    said = new.spec.approval.answer if new.spec.approval else ""
    return said != "ConfirmDead" or (new.status is not None and new.status.hold_epoch > 0)


def _enters(new: Failover, old: Failover, *phases: str) -> bool:
    return new.phase != old.phase and new.phase in phases and new.spec.type != "Drill"


def _is_decided(new: Failover, old: Failover) -> bool:
    if not _enters(new, old, "Holding"):
        return True
    policy, said, was = new.spec.policy, new.spec.approval, old.status
    if policy.mode == "Automatic" or (policy.mode == "Manual" and policy.automatic_after is not None):
        return True
    return (
        said is not None
        and said.answer in ("Failover", "Restart")
        and was is not None
        and said.evidence == was.evidence
    )


def _new_certificate(new: Failover, old: Failover) -> Certificate | None:
    """The certificate that this write brings."""
    there = old.status is not None and old.status.certificate is not None
    return new.status.certificate if new.status is not None and not there else None


def _is_of_the_status(new: Failover, certificate: Certificate) -> bool:
    hold = new.status.hold_epoch if new.status else 0
    return (certificate.boot_id, certificate.hold_epoch) == (new.spec.evidence.boot_id, hold)


def _is_confirmed(new: Failover, old: Failover, certificate: Certificate) -> bool:
    said = new.spec.approval
    given = said is not None and (said.answer, said.by) == ("ConfirmDead", certificate.confirmed_by)
    return given and old.phase == "Blocked"


def _reads_disks(new: Failover, certificate: Certificate) -> bool:
    return new.phase != "Relocating" or not new.spec.targets or bool(certificate.disks)


def _same(*fields: str) -> Callable[[FailoverSpec, FailoverSpec], bool]:
    return lambda new, old: all(getattr(new, field) == getattr(old, field) for field in fields)


FAILOVER_SPEC = _twins(
    FailoverSpec,
    _same("pair_name", "epoch", "type", "node", "partner"),
    _same("evidence", "policy"),
    _same("targets", "drill_level", "drill_id"),
    lambda v, _: v.node != v.partner,
)
CERTIFICATE = _twins(
    Certificate,
    lambda v, _: _feeds_prove(v),
    lambda v, _: all(d.state in ("Still", "Clean") for d in v.disks),
    lambda v, _: v.confirmed_by is None or not v.clear_mmp,
)
FAILOVER_STATUS = _twins(
    FailoverStatus,
    lambda v, old: old.certificate is None or v.certificate == old.certificate,
    lambda v, old: v.hold_epoch >= old.hold_epoch,
)
FAILOVER = _twins(
    Failover,
    lambda v, _: v.name == f"{v.spec.pair_name}-{v.spec.epoch}",
    lambda v, old: old.status is None or v.status is not None,
    _begins_rightly,
    _follows,
    lambda v, _: _is_certified(v),
    _has_a_persons_word,
    lambda v, _: _is_of_this_hold(v),
    lambda v, _: _proves_a_level(v),
    lambda v, _: v.spec.approval is None,
    _stands,
    lambda v, old: _is_unanswered(v, old) or v.phase in ANSWERABLE or _tried_again(v),
    lambda v, old: _is_unanswered(v, old) or _is_of_this_evidence(v),
    lambda v, old: _is_unanswered(v, old) or _answers_the_phase(v),
    lambda v, old: _is_unanswered(v, old) or _may_confirm(v),
    lambda v, old: _is_unanswered(v, old) or _answers_the_type(v),
    _is_decided,
    lambda v, old: not _enters(v, old, "Holding", "Relocating") or v.spec.policy.mode != "Observe",
    lambda v, old: (c := _new_certificate(v, old)) is None or _is_of_the_status(v, c),
    lambda v, old: (c := _new_certificate(v, old)) is None or not c.clear_mmp or v.spec.policy.clear_mmp,
    lambda v, old: (c := _new_certificate(v, old)) is None or c.confirmed_by is None or _is_confirmed(v, old, c),
    lambda v, old: (c := _new_certificate(v, old)) is None or _reads_disks(v, c),
)
