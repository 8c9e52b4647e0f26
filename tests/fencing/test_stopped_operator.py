"""An operator that is stopped in the middle of a shot, and goes on after its deadline, does not shoot any more."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from fencing.bench import KINDS, bench, soon
from ostkeeper.core.power import PowerState
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, pytest.mark.parametrize("kind", KINDS)]
SHOOTER = """
import asyncio, json, sys, time
from fencing.bench import MonotonicClock
from ostkeeper.api.fencedevice import FenceDeviceSpec
from ostkeeper.fencing.registry import open_device
async def main():
    world = json.loads(sys.stdin.readline())
    secret = {key: value.encode() for key, value in world["secret"].items()}
    device = open_device(FenceDeviceSpec.model_validate(world["spec"]), secret, MonotonicClock(), "dev")
    await device.prepare(time.monotonic() + 20)
    print("prepared", flush=True)
    sys.stdin.readline()
    try:
        await device.off(world["outlet"], time.monotonic() + 1.5)
        print("acknowledged", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    await device.close()
asyncio.run(main())
"""


async def test_shot_of_a_stopped_operator_is_not_fired_when_it_goes_on(kind: str) -> None:
    """1. The shot leaves, and the device is silent. 2. The operator is stopped until after the deadline, while the
    device comes back. 3. The operator goes on: its next packet would be the late shot."""
    async with bench(kind) as one:
        shooter = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SHOOTER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        )
        try:
            assert shooter.stdin is not None
            assert shooter.stdout is not None
            secret = {key: value.decode() for key, value in one.devices.secret("dev").items()}
            world = {"spec": one.devices.fence_device("dev", "s"), "secret": secret, "outlet": one.outlet}
            shooter.stdin.write(json.dumps(world).encode() + b"\n")
            assert await shooter.stdout.readline() == b"prepared\n"
            await one.devices.fault("dev", kind="silent")
            before = await one.packets()
            shooter.stdin.write(b"\n")

            async def fired() -> bool:
                return await one.packets() > before

            await wait_for_async(fired, 15, "the shot leaves", step=0.01)
            shooter.send_signal(signal.SIGSTOP)
            left = time.monotonic()  # its deadline was set before
            await wait_for_async(lambda: time.monotonic() > left + 1.7, 5, "its deadline passes", step=0.1)
            await one.devices.fault("dev", kind="normal")
            shooter.send_signal(signal.SIGCONT)
            assert await shooter.stdout.readline() == b"DeviceSilent\n"
            assert await shooter.wait() == 0
            assert (await one.device.read(one.outlet, soon())).state is PowerState.ON
            assert one.plane.history == []
        finally:
            if shooter.returncode is None:
                shooter.kill()
                await shooter.wait()
