"""What every driver promises (`ports.PowerDevice`), each on its real protocol over UDP, checked against the relay itself."""

import asyncio
import statistics
import time

import pytest

from fencing.bench import GUID, KINDS, Bench, bench, ended, soon
from ostkeeper.core.power import PowerState
from ostkeeper.ports import DeadlinePassed, DeviceSilent, FenceError, NoSuchOutlet, WrongCredentials
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, pytest.mark.parametrize("kind", KINDS)]
STALL = 5.0
"""Seconds for which a shared machine may stand still: one who disregards its deadline here waits for ever."""


async def _reads_only(one: Bench, state: PowerState, seconds: float) -> None:
    """Read through another driver, again and again for `seconds`: all that time the power is as it should be."""
    other = one.another_driver()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert (await other.read(one.outlet, soon())).state is state
    finally:
        await other.close()


async def test_off_and_on_move_the_relay_and_read_as_such(kind: str) -> None:
    async with bench(kind) as one:
        assert (await one.device.read(one.outlet, soon())).state is PowerState.ON
        await one.device.off(one.outlet, soon())
        assert not one.live
        assert (await one.device.read(one.outlet, soon())).state is PowerState.OFF
        await one.device.on(one.outlet, soon())
        assert one.live
        assert (await one.device.read(one.outlet, soon())).state is PowerState.ON
        assert one.plane.history == [(one.feed, False), (one.feed, True)]


async def test_off_is_acknowledged_when_it_is_already_off(kind: str) -> None:
    async with bench(kind) as one:
        for _ in range(2):
            await one.device.off(one.outlet, soon())
        assert not one.live


async def test_a_reading_lies_between_question_and_answer(kind: str) -> None:
    async with bench(kind) as one:
        before = time.monotonic()
        reading = await one.device.read(one.outlet, soon())
        assert before <= reading.began <= reading.ended <= time.monotonic()


async def test_prepared_device_answers_in_milliseconds(kind: str) -> None:
    """pyghmi's lost wake-ups took 0.6 to 1.9 s, now and then; medians are 4 to 8 ms, and grow with the machine's load."""
    async with bench(kind) as one:

        async def twenty() -> bool:
            took: dict[str, list[float]] = {"off": [], "read": []}
            for _ in range(20):
                began = time.monotonic()
                await one.device.off(one.outlet, soon())
                took["off"].append(time.monotonic() - began)
                reading = await one.device.read(one.outlet, soon())
                took["read"].append(reading.ended - reading.began)
                await one.device.on(one.outlet, soon())
            for operation, seconds in took.items():
                median, most = statistics.median(seconds) * 1000, max(seconds) * 1000
                print(f"{kind} {operation}: median {median:.1f} ms, most {most:.1f}")
                assert most < 500.0, operation
            return True

        await wait_for_async(twenty, 10, "twenty in a row should be quick, unless the machine stands still")


async def test_silent_device_reads_unknown_within_the_deadline(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        began = time.monotonic()
        reading = await one.device.read(one.outlet, soon(0.8))
        assert reading.state is PowerState.UNKNOWN
        assert "no answer" in reading.detail
        assert time.monotonic() - began < 0.8 + STALL


async def test_off_of_a_silent_device_says_so_and_switches_nothing(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        with pytest.raises(DeviceSilent, match=r"dev .*no answer"):
            await one.device.off(one.outlet, soon(0.8))
        await one.devices.fault("dev", kind="normal")
        await _reads_only(one, PowerState.ON, 1.0)
        assert one.plane.history == []


async def test_silent_device_that_answers_again_is_read_again(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        assert (await one.device.read(one.outlet, soon(0.4))).state is PowerState.UNKNOWN
        await one.devices.fault("dev", kind="normal")
        assert (await one.device.read(one.outlet, soon())).state is PowerState.ON


async def test_answer_that_was_lost_leaves_unknown_and_then_the_truth(kind: str) -> None:
    """The reply of an off is lost: the caller sees an error, and the device is off. Only a reading tells."""
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="slow", argument=2400)  # arrives after 1.2 s, its answer after the deadline
        with pytest.raises(DeviceSilent):
            await one.device.off(one.outlet, soon(1.6))
        await wait_for_async(lambda: not one.live, 5, "the order arrives all the same")
        await one.devices.fault("dev", kind="normal")
        assert (await one.device.read(one.outlet, soon())).state is PowerState.OFF
        assert not one.live


async def test_ten_percent_loss_is_survived(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="lossy", argument=10)
        for _ in range(15):
            assert (await one.device.read(one.outlet, soon(20))).state is PowerState.ON
        await one.device.off(one.outlet, soon(20))
        assert not one.live


async def test_slow_device_is_read_and_switched(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="slow", argument=300)
        await one.device.prepare(soon(20))
        assert (await one.device.read(one.outlet, soon())).state is PowerState.ON
        await one.device.off(one.outlet, soon())
        assert not one.live


async def test_wrong_password_is_told_and_proves_nothing(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="wrong-password")
        expected = DeviceSilent if kind == "snmp-v2c" else WrongCredentials  # an agent drops a wrong community
        with pytest.raises(expected) as caught:
            await one.device.off(one.outlet, soon())
        reading = await one.device.read(one.outlet, soon())
        assert reading.state is PowerState.UNKNOWN
        assert one.live
        for value in one.devices.secret("dev").values():
            if value != b"ostkeeper":  # the user name, which messages may well hold
                assert value.decode() not in str(caught.value) + reading.detail + repr(one.device.__dict__)


async def test_outlet_that_does_not_exist_is_refused_and_unknown(kind: str) -> None:
    async with bench(kind) as one:
        reading = await one.device.read("9", soon())
        assert (reading.state, reading.reason) == (PowerState.UNKNOWN, "NoSuchOutlet")
        with pytest.raises(NoSuchOutlet, match="'9'"):
            await one.device.off("9", soon())
        assert one.plane.history == []


async def test_cancelled_off_is_never_carried_out_later(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        before = await one.packets()
        shot = asyncio.create_task(one.device.off(one.outlet, soon(10)))
        while await one.packets() == before:  # until it has been sent once
            await asyncio.wait([shot], timeout=0.01)
        shot.cancel()
        assert await ended(shot)
        await one.devices.fault("dev", kind="normal")
        await _reads_only(one, PowerState.ON, 1.5)
        assert one.plane.history == []


async def test_off_with_a_deadline_in_the_past_sends_no_packet(kind: str) -> None:
    async with bench(kind) as one:
        before = await one.packets()
        with pytest.raises(DeadlinePassed, match="NOT sent"):
            await one.device.off(one.outlet, time.monotonic() - 0.001)
        reading = await one.device.read(one.outlet, time.monotonic())
        assert reading.state is PowerState.UNKNOWN
        assert await one.packets() == before
        assert one.live


async def test_no_packet_leaves_after_the_deadline(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        deadline = soon(0.5)
        shot = asyncio.create_task(one.device.off(one.outlet, deadline))
        await asyncio.wait([shot], timeout=0.6)
        sent = await one.packets()
        assert sent > 0
        with pytest.raises(DeviceSilent):
            await shot
        assert time.monotonic() < deadline + STALL, "it went on after the deadline"
        watch = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 1.2))
        await asyncio.wait([watch])
        assert isinstance(watch.exception(), TimeoutError)
        assert await one.packets() == sent


async def test_second_caller_waits_its_turn_and_is_not_sent_late(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        first = asyncio.create_task(one.device.read(one.outlet, soon(4)))
        await asyncio.wait([first], timeout=0.05)
        with pytest.raises(DeadlinePassed, match="NOT sent"):
            await one.device.off(one.outlet, soon(0.3))
        assert (await first).state is PowerState.UNKNOWN


async def test_stuck_relay_acknowledges_and_reads_on(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", one.outlet, "stuck")
        await one.device.off(one.outlet, soon())
        assert one.live
        assert (await one.device.read(one.outlet, soon())).state is PowerState.ON
        await one.devices.fault("dev", one.outlet, "normal")
        await one.device.off(one.outlet, soon())
        assert not one.live


async def test_liar_acknowledges_and_reads_off_while_current_flows(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", one.outlet, "lie")
        await one.device.off(one.outlet, soon())
        reading = await one.device.read(one.outlet, soon())
        assert reading.state is PowerState.OFF
        assert one.live
        if kind != "ipmi":
            assert reading.watts == 210.0, "the load gives a lying outlet away"


async def test_readings_of_one_boot_have_one_sign_and_a_reboot_changes_it(kind: str) -> None:
    async with bench(kind) as one:
        await one.device.off(one.outlet, soon())
        before = [await one.device.read(one.outlet, soon()) for _ in range(5)]
        await one.devices.fault("dev", kind="reboot")
        after = await one.device.read(one.outlet, soon())
        signs = {reading.boot for reading in before}
        assert len(signs) == 1
        if kind == "ipmi":
            assert signs == {after.boot} == {""}, "IPMI has no sign of a reboot"
        else:
            assert after.boot not in signs
            assert after.state is PowerState.ON, "this PDU's outlets come back on"


async def test_identify_tells_who_answers(kind: str) -> None:
    async with bench(kind) as one:
        identity = await one.device.identify(soon())
        assert identity.system_uuid == (GUID if kind == "ipmi" else "")
        assert ("IPMI 2.0" if kind == "ipmi" else "APC") in identity.model


async def test_identify_of_a_silent_device_raises(kind: str) -> None:
    async with bench(kind) as one:
        await one.devices.fault("dev", kind="silent")
        with pytest.raises(FenceError, match="no answer"):
            await one.device.identify(soon(0.4))


async def test_closed_driver_sends_nothing_and_may_be_opened_again(kind: str) -> None:
    async with bench(kind) as one:
        await one.device.close()
        await one.device.close()
        assert (await one.device.read(one.outlet, soon(20))).state is PowerState.ON
