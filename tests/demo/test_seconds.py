"""The seconds of a failover from its timeline, the power plane's log and the stopwatch, and what becomes of them."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from demo.floors import failover, ost, scene, server
from ostkeeper.testbed.bench import medians
from ostkeeper.testbed.stopwatch import Moments, Seconds, power_lost, seconds
from ostkeeper.testbed.story import Story, Told, summary

pytestmark = pytest.mark.scenario
FAULT_WALL = 1795428000.0  # 2026-11-23T10:00:00Z
TIMELINE = (
    ("2026-11-23T10:00:02.500000Z", "Holding", "unasked"),
    ("2026-11-23T10:00:02.700000Z", "Fencing", "the Hold is durable"),
    ("2026-11-23T10:00:04.750000Z", "Relocating", "oss1 is dead"),
    ("2026-11-23T10:00:04.800000Z", "Recovering", "mounting"),
)


def test_seconds_count_from_the_fault() -> None:
    moments = Moments(fault=100.0, assigned=104.78, mounted=104.95)
    found = seconds(moments, FAULT_WALL, failover("pair-a-7", "Complete", *TIMELINE), fenced=102.75)
    assert found == {"noticed": 2.5, "fenced": 2.75, "certified": 4.75, "assigned": 4.78, "mounted": 4.95}


def test_what_was_never_reached_is_none() -> None:
    found = seconds(Moments(fault=100.0), FAULT_WALL, failover("pair-a-7", "Blocked", *TIMELINE[:2]), fenced=None)
    assert found == {"noticed": 2.5, "fenced": None, "certified": None, "assigned": None, "mounted": None}


def test_power_cut_by_the_fault_itself_is_not_the_fencing() -> None:
    events = [
        {"what": "bmc", "host": "oss1", "on": False, "monotonic": 100.001},
        {"what": "ac", "host": "oss2", "on": False, "monotonic": 101.0},
        {"what": "ac", "host": "oss1", "on": False, "monotonic": 103.0},
    ]
    assert power_lost(events, "oss1", 100.0) == 103.0


def test_server_is_fenced_by_its_bmc_too() -> None:
    assert power_lost([{"what": "bmc", "host": "oss1", "on": False, "monotonic": 103.0}], "oss1", 100.0) == 103.0


def test_power_that_came_back_or_went_earlier_is_no_fencing() -> None:
    events = [
        {"what": "ac", "host": "oss1", "on": False, "monotonic": 90.0},
        {"what": "ac", "host": "oss1", "on": True, "monotonic": 101.0},
    ]
    assert power_lost(events, "oss1", 100.0) is None


def test_medians_are_told_since_the_cut_and_since_the_step_before() -> None:
    runs: list[Seconds] = [
        {"noticed": 2.0, "fenced": 2.2, "certified": 4.2, "assigned": 4.3, "mounted": 4.5},
        {"noticed": 3.0, "fenced": 3.1, "certified": 5.2, "assigned": 5.2, "mounted": 5.3},
        {"noticed": 2.5, "fenced": None, "certified": 5.0, "assigned": 5.1, "mounted": 5.2},
    ]
    lines = {line.split()[0]: line.split()[1:] for line in medians(runs)[1:]}
    assert lines["noticed"] == ["2.50", "s", "2.50", "s"]
    assert lines["fenced"] == ["2.65", "s", "0.15", "s"]
    assert lines["certified"] == ["5.00", "s", "2.05", "s"]
    assert lines["mounted"] == ["5.20", "s", "0.10", "s"]


def test_demo_json_has_exactly_what_is_promised(tmp_path: Path) -> None:
    times: Seconds = {"noticed": 2.5, "fenced": None, "certified": None, "assigned": None, "mounted": None}
    story = cast("Story", type("Told once", (), {"failovers": [Told("pair-b", "Manual", "hang", "Blocked", times)]}))
    truth: dict[str, Any] = {
        "overlaps": 0,
        "monitor": {"samples": 7, "longest_gap": 0.1},
        "records": {"acknowledged": 12, "lost": 0, "missing": []},
    }
    seen = scene(
        [server("oss1", ["scratch-OST0000"]), server("oss2")], [ost(0, "oss1", "oss1", "Mounted"), ost(1, "oss2")]
    )
    path = tmp_path / "demo.json"
    path.write_text(json.dumps(summary(story, truth, seen)))
    assert json.loads(path.read_text()) == {
        "failovers": [{"pair": "pair-b", "mode": "Manual", "cause": "hang", "phase": "Blocked", "seconds": times}],
        "overlaps": 0,
        "monitor_samples": 7,
        "records": {"acknowledged": 12, "lost": 0},
        "osts": [
            {"name": "scratch-ost0000", "home": "oss1", "node": "oss1"},
            {"name": "scratch-ost0001", "home": "oss2", "node": ""},
        ],
    }
