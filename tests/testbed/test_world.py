"""A world without control plane: its wiring, its verbs, its truth, and that it fails a run in which a disk was shared."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ostkeeper.testbed.hostcontrol import HostGone
from ostkeeper.testbed.layout import layout
from ostkeeper.testbed.monitor import DoubleMount
from ostkeeper.testbed.world import World, WorldError, WorldOptions
from testbed.hostlab import clear_mmp, mount, needs_root_and_loop
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, needs_root_and_loop]

BARE = WorldOptions(layout(pairs=1, osts_per_host=1), control_plane=False, devices=False, load_rate=20, boot_delay=0.05)


@asynccontextmanager
async def mounted(options: WorldOptions = BARE) -> AsyncIterator[World]:
    """One pair, each target mounted at home as an admin would."""
    async with World(options) as world:
        for target in world.layout.targets:
            await mount(world.hosts[target.home], world.images[target.name])
        yield world


async def test_truth_shows_power_mounts_and_records_after_a_cut_and_a_move() -> None:
    async with mounted() as world:
        await wait_for_async(lambda: len(world.load.acknowledged()["scratch-OST0000"]) > 5, 30, "the load writes")
        await world.verbs.power_cut("oss1")
        clear_mmp(world.images["scratch-OST0000"])
        await mount(world.hosts["oss2"], world.images["scratch-OST0000"])
        truth = await world.verbs.truth()
    assert truth["hosts"]["oss1"]["power"] is False
    assert truth["hosts"]["oss1"]["ac"] is True
    assert truth["hosts"]["oss1"]["mounts"] == {}
    assert set(truth["hosts"]["oss2"]["mounts"]) == {"scratch-OST0000", "scratch-OST0001"}
    assert truth["targets"]["scratch-OST0000"]["held_by"] == ["oss2"]
    assert truth["overlaps"] == 0
    assert truth["monitor"]["samples"] > 0
    assert truth["records"]["acknowledged"] > 5
    assert truth["records"]["lost"] == 0
    assert truth["errors"] == []


async def test_world_fails_the_run_when_a_disk_was_held_twice() -> None:
    async def share_a_disk() -> None:
        async with mounted() as world:
            await world.verbs.hang("oss1")
            clear_mmp(world.images["scratch-OST0000"])
            await mount(world.hosts["oss2"], world.images["scratch-OST0000"])
            await world.verbs.thaw("oss1")

    with pytest.raises(DoubleMount, match="scratch-OST0000"):
        await share_a_disk()


async def test_tolerated_overlap_is_still_told() -> None:
    async with mounted(replace(BARE, tolerate_overlap=True)) as world:
        await world.verbs.stall("oss1")
        clear_mmp(world.images["scratch-OST0000"])
        await mount(world.hosts["oss2"], world.images["scratch-OST0000"])
        truth = await world.verbs.truth()
    assert truth["overlaps"] == len(truth["violations"])
    assert ["oss1", "oss2"] in [one["hosts"] for one in truth["violations"] if one["kind"] == "held-twice"]


async def test_machine_that_stops_itself_boots_again_with_another_boot_id() -> None:
    async with mounted() as world:
        before = world.hosts["oss1"].boot_id
        with contextlib.suppress(HostGone):  # the command dies with its machine, before or after it could be told
            await world.verbs.exec("oss1", "/run/testbed/stop-machine")
        one = world.hosts["oss1"]
        await wait_for_async(lambda: one.running and one.boot_id != before, 30, "the server is back, as another boot")
        assert world.hosts["oss1"].mounts() == {}
        assert world.plane.powered("oss1")


async def test_crashed_server_keeps_its_power_until_it_is_switched_on_again() -> None:
    async with mounted() as world:
        await world.verbs.crash("oss1")
        crashed = (await world.verbs.truth())["hosts"]["oss1"]
        assert (crashed["power"], crashed["running"], crashed["holds"]) == (True, False, [])
        await world.verbs.power_on("oss1")
        await wait_for_async(lambda: world.hosts["oss1"].running, 30, "the server is back")


async def test_server_cut_by_its_feeds_has_no_current_and_comes_back_with_it() -> None:
    async with mounted() as world:
        await world.verbs.power_cut("oss1", feeds=True)
        assert not world.plane.ac("oss1")
        await world.verbs.power_on("oss1")
        await wait_for_async(lambda: world.hosts["oss1"].running, 30, "the server is back")


async def test_another_board_shows_after_the_next_boot() -> None:
    async with mounted() as world:
        board = await world.verbs.board_replace("oss1")
        await world.verbs.power_cut("oss1")
        await world.verbs.power_on("oss1")
        await wait_for_async(lambda: world.hosts["oss1"].running, 30, "the server is back")
        assert (await world.verbs.exec("oss1", "cat", "/sys/class/dmi/id/product_uuid")).out.strip() == board


@pytest.mark.parametrize("verb", [("power_cut", "oss9"), ("partition", "oss1", "moon"), ("mount", "oss1", "explode")])
async def test_verbs_refuse_names_that_there_are_not(verb: tuple[str, ...]) -> None:
    async with World(BARE) as world:
        with pytest.raises(ValueError, match=verb[-1]):
            await getattr(world.verbs, verb[0])(*verb[1:])
        with pytest.raises(WorldError, match="made without operators"):
            await world.verbs.operator("kill")


async def test_directory_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(WorldError, match="neither empty nor a testbed's"):
        async with World(replace(BARE, directory=tmp_path)):
            pass
    assert (tmp_path / "thesis.tex").read_text() == "precious"


async def test_directory_of_an_earlier_world_is_used_afresh(tmp_path: Path) -> None:
    for _ in range(2):
        async with World(replace(BARE, directory=tmp_path / "w")) as world:
            (world.directory / "overlaps.jsonl").write_text("")
            assert not (world.directory / "stale").exists()
            (world.directory / "stale").touch()


async def test_two_worlds_live_side_by_side() -> None:
    async with mounted() as one, mounted() as other:
        await one.verbs.power_cut("oss1")
        assert other.hosts["oss1"].running
        assert (await other.verbs.truth())["overlaps"] == 0
