"""A server that lives and cannot serve: what counts as such, for how long, and what its partner has to say about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core import machines
from core.machines import Server
from core.pairs import at_rest
from core.story import happen
from core.world import World
from ostkeeper.api.oss import DiskReport
from ostkeeper.core import orderly
from ostkeeper.core.ailing import SETTLE, STALL_PATIENCE

pytestmark = pytest.mark.scenario

STILL = 10.0
"""Seconds after which these agents call a disk Still."""


def verdicts(world: World) -> dict[str, str]:
    return {s.name: s.verdict for s in world.status.servers}


def sentence(world: World, node: str) -> str:
    return next(s.message for s in world.status.servers if s.name == node)


def test_disk_that_stalls_under_a_healthy_agent_makes_its_server_sick() -> None:
    world = at_rest(mode="Manual")
    happen(world, "oss1 disks stall")
    world.run(STILL + STALL_PATIENCE - 5)
    assert verdicts(world) == {"oss1": "Healthy", "oss2": "Healthy"}
    world.run(STILL + STALL_PATIENCE + 5)
    assert verdicts(world) == {"oss1": "Sick", "oss2": "Healthy"}
    assert sentence(world, "oss1") == (
        "oss1 lives and cannot serve: scratch-OST0000: mounted, and nothing is written any more"
    )
    happen(world, "oss1 disks go on")
    world.run(STILL + STALL_PATIENCE + 10)
    assert verdicts(world) == {"oss1": "Healthy", "oss2": "Healthy"}


def test_disk_that_its_own_server_cannot_read_is_not_stalled_while_the_partner_sees_it_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A path that fails for reading only is not worth a move: the partner sees the block advance."""
    world = at_rest()
    honest = world.floor.disk_report

    def half_blind(server: Server, target: str) -> DiskReport:
        if server.name == "oss1":
            return DiskReport(target=target, state="Unreadable")
        return honest(server, target)

    monkeypatch.setattr(world.floor, "disk_report", half_blind)
    world.run(90)
    assert world.operator is not None
    assert world.operator.machine.view.motionless == {}
    assert verdicts(world)["oss1"] == "Healthy"


def test_disk_that_only_its_own_server_has_lost_makes_it_sick() -> None:
    world = at_rest(mode="Manual")
    happen(world, "oss1 loses its disks")
    world.run(STILL + STALL_PATIENCE + 10)
    assert verdicts(world)["oss1"] == "Sick"


@pytest.mark.parametrize("second", [0.0, 25.0])
def test_disks_that_both_servers_lost_are_a_shared_fault(second: float) -> None:
    world = at_rest()
    happen(world, "oss1 loses its disks")
    world.run(second)
    happen(world, "oss2 loses its disks")
    world.run(120)
    assert set(verdicts(world).values()) == {"SharedFault"}
    assert not world.failovers
    assert "both see faults of their disks" in sentence(world, "oss1")


def test_errors_on_a_disk_that_the_partner_cannot_read_are_a_shared_fault() -> None:
    world = at_rest()
    happen(world, "oss2 loses its disks")
    happen(world, "oss1 reports errors")
    world.run(20)
    assert verdicts(world)["oss1"] == "SharedFault"
    assert not world.failovers


def test_sick_server_is_not_emptied_before_its_partner_would_show_the_same() -> None:
    world = at_rest()
    happen(world, "oss1 reports errors")
    world.run(SETTLE - 1)
    assert verdicts(world)["oss1"] == "Sick"
    assert not world.failovers
    world.run(SETTLE + 5)
    assert world.last.spec.type == "Switchover"


def test_new_leader_starts_the_clock_of_a_stall_again() -> None:
    world = at_rest(mode="Manual")
    happen(world, "oss1 disks stall")
    world.run(STILL + STALL_PATIENCE - 5)
    happen(world, "the operator crashes")
    happen(world, "the operator starts")
    world.run(STILL + STALL_PATIENCE + 10)
    assert verdicts(world)["oss1"] == "Healthy"


def test_node_condition_that_a_person_named_counts_once_it_has_stood_for_its_duration() -> None:
    wanted = [{"type": "ReadonlyFilesystem", "status": "True", "duration": "30s"}]
    world = at_rest(mode="Manual", spec={"unhealthyConditions": wanted})
    world.set_node(replace(world.nodes["oss1"], conditions=(("Ready", "True"), ("ReadonlyFilesystem", "True"))))
    for second in range(5, 60, 5):
        world.run(second)
        assert verdicts(world)["oss1"] == ("Healthy" if second <= 30 else "Sick"), second
    assert sentence(world, "oss1").endswith("its Node says ReadonlyFilesystem is True")


def test_day_after_which_a_sick_server_is_emptied_unasked_again_is_a_leaders_own() -> None:
    """Durable is that it was emptied, not when: each leader counts a whole day itself."""
    world = at_rest()
    happen(world, "oss1 reports errors")
    world.run(30)
    first = world.last.name
    assert [n.failover for n in world.status.noted if n.type == orderly.SICK] == [first]
    view = world.operator.machine.view if world.operator else None
    assert view is not None
    assert orderly.emptied(view, world.now) == first
    assert orderly.emptied(view, view.noted_at[first] + orderly.DAY - 1) == first
    assert orderly.emptied(view, view.noted_at[first] + orderly.DAY) == ""
    view.noted_at[first] -= orderly.DAY
    view.wake_by(world.now)  # what the last plan woke for lies a day earlier now, too
    world.run(60)
    assert not [n for n in world.status.noted if n.type == orderly.SICK]


@pytest.mark.parametrize("at", [0.3, 0.8, 1.3, 1.8])
@pytest.mark.parametrize("update_interval", [1.0, 5.0])
def test_server_that_crashes_is_suspected_and_then_failed_and_nothing_in_between(
    at: float, update_interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partner may still read its last answer on the network, or its last write, as its heartbeat times out."""
    monkeypatch.setattr(machines, "UPDATE_INTERVAL", update_interval)
    world = at_rest(mode="Manual")
    world.run(at)
    happen(world, "oss1 panics")
    seen = [verdicts(world)["oss1"]]
    while world.now < world.zero + 40:
        world.run(world.now - world.zero + 0.1)
        if verdicts(world)["oss1"] != seen[-1]:
            seen.append(verdicts(world)["oss1"])
    assert seen == ["Healthy", "Suspect", "Failed"]
