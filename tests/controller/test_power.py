"""Shots and readings: never late, never after the leadership, never on another device than the one that was decided on.

The device here keeps its turns as the real drivers do (`fencing.device`), and is as slow as a test wants.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import pytest

from agent_shell.virtual_time import LoopClock
from api import objects as good
from ostkeeper.api import FenceDevice
from ostkeeper.api.fencedevice import FenceDeviceSpec
from ostkeeper.controller.power import PROBE_GRACE, Devices, Power, Secret, UnusableError
from ostkeeper.core.events import Acked, CutPower, PowerOn, ReadPower
from ostkeeper.core.identity import GUID, matches
from ostkeeper.core.power import Feed, PowerReading, PowerState
from ostkeeper.fencing.device import Device
from ostkeeper.fencing.registry import NoDriver, open_device
from ostkeeper.ports import Clock, DeviceIdentity, DeviceSilent, NoSuchOutlet, PowerDevice

pytestmark = [pytest.mark.scenario, pytest.mark.virtual_time]
CLOCK = LoopClock()
FEED = Feed("bmc-oss1")


class SlowDevice(Device):
    """Writes down what it was asked. `takes`: seconds that a reading takes; `silent`: orders are not acknowledged.

    `mute`: an order is sent again and again, and not answered. `reports`: its identity. `outlets`: those that it has.
    """

    def __init__(self, spec: FenceDeviceSpec, secret: Mapping[str, bytes], name: str) -> None:
        super().__init__(name, CLOCK)
        self.spec, self.secret = spec, secret
        self.takes, self.silent, self.closed = 0.0, False, False
        self.mute = False
        self.outlets: tuple[str, ...] = ("",)
        self.reports = "guid:" + "a" * 32
        self.orders: list[str] = []

    async def prepare(self, deadline: float) -> None:
        pass

    async def read(self, outlet: str, deadline: float) -> PowerReading:
        began = CLOCK.monotonic()
        if outlet not in self.outlets:
            return self.unknown(began, NoSuchOutlet(f"{self.label}: there is no outlet {outlet!r}"))
        async with self.turn("read", deadline):
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(self.takes)
            except TimeoutError:
                return self.unknown(began, DeviceSilent("no answer"))
        identity = self.identified(self.reports)
        return PowerReading(PowerState.ON, began, CLOCK.monotonic(), identity=identity)

    async def off(self, outlet: str, deadline: float, identity: str = "") -> None:
        await self._order(f"off {outlet}".strip(), deadline, identity)

    async def on(self, outlet: str, deadline: float, identity: str = "") -> None:
        await self._order(f"on {outlet}".strip(), deadline, identity)

    async def _order(self, order: str, deadline: float, identity: str) -> None:
        async with self.turn(order, deadline):
            if not matches(identity, self.reports):
                raise self.mismatch(order, identity, self.reports)
            self.orders.append(order)
            while self.mute and CLOCK.monotonic() < deadline:
                await asyncio.sleep(0.15)  # as the drivers do, it sends again until answered
                self.orders.append(order)
            if self.silent:
                raise DeviceSilent(f"{self.label}: no answer to {order}")

    async def identify(self, deadline: float) -> DeviceIdentity:
        return DeviceIdentity(self.reports.removeprefix(GUID), "model", "boot", self.reports)

    async def close(self) -> None:
        self.closed = True


class Vault:
    """Secrets of the test. A name that is not there is missing."""

    def __init__(self) -> None:
        self.secrets = {"bmc": Secret("1", {"username": b"admin", "password": b"hunter2"})}
        self.asked = 0

    async def read(self, namespace: str, name: str) -> Secret:
        self.asked += 1
        if name not in self.secrets:
            raise UnusableError("SecretMissing", f"credentialsSecretName: Secret {namespace}/{name} does not exist")
        return self.secrets[name]


class Room:
    """Devices and orders on them. `leading`: what the election says."""

    def __init__(self) -> None:
        self.vault, self.made, self.leading, self.leads_until = Vault(), [], True, math.inf
        self.devices = Devices(self.vault, self._open, CLOCK)
        self.power = Power(self.devices, lambda: self.leads_until if self.leading else -math.inf, CLOCK)
        self.declared: FenceDevice | None = declared()

    made: list[SlowDevice]
    outlets: tuple[str, ...] = ("",)
    reports = "guid:" + "a" * 32

    def _open(self, spec: FenceDeviceSpec, secret: Mapping[str, bytes], clock: Clock, name: str) -> PowerDevice:
        if not spec.ipmi and not spec.snmp_pdu:
            raise NoDriver(f"{name}: no driver")
        self.made.append(SlowDevice(spec, secret, name))
        self.made[-1].outlets, self.made[-1].reports = self.outlets, self.reports
        return self.made[-1]

    async def cut(self, seconds: float = 2.0) -> Acked:
        return await self.power.order(lambda _: self.declared, CutPower(7, FEED, CLOCK.monotonic() + seconds, "test"))


def declared(generation: int = 1, **spec: Any) -> FenceDevice:
    meta = {"name": "bmc-oss1", "namespace": "scratch", "uid": "u1", "generation": generation}
    return FenceDevice.parse(good.changed(good.bmc(), spec) | {"metadata": meta})


async def test_shot_is_acknowledged_once_with_its_number() -> None:
    room = Room()
    assert await room.cut() == Acked(7, FEED, ok=True, sent=True)
    assert room.made[0].orders == ["off"]
    on = PowerOn(8, FEED, CLOCK.monotonic() + 1, "test")
    assert (await room.power.order(lambda _: room.declared, on)).ok
    assert room.made[0].orders == ["off", "on"]


async def test_shot_after_its_deadline_is_never_sent() -> None:
    room = Room()
    acked = await room.cut(-0.01)
    assert (acked.ok, acked.sent) == (False, False)
    assert "NOT sent: its deadline passed" in acked.detail
    assert room.made[0].orders == []


async def test_deposed_leader_does_not_shoot() -> None:
    room = Room()
    room.leading = False
    acked = await room.cut()
    assert (acked.ok, acked.sent) == (False, False)
    assert "does not lead any more" in acked.detail
    assert room.made[0].orders == []


async def test_leadership_that_is_lost_while_the_shot_waited_its_turn_stops_it() -> None:
    room = Room()
    await room.cut()
    slot = room.devices.slot("scratch/bmc-oss1")
    slot.probe = asyncio.create_task(asyncio.sleep(60))
    shot = asyncio.create_task(room.cut())
    await asyncio.sleep(0)
    room.leading = False
    assert not (await shot).sent
    assert room.made[0].orders == ["off"]


@pytest.mark.parametrize("order", [CutPower, PowerOn])
async def test_leadership_that_runs_out_ends_the_repetitions_of_an_order(order: type[CutPower] | type[PowerOn]) -> None:
    room = Room()
    await room.cut()
    room.made[0].mute, room.made[0].silent = True, True
    began = CLOCK.monotonic()
    room.leads_until = began + 1.0
    acked = await room.power.order(lambda _: room.declared, order(8, FEED, began + 60, "test"))
    assert (acked.ok, acked.sent) == (False, True)
    assert CLOCK.monotonic() - began < 1.3, "it was repeated after the last second of the leadership"


@pytest.mark.parametrize("order", [CutPower, PowerOn])
async def test_leadership_that_is_taken_away_ends_an_order_under_way(order: type[CutPower] | type[PowerOn]) -> None:
    room = Room()
    await room.cut()
    room.made[0].mute = True
    ordering = asyncio.create_task(room.power.order(lambda _: room.declared, order(8, FEED, math.inf, "test")))
    await asyncio.sleep(1.0)
    room.leading = False
    room.power.stop_orders()
    acked = await ordering
    assert (acked.ok, acked.sent) == (False, True)
    assert "LeadershipLost" in acked.detail
    left = len(room.made[0].orders)
    await asyncio.sleep(5.0)
    assert len(room.made[0].orders) == left


@pytest.mark.parametrize("order", [CutPower, PowerOn])
async def test_order_for_another_device_is_not_sent(order: type[CutPower] | type[PowerOn]) -> None:
    room = Room()
    expected = "guid:" + "b" * 32
    acked = await room.power.order(lambda _: room.declared, order(8, FEED, CLOCK.monotonic() + 1, "test", expected))
    assert (acked.ok, acked.sent) == (False, False)
    assert "WrongIdentity" in acked.detail
    assert expected in acked.detail
    assert room.made[0].reports in acked.detail
    assert room.made[0].orders == []


async def test_silent_device_says_that_the_shot_may_have_been_sent() -> None:
    room = Room()
    await room.cut()
    room.made[0].silent = True
    acked = await room.cut()
    assert (acked.ok, acked.sent) == (False, True)
    assert "DeviceSilent" in acked.detail


@pytest.mark.parametrize("takes", [PROBE_GRACE / 5, 30.0], ids=["a probe that answers", "a probe that does not"])
async def test_probe_under_way_delays_a_shot_by_its_grace_at_most(takes: float) -> None:
    room = Room()
    assert room.declared
    device = await room.devices.get(room.declared)
    room.made[0].takes = takes
    slot = room.devices.slot("scratch/bmc-oss1")
    slot.probe = asyncio.create_task(_probe(device))
    await asyncio.sleep(0)
    began = CLOCK.monotonic()
    assert (await room.cut()).ok
    assert CLOCK.monotonic() - began < PROBE_GRACE + 0.1
    assert slot.busy == 0


async def _probe(device: PowerDevice) -> None:
    await device.read("", CLOCK.monotonic() + 60)


async def test_device_that_is_not_declared_is_not_shot_and_reads_unknown() -> None:
    room = Room()
    room.declared = None
    acked = await room.cut()
    assert (acked.ok, acked.sent) == (False, False)
    assert "FenceDevice bmc-oss1 does not exist" in acked.detail
    read = await room.power.read(lambda _: None, ReadPower(9, FEED, CLOCK.monotonic() + 1))
    assert (read.op, read.reading.state) == (9, PowerState.UNKNOWN)


async def test_missing_secret_is_named_and_nothing_is_sent() -> None:
    room = Room()
    room.vault.secrets.clear()
    acked = await room.cut()
    assert (acked.ok, acked.sent) == (False, False)
    assert "credentialsSecretName: Secret scratch/bmc does not exist" in acked.detail


async def test_device_without_a_driver_says_so_without_asking_for_its_secret() -> None:
    room = Room()
    room.declared = declared(
        **{"spec.ipmi": good.ABSENT, "spec.redfish": {"address": "a", "credentialsSecretName": "s"}}
    )
    assert "NoDriver" in (await room.cut()).detail
    assert room.vault.asked == 0


async def test_slow_reading_ends_at_the_request_time_out_as_unknown() -> None:
    room = Room()
    room.declared = declared(1, **{"spec.requestTimeout": "100ms"})
    assert room.declared
    await room.devices.get(room.declared)
    room.made[0].takes = 30.0
    began = CLOCK.monotonic()
    read = await room.power.read(lambda _: room.declared, ReadPower(9, FEED, CLOCK.monotonic() + 60))
    assert read.reading.state is PowerState.UNKNOWN
    assert CLOCK.monotonic() - began < 1.0


async def test_edited_device_is_opened_again_and_an_order_follows_what_it_was_decided_on() -> None:
    room = Room()
    await room.cut()
    room.declared = declared(2, **{"spec.ipmi.address": "192.0.2.66"})
    await room.cut()
    assert [made.spec.ipmi.address for made in room.made if made.spec.ipmi] == ["192.0.2.11", "192.0.2.66"]
    assert [made.closed for made in room.made] == [True, False]


async def test_changed_secret_is_noticed_by_the_next_probe_and_costs_a_shot_nothing() -> None:
    room = Room()
    await room.cut()
    room.vault.secrets["bmc"] = Secret("2", {"username": b"admin", "password": b"new"})
    asked = room.vault.asked
    await room.cut()
    assert (room.vault.asked, len(room.made)) == (asked, 1)
    assert room.declared
    await room.devices.get(room.declared, fresh=True)
    assert [made.secret["password"] for made in room.made] == [b"hunter2", b"new"]


async def test_secret_that_is_taken_away_closes_the_session() -> None:
    room = Room()
    await room.cut()
    room.vault.secrets.clear()
    assert room.declared
    with pytest.raises(UnusableError, match="does not exist"):
        await room.devices.get(room.declared, fresh=True)
    assert room.made[0].closed
    assert not (await room.cut()).sent


async def test_secret_that_ends_in_a_newline_is_the_reason_that_its_device_cannot_be_used() -> None:
    vault = Vault()
    vault.secrets["bmc"] = Secret("1", {"username": b"admin", "password": b"hunter2\n"})
    devices = Devices(vault, open_device, CLOCK)
    with pytest.raises(UnusableError, match=r"Secret bmc: the value of key password ends in a newline") as caught:
        await devices.get(declared())
    assert caught.value.reason == "SecretEndsInNewline"
    assert "hunter2" not in str(caught.value)


def test_secret_does_not_show_what_it_holds() -> None:
    assert "hunter2" not in repr(Secret("1", {"password": b"hunter2"}))
