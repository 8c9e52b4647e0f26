"""What an agent may do, one rule a function, each with its sentence. A rule only ever says no.

Here: refusals to mount, whether MMP may be cleared, when the machine must stop. Not here: what is done next and in which
order (`host`), how the disk is compared once more right before (`agent`).

A refusal is (reason, message): one CamelCase word, and what a person reads. `WAIT` as reason: no fault, it goes on by
itself shortly.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostkeeper.api.failover import Certificate, DiskProof
from ostkeeper.api.osspair import Assignment
from ostkeeper.core.digest import certificate_digest
from ostkeeper.core.hoststate import STALLED_AFTER, Host, Target

Refusal = tuple[str, str]
WAIT = "Waiting"
_STILL_AFTER = 2.0
"""Update intervals that a block must have stood still for."""


# --- this server as a whole ------------------------------------------------------------------------------------------


def refuses_everything(host: Host) -> Refusal | None:
    """Why this agent serves nothing at all: the store is corrupt, the cluster has no name, or the board is another."""
    if host.corrupt:
        return "StoreCorrupt", host.corrupt
    if not host.cluster:
        return "ClusterUnknown", (
            "the UID of namespace kube-system could not be read: epochs are remembered by it, so nothing is mounted. The "
            "agent needs `get` on that namespace (deploy/rbac)"
        )
    return wrong_board(host)


def wrong_board(host: Host) -> Refusal | None:
    """Another machine under this name gets no lease and no mount until a person accepts it."""
    server = host.server
    if host.pinned in ("", server.system_uuid.lower()):
        return None
    return "WrongBoard", (
        f"this machine's system UUID is {server.system_uuid}, but {host.pinned} is pinned as {server.node}: it renews no "
        f"lease and mounts nothing. If it replaced the old machine, accept it: spec.acceptBoards of the pair"
    )


def epoch_regressed(host: Host) -> str:
    """The pair is below an epoch that this server has seen: the API was restored or re-created. Nothing moves."""
    status = host.pair.status if host.pair else None
    seen = host.epoch_seen()
    if seen == 0 or (status is not None and status.epoch >= seen):
        return ""
    has = f"is at epoch {status.epoch}" if status else "has no status"
    return (
        f"this server has seen epoch {seen}, but the pair {has}: the API was restored or the pair re-created. "
        f"Nothing is mounted or unmounted until a person answers: spec.adopt: {seen}"
    )


def store_forgotten(host: Host) -> str:
    """Why nothing may be mounted after the state store has vanished: only others know whether this epoch is an old one."""
    forgotten, status = host.forgotten, host.pair.status if host.pair else None
    if forgotten is None or status is None:
        return ""
    partner = host.partner.status if host.partner else None
    known = max(forgotten.seen, partner.epoch_seen if partner else 0)
    if status.epoch < known:
        return (
            f"this server's state store was empty, epoch {known} is known to have been seen, and the pair is at epoch "
            f"{status.epoch}: the API was restored. Nothing is mounted until a person answers: spec.adopt: {known}"
        )
    if forgotten.vouched:
        return ""
    return (
        f"this server's state store was empty although an earlier agent had epoch {forgotten.seen} in it. It mounts once "
        f"{host.partner_name} has reported again (within a minute), or a new epoch is written: spec.adopt: {known}"
    )


def store_hazard(host: Host) -> str:
    """The hazard that a vanished store is, for as long as this agent runs; empty: it has not vanished."""
    if host.forgotten is None:
        return ""
    return (
        f"the state store was empty at the agent's start, although epoch {host.forgotten.seen} had been in it: keep "
        "--state-dir on a disk that survives a reboot, then restart the agent"
    )


def holds_lease(host: Host, now: float) -> bool:
    """This server's lease was renewed within the heartbeat's time-out, as seen on its own clock."""
    return now < host.lease_until


# --- may it be mounted? ----------------------------------------------------------------------------------------------


def ordered(host: Host, target: Target) -> Assignment | None:
    """The permission that a mount may rest on: Serve with this server's name, of a target that exists and is desired."""
    grant = host.assignment(target.name)
    if grant is None or grant.node != host.server.node or grant.intent != "Serve":
        return None
    if target.ost is None or not target.present or target.ost.spec.desired != "Mounted":
        return None
    return grant


def refuses_mount(host: Host, target: Target, grant: Assignment, now: float) -> Refusal | None:
    """The first rule that forbids this mount, or None."""
    return (
        _server_may_not(host, target, grant, now)
        or _claimed_twice(host, target)
        or _held_here(target)
        or _disk_unread(target, now)
        or _wrong_disk(host, target)
        or _partner_has_it(host, target, grant)
        or _in_use(target)
        or _foreign_mark(host, target, grant)
    )


def _server_may_not(host: Host, target: Target, grant: Assignment, now: float) -> Refusal | None:
    """This server serves nothing at all, has seen a higher epoch, or does not hold its own lease."""
    whole = refuses_everything(host)
    if whole:
        return whole
    regressed = epoch_regressed(host)
    if regressed:
        return "EpochRegressed", regressed
    seen = host.seen_for(target)
    if grant.epoch < seen:
        return (
            "EpochRegressed",
            f"{target.name}: Serve at epoch {grant.epoch} is below epoch {seen}, seen for this disk",
        )
    forgotten = store_forgotten(host)
    if forgotten:
        return "StoreForgotten", f"{target.name}: {forgotten}"
    if not holds_lease(host, now):
        return "LeaseNotHeld", (
            f"{target.name}: this server's lease was not renewed for {host.timeout:g}s: others may think that it is "
            "dead. What is mounted stays; nothing new is mounted until the API server answers again"
        )
    return None


def _claimed_twice(host: Host, target: Target) -> Refusal | None:
    """Two OSTs that claim one disk (by path, or as read), mount point or target name: none is mounted, unless one alone is in
    service: that one is."""
    spec = target.ost.spec if target.ost else None
    if spec is None:
        return None
    for key, other in sorted(host.osts.items()):
        if target.ost is not None and (key == target.ost.key or (target.ost.in_service and not other.in_service)):
            continue
        same = (
            other.spec.backend.source == spec.backend.source,
            other.spec.mount_point == spec.mount_point,
            other.target == target.name,
        )
        twin = host.targets.get(other.target)
        alias = twin is not None and twin is not target and twin.uuid == target.uuid != ""
        if any(same) or alias:
            return "ClaimedTwice", f"{target.name}: OST {key} claims the same disk, mount point or name; remove one"
    return None


def _held_here(target: Target) -> Refusal | None:
    """A child that could still write to the disk, or something else on its mount point."""
    if target.holder:
        return "ChildAlive", f"{target.name}: {target.holder}; it goes on by itself when that process has ended"
    if target.obstacle:
        return "MountPointTaken", f"{target.name}: {target.obstacle} is mounted on its mount point; unmount it"
    return None


def _disk_unread(target: Target, now: float) -> Refusal | None:
    """The disk was not read yet, cannot be read, or has not been for a while."""
    reading = target.reading
    if reading is None:
        return WAIT, f"{target.name}: its disk has not been read yet"
    if not reading.ok:
        return reading.reason or "DiskUnreadable", f"{target.name}: {reading.error}"
    if now - reading.began > STALLED_AFTER:
        why = f"its disk has not answered for over {STALLED_AFTER:g}s; look at the device and its paths"
        return "DiskUnreadable", f"{target.name}: {why}"
    return None


def _wrong_disk(host: Host, target: Target) -> Refusal | None:
    """MMP is off, the label is another target's, or the file system is not the one that was seen under this name."""
    reading, name = target.reading, target.name
    if reading is None or target.ost is None:
        return None
    if not reading.mmp_enabled:
        return "MMPOff", f"{name}: the file system has no multi-mount protection: tune2fs -O mmp while it is unmounted"
    if target.ost.spec.backend.ext4 and reading.label and reading.label != name:
        return "WrongLabel", f"{name}: the volume label is {reading.label!r}: another target's disk? See e2label"
    record = host.records.get(name)
    if record and record.disk != reading.uuid:
        return "WrongUUID", (
            f"{name}: the file system is {reading.uuid}, but {record.disk} was mounted under this name; if the device was "
            "replaced on purpose, set desired: Unmounted, wait for it, then set Mounted again"
        )
    status = host.partner.status if host.partner else None
    theirs = next((disk.uuid for disk in status.disks if disk.target == name), "") if status else ""
    if theirs and theirs != reading.uuid:
        return "WrongUUID", (
            f"{name}: this server reads file system {reading.uuid} where {host.partner_name} reads {theirs}: "
            "the device path does not lead to the same disk on both servers"
        )
    return None


def _partner_has_it(host: Host, target: Target, grant: Assignment) -> Refusal | None:
    """The partner says that it has it mounted (also by hand), or that a child of it lives; unless that boot is dead."""
    report = host.partner_target(target.name)
    if report is None or not (report.child or report.state in ("Mounted", "ForeignMount", "Mounting", "Unmounting")):
        return None
    certificate = certified(host, grant)
    reported = host.partner.status.boot_id if host.partner and host.partner.status else ""
    if certificate and certificate.node == host.partner_name and certificate.boot_id in ("", reported):
        return None
    return "PartnerHasIt", f"{target.name}: {host.partner_name} reports it {report.state}: {report.message or 'in use'}"


def _in_use(target: Target) -> Refusal | None:
    """MMP says that somebody has it mounted or checks it; an ordinary sequence must have been seen standing still."""
    reading = target.reading
    if reading is None or reading.activity == "Clean" or reading.activity == "Still":
        return None
    if reading.activity == "Fsck":
        return "FsckRuns", f"{target.name}: e2fsck or another tool that writes holds it (MMP reads FSCK); let it end"
    if reading.activity == "Advancing":
        return "MMPActive", f"{target.name}: mounted elsewhere: its MMP block is being rewritten by {reading.mark}"
    return WAIT, f"{target.name}: watching whether its MMP block stands still"


def _foreign_mark(host: Host, target: Target, grant: Assignment) -> Refusal | None:
    """A block that is not clean must carry this server's own mark, or that of a server whose warrant says it let go."""
    reading = target.reading
    if reading is None or not reading.ordinary or own_mark(host, target) or _let_go_dirty(host, grant):
        return None
    certificate = certified(host, grant)
    if certificate and _marked_by(host, target, certificate):
        return None
    return "ForeignMark", (
        f"{target.name}: not unmounted in order, and the MMP block carries the mark {reading.mark}, not this server's: "
        f"it is mounted only under a death certificate of the server that wrote it. If it is surely mounted nowhere, run "
        f"e2fsck on it, or mount and unmount it by hand"
    )


def own_mark(host: Host, target: Target) -> bool:
    """The block carries this server's own mark, of this boot or an earlier one.

    A mount that was begun and never read back (the machine died within it) left an unknown mark: it counts as own unless
    the partner, as it reports, ever had that mark.
    """
    record, reading = host.records.get(target.name), target.reading
    if record is None or reading is None or record.disk != reading.uuid:
        return False
    if record.mark:
        return record.mark == reading.mark
    theirs = host.partner_target(target.name)
    return theirs is None or theirs.mark != reading.mark


def left_dirty(host: Host, target: Target) -> bool:
    """Its block stands still as an earlier boot of this server left it, or a partner that is certified dead.

    The latter's targets come here as `Release` where nobody wants them mounted. Never one that this boot has mounted.
    """
    reading, grant, record = target.reading, host.assignment(target.name), host.records.get(target.name)
    if reading is None or reading.activity != "Still" or host.record(target.name) is not None:
        return False
    if record is not None and record.mark != "" and own_mark(host, target):
        return True
    certificate = certified(host, grant) if grant is not None else None
    if certificate is None or certificate.node != host.partner_name:
        return False
    return _marked_by(host, target, certificate)


def _let_go_dirty(host: Host, grant: Assignment) -> bool:
    """The partner reported `released {dirty}`: its own mark of an earlier boot. The mount waits as the kernel does."""
    released = grant.warrant.released
    return released is not None and released.dirty and released.node == host.partner_name


def _marked_by(host: Host, target: Target, certificate: Certificate) -> bool:
    """The mark in the block is one of the dead server (or, after a Restart, of this server's own dead boot)."""
    mark = target.reading.mark if target.reading else ""
    proof = proof_of(certificate, target.name)
    if proof is not None and proof.mark == mark:
        return True
    theirs = host.partner_target(target.name)
    return certificate.node == host.partner_name and theirs is not None and theirs.mark == mark != ""


# --- may MMP be cleared? ---------------------------------------------------------------------------------------------


def certified(host: Host, grant: Assignment) -> Certificate | None:
    """The certificate that the warrant names, if it was read, is of one of the pair's servers, and has that digest."""
    warrant = grant.warrant.certificate
    failover = host.failovers.get(warrant.failover) if warrant else None
    certificate = failover.status.certificate if failover and failover.status else None
    if warrant is None or certificate is None or host.pair is None or certificate.node not in host.pair.servers:
        return None
    return certificate if certificate_digest(certificate) == warrant.digest else None


def proof_of(certificate: Certificate, target: str) -> DiskProof | None:
    """What the certificate says of a target's disk."""
    return next((disk for disk in certificate.disks if disk.target == target), None)


@dataclass(frozen=True, slots=True)
class Clearing:
    """Whether MMP is cleared before the mount."""

    clear: bool
    wait_until: float = 0.0
    """Not yet, but a reading that begins then may show it still for long enough; 0: not at all."""
    why: str = ""


def clearing(host: Host, target: Target, grant: Assignment, now: float) -> Clearing:
    """Clear only the certified block of the dead partner, unmoved for two update intervals since the last off.

    "Since the last off" counts from the first nonce of the certificate's last level that this agent saw; an agent that
    has not seen it counts from now on.
    """
    certificate, reading, warrant = certified(host, grant), target.reading, grant.warrant.certificate
    if certificate is None or warrant is None or reading is None or not reading.ordinary:
        return Clearing(False, why="nothing to clear, or no certificate")
    proof = proof_of(certificate, target.name)
    word = certificate.confirmed_by is not None  # a person's word never clears MMP
    if word or not certificate.clear_mmp or certificate.node != host.partner_name:
        return Clearing(False, why="the certificate does not allow it")
    if proof is None or proof.state != "Still" or not proof.block or proof.block != reading.digest:
        return Clearing(False, why="the block is not the certified one")
    if why := _not_the_dead_servers(host, target, certificate, proof):
        return Clearing(False, why=why)
    if target.unclearable == reading.digest:
        return Clearing(False, why="it could not be cleared before")
    needed = _STILL_AFTER * reading.update_interval
    began = max(reading.still_since, _counting_since(host, warrant.failover, now))
    if reading.began - began >= needed:
        return Clearing(True, why=f"certified by {warrant.failover}, unmoved for {reading.began - began:.1f}s since")
    return Clearing(False, began + needed, f"it is cleared once it has not moved for {needed:g}s")


def _not_the_dead_servers(host: Host, target: Target, certificate: Certificate, proof: DiskProof) -> str:
    """Why the block's mark is not known to be the dead server's own; empty: that server reported it in the boot that died.

    The certificate holds what the server had reported. While the server's OSS still tells of that boot, it is compared too.
    """
    mark, status = target.reading.mark if target.reading else "", host.partner.status if host.partner else None
    if not certificate.boot_id or not proof.reported:
        return f"{certificate.node} reported no mark of its own for the boot that is dead"
    if not mark == proof.mark == proof.reported:
        return f"the block carries the mark {mark}, and {certificate.node} reported {proof.reported}"
    if status is None:
        return f"the OSS of {certificate.node} cannot be read"
    theirs = host.partner_target(target.name)
    if status.boot_id == certificate.boot_id and (theirs is None or theirs.mark != mark):
        return f"the block carries the mark {mark}, and the OSS of {certificate.node} says {theirs.mark if theirs else ''!r}"
    return ""


def _counting_since(host: Host, failover: str, now: float) -> float:
    """When this agent saw the first nonce of the last level of that failover."""
    levels = sorted(level for name, level in host.bases if name == failover)
    return host.bases[failover, levels[-1]].since if levels else now


# --- must the machine stop? ------------------------------------------------------------------------------------------


def must_stop(host: Host) -> str:
    """Why this machine must stop writing at once: its successor may have its disks. Empty: it need not.

    Absence never stops it: no 403, no 404, no empty list, no pair that fell back behind what was seen.
    """
    why = _certified_dead(host)
    for target in host.targets.values():
        why = why or _served_elsewhere(host, target) or _overwritten(host, target)
    return why


def _certified_dead(host: Host) -> str:
    """A certificate names this very boot: everything that it had may be mounted elsewhere."""
    for name, failover in sorted(host.failovers.items()):
        certificate = failover.status.certificate if failover.status else None
        if certificate and certificate.node == host.server.node and certificate.boot_id == host.server.boot_id:
            return f"Failover {name} holds a death certificate of this server's present boot {host.server.boot_id}"
    return ""


def _served_elsewhere(host: Host, target: Target) -> str:
    """What it has mounted is served elsewhere at an epoch above its own, and not below any that it has seen."""
    grant, record = host.assignment(target.name), host.record(target.name)
    held = host.ours(target) or target.busy == "mount"
    if grant is None or record is None or not held or grant.node == host.server.node or grant.intent != "Serve":
        return ""
    own = max(record.epoch, target.busy_epoch if target.busy == "mount" else 0)
    if grant.epoch <= own or grant.epoch < host.seen_for(target) or epoch_regressed(host):
        return ""
    return f"{target.name} is mounted here under epoch {own}, but {grant.node} serves it at epoch {grant.epoch}"


def _overwritten(host: Host, target: Target) -> str:
    """Its own MMP block carries another mark than the one recorded at the mount: somebody else has mounted it."""
    record, reading = host.record(target.name), target.reading
    if record is None or reading is None or not host.ours(target) or not record.mark or not reading.ok:
        return ""
    if reading.began <= target.mounted_at or not reading.ordinary or reading.uuid != record.disk:
        return ""
    if reading.mark == record.mark:
        return ""
    return f"{target.name} is mounted here as {record.mark}, but its MMP block now carries the mark {reading.mark}"
