"""When the agent mounts: only under Serve, after a durable epoch and a fresh read, and never past a refusal."""

from collections.abc import Callable

import pytest

from host.rig import (
    ADVANCING,
    BOOT,
    CLEAN,
    DEAD_BOOT,
    HERE,
    MINE,
    OLD_BOOT,
    OTHER,
    START,
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
    oss,
    ost,
)
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario


def test_serve_mounts_a_clean_disk() -> None:
    rig = Rig().start()
    order = rig.one(ev.Mount)
    assert (order.target, order.mount_point, order.uuid, order.digest, order.clear) == (
        T,
        f"/mnt/{T}",
        UUID,
        "d-clean",
        False,
    )
    assert order.until == pytest.approx(START + 10)
    rig.mounted()
    assert rig.target().state == "Mounted"
    assert rig.target().mark == MINE
    assert rig.target().epoch == 3


def unwilling() -> Rig:
    rig = Rig(willing=False).start()
    assert not rig.all(ev.Mount)
    return rig


def test_mount_waits_for_the_store_when_the_read_comes_first() -> None:
    rig = unwilling()
    rig.step(ev.PairRead(rig.one(ev.ReadPair).op, rig.now, rig.snapshot()))
    assert not rig.all(ev.Mount)
    rig.step(ev.Stored(rig.one(ev.Remember).op, True))
    rig.one(ev.Mount)


def test_mount_waits_for_the_read_when_the_store_comes_first() -> None:
    rig = unwilling()
    for asked in rig.all(ev.Remember):
        rig.step(ev.Stored(asked.op, True))
    assert not rig.all(ev.Mount)
    rig.step(ev.PairRead(rig.all(ev.ReadPair)[-1].op, rig.now, rig.snapshot()))
    rig.one(ev.Mount)


def test_read_that_began_before_the_wish_does_not_count() -> None:
    rig = unwilling()
    for asked in rig.all(ev.Remember):
        rig.step(ev.Stored(asked.op, True))
    rig.now += 0.5
    rig.step(ev.PairRead(rig.all(ev.ReadPair)[-1].op, START - 1, rig.snapshot()))
    assert not rig.all(ev.Mount)


@pytest.mark.parametrize(
    "fresh",
    [
        pytest.param([grant("Hold", 4)], id="hold"),
        pytest.param([grant("Release", 4)], id="release"),
        pytest.param([grant("Serve", 5, "oss2")], id="served-by-the-partner"),
        pytest.param([], id="no-assignment"),
    ],
)
def test_fresh_read_that_no_longer_says_serve_mounts_nothing(fresh: list[dict[str, object]]) -> None:
    rig = unwilling()
    rig.willing, rig.grants, rig.epoch = True, fresh, 5
    for asked in rig.all(ev.Remember):
        rig.step(ev.Stored(asked.op, True))
    rig.step(ev.PairRead(rig.all(ev.ReadPair)[-1].op, rig.now, rig.snapshot()))
    rig.wait(5)
    assert not rig.all(ev.Mount)


@pytest.mark.parametrize("snapshot", [None, ev.HostSnapshot()], ids=["403-or-no-answer", "404"])
def test_read_that_fails_orders_nothing_and_is_repeated(snapshot: ev.HostSnapshot | None) -> None:
    rig = unwilling()
    for asked in rig.all(ev.Remember):
        rig.step(ev.Stored(asked.op, True))
    rig.step(ev.PairRead(rig.all(ev.ReadPair)[-1].op, rig.now, snapshot, "forbidden"))
    assert not rig.all(ev.Mount)
    assert not rig.all(ev.StopMachine)
    rig.willing = True
    rig.wait(2)
    rig.one(ev.Mount)


def test_store_that_cannot_be_written_mounts_nothing() -> None:
    rig = unwilling()
    for _ in range(3):
        for asked in rig.all(ev.Remember):
            rig.step(ev.Stored(asked.op, False, "disk full"))
        rig.wait(1)
    assert not rig.all(ev.Mount)


def spoil(**more: object) -> Callable[[], Rig]:
    return lambda: Rig(**more)  # type: ignore[arg-type]


REFUSALS: dict[str, tuple[str, Callable[[], Rig]]] = {
    "mmp-off": ("MMPOff", spoil(disk=CLEAN._replace(mmp_enabled=False))),
    "label-of-another-target": ("WrongLabel", spoil(disk=CLEAN._replace(label=OTHER))),
    "file-system-is-not-the-one-mounted-before": ("WrongUUID", spoil(disk=CLEAN._replace(uuid="x"), stored=holding())),
    "partner-reads-another-file-system": (
        "WrongUUID",
        spoil(partner=oss("oss2", disks=[{"target": T, "state": "Clean", "uuid": "x"}])),
    ),
    "mmp-advancing": ("MMPActive", spoil(disk=ADVANCING)),
    "fsck-runs": ("FsckRuns", spoil(disk=CLEAN._replace(activity="Fsck"))),
    "disk-unreadable": (
        "DiskUnreadable",
        spoil(disk=CLEAN._replace(ok=False, error="I/O error", activity="Unreadable")),
    ),
    "foreign-mark-on-a-block-that-is-not-clean": ("ForeignMark", spoil(disk=STILL)),
    "foreign-mark-under-a-clean-release": (
        "ForeignMark",
        spoil(disk=STILL, grants=[grant("Serve", 3, released={"node": "oss2", "epoch": 2})]),
    ),
    "certificate-that-was-not-found": (
        "ForeignMark",
        spoil(disk=STILL, grants=[grant("Serve", 6, **certified(certificate()))]),
    ),
    "certificate-with-another-digest": (
        "ForeignMark",
        spoil(
            disk=STILL,
            grants=[grant("Serve", 6, **certified(certificate(holdEpoch=6)))],
            failovers=[failover(certificate())],
        ),
    ),
    "certificate-over-another-mark": (
        "ForeignMark",
        spoil(
            disk=STILL._replace(mark="kernel/loop9"),
            grants=[grant("Serve", 6, **certified(certificate()))],
            failovers=[failover(certificate())],
        ),
    ),
    "partner-has-it-mounted-by-hand": (
        "PartnerHasIt",
        spoil(partner=oss("oss2", bootID="b", targets=[{"target": T, "state": "ForeignMount"}])),
    ),
    "partner-has-a-child-alive": (
        "PartnerHasIt",
        spoil(partner=oss("oss2", bootID="b", targets=[{"target": T, "state": "Failed", "child": True}])),
    ),
    "partner-of-a-later-boot-than-the-certified-one-has-it": (
        "PartnerHasIt",
        spoil(
            disk=STILL,
            partner=oss("oss2", bootID="later", targets=[{"target": T, "state": "Mounted", "mark": THEIRS}]),
            grants=[grant("Serve", 6, **certified(certificate()))],
            failovers=[failover(certificate())],
        ),
    ),
    "two-osts-on-one-device": (
        "ClaimedTwice",
        spoil(osts=[ost(), ost(OTHER, backend={"ext4": {"device": f"/dev/disk/{T}"}})]),
    ),
    "two-osts-on-one-mount-point": ("ClaimedTwice", spoil(osts=[ost(), ost(OTHER, mountPoint=f"/mnt/{T}")])),
    "something-else-on-the-mount-point": ("MountPointTaken", spoil(obstacles={T: "tmpfs"})),
    "another-board": ("WrongBoard", spoil(status={"boards": [{"node": "oss1", "systemUUID": "board-2"}]})),
    "corrupt-store": ("StoreCorrupt", spoil(corrupt="state.json: cannot be trusted")),
    "epoch-below-one-seen-for-the-disk": ("EpochRegressed", spoil(epoch=9, stored=holding(OLD_BOOT, seen=[7]))),
    "pair-below-an-epoch-seen": ("EpochRegressed", spoil(stored=holding(OLD_BOOT, seen=[7]))),
    "own-lease-not-held": ("LeaseNotHeld", spoil(leased=False)),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_mount_is_refused(case: str) -> None:
    reason, make = REFUSALS[case]
    rig = make().start()
    rig.wait(8)
    assert not rig.all(ev.Mount)
    if reason not in ("WrongBoard", "StoreCorrupt"):
        assert rig.target().state == "Refused"
        assert rig.target().reason == reason
    else:
        assert rig.report.refusal.startswith(reason)


def test_two_paths_to_one_disk_mount_neither() -> None:
    rig = Rig(
        osts=[ost(), ost(OTHER)], grants=[grant("Serve", 3), grant("Serve", 3, target=OTHER)], leased=False
    ).start()
    rig.read(CLEAN._replace(label=""), OTHER)
    rig.step(ev.Renewed(rig.now))
    assert not rig.all(ev.Mount)
    assert (rig.target().reason, rig.target(OTHER).reason) == ("ClaimedTwice", "ClaimedTwice")


def test_child_of_an_earlier_agent_blocks_its_own_target_alone() -> None:
    rig = Rig(osts=[ost(), ost(OTHER)], grants=[grant("Serve", 3), grant("Serve", 3, target=OTHER)])
    rig.disk = CLEAN._replace(ok=False, error="not yet", activity="Unreadable")
    rig.start()
    rig.children = {T: "mount (pid 7) holds it"}
    rig.look()
    rig.read(CLEAN)
    rig.read(CLEAN._replace(uuid="other", label=OTHER), OTHER)
    assert [order.target for order in rig.all(ev.Mount)] == [OTHER]
    assert rig.target().reason == "ChildAlive"
    assert rig.target().child


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"grants": [grant("Hold", 3)]}, id="hold"),
        pytest.param({"grants": [grant("Serve", 3, "oss2")]}, id="partner-serves"),
        pytest.param({"grants": []}, id="unassigned"),
        pytest.param({"osts": [ost(desired="Unmounted")]}, id="not-desired"),
        pytest.param({"osts": []}, id="no-such-object"),
    ],
)
def test_nothing_is_mounted_and_nothing_refused_without_an_order(change: dict[str, object]) -> None:
    rig = Rig(**change).start()  # type: ignore[arg-type]
    rig.wait(5)
    assert not rig.all(ev.Mount)
    assert all(target.state == "Unmounted" for target in rig.report.targets)


def test_lease_that_lapses_unmounts_nothing_and_mounts_nothing_new() -> None:
    rig = Rig(leased=False, stored=holding(), mounts=HERE)
    rig.disk = STILL._replace(activity="Advancing", mark=MINE)
    rig.start()
    rig.wait(60)
    assert rig.target().state == "Mounted"
    assert not rig.all(ev.Unmount)
    assert not rig.all(ev.StopMachine)


def test_lease_that_is_renewed_again_lets_the_mount_through() -> None:
    rig = Rig(leased=False).start()
    rig.wait(5)
    assert not rig.all(ev.Mount)
    rig.step(ev.Renewed(rig.now))
    rig.one(ev.Mount)


def test_own_dirty_mark_of_an_earlier_boot_mounts_as_the_kernel_waits() -> None:
    rig = Rig(disk=STILL._replace(mark=MINE), stored=holding(OLD_BOOT)).start()
    assert rig.one(ev.Mount).clear is False
    rig.wait(22)
    assert rig.target().state == "Mounting"
    assert len(rig.all(ev.Mount)) == 1


def test_mount_that_died_before_its_mark_was_read_back_counts_as_own() -> None:
    rig = Rig(disk=STILL._replace(mark=MINE), stored=holding(OLD_BOOT, mark="")).start()
    assert rig.one(ev.Mount).clear is False


def test_mark_that_the_partner_has_reported_is_not_taken_for_an_unread_own_one() -> None:
    partner = oss("oss2", bootID=DEAD_BOOT, targets=[{"target": T, "state": "Unmounted", "mark": THEIRS}])
    rig = Rig(disk=STILL, stored=holding(OLD_BOOT, mark=""), partner=partner).start()
    assert not rig.all(ev.Mount)


def test_released_dirty_by_the_partner_mounts_as_the_kernel_waits() -> None:
    rig = Rig(disk=STILL, grants=[grant("Serve", 3, released={"node": "oss2", "epoch": 2, "dirty": True})]).start()
    assert rig.one(ev.Mount).clear is False


def test_failed_mount_is_tried_again_with_back_off() -> None:
    rig = Rig().start()
    pauses = []
    for failures in range(1, 8):
        order = rig.all(ev.Mount)[-1]
        rig.step(ev.MountEnded(order.op, T, False, "MountFailed", "wrong fs type"))
        assert (rig.target().state, rig.target().failures) == ("Failed", failures)
        assert "wrong fs type" in rig.target().message
        began = rig.now
        while rig.all(ev.Mount)[-1] is order:
            rig.wait(0.5, 0.5)
        pauses.append(rig.now - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_new_grant_forgets_the_failures_of_the_last_one() -> None:
    rig = Rig().start()
    rig.step(ev.MountEnded(rig.one(ev.Mount).op, T, False, "MountFailed", "no"))
    rig.change(grant("Serve", 4))
    assert len(rig.all(ev.Mount)) == 2


def test_epochs_are_durable_before_a_mount_rests_on_them() -> None:
    rig = Rig().start()
    remembered = next(i for i, e in enumerate(rig.effects) if isinstance(e, ev.Remember) and e.epochs.get(UUID) == 3)
    written = next(i for i, e in enumerate(rig.effects) if isinstance(e, ev.Remember) and T in e.mounts)
    mounted = next(i for i, e in enumerate(rig.effects) if isinstance(e, ev.Mount))
    assert remembered < mounted
    assert written < mounted
    assert rig.report.epoch_seen == 3


def test_unknown_cluster_mounts_nothing() -> None:
    rig = Rig()
    for seen in (oss("oss1"), rig.pair, *rig.osts):
        rig.step(Seen(seen))
    rig.look()
    rig.step(ev.Renewed(rig.now))
    rig.read()
    assert not rig.all(ev.Mount)
    assert not rig.all(ev.Report)
    rig.wait(5)
    assert rig.report.refusal.startswith("ClusterUnknown")
    rig.step(ev.ClusterKnown("cluster-1"))
    rig.one(ev.Mount)


def test_restarted_agent_knows_its_mount_and_does_nothing() -> None:
    rig = Rig(stored=holding(BOOT), mounts=HERE, disk=STILL._replace(activity="Advancing", mark=MINE)).start()
    rig.wait(5)
    assert (rig.target().state, rig.target().mark) == ("Mounted", MINE)
    assert not rig.all(ev.Mount)
    assert not rig.all(ev.Unmount)


def failed_mount(stored: ev.Remembered, disk: ev.Reading) -> Rig:
    rig = Rig(stored=stored, disk=disk).start()
    rig.step(ev.MountEnded(rig.one(ev.Mount).op, T, False, "MountFailed", "no"))
    return rig


def test_mount_by_hand_after_one_that_failed_is_foreign() -> None:
    rig = failed_mount(ev.Remembered(), CLEAN)
    rig.change(grant("Hold", 4))
    rig.mounts = dict(HERE)
    rig.look()
    rig.read(STILL._replace(activity="Advancing"))
    assert rig.target().state == "ForeignMount"
    rig.change(grant("Release", 5))
    rig.wait(10, 1.0)
    assert not rig.all(ev.Unmount)


def test_own_mark_of_an_earlier_boot_is_still_known_after_a_mount_that_failed() -> None:
    rig = failed_mount(holding(OLD_BOOT), STILL._replace(mark=MINE))
    rig.wait(2)
    assert len(rig.all(ev.Mount)) == 2


def test_foreign_mark_is_not_taken_for_own_after_a_mount_that_failed() -> None:
    rig = failed_mount(ev.Remembered(), CLEAN)
    rig.disk = STILL
    rig.wait(3)
    assert len(rig.all(ev.Mount)) == 1
    assert rig.target().reason in ("MountFailed", "ForeignMark")


def test_grant_that_is_withdrawn_before_the_mount_leaves_no_record() -> None:
    rig = unwilling()
    rig.willing = True
    for asked in rig.all(ev.Remember):
        rig.step(ev.Stored(asked.op, True))
    rig.change(grant("Hold", 4))
    assert rig.all(ev.Remember)[-1].mounts == {T: None}
    assert not rig.all(ev.Mount)
