"""Probes: Ready within seconds, gives way to shots, writes down what changed and no secret, and only while it leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api import objects as good
from controller.parts import never
from controller.test_power import CLOCK, Room, declared
from ostkeeper.api import OSSPair
from ostkeeper.api.common import Condition
from ostkeeper.api.fencedevice import FenceDeviceStatus
from ostkeeper.controller.prober import Prober
from ostkeeper.core.events import Outcome, Problem, Tell
from ostkeeper.ports import Written
from waiting import wait_for_async

pytestmark = [pytest.mark.scenario, pytest.mark.virtual_time]
KEY = "scratch/bmc-oss1"
FAST = {"spec.probe": {"interval": "50ms", "sampleCount": 20}, "spec.requestTimeout": "100ms"}


class Book:
    """Takes the statuses of FenceDevices."""

    def __init__(self) -> None:
        self.written: list[FenceDeviceStatus] = []
        self.outcome = Outcome.OK
        self.told: list[Tell] = []

    async def write_device(self, key: str, version: str, status: FenceDeviceStatus) -> Written:
        self.written.append(status)
        return Written(self.outcome)

    async def tell(self, tell: Tell) -> None:
        self.told.append(tell)

    def last(self) -> str:
        return self.written[-1].conditions[0].reason if self.written else ""


class Watchtower(Room):
    """A prober of one BMC."""

    def __init__(self, problem: Problem | None = None, **spec: Any) -> None:
        super().__init__()
        self.declared = declared(**(FAST | spec))
        self.book = Book()
        cluster: Any = self.book
        self.prober = Prober(
            self.devices, cluster, CLOCK, lambda _: self.declared, lambda *_: problem, lambda _: self.leading
        )

    def attend(self) -> None:
        meta = {"name": "pair-a", "namespace": "scratch"}
        pair = OSSPair.parse(good.pair() | {"metadata": meta})
        self.prober.attend({self.declared.key: self.declared} if self.declared else {}, {pair.key: pair})

    async def until(self, reason: str) -> FenceDeviceStatus:
        await wait_for_async(lambda: self.book.last() == reason, 15, f"the device is {reason}", step=0.01)
        return self.book.written[-1]


@asynccontextmanager
async def tower(problem: Problem | None = None, **spec: Any) -> AsyncIterator[Watchtower]:
    made = Watchtower(problem, **spec)
    made.prober.lead(True)
    made.attend()
    try:
        yield made
    finally:
        made.prober.lead(False)


async def test_new_device_is_ready_after_ten_quick_probes() -> None:
    async with tower() as made:
        status = await made.until("Trusted")
        assert (status.samples, status.succeeded, status.system_uuid, status.model) == (10, 10, "a" * 32, "model")
        assert status.identity == "guid:" + "a" * 32
        assert [(feed.outlet, feed.state) for feed in status.feeds] == [("", "PoweredOn")]
        assert [written.conditions[0].reason for written in made.book.written] == ["NotEnoughSamples", "Trusted"]


async def test_device_that_falls_silent_is_told_of_and_no_secret_is() -> None:
    async with tower() as made:
        await made.until("Trusted")
        made.made[0].takes = 30.0
        status = await made.until("DeviceSilent")
        assert [feed.state for feed in status.feeds] == ["Unknown"]
        assert not any("hunter2" in str(written.wire()) for written in made.book.written)


async def test_probes_keep_off_while_a_shot_is_under_way() -> None:
    async with tower() as made:
        await made.until("Trusted")
        made.devices.slot(KEY).busy += 1
        probe = made.devices.slot(KEY).probe
        assert probe
        await asyncio.wait({probe})
        made.made[0].takes = 30.0  # a probe would now be unanswered
        await never(lambda: made.book.last() != "Trusted", 0.5, "it is asked nothing, so nothing is unanswered")


async def test_missing_secret_is_the_reason_and_mends_itself() -> None:
    async with tower() as made:
        secrets = dict(made.vault.secrets)
        made.vault.secrets.clear()
        await made.until("SecretMissing")
        made.vault.secrets.update(secrets)
        await made.until("Trusted")


async def test_new_leader_takes_over_what_its_predecessor_counted() -> None:
    status = FenceDeviceStatus(observed_generation=1, samples=20, succeeded=20, latency_milliseconds=3)
    made = Watchtower()
    assert made.declared
    made.declared = made.declared.model_copy(update={"status": status})
    made.prober.lead(True)
    made.attend()
    try:
        await made.until("Trusted")
        assert len(made.book.written) == 1
    finally:
        made.prober.lead(False)


async def test_device_that_answers_again_is_told_in_one_event() -> None:
    silent = Condition(type="Ready", status="False", reason="DeviceSilent", message="no answer", observed_generation=1)
    made = Watchtower()
    assert made.declared
    made.declared = made.declared.model_copy(update={"status": FenceDeviceStatus(conditions=(silent,))})
    made.prober.lead(True)
    made.attend()
    try:
        await made.until("Trusted")
        assert [(tell.kind, tell.type, tell.reason) for tell in made.book.told] == [
            ("FenceDevice", "Normal", "Trusted")
        ]
    finally:
        made.prober.lead(False)


async def test_clash_of_two_devices_is_the_reason_whatever_the_probes_say() -> None:
    problem = Problem("FenceDevice", KEY, "SharedAddress", "192.0.2.11:623 is the address of another, too")
    async with tower(problem) as made:
        assert "is the address of another" in (await made.until("SharedAddress")).conditions[0].message


async def test_nothing_is_written_by_one_who_does_not_lead() -> None:
    made = Watchtower()
    made.leading = False
    made.prober.lead(True)  # the election is asked again right before each write
    made.attend()
    try:
        await wait_for_async(lambda: bool(made.made), 5, "it is probed")
        await never(lambda: made.book.written, 0.3, "a status is written without the leadership")
    finally:
        made.prober.lead(False)


async def test_status_that_met_a_conflict_is_written_again() -> None:
    async with tower() as made:
        made.book.outcome = Outcome.CONFLICT
        await wait_for_async(lambda: len(made.book.written) >= 3, 5, "it tries again")
        made.book.outcome = Outcome.OK
        await made.until("Trusted")


async def test_device_that_is_deleted_is_closed_and_probed_no_more() -> None:
    async with tower() as made:
        await made.until("Trusted")
        made.declared = None
        made.attend()
        await wait_for_async(lambda: made.made[0].closed, 5, "the session of a deleted device is closed")


async def test_device_with_another_identity_is_shown_and_its_predecessors_samples_do_not_count() -> None:
    async with tower() as made:
        await made.until("Trusted")
        made.made[0].reports = "guid:" + "b" * 32
        status = await made.until("NotEnoughSamples")
        assert (status.identity, status.system_uuid) == ("guid:" + "b" * 32, "b" * 32)
        assert [tell.reason for tell in made.book.told] == ["IdentityChanged"]
        assert "a" * 32 in made.book.told[0].message
        assert (await made.until("Trusted")).identity == "guid:" + "b" * 32


async def test_new_leader_that_meets_another_identity_than_its_predecessor_recorded_counts_anew() -> None:
    made = Watchtower()
    assert made.declared
    recorded = FenceDeviceStatus(observed_generation=1, samples=20, succeeded=20, identity="guid:" + "c" * 32)
    made.declared = made.declared.model_copy(update={"status": recorded})
    made.prober.lead(True)
    made.attend()
    try:
        assert (await made.until("NotEnoughSamples")).identity == "guid:" + "a" * 32
        assert [tell.reason for tell in made.book.told] == ["IdentityChanged"]
    finally:
        made.prober.lead(False)


async def test_identity_that_cannot_be_read_any_more_makes_the_device_unready_and_stays_recorded() -> None:
    async with tower() as made:
        await made.until("Trusted")
        made.made[0].reports = ""
        status = await made.until("WrongIdentity")
        assert status.identity == "guid:" + "a" * 32
        assert [feed.state for feed in status.feeds] == ["Unknown"]
        assert made.book.told == []


async def test_device_that_reports_no_identity_to_a_new_leader_is_not_taken_for_the_recorded_one() -> None:
    made = Watchtower()
    assert made.declared
    recorded = FenceDeviceStatus(observed_generation=1, samples=20, succeeded=20, identity="guid:" + "c" * 32)
    made.declared = made.declared.model_copy(update={"status": recorded})
    made.reports = ""
    made.prober.lead(True)
    made.attend()
    try:
        status = await made.until("WrongIdentity")
    finally:
        made.prober.lead(False)
    assert status.identity == recorded.identity
    assert "reports no identity; guid:ccc" in status.conditions[0].message
    assert [feed.state for feed in status.feeds] == ["Unknown"]


async def test_outlet_that_the_pdu_does_not_have_is_said_of_that_feed_only() -> None:
    made = Watchtower(
        **{"spec.ipmi": good.ABSENT, "spec.snmpPDU": {"address": "192.0.2.12", "credentialsSecretName": "bmc"}}
    )
    assert made.declared
    meta = made.declared.metadata.model_copy(update={"name": "pdu-left"})
    made.declared = made.declared.model_copy(update={"metadata": meta})
    made.outlets = ("1",)
    made.prober.lead(True)
    made.attend()
    try:
        status = await made.until("Trusted")
    finally:
        made.prober.lead(False)
    assert [(feed.outlet, feed.state, feed.reason) for feed in status.feeds] == [
        ("1", "PoweredOn", ""),
        ("2", "Unknown", "NoSuchOutlet"),
    ]
    assert "there is no outlet '2'" in status.feeds[1].message
