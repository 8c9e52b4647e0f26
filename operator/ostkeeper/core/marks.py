"""Whose mark an MMP block carries: the dead server's, as that server reported it, or another host's.

A mark is the node and device name that the kernel writes into the MMP block of a mounted file system. Both machines
compare whole marks.
"""

from __future__ import annotations

from ostkeeper.api.failover import DiskProof, Failover
from ostkeeper.api.oss import DiskReport
from ostkeeper.api.osspair import Assignment
from ostkeeper.core.view import View


def disk_proof(view: View, fo: Failover, disk: DiskReport) -> DiskProof:
    """The certificate's entry for one disk, with the mark that the dead server reported and the hazard, if there is one."""
    reported = reported_mark(view, fo, disk.target)
    proof = DiskProof(target=disk.target, state=disk.state, block=disk.block, mark=disk.mark, reported=reported)
    return proof.model_copy(update={"hazard": _hazard(proof, fo)[:1024]})


def reported_mark(view: View, fo: Failover, target: str) -> str:
    """The mark that the failed server read back for its mount, in the boot that the Failover is about; empty: none known."""
    report, boot = view.report(fo.spec.node), fo.spec.evidence.boot_id
    if report is None or not boot or report.boot_id != boot:
        return ""
    return next((found.mark for found in report.targets if found.target == target), "")


def _hazard(proof: DiskProof, fo: Failover) -> str:
    """Why the block may be a third host's."""
    if proof.state != "Still" or proof.mark == proof.reported != "":
        return ""
    node, boot = fo.spec.node, fo.spec.evidence.boot_id or "unknown"
    if proof.reported:
        seen = f"{node} reported the mark {proof.reported} for its mount in boot {boot}: another host has written to this LUN"
    else:
        seen = f"{node} reported no mark for a mount in boot {boot}: another host may have written to this LUN"
    return (
        f"{proof.target}: its MMP block carries the mark {proof.mark or '(empty)'}, but {seen}. MMP is not cleared and the "
        f"mount waits as the kernel does. Find the host of that mark and take this LUN away from it"
    )


def mark_hazard(view: View, assignment: Assignment) -> str:
    """The hazard of a target that came to its server by a certificate, for as long as it is served under that."""
    warrant = assignment.warrant.certificate
    fo = view.failovers.get(warrant.failover) if warrant else None
    certificate = fo.status.certificate if fo and fo.status else None
    if warrant is None or certificate is None or certificate.digest != warrant.digest:
        return ""
    return next((disk.hazard for disk in certificate.disks if disk.target == assignment.target), "")


def with_hazards(message: str, disks: tuple[DiskProof, ...]) -> str:
    """What is said of a certificate, with the hazards that its disks carry."""
    found = "; ".join(disk.hazard for disk in disks if disk.hazard)
    return f"{message}. Hazard: {found}" if found else message
