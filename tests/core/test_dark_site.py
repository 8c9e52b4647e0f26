"""A site powers on: servers boot in any order for longer than bootTimeout, and a server in POST looks as one that died."""

from __future__ import annotations

import pytest

from core.darksite import Site
from core.story import happen
from ostkeeper.core.heartbeats import Heartbeats

pytestmark = [pytest.mark.scenario, pytest.mark.thorough]
BOOTS_FOR = 1200.0
"""Twenty minutes; bootTimeout is fifteen."""


def test_thousand_servers_boot_for_twenty_minutes_and_nobody_is_shot_but_one_that_dies_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch, pairs=500, fresh=480, seed=7)
    site.power_on(BOOTS_FOR)
    asked = len([w for w in site.worlds if w.failovers])
    assert asked > 20, "the last to boot were missed for longer than bootTimeout: that is what this is about"
    site.run(180.0)
    assert site.shot() == []
    assert site.open_failovers() == []
    assert site.not_at_home() == []

    happen(site.worlds[3], "oss7 loses its mains")
    site.run(240.0)
    assert site.shot() == ["oss7"]
    assert site.worlds[3].phase() == "Complete"
    assert site.worlds[3].mounted()["oss8"] == ["scratch-OST0000", "scratch-OST0001"]
    assert [w for w in site.worlds if w.floor.overlaps] == []


def test_without_the_fuse_servers_in_post_would_be_shot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Heartbeats, "fuse", lambda self, node, now: "")
    site = Site(monkeypatch, pairs=50, fresh=40, seed=7)
    site.power_on(BOOTS_FOR)
    assert site.shot()


LATE_CHANGES = (1020.0, 1080.0, 1110.0, 1150.0)


@pytest.mark.parametrize("change", LATE_CHANGES)
def test_leader_that_comes_late_in_the_morning_shoots_nobody_in_post(
    change: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(monkeypatch, pairs=60, fresh=60, seed=11)
    site.power_on(BOOTS_FOR, change)
    site.run(180.0)
    assert site.shot() == []
    assert site.open_failovers() == []


def test_without_the_uptimes_a_late_leader_would_shoot_servers_in_post(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Heartbeats, "_booted_lately", lambda self, node, now: None)
    shot = []
    for change in LATE_CHANGES:
        site = Site(monkeypatch, pairs=60, fresh=60, seed=11)
        site.power_on(BOOTS_FOR, change)
        shot += site.shot()
    assert shot


def test_server_that_a_new_leader_saw_alive_is_fenced_however_lately_the_others_booted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch, pairs=4, fresh=4, seed=3)
    site.power_on(60.0, 30.0)
    site.run(90.0)
    assert len([at for at in site.beats.booted.values() if site.clock.now - at < 300.0]) == 8
    happen(site.worlds[1], "oss3 loses its mains")
    site.run(150.0)
    assert site.shot() == ["oss3"]
