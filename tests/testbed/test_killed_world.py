"""A world that is killed, not ended, leaves nothing behind either: no process, no loop device, no frozen super block."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.hostlab import needs_root_and_loop
from testbed.test_command_line import left_of
from waiting import wait_for

pytestmark = [pytest.mark.contract, needs_root_and_loop]

HANGING_WORLD = """
import asyncio, pathlib, sys
from ostkeeper.testbed.layout import layout
from ostkeeper.testbed.world import World, WorldOptions

async def main():
    directory = pathlib.Path(sys.argv[1])
    async with World(WorldOptions(layout(1, 1), directory, control_plane=False, devices=False)) as world:
        for target in world.layout.targets:
            image = world.images[target.name]
            await world.verbs.exec(target.home, "mount", image.device, image.mount_point)
        await world.verbs.hang("oss1")
        await world.verbs.stall("oss2")
        assert all(host.mounts() for host in world.hosts.values())
        print("frozen", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_frozen_super_blocks_are_thawed_when_their_world_is_killed(tmp_path: Path) -> None:
    directory = tmp_path / "w"
    command = [sys.executable, "-c", HANGING_WORLD, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as world:
        try:
            assert world.stdout is not None
            assert world.stdout.readline() == b"frozen\n"
            assert any(line.startswith("loop") for line in left_of(directory))
        finally:
            world.send_signal(signal.SIGKILL)
            world.wait(10)
    wait_for(lambda: not left_of(directory), 30, "the janitor has thawed what was frozen, and is gone itself")
