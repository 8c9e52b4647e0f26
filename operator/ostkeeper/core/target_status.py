"""State and reason of each target, as `kubectl get ost` shows them.

Derived from the assignments, the reports and the deaths. Nothing is decided on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ostkeeper.api.oss import MOST_TARGETS, TargetReport
from ostkeeper.api.osspair import Assignment
from ostkeeper.api.ost import OST
from ostkeeper.core.adoption import beyond_limit
from ostkeeper.core.events import Problem
from ostkeeper.core.marks import mark_hazard
from ostkeeper.core.verdict import certified_dead
from ostkeeper.core.view import View

LEFT = "cannot read its disk"
"""What is said of a target that stays in Hold because the partner of its dead server cannot read it."""
PERSONS = {"Refused": "TargetRefused", "ForeignMount": "TargetForeignMount", "Failed": "TargetFailed"}
"""States of a target that only a person ends, and the reason of the pair's Stalled for each."""


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


def said_of(view: View, ost: OST, living: tuple[str, ...]) -> Said:
    """`living`: the servers that were seen alive just now."""
    target = ost.target
    reports = {node: report for node in view.servers if (report := view.target_report(node, target)) is not None}
    assignment = view.status.assignment(target) if view.status else None
    if ost.key in view.newcomers():
        reports, assignment = {}, None  # they are of the OST in service
    found = Said(ost, target, assignment, reports)
    state, why = _state(view, found, living)
    return found._replace(state=state, why=why)


def problem_of(view: View, ost: OST) -> Problem | None:
    """What is wrong between the OST and another object."""
    return next((p for p in view.problems if (p.kind, p.key) == (OST.kind, ost.key)), None)


def _state(view: View, said: Said, living: tuple[str, ...]) -> tuple[str, str]:
    """State and reason of one target, as `kubectl get ost` shows it."""
    assignment = said.assignment
    problem = problem_of(view, said.ost)
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
        problem = no_room(view)
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


def no_room(view: View) -> str:
    """Message of a target beyond the limit of targets in a pair."""
    assert view.pair is not None
    assert view.status is not None
    full = f"OSSPair {view.pair.name} holds {len(view.status.assignments)} targets, and a pair holds {MOST_TARGETS} at most"
    return f"{full}: retire one (desired: Unmounted, then delete the OST), or declare it in another pair"
