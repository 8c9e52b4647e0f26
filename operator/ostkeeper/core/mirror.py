"""What people see: conditions, the states of the servers, and `kubectl get ost`.

Everything here is derived from the pair and the reports, and nothing is decided on it. Messages carry no ages: a status is
written when something changed, not because time passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ostkeeper.api.common import Condition, condition_of
from ostkeeper.api.oss import MOST_TARGETS, TargetReport
from ostkeeper.api.osspair import Assignment, ServerState
from ostkeeper.api.ost import OST, OSTStatus
from ostkeeper.core import budget, witness
from ostkeeper.core.able import claimed
from ostkeeper.core.adoption import REGRESSED, beyond_limit, regressed
from ostkeeper.core.armed import armed, unread_disks
from ostkeeper.core.due import held_up
from ostkeeper.core.events import Effect, Problem, WriteOSSReady, WriteOST
from ostkeeper.core.marks import mark_hazard
from ostkeeper.core.retiring import unproven
from ostkeeper.core.verdict import Verdict, certified_dead, verdict_of
from ostkeeper.core.view import Shown, View
from ostkeeper.core.writes import write_pair

UNREPORTED = "ReportNotWritten"
"""The reason where an agent renews its lease and cannot write its report."""
LEFT = "cannot read its disk"
"""What is said of a target that stays in Hold because the partner of its dead server cannot read it."""
HOT = ("Holding", "Fencing", "Relocating")
"""Phases in which nobody waits for a mirror, and every write counts."""
PERSONS = {"Refused": "TargetRefused", "ForeignMount": "TargetForeignMount", "Failed": "TargetFailed"}
"""States of a target that only a person ends, and the reason of the pair's Stalled for each."""
SERVED = ("Mounted", "Recovering")
NOT_SERVED = "NotServed"
"""The reason of Stalled for targets that nothing under way will serve."""
NOT_SERVED_AFTER = 120.0
"""Seconds without service after which a person is paged: longer than any failover that needs nobody, a mount that waits for
MMP (44 s) included."""


def mirror(view: View, now: float) -> list[Effect]:
    """Bring what people see up to date."""
    if view.pair is None or view.status is None:
        return []
    if _hot(view) and not regressed(view):  # a pair below what an agent has seen is not at work: it waits for a person
        return []
    verdicts = {node: verdict_of(view, node, now) for node in view.servers}
    living = tuple([node for node in view.servers if view.fresh(node, now)])
    osts = [_said(view, ost, living) for _, ost in sorted(view.osts.items())]
    shown = [_ost_effect(view, said, living, now) for said in osts]
    shown += [_oss_effect(view, node, verdicts[node], now) for node in view.servers]
    effects = [effect for effect in shown if effect is not None]
    return effects + ([] if view.busy else _pair(view, verdicts, osts, now))


def _hot(view: View) -> bool:
    fo = view.active
    if view.status is None or not view.status.active_failover:
        return False
    return fo is None or (fo.spec.type == "Failover" and fo.phase in ("", *HOT))


def _pair(view: View, verdicts: dict[str, Verdict], osts: list[Said], now: float) -> list[Effect]:
    assert view.pair is not None
    assert view.status is not None
    servers = tuple(_server_state(n, v.name, v.sentence) for n, v in verdicts.items())
    conditions = pair_conditions(view, verdicts, osts, now)
    if same(conditions, view.status.conditions) and _same_servers(servers, view.status.servers):
        return []
    effects = write_pair(view, "conditions", servers=servers, conditions=conditions)
    view.showing = view.busy
    return effects


@lru_cache(maxsize=1024)
def _server_state(name: str, verdict: str, message: str) -> ServerState:
    return ServerState(name=name, verdict=verdict, message=message)


def _same_servers(new: tuple[ServerState, ...], old: tuple[ServerState, ...]) -> bool:
    return [(s.name, s.verdict, s.message) for s in new] == [(s.name, s.verdict, s.message) for s in old]


def same(new: tuple[Condition, ...], old: tuple[Condition, ...]) -> bool:
    """Whether two sets of conditions say the same, whatever their times."""
    if new == old:  # most often they are the same objects
        return True
    return {_say(c) for c in new} == {_say(c) for c in old}


def _say(c: Condition) -> tuple[object, ...]:
    return (c.type, c.status, c.reason, c.message, c.observed_generation)


def pair_conditions(view: View, verdicts: dict[str, Verdict], osts: list[Said], now: float) -> tuple[Condition, ...]:
    """Ready, Reconciling, Stalled, Armed, Degraded and EpochRegressed, kstatus-clean."""
    assert view.pair is not None
    generation = view.pair.metadata.generation
    epoch = regressed(view)
    missing = _missing(view, osts, verdicts)
    view.unserved = {target: view.unserved.get(target, now) for target in missing}
    stalled, why_stalled = _stalled(view, epoch, osts, missing, now)
    moving = _unconverged(view, osts)
    reasons = [*armed(view), *_budget(view)]
    ill = [f"{n} is {v.name}: {v.sentence}" for n, v in verdicts.items() if v.name != "Healthy"]
    ill += [said for n in view.servers if (said := view.unreported(n))]
    unread = [f"{said}: repair its path" for said in unread_disks(view)]

    def condition(type_: str, true: bool, reason: str, message: str) -> Condition:
        return _condition(type_, true, reason, message, generation)

    ready = not stalled and not moving
    return (
        condition(
            "Ready", ready, "Converged" if ready else stalled or "NotConverged", why_stalled or "; ".join(moving)
        ),
        condition("Reconciling", bool(moving) and not stalled, "Moving" if moving else "Converged", "; ".join(moving)),
        condition("Stalled", bool(stalled), stalled or "Nothing", why_stalled),
        condition("Armed", not reasons, "NotArmed" if reasons else "Trusted", "; ".join(reasons) or witness.said(view)),
        condition(
            "Degraded",
            bool(ill or unread),
            "Server" if ill else "DiskUnread" if unread else "AllHealthy",
            "; ".join([*ill, *unread]),
        ),
        condition(REGRESSED, bool(epoch), "SeenHigher" if epoch else "Current", _regressed_message(view, epoch)),
    )


def _budget(view: View) -> list[str]:
    """Why Automatic would ask for each server of this pair, because too many others are out already."""
    if len(view.heartbeats.out) < 2:
        return []
    return list(dict.fromkeys(why for n in view.servers if (why := budget.spent(view.heartbeats, n))))


def _regressed_message(view: View, epoch: int) -> str:
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


def _stalled(view: View, epoch: int, osts: list[Said], missing: dict[str, str], now: float) -> tuple[str, str]:
    """Reason and message when a person is needed. `epoch`: what an agent has seen above the API's.

    The first reason is the condition's; the messages of all follow, so that none hides another.
    """
    assert view.pair is not None
    found: list[tuple[str, str]] = []
    if epoch:
        found.append((REGRESSED, _regressed_message(view, epoch)))
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
        found.append(("TooManyTargets", f"{', '.join(beyond)}: {_no_room(view)}"))
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


def _missing(view: View, osts: list[Said], verdicts: dict[str, Verdict]) -> dict[str, str]:
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


def _no_room(view: View) -> str:
    assert view.pair is not None
    assert view.status is not None
    full = f"OSSPair {view.pair.name} holds {len(view.status.assignments)} targets, and a pair holds {MOST_TARGETS} at most"
    return f"{full}: retire one (desired: Unmounted, then delete the OST), or declare it in another pair"


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


def _unconverged(view: View, osts: list[Said]) -> list[str]:
    """What is not yet as it was declared."""
    assert view.status is not None
    said = [f"{o.target} is {o.state}" + (f": {o.why}" if o.why else "") for o in osts if not o.good]
    said += [f"{a.target} has no OST and is still assigned to {a.node}" for a in view.undeclared()]
    if view.status.active_failover:
        said.append(f"{view.status.active_failover} is open")
    return said


class Said(NamedTuple):
    """What is said of one target: who may mount it, how each server has it, and what that amounts to."""

    ost: OST
    target: str
    assignment: Assignment | None
    reports: dict[str, TargetReport]
    """By server, where it has reported of it."""
    state: str = ""
    why: str = ""

    @property
    def good(self) -> bool:
        """Whether that is what was declared."""
        return self.state == self.ost.spec.desired

    def mounted_on(self, servers: Iterable[str]) -> list[str]:
        """Those of the servers that report it mounted, whoever mounted it."""
        return [n for n in servers if n in self.reports and self.reports[n].state in ("Mounted", "ForeignMount")]


def _said(view: View, ost: OST, living: tuple[str, ...]) -> Said:
    """`living`: the servers that were seen alive just now."""
    target = ost.target
    reports = {node: report for node in view.servers if (report := view.target_report(node, target)) is not None}
    assignment = view.status.assignment(target) if view.status else None
    if ost.key in view.newcomers():
        reports, assignment = {}, None  # they are of the OST in service
    found = Said(ost, target, assignment, reports)
    state, why = _state(view, found, living)
    return found._replace(state=state, why=why)


def _problem(view: View, ost: OST) -> Problem | None:
    """What is wrong between the OST and another object."""
    return next((p for p in view.problems if (p.kind, p.key) == (OST.kind, ost.key)), None)


def _state(view: View, said: Said, living: tuple[str, ...]) -> tuple[str, str]:
    """State and reason of one target, as `kubectl get ost` shows it."""
    assignment = said.assignment
    problem = _problem(view, said.ost)
    if problem is not None and problem.newcomer:
        return "Refused", problem.message
    if assignment is None:
        return _unassigned(view, said)
    for node, report in said.reports.items():
        if report.state == "ForeignMount":
            return "ForeignMount", f"mounted on {node} by somebody else"
    if assignment.intent == "Hold" and certified_dead(view, assignment.node):
        return _left_in_hold(view, said, assignment)
    if assignment.intent == "Hold":
        return "Held", f"{assignment.node} may keep it mounted and mount nothing new"
    mine = said.reports.get(assignment.node)
    if mine is None or assignment.node not in living:
        return "Unknown", f"{assignment.node} is silent"
    if assignment.intent == "Release":
        gone = mine.state == "Unmounted" and mine.released is not None and mine.released.epoch == assignment.epoch
        return ("Unmounted", "") if gone else ("Releasing", mine.message)
    state, why = _serving(mine, assignment)
    return state, "; ".join(filter(None, (why, mark_hazard(view, assignment))))


def _left_in_hold(view: View, said: Said, assignment: Assignment) -> tuple[str, str]:
    """Its server is certified dead, and its partner could not read the disk then."""
    if said.ost.spec.desired == "Unmounted":
        return "Unmounted", ""
    assert view.pair is not None
    partner = view.pair.partner_of(assignment.node)
    if view.unreadable(partner, said.target):
        return "Held", f"{assignment.node} is dead, and {partner} {LEFT}: repair its path, or start {assignment.node}"
    return "Held", f"{assignment.node} is dead, and {partner} reads its disk again: another Failover moves it"


def _unassigned(view: View, said: Said) -> tuple[str, str]:
    """State and reason of a target that nobody was ever told to serve."""
    mounted = said.mounted_on(view.servers)
    if len(mounted) > 1:
        return (
            "Refused",
            f"mounted on {' and '.join(mounted)} at once: stop it on one of them without unmounting, e2fsck it",
        )
    problem = next((p.message for p in view.problems if said.target in p.targets), "")
    if not problem and said.target in beyond_limit(view):
        problem = _no_room(view)
    if problem:
        return "Refused", problem
    if not mounted and any(d.state == "Advancing" for n in view.servers if (d := view.disks(n).get(said.target))):
        return "Pending", "its disk is being written, and no agent says that it has it mounted: find out who has"
    return "Pending", "never assigned to a server yet"


def _serving(report: TargetReport, assignment: Assignment) -> tuple[str, str]:
    if report.state == "Mounted":
        return ("Recovering", "") if report.recovery not in ("", "COMPLETE") else ("Mounted", "")
    if report.state in ("Failed", "Refused"):
        return report.state, f"{report.reason}: {report.message}" if report.reason else report.message
    return "Mounting", report.message


def _ost_effect(view: View, said: Said, living: tuple[str, ...], now: float) -> Effect | None:
    ost, assignment, state = said.ost, said.assignment, said.state
    node = assignment.node if assignment else ""
    mounted = said.mounted_on(living)
    report = said.reports.get(node)
    recovery = report.recovery if report and state == "Recovering" else ""
    epoch, generation = assignment.epoch if assignment else 0, ost.metadata.generation
    problem = _problem(view, ost)
    wrong = (problem.reason, problem.message) if problem else ("", "")
    mounts = ",".join(mounted)
    after = _ost_status(said.target, node, mounts, state, said.why, epoch, recovery, said.good, generation, wrong)
    before = ost.status
    shown = before is after or (before is not None and _same_status(before, after))
    op = _begin(view, f"OST {ost.key}", after, now, shown=shown)
    return WriteOST(op, ost.key, ost.version, after) if op else None


@lru_cache(maxsize=4096)
def _ost_status(
    target: str,
    node: str,
    mounted_on: str,
    state: str,
    why: str,
    epoch: int,
    recovery: str,
    good: bool,
    generation: int,
    wrong: tuple[str, str] = ("", ""),
) -> OSTStatus:
    """The status that says this. Validated once, shared by all that say the same: models are frozen.

    `wrong`: reason and message of what is wrong between the OST and another object.
    """
    person = state in PERSONS
    return OSTStatus(
        observed_generation=generation,
        target=target,
        node=node,
        mounted_on=mounted_on,
        state=state,
        epoch=epoch,
        recovery=recovery,
        conditions=(
            _condition("Ready", good, state, why, generation),
            _condition("Reconciling", not good and not person, state, why, generation),
            _condition("Stalled", person or wrong[0] != "", wrong[0] or state, wrong[1] or why, generation),
        ),
    )


def _same_status(one: OSTStatus, other: OSTStatus) -> bool:
    """Whether two say the same, whatever their times."""
    return _plain(one) == _plain(other) and same(one.conditions, other.conditions)


def _plain(s: OSTStatus) -> tuple[object, ...]:
    return (s.observed_generation, s.target, s.node, s.mounted_on, s.state, s.epoch, s.recovery)


@lru_cache(maxsize=4096)
def _condition(type_: str, true: bool, reason: str, message: str, generation: int) -> Condition:
    status = "True" if true else "False"
    return Condition(type=type_, status=status, reason=reason, message=message[:4096], observed_generation=generation)


def _oss_effect(view: View, node: str, verdict: Verdict, now: float) -> Effect | None:
    oss = view.osses.get(node)
    if oss is None:
        return None
    report = view.report(node)
    unreported = view.unreported(node)
    refusal = view.board_refusal(node) or (report.refusal if report else "")
    good = verdict.name == "Healthy" and report is not None and not refusal
    reason, message = ("Refuses", refusal) if refusal else (verdict.name, verdict.sentence)
    if unreported and not refusal:
        reason, message = UNREPORTED, unreported
    after = _condition("Ready", good, reason, message, oss.metadata.generation)
    before = condition_of(oss.status.conditions, "Ready") if oss.status else None
    if oss.status is None:
        return None
    shown = before is not None and _say(before) == _say(after)
    op = _begin(view, f"OSS {node}", after, now, shown=shown)
    return WriteOSSReady(op, node, after) if op else None


def _begin(view: View, key: str, what: object, now: float, *, shown: bool) -> int:
    """One mirror write an object at a time; after a failure not at once again. 0: not now, or it shows that already."""
    under_way = view.mirrors.get(key)
    if under_way is not None:
        if under_way.what != what:
            view.stay_awake()  # its answer would be no news, and what it shows is out of date by then
        return 0
    if shown:
        return 0
    retry = view.mirror_retry.get(key, 0.0)
    if now < retry:
        view.wake_by(retry)
        return 0
    view.mirrors[key] = Shown(view.next_op(), what)
    return view.mirrors[key].op
