"""A shot at a real device that is being probed: what it costs, on the real protocols."""

import asyncio
import math
import time

import pytest

from api import objects as good
from controller.test_power import CLOCK, Vault
from fencing.bench import KINDS, Bench, bench, soon
from ostkeeper.api import FenceDevice
from ostkeeper.api.fencedevice import FenceDeviceSpec
from ostkeeper.controller.power import Devices, Power, Secret
from ostkeeper.core.events import Acked, CutPower, Prepare
from ostkeeper.core.power import Feed
from ostkeeper.fencing.registry import open_device
from waiting import wait_for

pytestmark = pytest.mark.contract
IN_TIME = 15.0
"""Seconds for a shot: 5 ms to 20 ms are usual, a machine that is busy with tests may stand still, a mute probe takes 30."""


class Range:
    """The operator's power parts on one simulated device."""

    def __init__(self, made: Bench) -> None:
        spec = FenceDeviceSpec.model_validate(made.devices.fence_device("dev", "secret"))
        meta = {"name": "dev", "namespace": "scratch", "uid": "u1", "generation": 1}
        self.declared = FenceDevice.parse(good.bmc("dev") | {"metadata": meta, "spec": spec.wire()})
        self.vault = Vault()
        self.vault.secrets = {"secret": Secret("1", made.devices.secret("dev"))}
        self.devices = Devices(self.vault, open_device, CLOCK)
        self.power = Power(self.devices, lambda: math.inf, CLOCK)
        self.feed = Feed("dev", made.outlet)

    async def cut(self) -> tuple[Acked, float]:
        began = time.monotonic()
        acked = await self.power.order(lambda _: self.declared, CutPower(1, self.feed, began + IN_TIME, "test"))
        return acked, time.monotonic() - began

    async def probing(self) -> asyncio.Task[None]:
        """Begin a probe, as the prober does."""
        device = await self.devices.get(self.declared)

        async def probe() -> None:
            await device.read(self.feed.outlet, soon(30))

        task = self.devices.slot(self.declared.key).probe = asyncio.create_task(probe())
        return task


@pytest.mark.parametrize("kind", KINDS)
async def test_shot_is_not_delayed_by_the_probe_of_a_sound_device(kind: str) -> None:
    async with bench(kind) as made:
        place = Range(made)
        try:
            await place.power.prepare(lambda _: place.declared, Prepare((place.feed,)))
            await place.probing()
            acked, took = await place.cut()
            assert acked.ok, acked.detail
            wait_for(lambda: not made.live, 5, "the relay follows")
            print(f"{kind}: a shot during a probe took {took * 1000:.0f} ms")
        finally:
            await place.devices.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_shot_at_a_device_that_is_back_does_not_wait_for_the_probe_that_met_its_silence(kind: str) -> None:
    """The probe would wait for its 30 s; the shot cancels it, opens a session again if need be, and hits in time."""
    async with bench(kind) as made:
        place = Range(made)
        try:
            await place.power.prepare(lambda _: place.declared, Prepare((place.feed,)))
            await made.devices.fault("dev", "", "silent")
            probe = await place.probing()
            await asyncio.wait({probe}, timeout=0.2)
            assert not probe.done(), "it met the silence"
            await made.devices.fault("dev", "", "normal")
            acked, took = await place.cut()
            assert acked.ok, acked.detail
            wait_for(lambda: not made.live, 5, "the relay follows")
            print(f"{kind}: a shot after a mute probe took {took * 1000:.0f} ms")
        finally:
            await place.devices.close()
