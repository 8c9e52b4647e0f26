"""The operators' processes: killed, stopped, continued, and started anew to be caught in a phase."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ostkeeper.testbed.net import Switch
from ostkeeper.testbed.operators import Command, Operators
from testbed.hostlab import needs_root_and_loop
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, needs_root_and_loop]

TELLS = "import os, time; print(os.environ.get('OSTKEEPER_TESTBED_WHEN', 'unset'), flush=True); time.sleep(600)"


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Operators, Switch]]:
    switch = Switch()
    await switch.start()
    operators = Operators(directory, ["op-1", "op-2"], lambda _name: Command([sys.executable, "-I", "-S", "-c", TELLS]))
    try:
        await operators.start(switch.pid)
        for name in operators.names:
            await told(directory, name, 1)
        yield operators, switch
    finally:
        await operators.stop_all()
        await switch.stop()


async def told(directory: Path, name: str, starts: int) -> list[str]:
    """What each start of this operator found in its environment."""

    def lines() -> list[str] | None:
        found = (directory / f"{name}.log").read_text().split("\n")[:-1]
        return found if len(found) >= starts else None

    found = await wait_for_async(lines, 10, f"{name} has been started {starts} times")
    assert found is not None
    return found


async def test_only_the_named_operator_is_started_anew_to_be_caught_in_a_phase(tmp_path: Path) -> None:
    async with running(tmp_path) as (operators, switch):
        await operators.arm(switch.pid, ["op-2"], "Fencing", "stop")
        assert await told(tmp_path, "op-2", 2) == ["", "Fencing:stop"]
        assert await told(tmp_path, "op-1", 1) == [""]


async def test_operator_that_is_started_again_after_it_was_caught_is_not_caught_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as (operators, switch):
        await operators.arm(switch.pid, ["op-1"], "Fencing", "kill")
        await told(tmp_path, "op-1", 2)
        await operators.kill("op-1")
        await operators.start(switch.pid)
        assert await told(tmp_path, "op-1", 3) == ["", "Fencing:kill", ""]


async def test_arming_whoever_comes_first_restarts_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as (operators, switch):
        await operators.arm(switch.pid, [], "Fencing", "stop")
        assert [len(await told(tmp_path, name, 1)) for name in operators.names] == [1, 1]
        assert (tmp_path / "when.Fencing").read_text().strip() == "Fencing:stop"


@pytest.mark.parametrize(("phase", "action"), [("Lunch", "kill"), ("Fencing", "cont")])
async def test_arming_with_a_wrong_word_restarts_nobody(tmp_path: Path, phase: str, action: str) -> None:
    async with running(tmp_path) as (operators, switch):
        with pytest.raises(ValueError, match=phase if phase == "Lunch" else action):
            await operators.arm(switch.pid, [], phase, action)
        assert [len(await told(tmp_path, name, 1)) for name in operators.names] == [1, 1]


async def test_operator_is_stopped_continued_and_killed_one_by_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (operators, _):
        operators.pause("op-1")
        await wait_for_async(lambda: operators.state("op-1") == "stopped", 5, "it stands")
        assert operators.state("op-2") == "running"
        operators.resume("op-1")
        await wait_for_async(lambda: operators.state("op-1") == "running", 5, "it goes on")
        await operators.kill("op-1")
        assert [operators.state(name) for name in operators.names] == ["dead", "running"]


async def test_stopped_operator_ends_with_its_world(tmp_path: Path) -> None:
    async with running(tmp_path) as (operators, _):
        operators.pause("op-1")
        await asyncio.wait_for(operators.stop_all(), 10)
        assert [operators.state(name) for name in operators.names] == ["dead", "dead"]
