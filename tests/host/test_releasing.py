"""When the agent unmounts, and what it takes to report a target as released."""

from typing import Any

import pytest

from host.rig import (
    BOOT,
    CLEAN,
    HERE,
    MINE,
    OLD_BOOT,
    STILL,
    THEIRS,
    UUID,
    Rig,
    T,
    certificate,
    certified,
    failover,
    grant,
    holding,
    ost,
)
from ostkeeper.api.failover import Certificate
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario
OWN = STILL._replace(activity="Advancing", mark=MINE)


def serving() -> Rig:
    return Rig(stored=holding(), mounts=dict(HERE), disk=OWN).start()


def unmounted(rig: Rig) -> None:
    """Let the umount that was ordered succeed."""
    rig.mounts = {}
    rig.look()
    rig.step(ev.UnmountEnded(rig.one(ev.Unmount).op, T, True))
    rig.read(CLEAN)


def test_release_unmounts_checks_and_reports_once() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    assert rig.one(ev.Unmount).mount_point == f"/mnt/{T}"
    assert rig.target().state == "Unmounting"
    unmounted(rig)
    assert rig.target().released is None
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=True))
    released = rig.target().released
    assert (released.epoch, released.boot_id, released.dirty) == (4, BOOT, False)
    assert rig.target().state == "Unmounted"
    rig.wait(30, 1.0)
    rig.one(ev.CheckRelease)
    rig.one(ev.Unmount)


def test_release_that_is_over_is_not_told_again_where_etcd_goes_back_to_it() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    unmounted(rig)
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=True))
    rig.change(grant("Serve", 5))
    rig.mounted()
    rig.change(grant("Release", 4))
    assert rig.target().released is None
    assert rig.target().reason == ""
    assert len(rig.all(ev.Unmount)) == 1


def test_epoch_of_a_release_is_durable_before_the_unmount() -> None:
    rig = serving()
    rig.willing = False
    rig.change(grant("Release", 4))
    asked = rig.all(ev.Remember)[-1]
    assert asked.epochs == {UUID: 4}
    assert not rig.all(ev.Unmount)
    rig.step(ev.Stored(asked.op, True))
    rig.one(ev.Unmount)


def test_release_of_what_is_not_mounted_and_clean_is_reported_at_once() -> None:
    rig = Rig(grants=[grant("Release", 4)]).start()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=True))
    assert rig.target().released.epoch == 4
    assert not rig.all(ev.Unmount)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param({"free": False, "clean": False}, id="o-excl-says-busy"),
        pytest.param({"free": True, "clean": False}, id="mmp-not-clean"),
    ],
)
def test_what_is_still_held_is_not_released_and_looked_at_again(check: dict[str, bool]) -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    unmounted(rig)
    rig.read(OWN)
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, **check, message="MMP reads Sequence"))
    assert rig.target().released is None
    assert "MMP reads Sequence" in rig.target().message
    rig.wait(3)
    assert len(rig.all(ev.CheckRelease)) > 1


def test_block_left_dirty_by_an_earlier_boot_of_its_own_is_released_dirty() -> None:
    rig = Rig(grants=[grant("Release", 4)], disk=STILL._replace(mark=MINE), stored=holding(OLD_BOOT)).start()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=False))
    assert rig.target().released.dirty is True


def test_block_left_dirty_by_the_certified_dead_partner_is_released_dirty() -> None:
    rig = Rig(grants=[grant("Release", 6, **certified(certificate()))], disk=STILL, failovers=[failover(certificate())])
    rig.start()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=False))
    assert (rig.target().state, rig.target().released.dirty) == ("Unmounted", True)


@pytest.mark.parametrize(
    ("disk", "held"),
    [
        pytest.param(STILL._replace(mark="kernel/loop9"), certificate(), id="another-mark"),
        pytest.param(STILL._replace(activity="Advancing"), certificate(), id="it-moves"),
        pytest.param(STILL, certificate(holdEpoch=6), id="another-certificate"),
    ],
)
def test_block_that_the_certificate_does_not_cover_is_not_released(disk: ev.Reading, held: Certificate) -> None:
    rig = Rig(grants=[grant("Release", 6, **certified(held))], disk=disk, failovers=[failover(certificate())]).start()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=False))
    assert rig.target().released is None


@pytest.mark.parametrize(
    ("disk", "stored"),
    [
        pytest.param(STILL._replace(mark=THEIRS), holding(OLD_BOOT), id="another-servers-mark"),
        pytest.param(STILL._replace(mark=MINE, activity="Advancing"), holding(OLD_BOOT), id="it-moves"),
        pytest.param(STILL._replace(mark=MINE), holding(BOOT), id="mounted-in-this-boot"),
        pytest.param(STILL._replace(mark=MINE), holding(OLD_BOOT, mark=""), id="mark-never-read-back"),
        pytest.param(STILL._replace(mark=MINE), ev.Remembered(), id="never-mounted-here"),
    ],
)
def test_dirty_block_is_not_released(disk: ev.Reading, stored: ev.Remembered) -> None:
    rig = Rig(grants=[grant("Release", 4)], disk=disk, stored=stored).start()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=False))
    assert rig.target().released is None


def test_unmount_that_is_busy_is_tried_again_and_reported() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    rig.step(ev.UnmountEnded(rig.one(ev.Unmount).op, T, False, "TargetBusy", "target is busy"))
    assert (rig.target().state, rig.target().reason) == ("Unmounting", "TargetBusy")
    rig.wait(1.5)
    assert len(rig.all(ev.Unmount)) == 2


def test_unmount_that_hangs_blocks_nothing_else() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    rig.wait(300, 5.0)
    rig.one(ev.Unmount)
    assert rig.target().state == "Unmounting"
    assert rig.target().child


def test_mount_in_flight_is_awaited_before_the_release() -> None:
    rig = Rig().start()
    rig.change(grant("Release", 4))
    rig.wait(20, 1.0)
    assert not rig.all(ev.Unmount)
    rig.mounts = dict(HERE)
    rig.look()
    rig.step(ev.MountEnded(rig.one(ev.Mount).op, T, True))
    rig.one(ev.Unmount)


@pytest.mark.parametrize(
    "grants",
    [
        pytest.param([grant("Serve", 4)], id="serve"),
        pytest.param([grant("Hold", 4)], id="hold"),
        pytest.param([], id="no-assignment"),
        pytest.param([grant("Release", 4, "oss2")], id="release-of-the-partner"),
    ],
)
def test_nothing_but_a_release_with_its_name_unmounts(grants: list[dict[str, object]]) -> None:
    rig = serving()
    rig.grants, rig.epoch = grants, 4
    rig.change()
    rig.wait(30, 1.0)
    assert not rig.all(ev.Unmount)
    assert rig.target().state == "Mounted"


def test_absence_of_objects_unmounts_and_stops_nothing() -> None:
    rig = serving()
    for kind, key in (("OST", f"ns/{T.lower()}"), ("OSSPair", "ns/pair-a"), ("OSS", "oss1"), ("OSS", "oss2")):
        rig.lose(kind, key)
    rig.wait(60, 1.0)
    assert not rig.all(ev.Unmount)
    assert not rig.all(ev.StopMachine)
    assert rig.target().state == "Mounted"


def test_release_from_below_a_seen_epoch_unmounts_nothing() -> None:
    rig = Rig(stored=holding(seen=[9]), mounts=dict(HERE), disk=OWN, grants=[grant("Release", 4)]).start()
    rig.wait(10, 1.0)
    assert not rig.all(ev.Unmount)
    assert rig.report.epoch_seen == 9


def test_release_still_unmounts_after_the_object_was_deleted() -> None:
    rig = serving()
    rig.lose("OST", f"ns/{T.lower()}")
    rig.change(grant("Release", 4))
    rig.one(ev.Unmount)


def test_target_that_is_declared_anew_for_another_disk_is_not_mounted_where_somebody_has_the_first() -> None:
    rig = Rig(mounts=dict(HERE), disk=OWN).start()
    assert rig.target().state == "ForeignMount"
    rig.lose("OST", "ns/" + T.lower())
    rig.step(Seen(ost(backend={"ext4": {"device": "/dev/disk/another"}})))
    assert [ref.source for ref in rig.all(ev.WatchDisks)[-1].disks] == ["/dev/disk/another"]
    assert rig.target().state == "Unknown", "nobody has looked for the other disk in the mount table yet"
    rig.mounts.clear()
    rig.look()
    assert rig.target().state == "Unmounted"


def test_foreign_mount_is_reported_and_never_touched() -> None:
    rig = Rig(mounts=dict(HERE), disk=STILL._replace(activity="Advancing"), grants=[grant("Release", 4)]).start()
    rig.wait(30, 1.0)
    assert rig.target().state == "ForeignMount"
    assert not rig.all(ev.Unmount)
    assert not rig.all(ev.CheckRelease)


def test_adopted_mount_is_released_like_one_of_its_own() -> None:
    rig = Rig(mounts=dict(HERE), disk=STILL._replace(activity="Advancing", mark=MINE), grants=[], epoch=1)
    rig.status["nonce"] = {"value": "adopt-1"}
    rig.start()
    assert rig.target().state == "ForeignMount"
    assert rig.report.nonce is not None
    assert rig.report.nonce.mounted == (T,)
    rig.epoch = 0
    rig.change(grant("Serve", 2, adopted={"nonce": "adopt-1"}))
    assert rig.target().state == "Mounted"
    rig.change(grant("Release", 3))
    rig.one(ev.Unmount)


def test_earlier_agents_answer_lets_the_pair_adopt() -> None:
    own = {"bootID": BOOT, "nonce": {"value": "adopt-1", "mounted": [T]}}
    rig = Rig(mounts=dict(HERE), disk=OWN, own=own, grants=[grant("Serve", 2, adopted={"nonce": "adopt-1"})]).start()
    assert rig.target().state == "Mounted"


@pytest.mark.parametrize("own", [{}, {"bootID": OLD_BOOT, "nonce": {"value": "adopt-1", "mounted": [T]}}])
def test_mount_made_by_hand_under_an_old_adoption_stays_foreign(own: dict[str, object]) -> None:
    rig = Rig(own=own, mounts=dict(HERE), disk=OWN, grants=[grant("Serve", 2, adopted={"nonce": "adopt-1"})]).start()
    assert rig.target().state == "ForeignMount"


def test_mounts_of_an_earlier_boot_are_not_taken_for_own_ones() -> None:
    rig = Rig(stored=holding(OLD_BOOT), mounts=dict(HERE), disk=OWN, osts=[ost()]).start()
    assert rig.target().state == "ForeignMount"


def test_unmount_names_the_mount_that_was_seen_and_is_refused_of_another() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    assert rig.one(ev.Unmount).mount_id == HERE[T][0].mount_id != 0


def test_mount_over_ours_is_reported_and_the_release_is_not() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    why = f"{T}: umount: /mnt/{T}: mounted over: adminfs (tmpfs) is mounted on top of it; unmount that first"
    rig.step(ev.UnmountEnded(rig.one(ev.Unmount).op, T, False, "MountedOver", why))
    told = rig.target()
    assert (told.state, told.reason, told.message) == ("Unmounting", "MountedOver", why)
    assert told.released is None
    rig.wait(5)
    assert len(rig.all(ev.Unmount)) > 1, "it is tried again"


ABSENT = ev.Reading(T, 0.0, False, "there is no such device", "Unreadable")


def declared_before_its_disk(**how: Any) -> Rig:
    """An OST whose LUN does not exist yet, and that is not to be mounted."""
    return Rig([grant("Release", 4)], disk=ABSENT, **how).start()


def test_release_of_a_target_without_a_disk_is_reported_once_its_epoch_is_durable() -> None:
    rig = declared_before_its_disk()
    order = rig.one(ev.CheckRelease)
    assert rig.machine.host.epochs[T] == 4
    rig.step(ev.ReleaseChecked(order.op, T, free=False, absent=True))
    released = rig.target().released
    assert (released.epoch, released.boot_id, released.dirty) == (4, BOOT, False)
    assert not rig.all(ev.Unmount)


def test_disk_that_appears_after_its_release_is_not_mounted_at_an_older_epoch() -> None:
    rig = declared_before_its_disk()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=False, absent=True))
    rig.disk = CLEAN
    rig.read(CLEAN)
    rig.change(grant("Serve", 3))
    rig.wait(10, 1.0)
    assert not rig.all(ev.Mount)


@pytest.mark.parametrize("answer", [{"free": False}, {"free": False, "message": "its disk did not answer"}])
def test_release_waits_while_it_cannot_be_told_whether_the_device_exists(answer: dict[str, Any]) -> None:
    rig = declared_before_its_disk()
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, **answer))
    assert rig.target().released is None


def test_device_that_vanished_while_it_was_mounted_is_not_released() -> None:
    rig = Rig([grant("Release", 4)], stored=holding(), mounts=dict(HERE), disk=ABSENT).start()
    for order in rig.all(ev.CheckRelease):
        rig.step(ev.ReleaseChecked(order.op, T, free=False, absent=True))
    assert rig.target().released is None


def test_device_that_was_read_and_then_vanished_is_not_released() -> None:
    rig = Rig([grant("Release", 4)], disk=CLEAN).start()
    order = rig.one(ev.CheckRelease)
    rig.step(ev.ReleaseChecked(order.op, T, free=False, absent=True))
    assert rig.target().released is None


def test_target_that_a_child_may_still_mount_is_not_released_without_a_disk() -> None:
    rig = declared_before_its_disk(children={T: "mount, pid 77"})
    assert not rig.all(ev.CheckRelease)
    assert rig.target().released is None
