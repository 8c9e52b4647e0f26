"""How far probes let a fence device be trusted: windows as strings, newest last (`.` answered, `x` silent, `s` slow)."""

import pytest

from api import objects as good
from ostkeeper.api import FenceDevice
from ostkeeper.api.fencedevice import FenceDeviceStatus, Probe
from ostkeeper.core.trust import Sample, add, judge, ready_condition, restored, slowest_but_one_percent, status_of

pytestmark = pytest.mark.scenario
KINDS = {
    ".": Sample(ok=True, latency=0.010),
    "s": Sample(ok=True, latency=1.5),
    "x": Sample(ok=False, latency=5.0, reason="DeviceSilent", detail="no answer in 5.0s"),
    "w": Sample(ok=False, latency=0.1, reason="WrongCredentials", detail="the password was refused"),
}
TWENTY = Probe(sample_count=20, min_success_percent=90)
FIVE = Probe(sample_count=5, min_success_percent=80)

CASES = {
    "nothing yet": ("", TWENTY, False, "NotEnoughSamples", "10 are needed"),
    "nine good ones are too few": ("." * 9, TWENTY, False, "NotEnoughSamples", "9 of the last 9"),
    "ten good ones are enough": ("." * 10, TWENTY, True, "Trusted", "10 ms"),
    "one that failed counts while there are few": (
        ".........x.........",
        TWENTY,
        False,
        "Unreliable",
        "until 20 were made",
    ),
    "the same among enough of them": (".........x..........", TWENTY, True, "Trusted", "19 of the last 20"),
    "too many failed among enough": ("x.x.x...............", TWENTY, False, "Unreliable", "90% of 20 are asked for"),
    "silent just now, and too often": ("." * 17 + "xxx", TWENTY, False, "DeviceSilent", "no answer in 5.0s"),
    "refused from the start": ("w", TWENTY, False, "WrongCredentials", "the password was refused"),
    "fails for the first time, still within the share": ("." * 19 + "x", TWENTY, True, "Trusted", "19 of the last 20"),
    "slow": ("." * 9 + "s", TWENTY, False, "TooSlow", "1.500s, over 1s"),
    "few samples asked for": ("....", FIVE, False, "NotEnoughSamples", "5 are needed"),
    "few samples asked for and there": (".....", FIVE, True, "Trusted", ""),
}


@pytest.mark.parametrize(("window", "probe", "ready", "reason", "words"), CASES.values(), ids=CASES)
def test_window_is_judged(window: str, probe: Probe, ready: bool, reason: str, words: str) -> None:
    trust = judge(tuple(KINDS[kind] for kind in window), probe)
    assert (trust.ready, trust.reason) == (ready, reason)
    assert words in trust.message
    assert (trust.samples, trust.succeeded) == (len(window), sum(kind in ".s" for kind in window))


def test_old_samples_fall_out_and_a_mended_device_is_trusted_again() -> None:
    window: tuple[Sample, ...] = ()
    for kind in "x" * 20 + "." * 18:
        window = add(window, KINDS[kind], TWENTY)
    assert len(window) == 20
    assert judge(window, TWENTY).reason == "Trusted"


def test_one_percent_of_slow_answers_is_forgiven_from_a_hundred_on() -> None:
    assert slowest_but_one_percent([0.01] * 99 + [9.0]) == 0.01
    assert slowest_but_one_percent([0.01] * 98 + [9.0]) == 9.0
    assert slowest_but_one_percent([]) == 0.0


def test_new_leader_takes_over_the_counts_but_not_of_another_spec() -> None:
    status = FenceDeviceStatus(observed_generation=3, samples=20, succeeded=17, latency_milliseconds=12)
    window = restored(status, 3, TWENTY)
    assert (judge(window, TWENTY).samples, judge(window, TWENTY).succeeded) == (20, 17)
    assert judge(window, TWENTY).ready is False
    assert restored(status, 4, TWENTY) == ()
    assert restored(None, 1, TWENTY) == ()


def test_status_keeps_the_identity_of_a_silent_device_and_nothing_of_a_device_that_was_replaced() -> None:
    known = FenceDeviceStatus(identity="guid:" + "a" * 32, system_uuid="a" * 32, model="old")
    device = FenceDevice.parse(good.bmc() | {"metadata": {"name": "bmc-oss1", "namespace": "scratch"}})
    device = device.model_copy(update={"status": known})
    trust = judge((), TWENTY)
    silent = status_of(device, trust, ready_condition(trust, 1), (), "")
    assert (silent.identity, silent.system_uuid, silent.model) == (known.identity, known.system_uuid, known.model)
    other = status_of(device, trust, ready_condition(trust, 1), (), "", identity="guid:" + "b" * 32)
    assert (other.identity, other.system_uuid, other.model) == ("guid:" + "b" * 32, "", "")
