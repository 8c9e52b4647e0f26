"""The API server as a referee, without an API server: would it take this write?

Here: which rules one write is held against, and what the refusal says. The simulator and the tests' API server ask it at
each commit. Not here: the rules (`twins`, beside the CEL of `api.rules`), bounds and enumerations (pydantic's), who may
write (admission policies), what takes a second object (`invariants`).

What is the same object as before is not judged again: a write that changes nothing of weight costs a microsecond or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from ostkeeper.api.common import Model, Resource
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import Assignment, OSSPair, OSSPairSpec, OSSPairStatus
from ostkeeper.api.ost import OST
from ostkeeper.core import twins
from ostkeeper.core.twins import Twins

M = TypeVar("M", bound=Model)

_OF_STATUS: Twins[Failover] = Twins(
    *(tuple(twin for twin in part if not twin.path.startswith(".spec")) for part in twins.FAILOVER)
)
"""The rules of a Failover whose spec is the same object as before: those on the answer hold then."""


def refusal(before: Resource | None, after: Resource) -> str:
    """What the API server would refuse this write with; empty: it takes it.

    `before` is what is stored (None: `after` is created), `after` what is to be stored, spec and status alike: a write of
    the status comes with the spec that is stored, and the other way round. Each reason names its field. Raises TypeError
    for two objects of different kinds.
    """
    if before is after:
        return ""
    if before is not None and type(before) is not type(after):
        raise TypeError(f"{after.kind} {after.key} is compared with the {before.kind} {before.key}")
    told = list(_judged(before, after))
    return f"{after.kind} {after.key}: {'; '.join(told)}" if told else ""


def _judged(before: Resource | None, after: Resource) -> Iterator[str]:
    if isinstance(after, OSSPair):
        return _pair(before if isinstance(before, OSSPair) else None, after)
    if isinstance(after, Failover):
        return _failover(before if isinstance(before, Failover) else None, after)
    if isinstance(after, OST):
        return _ost(before if isinstance(before, OST) else None, after)
    if isinstance(after, FenceDevice):
        return _device(before if isinstance(before, FenceDevice) else None, after)
    if isinstance(after, OSS):
        return _broken(twins.OSS_OBJECT, "", before if isinstance(before, OSS) else None, after)
    raise TypeError(f"{after.kind} is none of the kinds that are refereed")


def _broken(rules: Twins[M], where: str, old: M | None, new: M) -> Iterator[str]:
    """The sentences of the rules of one model that this version breaks."""
    for twin in rules.alone:
        if not twin.holds(new, new):
            yield f"{where}{twin.path}: {twin.says}".lstrip(".")
    for twin in rules.born if old is None else rules.change:
        if not twin.holds(new, new if old is None else old):
            yield f"{where}{twin.path}: {twin.says}".lstrip(".")


def _pair(old: OSSPair | None, new: OSSPair) -> Iterator[str]:
    if old is None or new.spec is not old.spec:
        yield from _pair_spec(new.spec)
    yield from _broken(twins.PAIR, "", old, new)
    before, after = (old.status if old else None), new.status
    if after is not None and after is not before:
        yield from _broken(twins.PAIR_STATUS, "status", before, after)
        yield from _assignments(before, after)


def _pair_spec(spec: OSSPairSpec) -> Iterator[str]:
    yield from _broken(twins.PAIR_SPEC, "spec", None, spec)
    yield from _broken(twins.HEARTBEAT, "spec.heartbeat", None, spec.heartbeat)
    yield from _broken(twins.FAILOVER_POLICY, "spec.failover", None, spec.failover)
    yield from _broken(twins.CONFIRM, "spec.failover.confirm", None, spec.failover.confirm)
    yield from _broken(twins.APPROVAL_POLICY, "spec.failover.approval", None, spec.failover.approval)
    yield from _broken(twins.FAILBACK, "spec.failback", None, spec.failback)
    for i, condition in enumerate(spec.unhealthy_conditions):
        yield from _broken(twins.UNHEALTHY, f"spec.unhealthyConditions[{i}]", None, condition)
    for i, node in enumerate(spec.nodes):
        yield from _broken(twins.NODE, f"spec.nodes[{i}]", None, node)
        for j, level in enumerate(node.fencing):
            yield from _broken(twins.LEVEL, f"spec.nodes[{i}].fencing[{j}]", None, level)


def _assignments(before: OSSPairStatus | None, after: OSSPairStatus) -> Iterator[str]:
    if before is not None and after.assignments is before.assignments:
        return
    for new in after.assignments:
        old = before.assignment(new.target) if before else None
        if new is not old:
            yield from assignment_broken(old, new)


def assignment_broken(old: Assignment | None, new: Assignment) -> Iterator[str]:
    """What the API server says against this change of one assignment; nothing: it takes it."""
    where = f"status.assignments[{new.target}]"
    yield from _broken(twins.ASSIGNMENT, where, old, new)
    yield from _broken(twins.WARRANT, f"{where}.warrant", None, new.warrant)


def _failover(old: Failover | None, new: Failover) -> Iterator[str]:
    if old is None or new.spec is not old.spec:
        yield from _broken(twins.FAILOVER_SPEC, "spec", old.spec if old else None, new.spec)
        yield from _broken(twins.FAILOVER, "", old, new)
    else:
        yield from _broken(_OF_STATUS, "", old, new)
    before, after = (old.status if old else None), new.status
    if after is None or after is before:
        return
    yield from _broken(twins.FAILOVER_STATUS, "status", before, after)
    if after.certificate is not None and (before is None or after.certificate is not before.certificate):
        yield from _broken(twins.CERTIFICATE, "status.certificate", None, after.certificate)


def _ost(old: OST | None, new: OST) -> Iterator[str]:
    if old is not None and new.spec is old.spec:
        return
    yield from _broken(twins.OST_SPEC, "spec", old.spec if old else None, new.spec)
    yield from _broken(twins.BACKEND, "spec.backend", None, new.spec.backend)
    for twin in twins.OST_FIELDS:
        if not twin.holds(new.spec, new.spec):
            yield f"spec{twin.path}: {twin.says}"


def _device(old: FenceDevice | None, new: FenceDevice) -> Iterator[str]:
    if old is not None and new.spec is old.spec:
        return
    yield from _broken(twins.DEVICE_SPEC, "spec", None, new.spec)
    yield from _broken(twins.PROBE, "spec.probe", None, new.spec.probe)
    for twin in twins.DEVICE_FIELDS:
        if not twin.holds(new.spec, new.spec):
            yield f"spec{twin.path}: {twin.says}"
