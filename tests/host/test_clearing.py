"""When MMP is cleared before a mount: only the certified block, unmoved for two update intervals since the last off."""

from typing import Any

import pytest

from host.rig import (
    CLEAN,
    DEAD_BOOT,
    MINE,
    OLD_BOOT,
    START,
    STILL,
    THEIRS,
    Rig,
    T,
    certificate,
    certified,
    failover,
    grant,
    oss,
)
from ostkeeper.api.failover import Certificate
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario
JUST_STILL = STILL._replace(still_since=START - 2, unmoved=2.0)


def suspected(level: int = 0, **more: Any) -> Rig:
    """oss2 serves; its block stands still; the first nonce after its off is asked now."""
    partner = oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Mounted", "mark": THEIRS}])
    rig = Rig(grants=[grant("Hold", 5, "oss2")], disk=STILL, partner=partner, **more).start()
    rig.change(nonce={"value": "n1", "failover": "pair-a-4", "level": level, "open": True})
    return rig


def relocated(rig: Rig, held: Certificate | None = None) -> None:
    held = held or certificate()
    rig.failovers = [failover(held)]
    rig.step(Seen(rig.failovers[0]))
    rig.change(grant("Serve", 6, **certified(held)))


def test_certified_block_is_cleared() -> None:
    rig = suspected()
    rig.wait(3)
    relocated(rig)
    order = rig.one(ev.Mount)
    assert order.clear is True
    assert order.digest == "d-still"
    rig.mounted()
    rig.step(ev.MountEnded(order.op, T, True, cleared=True))


def test_report_says_cleared_also_where_the_mount_after_it_failed_at_first() -> None:
    rig = suspected()
    rig.wait(3)
    relocated(rig)
    rig.disk = CLEAN
    rig.step(ev.MountEnded(rig.one(ev.Mount).op, T, False, "DeviceBusy", "somebody held it for a moment", cleared=True))
    assert not rig.target().cleared_mmp, "it is not mounted yet"
    rig.wait(3)
    again = rig.all(ev.Mount)[-1]
    assert not again.clear
    rig.mounted(order=again)
    assert rig.target().cleared_mmp


def test_clear_waits_for_the_rest_of_the_stillness_and_not_for_the_kernel() -> None:
    rig = suspected()
    rig.wait(0.5)
    relocated(rig)
    assert not rig.all(ev.Mount)
    rig.wait(5)
    assert rig.one(ev.Mount).clear is True
    assert rig.one(ev.Mount).why.startswith("Serve at epoch 6; MMP cleared")
    ordered = next(i for i, effect in enumerate(rig.effects) if isinstance(effect, ev.Mount))
    assert ordered


def test_clear_comes_as_soon_as_two_update_intervals_have_passed() -> None:
    rig = suspected()
    rig.wait(0.5)
    relocated(rig)
    while not rig.all(ev.Mount):
        rig.wait(0.1)
    assert rig.now == pytest.approx(START + 2.0, abs=0.11)


def test_disk_is_read_in_the_moment_in_which_it_may_have_stood_still_long_enough() -> None:
    rig = suspected()
    rig.wait(0.5)
    relocated(rig)
    mark = len(rig.effects)
    while rig.now < START + 2.0:
        rig.tick()
    assert rig.now == pytest.approx(START + 2.0)
    assert [asked.targets for asked in rig.since(mark, ev.ReadDisksNow)] == [(T,)]
    rig.read(STILL._replace(unmoved=62.0))
    assert rig.one(ev.Mount).clear is True


def test_store_and_read_are_there_when_the_stillness_is() -> None:
    rig = suspected()
    rig.wait(0.5)
    relocated(rig)
    assert rig.all(ev.Remember)
    assert rig.all(ev.ReadPair)
    while rig.now < START + 2.0:
        rig.tick()
    mark = len(rig.effects)
    rig.read(STILL._replace(unmoved=62.0))
    assert len(rig.since(mark, ev.Mount)) == 1
    assert not rig.since(mark, ev.Remember)
    assert not rig.since(mark, ev.ReadPair)


def test_block_that_moves_while_its_stillness_is_awaited_leaves_no_record_behind() -> None:
    rig = suspected()
    rig.wait(0.5)
    relocated(rig)
    assert rig.all(ev.Remember)[-1].mounts[T] is not None
    rig.read(STILL._replace(activity="Advancing", digest="d-alive", moves=1, still_since=rig.now, unmoved=0.0))
    rig.disk = rig.disk._replace(still_since=rig.now)
    assert rig.all(ev.Remember)[-1].mounts == {T: None}
    assert not rig.all(ev.Mount)


def test_agent_that_did_not_see_the_off_counts_from_the_warrant() -> None:
    held = certificate()
    partner = oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Mounted", "mark": THEIRS}])
    rig = Rig(grants=[grant("Serve", 6, **certified(held))], disk=STILL, partner=partner, failovers=[failover(held)])
    rig.start()
    assert not rig.all(ev.Mount)
    while not rig.all(ev.Mount):
        rig.wait(0.1)
    assert rig.now == pytest.approx(START + 2.0, abs=0.11)
    assert rig.one(ev.Mount).clear is True


def test_stillness_counts_from_the_last_level_only() -> None:
    rig = suspected(level=0)
    rig.wait(3)
    rig.change(nonce={"value": "n2", "failover": "pair-a-4", "level": 1, "open": True})
    rig.wait(0.5)
    relocated(rig)
    assert not rig.all(ev.Mount)
    rig.wait(2)
    assert rig.one(ev.Mount).clear is True


NOT_CLEARED: dict[str, Certificate] = {
    "not-allowed": certificate(clearMMP=False),
    "confirmed-by-a-person": certificate(clearMMP=False, feeds=[], confirmedBy="alice"),
    "another-block": certificate(
        disks=[{"target": T, "state": "Still", "block": "d-else", "mark": THEIRS, "reported": THEIRS}]
    ),
    "no-mark-reported": certificate(disks=[{"target": T, "state": "Still", "block": "d-still", "mark": THEIRS}]),
    "another-mark-reported": certificate(
        disks=[{"target": T, "state": "Still", "block": "d-still", "mark": THEIRS, "reported": "kernel/loop9"}]
    ),
    "no-boot-known": certificate(bootID=""),
}


@pytest.mark.parametrize("case", NOT_CLEARED)
def test_mount_waits_as_the_kernel_does(case: str) -> None:
    rig = suspected()
    rig.wait(3)
    relocated(rig, NOT_CLEARED[case])
    assert rig.one(ev.Mount).clear is False


PARTNERS = {
    "reports-another-mark": oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Mounted", "mark": "other"}]),
    "reports-no-mark": oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Mounted"}]),
    "reports-no-target": oss("oss2", bootID=DEAD_BOOT),
    "is-not-there": None,
}


@pytest.mark.parametrize("case", PARTNERS)
def test_mmp_is_not_cleared_if_the_dead_servers_own_report_denies_the_certificates_mark(case: str) -> None:
    rig = suspected()
    rig.wait(3)
    rig.partner = PARTNERS[case]
    relocated(rig)
    assert rig.one(ev.Mount).clear is False


def test_mmp_is_cleared_on_the_certificates_word_once_the_dead_server_has_booted_again() -> None:
    rig = suspected()
    rig.wait(3)
    rig.partner = oss("oss2", bootID="later", targets=[{"target": T, "state": "Unmounted"}])
    relocated(rig)
    assert rig.one(ev.Mount).clear is True


LONG = "n" * 64


@pytest.mark.parametrize(("written", "cleared"), [("loop2", True), ("loop3", False)])
def test_marks_are_compared_whole(written: str, cleared: bool) -> None:
    mine = f"{LONG}/loop2"
    partner = oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Mounted", "mark": mine}])
    block = STILL._replace(mark=f"{LONG}/{written}")
    rig = Rig(grants=[grant("Hold", 5, "oss2")], disk=block, partner=partner).start()
    rig.change(nonce={"value": "n1", "failover": "pair-a-4", "level": 0, "open": True})
    rig.wait(3)
    proof = {"target": T, "state": "Still", "block": "d-still", "mark": block.mark, "reported": mine}
    relocated(rig, certificate(disks=[proof]))
    assert rig.one(ev.Mount).clear is cleared


def test_own_dead_boot_is_never_cleared_after_a_restart() -> None:
    held = certificate(
        node="oss1", bootID=OLD_BOOT, disks=[{"target": T, "state": "Still", "block": "d-still", "mark": MINE}]
    )
    rig = Rig(grants=[grant("Serve", 6, **certified(held))], disk=STILL._replace(mark=MINE), failovers=[failover(held)])
    rig.start()
    rig.wait(5)
    assert rig.one(ev.Mount).clear is False


@pytest.mark.parametrize("case", ["Clean", "Fsck"])
def test_certificate_over_a_block_without_an_ordinary_sequence_clears_nothing(case: Any) -> None:
    rig = suspected()
    rig.wait(3)
    rig.read(STILL._replace(activity=case, ordinary=False, digest="d-other"))
    relocated(rig)
    assert [order.clear for order in rig.all(ev.Mount)] == ([False] if case == "Clean" else [])


def test_block_that_moves_after_the_certificate_is_not_mounted() -> None:
    rig = suspected()
    rig.wait(3)
    rig.read(STILL._replace(activity="Advancing", digest="d-alive", moves=1, still_since=rig.now, unmoved=0.0))
    relocated(rig)
    rig.disk = rig.disk._replace(still_since=rig.now)
    assert not rig.all(ev.Mount)
    assert rig.target().reason == "MMPActive"


def test_clear_that_is_refused_falls_back_to_the_kernels_wait() -> None:
    rig = suspected()
    rig.wait(3)
    relocated(rig)
    order = rig.one(ev.Mount)
    assert order.clear
    rig.step(ev.MountEnded(order.op, T, False, "ClearRefused", "another block"))
    rig.wait(2)
    assert [o.clear for o in rig.all(ev.Mount)] == [True, False]


def test_certificate_that_the_watch_shows_late_is_read_before_anything_is_refused() -> None:
    rig = suspected()
    rig.wait(3)
    held = certificate()
    rig.failovers = [failover(held)]
    rig.change(grant("Serve", 6, **certified(held)))
    assert rig.one(ev.Mount).clear is True
