"""Retire the assignments of deleted OSTs, once nothing has them mounted.

An assignment outlives its OST object: absence orders nothing, and a target that is mounted stays assigned. A target that its
server reports unmounted gets `Release`, and its assignment is dropped once the release is proven: by the server's own report
of that release, or by answers of both agents to a nonce that was asked after the `Release`. Neither step unmounts anything.
"""

from __future__ import annotations

from ostkeeper.api.osspair import Assignment, Nonce
from ostkeeper.core.able import held_by_failover, released
from ostkeeper.core.events import Effect
from ostkeeper.core.fencing import new_nonce
from ostkeeper.core.view import View
from ostkeeper.core.writes import assign, write_pair

IDLE = ("Unmounted", "Failed", "Refused")
"""States of a target report in which the server has the target not mounted."""
RETRY = 10.0
"""Seconds until the agents are asked again about a target that their last answers did not prove unmounted."""


def retire(view: View, now: float) -> list[Effect]:
    """Drop what is proven unmounted; release what its server reports unmounted, and ask both agents about it."""
    assert view.status is not None
    deleted = () if held_by_failover(view) else view.undeclared()
    if not deleted:
        return []
    dropped = [a for a in deleted if a.intent == "Release" and _proven(view, a)]
    if dropped:
        names = {a.target for a in dropped}
        kept = tuple(a for a in view.status.assignments if a.target not in names)
        why = f"{', '.join(sorted(names))}: the OST was deleted and is unmounted"
        return write_pair(view, why, epoch=view.status.epoch + 1, assignments=kept)
    return _ask(view, deleted, now)


def _proven(view: View, a: Assignment) -> bool:
    """Whether no server has a target in `Release` mounted, nor can mount it."""
    if _elsewhere(view, a):
        return False
    done = released(view, a)
    return (done is not None and not done.dirty) or _answered(view, a)


def _elsewhere(view: View, a: Assignment) -> bool:
    """Whether another server than the assigned one reports the target mounted, in a boot that is not certified dead."""
    assert view.status is not None
    for node in view.servers:
        report, oss = view.target_report(node, a.target), view.osses.get(node)
        boot = oss.status.boot_id if oss and oss.status else ""
        dead = any((f.node, f.boot_id) == (node, boot) and _moved_by(view, f.failover) for f in view.status.fenced)
        if node != a.node and report is not None and not dead and (report.state not in IDLE or report.child):
            return True
    return False


def _moved_by(view: View, name: str) -> bool:
    """Whether a Failover's certificate may move targets. One of a Restart or a drill rests on less and outweighs no report."""
    fo = view.failovers.get(name)
    certificate = fo.status.certificate if fo is not None and fo.status is not None else None
    return (
        certificate is not None and fo is not None and fo.spec.type == "Failover" and certificate.proof != "SameServer"
    )


def _answered(view: View, a: Assignment) -> bool:
    """Whether both agents answered the nonce that was asked after the `Release`, each knowing the target, and not mounted."""
    nonce = view.status.nonce if view.status else None
    if nonce is None or nonce.value != view.retire_nonce:
        return False
    for node in view.servers:
        oss = view.osses.get(node)
        answer = oss.status.nonce if oss and oss.status else None
        if answer is None or answer.value != nonce.value:
            return False
        known = any(d.target == a.target for d in answer.disks)
        if not known or a.target in answer.mounted or a.target in answer.children:
            return False
    return True


def _ask(view: View, deleted: tuple[Assignment, ...], now: float) -> list[Effect]:
    """Write `Release` for what its living server reports unmounted, and ask both agents, in the same write."""
    assert view.status is not None
    going = [a.target for a in deleted if a.intent != "Release" and not unproven(view, a, now)]
    waiting = [a for a in deleted if a.intent == "Release" and not unproven(view, a, now)]
    if not going and not any(_both_know(view, a, now) for a in waiting):
        return []
    if now < view.retire_at:
        view.wake_by(view.retire_at)
        return []
    view.retire_at = now + RETRY
    view.wake_by(view.retire_at)
    view.retire_nonce = new_nonce(view)
    nonce = Nonce(value=view.retire_nonce, open=True)
    if not going:
        return write_pair(view, f"ask nonce {nonce.value}", nonce=nonce)
    epoch = view.status.epoch + 1
    assignments = assign(view.status.assignments, going, epoch, intent="Release")
    why = f"release {', '.join(going)}: the OST was deleted and is not mounted"
    return write_pair(view, why, epoch=epoch, assignments=assignments, nonce=nonce)


def _both_know(view: View, a: Assignment, now: float) -> bool:
    """Whether both agents live and report the target, so that their answers can prove it unmounted."""
    return all(view.fresh(n, now) and view.target_report(n, a.target) is not None for n in view.servers)


def unproven(view: View, a: Assignment, now: float) -> str:
    """Why the assignment of a deleted OST is kept. Empty: its server reports it unmounted in order, and no other has it."""
    report, current = view.target_report(a.node, a.target), view.report(a.node)
    if not view.fresh(a.node, now) or current is None:
        return f"{a.node} is silent"
    if report is None:
        return f"the agent of {a.node} started after the OST was deleted and does not know it"
    if report.state not in IDLE or report.child:
        return f"{a.node} reports it {report.state}"
    disk = next((d.state for d in current.disks if d.target == a.target), "Unknown")
    if disk not in ("Clean", "Unreadable"):
        return f"{a.node} reads its disk as {disk}: it was not unmounted in order"
    return "the other server reports it mounted" if _elsewhere(view, a) else ""
