"""Stalled: why a person is needed, and which targets are not served.

The conditions of the pair are written by `mirror`.
"""

from __future__ import annotations

from ostkeeper.api.common import condition_of
from ostkeeper.core.able import claimed
from ostkeeper.core.adoption import REGRESSED, beyond_limit
from ostkeeper.core.due import held_up
from ostkeeper.core.retiring import unproven
from ostkeeper.core.target_status import PERSONS, Said, no_room
from ostkeeper.core.verdict import Verdict, certified_dead
from ostkeeper.core.view import View

UNREPORTED = "ReportNotWritten"
"""The reason where an agent renews its lease and cannot write its report."""
SERVED = ("Mounted", "Recovering")
NOT_SERVED = "NotServed"
"""The reason of Stalled for targets that nothing under way will serve."""
NOT_SERVED_AFTER = 120.0
"""Seconds without service after which a person is paged: longer than any failover that needs nobody, a mount that waits for
MMP (44 s) included."""


def regressed_message(view: View, epoch: int) -> str:
    """Message of a pair whose API server reports a lower epoch than an agent has seen; empty where `epoch` is 0."""
    if not epoch or view.status is None:
        return ""
    return (
        f"the agent of {_who_saw(view)} has seen epoch {epoch}, the API server says {view.status.epoch}: "
        f"it was restored from a backup, or the "
        f"objects were created again. Nothing is mounted, shot or stopped. Look at what is mounted where, then set "
        f"spec.adopt: {epoch}"
    )


def _who_saw(view: View) -> str:
    """The servers whose agents have seen an epoch above the API's."""
    epoch = view.status.epoch if view.status else 0
    found = [n for n in view.servers if (oss := view.osses.get(n)) and oss.status and oss.status.epoch_seen > epoch]
    return " and ".join(found)


def stalled(view: View, epoch: int, osts: list[Said], missing: dict[str, str], now: float) -> tuple[str, str]:
    """Reason and message when a person is needed. `epoch`: what an agent has seen above the API's.

    The first reason is the condition's; the messages of all follow, so that none hides another.
    """
    assert view.pair is not None
    found: list[tuple[str, str]] = []
    if epoch:
        found.append((REGRESSED, regressed_message(view, epoch)))
    fo = view.active
    if fo is not None and fo.phase in ("AwaitingApproval", "Blocked"):
        later = held_up(view, fo, now) if fo.phase == "AwaitingApproval" else []
        after = f"; to be asked after this: {'; '.join(later)}" if later else ""
        found.append((fo.phase, f"{fo.name}: {fo.status.message if fo.status else ''}{after}"))
    blocking = [p for p in view.problems if not (p.devices or p.identities)]
    if blocking:
        found.append((blocking[0].reason, "; ".join(dict.fromkeys(p.message for p in blocking))))
    if view.refused:
        found.append(("Refused", f"the API server refused what the operator wrote: {view.refused}"))
    boards = [r for r in (view.board_refusal(n) for n in view.servers) if r]
    if boards:
        found.append(("AnotherBoard", "; ".join(boards) + "; accept it with spec.acceptBoards"))
    unreported = [said for n in view.servers if not view.silent(n) and (said := view.unreported(n))]
    if unreported:
        found.append((UNREPORTED, f"{'; '.join(unreported)}. Its last report counts for nothing"))
    if view.pair.spec.paused:
        found.append(("Paused", "spec.paused is set: nothing is decided, shot or moved"))
    if deleted := _deleted(view, now):
        found.append(("OSTDeleted", deleted))
    if beyond := beyond_limit(view):
        found.append(("TooManyTargets", f"{', '.join(beyond)}: {no_room(view)}"))
    if not epoch:
        found += _left_alone(view, osts, missing, now)
    return (found[0][0], "; ".join(message for _, message in found)) if found else ("", "")


def _left_alone(view: View, osts: list[Said], missing: dict[str, str], now: float) -> list[tuple[str, str]]:
    """Targets that nothing under way will serve."""
    assert view.status is not None
    noted = [n for n in view.status.noted if n.type == "Failover" and view.held_by(n.node)]
    if noted:
        said = f"{noted[0].failover} ended without an act, and {noted[0].node} has not been well since"
        return [("Noted", f"{said}; to be asked again, set spec.askAgain: {noted[0].failover}")]
    left = [
        o for o in osts if o.state == "Held" and not o.good and o.assignment and certified_dead(view, o.assignment.node)
    ]
    if left:
        return [("DiskUnread", "; ".join(f"{o.target}: {o.why}" for o in left))]
    homeless = _homeless(view)
    if homeless[0]:
        return [homeless]
    refused = [o for o in osts if o.state in PERSONS]
    if refused:
        return [(PERSONS[refused[0].state], "; ".join(f"{o.target} is {o.state}: {o.why}" for o in refused))]
    late = _not_served(view, missing, now)
    return [late] if late[0] else []


def missing_service(view: View, osts: list[Said], verdicts: dict[str, Verdict]) -> dict[str, str]:
    """What keeps clients from each target that is to be mounted and is not served.

    A Degraded server serves what its partner sees being written. A Sick one serves nothing although it has them mounted.
    """
    found = {}
    for o in osts:
        verdict = verdicts.get(o.assignment.node) if o.assignment else None
        if o.ost.spec.desired != "Mounted":
            continue
        if verdict is not None and verdict.name == "Degraded" and _written(view, o):
            continue
        if verdict is not None and verdict.name in ("Sick", "SharedFault"):
            found[o.target] = f"{o.target} is on a server that cannot serve: {verdict.sentence}"
        elif o.state not in SERVED:
            found[o.target] = f"{o.target} is {o.state}" + (f": {o.why}" if o.why else "")
    return found


def _written(view: View, said: Said) -> bool:
    """Whether the partner of the assigned server sees the target's disk being written."""
    assert view.pair is not None
    assert said.assignment is not None
    disk = view.disks(view.pair.partner_of(said.assignment.node)).get(said.target)
    return disk is not None and disk.state == "Advancing"


def _not_served(view: View, missing: dict[str, str], now: float) -> tuple[str, str]:
    """Targets that have not been served for NOT_SERVED_AFTER, whatever the reason: a person is paged.

    A target that this condition names already stays named under a new leader, whose clocks have just started.
    """
    assert view.status is not None
    before = condition_of(view.status.conditions, "Stalled")
    named = before.message if before is not None and before.status == "True" and before.reason == NOT_SERVED else ""
    fo = view.active
    if fo is not None and fo.phase not in ("AwaitingApproval", "Blocked"):
        return "", ""  # it moves them, and each of its phases has a limit
    late = []
    for target, why in missing.items():
        due = view.unserved[target] + NOT_SERVED_AFTER
        if now >= due or target in named:
            late.append(why)
        else:
            view.wake_by(due)
    if not late:
        return "", ""
    return (
        NOT_SERVED,
        f"not served, and no Failover moves it: {'; '.join(late)}. Look at the servers' verdicts in status.servers",
    )


def _unplaced(view: View) -> list[str]:
    """Targets that nobody was ever told to serve, and for which the pair has room."""
    assert view.status is not None
    beyond = beyond_limit(view)
    unassigned = (o.target for o in view.osts.values() if view.status.assignment(o.target) is None)
    return sorted(target for target in unassigned if target not in beyond)


def _deleted(view: View, now: float) -> str:
    """Deleted OSTs whose assignments stay: mounted, or not known to be unmounted."""
    kept = [(a, why) for a in view.undeclared() if (why := unproven(view, a, now))]
    said = [f"OST of {a.target} was deleted, and {why}" for a, why in kept]
    advice = "it stays assigned; create the OST again, and to retire it set desired: Unmounted before it is deleted"
    return f"{'; '.join(said)}: {advice}" if said else ""


def _homeless(view: View) -> tuple[str, str]:
    """Targets that nobody was ever told to serve, because an agent cannot answer; servers that are both silent."""
    assert view.status is not None
    silent = [n for n in view.servers if view.heartbeats.known(n) and view.silent(n)]
    if not silent or any(claimed(view, n) for n in silent):
        return "", ""  # adopting is no remedy for a server that two pairs name
    orphans = _unplaced(view)
    if orphans:
        word = f"or set spec.adopt: {max(view.status.epoch, 1)} if it is dead"
        return "AdoptionWaits", f"{', '.join(orphans)}: {', '.join(silent)} does not answer; start its agent, {word}"
    if len(silent) == 2:
        return "BothSilent", "both servers are silent: whoever is cut off from all shoots nobody. Look at their power"
    return "", ""
