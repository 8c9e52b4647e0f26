"""No effect leaves that breaks an invariant, whatever the planner was brought to: its rules are taken out, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.story import happen, world_of
from core.world import World
from host import rig
from ostkeeper.core import campaign, fencing, hosttargets, permission
from ostkeeper.core import hostevents as ev
from ostkeeper.core.invariants import InvariantBroken

pytestmark = pytest.mark.scenario


def dies(world: World) -> None:
    happen(world, "oss1 loses its mains")
    world.run(40)


def test_machine_stops_before_a_shot_that_may_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "SHOT_DEADLINE", 5.0)
    world = world_of("Automatic; levels pdus, bmc")
    with pytest.raises(InvariantBroken, match="shot-on-old-read"):
        dies(world)
    assert all(d.outlets == {"1": True, "2": True} for d in world.floor.devices.values() if d.outlets)


def test_machine_stops_before_a_certificate_of_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign.Rounds, "done", property(lambda self: self.count >= 1))
    world = world_of("Automatic; levels pdus, bmc")
    with pytest.raises(InvariantBroken, match="certificate-without-proof"):
        dies(world)
    assert {a.node for a in world.status.assignments} == {"oss1", "oss2"}


def test_mount_that_breaks_an_invariant_is_refused_and_told_and_the_heartbeat_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(permission, "refuses_mount", lambda *_: None)
    world = rig.Rig(disk=rig.ADVANCING).start()
    world.wait(2.0)
    assert not world.all(ev.Mount)
    assert world.target().state == "Failed"
    assert world.target().reason == "InvariantBroken"
    assert "mount-in-use" in world.target().message
    assert world.all(ev.Beat)[-1].allowed
    assert not world.machine.host.records, "a mount that never came about leaves no record"


def test_refused_mount_comes_about_once_its_reason_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "refuses_mount", lambda *_: None)
    world = rig.Rig(disk=rig.ADVANCING).start()
    world.disk = rig.CLEAN
    world.wait(5.0)
    assert world.all(ev.Mount)


def test_unmount_that_breaks_an_invariant_is_refused_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosttargets, "_serve", hosttargets._release)
    world = rig.Rig(stored=rig.holding(), mounts=rig.HERE).start()
    world.wait(2.0)
    assert not world.all(ev.Unmount)
    assert "unmount-unasked" in world.target().message
    assert world.all(ev.Beat)[-1].allowed


def test_release_of_what_a_child_may_still_write_is_not_reported() -> None:
    world = rig.Rig(grants=[rig.grant("Release", 4)]).start()
    check = world.one(ev.CheckRelease)
    world.step(ev.ReleaseChecked(check.op, rig.T, free=True, clean=True))
    assert world.target().released is not None
    world.step(ev.ChildrenSeen({rig.T: "mount, pid 7"}, (rig.T,)))
    assert world.target().released is None
    assert "released-too-early" in world.target().message


def test_memory_that_breaks_an_invariant_is_not_written() -> None:
    world = rig.Rig(stored=rig.holding(), mounts=rig.HERE).start()
    order = ev.Remember(99, "another-cluster", {rig.UUID: 9}, {})
    assert world.machine._leaving([order], world.now) == []
    allowed = replace(order, cluster=rig.CLUSTER)
    assert world.machine._leaving([allowed], world.now) == [allowed]
