"""Times in statuses: kept while nothing changed, new when something did, never for the machines to know."""

import pytest

from ostkeeper.api.common import Condition
from ostkeeper.api.failover import FailoverStatus, TimelineEntry
from ostkeeper.api.osspair import OSSPairStatus, ServerState, Wiring
from ostkeeper.controller.stamp import stamp, stamp_condition

pytestmark = pytest.mark.scenario
OLD, NEW = "2026-11-23T03:00:00.000000Z", "2026-11-23T04:00:00.000000Z"


def condition(status: str, time: str = "", reason: str = "Because") -> Condition:
    return Condition(type="Ready", status=status, reason=reason, last_transition_time=time)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [("True", "True", OLD), ("True", "False", NEW), ("", "True", NEW)],
    ids=["same status keeps its time", "another status gets a new one", "the first gets the present"],
)
def test_condition_time_moves_with_its_status_only(before: str, now: str, expected: str) -> None:
    known = (condition(before, OLD, "Other"),) if before else ()
    assert stamp_condition(condition(now), known, NEW).last_transition_time == expected


def test_pair_status_keeps_times_of_what_did_not_change() -> None:
    wiring = Wiring(node="oss1", level="pdus", id="d1", proven=True, fingerprint="f", time=OLD)
    before = OSSPairStatus(
        epoch=1,
        servers=(ServerState(name="oss1", verdict="Healthy", since=OLD), ServerState(name="oss2", verdict="Healthy", since=OLD)),
        wiring=(wiring,),
        conditions=(condition("True", OLD),),
    )  # fmt: skip
    after = OSSPairStatus(
        epoch=2,
        servers=(ServerState(name="oss1", verdict="Suspect"), ServerState(name="oss2", verdict="Healthy")),
        wiring=(wiring.model_copy(update={"time": ""}), Wiring(node="oss2", level="pdus", id="d2", proven=False, fingerprint="g")),
        conditions=(condition("False"),),
    )  # fmt: skip
    stamped = stamp(after, before, NEW)
    assert [server.since for server in stamped.servers] == [NEW, OLD]
    assert [entry.time for entry in stamped.wiring] == [OLD, NEW]
    assert stamped.conditions[0].last_transition_time == NEW
    assert "None" not in str(stamped.wire())


def test_timeline_entry_that_happens_twice_gets_two_times() -> None:
    entry = TimelineEntry(time="", phase="Blocked", message="pdu-right is silent")
    before = FailoverStatus(phase="Blocked", timeline=(entry.model_copy(update={"time": OLD}),))
    stamped = stamp(FailoverStatus(phase="Blocked", timeline=(entry, entry)), before, NEW)
    assert [e.time for e in stamped.timeline] == [OLD, NEW]
