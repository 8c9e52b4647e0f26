"""Fence devices and cords: what is so, and what is said."""

from __future__ import annotations

import pytest

from ostkeeper.core.power import Feed, PowerState
from sim.hostfloor import Floor

pytestmark = pytest.mark.sim
LEFT, RIGHT, BMC = Feed("pdu-left", "1"), Feed("pdu-right", "1"), Feed("bmc-oss1")


class Asker:
    """Who orders and reads."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.acks: list[tuple[bool, bool]] = []
        self.readings: list[tuple[PowerState, str, float | None]] = []

    def order(self, feed: Feed, on: bool = False, within: float = 2.0) -> tuple[bool, bool]:
        until = self.floor.kernel.now + within
        self.floor.devices.order("op1", feed, on, until, lambda ok, sent, _: self.acks.append((ok, sent)))
        self.floor.run(max(within, 0.0) + 0.5)
        return self.acks.pop()

    def read(self, feed: Feed) -> tuple[PowerState, str, float | None]:
        until = self.floor.kernel.now + 2.0
        self.floor.devices.read("op1", feed, until, lambda s, b, watts, *_: self.readings.append((s, b, watts)))
        self.floor.run(2.5)
        return self.readings.pop()


@pytest.fixture
def asker() -> Asker:
    return Asker(Floor().run(1.0))


def test_both_outlets_cut_a_server_and_its_bmc_falls_silent(asker: Asker) -> None:
    assert asker.order(LEFT) == (True, True)
    assert asker.floor.hosts["oss1"].powered
    assert asker.order(RIGHT) == (True, True)
    assert not asker.floor.hosts["oss1"].powered
    assert asker.read(LEFT) == (PowerState.OFF, "pdu-left#1", 0.0)
    assert asker.read(BMC)[0] is PowerState.UNKNOWN


def test_bmc_cuts_its_server_and_goes_on_answering(asker: Asker) -> None:
    assert asker.read(BMC)[0] is PowerState.ON
    assert asker.order(BMC) == (True, True)
    assert not asker.floor.hosts["oss1"].powered
    assert asker.read(BMC)[0] is PowerState.OFF
    assert asker.order(BMC, on=True) == (True, True)
    assert asker.floor.hosts["oss1"].system == "booting"


def test_load_flows_through_the_outlet_that_is_left(asker: Asker) -> None:
    assert asker.read(LEFT)[2] == 150.0
    asker.order(LEFT)
    assert asker.read(RIGHT)[2] == 300.0


def test_liar_acknowledges_reads_off_and_measures_load_all_the_same(asker: Asker) -> None:
    asker.floor.devices.devices["pdu-left"].liar = True
    assert asker.order(LEFT) == (True, True)
    state, _, watts = asker.read(LEFT)
    assert state is PowerState.OFF
    assert watts == 150.0


def test_stuck_relay_acknowledges_and_reads_on(asker: Asker) -> None:
    asker.floor.devices.devices["pdu-left"].stuck = True
    assert asker.order(LEFT) == (True, True)
    assert asker.read(LEFT)[0] is PowerState.ON


def test_nothing_is_sent_after_the_deadline(asker: Asker) -> None:
    assert asker.order(LEFT, within=0.0) == (False, False)
    assert asker.floor.devices.is_on(LEFT)


def test_lost_answer_is_no_acknowledgement_and_the_outlet_is_off(asker: Asker) -> None:
    asker.floor.network.cut("pdu-left", "op1", one_way=True)
    assert asker.order(LEFT) == (False, True)
    assert not asker.floor.devices.is_on(LEFT)


def test_lossy_device_is_asked_again_until_it_answers(asker: Asker) -> None:
    asker.floor.devices.devices["pdu-left"].loss = 0.3
    assert sum(asker.read(LEFT)[0] is PowerState.ON for _ in range(20)) >= 17


def test_wrong_password_and_silence_are_unknown(asker: Asker) -> None:
    asker.floor.devices.devices["bmc-oss1"].password = False
    assert asker.read(BMC)[0] is PowerState.UNKNOWN
    assert asker.order(BMC) == (False, True)
    asker.floor.devices.devices["pdu-left"].silent = True
    assert asker.read(LEFT)[0] is PowerState.UNKNOWN


def test_reboot_of_a_pdu_shows_and_may_bring_its_outlets_back(asker: Asker) -> None:
    asker.order(LEFT)
    asker.floor.devices.reboot("pdu-left", on=True)
    assert asker.read(LEFT)[:2] == (PowerState.ON, "pdu-left#2")


def test_swapped_cords_cut_the_other_server(asker: Asker) -> None:
    asker.floor.devices.swap("oss1", "oss2")
    asker.order(LEFT)
    asker.order(RIGHT)
    assert asker.floor.hosts["oss1"].powered
    assert not asker.floor.hosts["oss2"].powered


def test_somebody_puts_everything_on_by_hand(asker: Asker) -> None:
    for feed in (LEFT, RIGHT, BMC):
        asker.order(feed)
    asker.floor.devices.power_by_hand("oss1")
    assert asker.floor.hosts["oss1"].system == "booting"
