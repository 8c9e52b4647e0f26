"""Which server runs, given relays and wiring; and what other processes see of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ostkeeper.core.power import Feed
from ostkeeper.testbed.power import RUNNING_WATTS, PowerPlane, UnknownFeed
from ostkeeper.testbed.powersocket import PowerSocket, ask
from waiting import wait_for_async

pytestmark = pytest.mark.contract

LEFT, RIGHT = "pdu-left", "pdu-right"
WIRING = {f"oss{n}": [Feed(LEFT, str(n)), Feed(RIGHT, str(n))] for n in (1, 2)}


class RecordingBoard:
    """A board that dies and boots at once, and counts."""

    def __init__(self) -> None:
        self.running, self.boots, self.deaths = False, 0, 0

    async def power_on(self) -> None:
        self.boots += not self.running
        self.running = True

    async def power_off(self) -> None:
        self.deaths += self.running
        self.running = False


async def plane_of() -> tuple[PowerPlane, dict[str, RecordingBoard]]:
    plane = PowerPlane(WIRING, boot_delay=0)
    boards = {host: RecordingBoard() for host in WIRING}
    for host, board in boards.items():
        plane.connect(host, board)
    await plane.start()
    return plane, boards


async def test_server_lives_on_either_feed_and_dies_without_both() -> None:
    plane, boards = await plane_of()
    await plane.set_outlet(LEFT, "1", on=False)
    assert boards["oss1"].running
    await plane.set_outlet(RIGHT, "1", on=False)
    assert not boards["oss1"].running
    assert not plane.ac("oss1")
    assert boards["oss2"].running


async def test_server_is_dead_but_its_bmc_alive_when_the_chassis_relay_opens() -> None:
    plane, boards = await plane_of()
    await plane.set_bmc("oss1", on=False)
    assert not boards["oss1"].running
    assert plane.ac("oss1")


async def test_server_boots_when_current_comes_back_unless_the_chassis_relay_is_open() -> None:
    plane, boards = await plane_of()
    await plane.set_bmc("oss2", on=False)
    for host in WIRING:
        await plane.set_outlets(plane.feeds(host), on=False)
    for host in WIRING:
        await plane.set_outlets(plane.feeds(host), on=True)
    await wait_for_async(lambda: boards["oss1"].running, 5, "oss1 boots when its current is back")
    assert not boards["oss2"].running


async def test_listeners_hear_of_a_dead_bmc_before_the_off_is_acknowledged() -> None:
    plane, _ = await plane_of()
    heard: list[tuple[str, bool]] = []

    async def listen(host: str, current: bool) -> None:
        await asyncio.sleep(0)
        heard.append((host, current))

    plane.on_ac_change(listen)
    await plane.set_outlets(plane.feeds("oss1"), on=False)
    assert heard == [("oss1", False)]
    await plane.set_outlet(LEFT, "1", on=True)
    await wait_for_async(lambda: heard[1:] == [("oss1", True)], 5, "the BMC hears of its current")


async def test_crashed_server_stays_dead_until_its_power_is_cycled() -> None:
    plane, boards = await plane_of()
    await plane.crash("oss1")
    await plane.set_bmc("oss1", on=True)
    assert plane.powered("oss1")
    assert not boards["oss1"].running
    await plane.set_bmc("oss1", on=False)
    await plane.set_bmc("oss1", on=True)
    await wait_for_async(lambda: boards["oss1"].running, 5, "it boots after off and on")


@pytest.mark.virtual_time
async def test_server_that_is_switched_off_while_it_waits_to_boot_does_not_boot() -> None:
    plane, boards = await plane_of()
    plane.boot_delay = 0.05
    await plane.set_bmc("oss1", on=False)
    await plane.set_bmc("oss1", on=True)
    await plane.set_bmc("oss1", on=False)
    began = asyncio.get_running_loop().time()
    await wait_for_async(lambda: asyncio.get_running_loop().time() > began + 0.2, 5, "four times the boot delay")
    assert boards["oss1"].boots == 1


async def test_swapped_wires_let_the_wrong_server_die() -> None:
    plane, boards = await plane_of()
    await plane.swap_wires("oss1", "oss2")
    await plane.set_outlets([Feed(LEFT, "1"), Feed(RIGHT, "1")], on=False)
    assert boards["oss1"].running
    assert not boards["oss2"].running


async def test_dead_supply_leaves_the_server_on_its_other_feed() -> None:
    plane, boards = await plane_of()
    await plane.set_supply("oss1", RIGHT, alive=False)
    assert boards["oss1"].running
    assert plane.watts(RIGHT, "1") == 0
    assert plane.watts(LEFT, "1") == RUNNING_WATTS
    await plane.set_outlet(LEFT, "1", on=False)
    assert not boards["oss1"].running


async def test_socket_reads_and_switches_what_the_plane_does(tmp_path: Path) -> None:
    plane, boards = await plane_of()
    server = PowerSocket(plane, tmp_path / "plane.sock")
    await server.start()

    async def say(**request: Any) -> dict[str, Any]:
        return await asyncio.to_thread(ask, tmp_path / "plane.sock", request)

    try:
        assert await say(op="get", feed="pdu-left/1") == {"on": True, "watts": RUNNING_WATTS / 2}
        assert await say(op="set", feed="bmc:oss1", on=False) == {"ok": True}
        assert not boards["oss1"].running
        assert (await say(op="get", feed="bmc:oss1"))["on"] is False
        assert "no outlet pdu-left/9" in (await say(op="get", feed="pdu-left/9"))["error"]
        assert "neither true nor false" in (await say(op="set", feed="pdu-left/1", on="off"))["error"]
        assert plane.outlet(LEFT, "1")
    finally:
        await server.stop()


async def test_unknown_names_are_refused_and_change_nothing() -> None:
    plane, boards = await plane_of()
    with pytest.raises(UnknownFeed, match=json.dumps("x")[1:-1]):
        await plane.set_outlets([Feed(LEFT, "1"), Feed("x", "1")], on=False)
    assert plane.outlet(LEFT, "1")
    assert boards["oss1"].running
