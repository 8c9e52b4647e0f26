"""The OSS report: what this server says of itself, its targets and their disks.

Here: `status_of`, a function of what the host machine knows. Not here: when it is sent (`host`), conditions (the
operator writes Ready), `uptimeSeconds` (the shell stamps it: it would make every report a change).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from ostkeeper.api.oss import OSSStatus, Released, TargetReport
from ostkeeper.core import permission
from ostkeeper.core.hoststate import Host, Target
from ostkeeper.core.nonces import disk_report

State = Literal["Unmounted", "Mounting", "Mounted", "Unmounting", "ForeignMount", "Failed", "Refused", "Unknown"]


def status_of(host: Host, now: float, before: OSSStatus | None = None) -> OSSStatus:
    """The whole status; `before` itself where that says the same. Nothing is validated: all of it is typed already."""
    known = host.told()
    server, refuses = host.server, permission.refuses_everything(host)
    said: dict[str, Any] = {
        "boot_id": server.boot_id,
        "system_uuid": server.system_uuid,
        "agent_version": server.version,
        "agent_start": server.agent_start,
        "epoch_seen": max(host.epoch_seen(), host.forgotten.seen if host.forgotten else 0),
        "nonce": host.answer,
        "targets": tuple([_target(host, target) for target in known]),
        "disks": tuple([disk_report(target, now) for target in known]),
        "peer": host.peer,
        "hazards": tuple(filter(None, (permission.store_hazard(host), *host.hazards)))[:16],
        "refusal": ": ".join(refuses)[:1024] if refuses else "",
    }
    if before is not None and [getattr(before, name) for name in said] == list(said.values()):
        return before
    return OSSStatus.model_construct(**said)


def _target(host: Host, target: Target) -> TargetReport:
    state, said = _state(host, target)
    record = host.record(target.name) if target.mounts else None
    return _target_report(
        target.name,
        state,
        any(mount.read_only for mount in target.mounts),
        _errors(target),
        _epoch(host, target),
        record.mark if record else "",
        target.child,
        target.released,
        said[0][:64],
        said[1][:1024],
        target.failures,
        target.cleared and bool(target.mounts),
    )


@lru_cache(maxsize=4096)
def _target_report(
    name: str,
    state: State,
    read_only: bool,
    errors: bool,
    epoch: int,
    mark: str,
    child: bool,
    released: Released | None,
    reason: str,
    message: str,
    failures: int,
    cleared: bool,
) -> TargetReport:
    """Made once, and shared by all reports that say the same: models are frozen."""
    return TargetReport.model_construct(
        target=name,
        state=state,
        read_only=read_only,
        errors=errors,
        epoch=epoch,
        mark=mark,
        child=child,
        released=released,
        reason=reason,
        message=message,
        failures=failures,
        cleared_mmp=cleared,
    )


def _state(host: Host, target: Target) -> tuple[State, tuple[str, str]]:
    """What it is in, and what is to be said about that: reason and message."""
    failed = target.failed or ("", "")
    if not target.inspected:
        return "Unknown", ("", "its mounts and its lock were not looked at yet")
    if target.busy == "mount":
        return "Mounting", ("", "")
    if target.mounts and host.record(target.name) is None:
        where = ", ".join(mount.mount_point for mount in target.mounts)
        return "ForeignMount", ("ForeignMount", f"mounted on {where}, but not by ostkeeper: left alone")
    if target.busy == "unmount" or _letting_go(host, target):
        return "Unmounting", failed
    if target.mounts:
        return "Mounted", failed
    if target.failed:
        return "Failed", failed
    if target.refused and target.refused[0] != permission.WAIT:
        return "Refused", target.refused
    return "Unmounted", target.refused or ("", "")


def _letting_go(host: Host, target: Target) -> bool:
    """A Release names this server, and it was not carried out yet."""
    grant = host.assignment(target.name)
    if grant is None or (grant.node, grant.intent) != (host.server.node, "Release"):
        return False
    return target.released is None or target.released.epoch != grant.epoch


def _epoch(host: Host, target: Target) -> int:
    if target.busy == "mount":
        return target.busy_epoch
    record = host.record(target.name) if target.mounts else None
    return record.epoch if record else 0


def _errors(target: Target) -> bool:
    """It was mounted to be written and is not any more, or the kernel has flagged errors since it was mounted.

    Errors that were flagged before the mount are history: they stay in the super block until a full e2fsck.
    """
    if not target.mounts or target.ost is None:
        return False
    asked_for = "ro" in target.ost.spec.mount_options
    gone_read_only = not asked_for and all(mount.read_only for mount in target.mounts)
    flagged = target.reading is not None and target.reading.file_system_errors and not target.errors_then
    return gone_read_only or flagged
