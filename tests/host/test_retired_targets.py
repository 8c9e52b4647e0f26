"""Targets that are retired, and more targets than a report has room for."""

import pytest

from host.rig import CLEAN, CLUSTER, HERE, OTHER, Rig, T, grant, holding, ost, record
from ostkeeper.api.oss import MOST_TARGETS
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario
KEPT = grant("Serve", 3, "oss2", OTHER)


def without_object(**how: object) -> Rig:
    """The OST of T was deleted, and the pair has dropped its assignment."""
    rig = Rig(grants=[grant("Hold", 3), KEPT], osts=[ost(), ost(OTHER)], **how)  # type: ignore[arg-type]
    rig.start()
    rig.read(target=OTHER)
    rig.lose("OST", f"ns/{T.lower()}")
    rig.change(KEPT)
    return rig


def told(rig: Rig) -> list[str]:
    return [report.target for report in rig.report.targets]


def test_retired_target_is_watched_and_reported_no_longer() -> None:
    rig = without_object()
    assert told(rig) == [OTHER]
    assert [ref.target for ref in rig.all(ev.WatchDisks)[-1].disks] == [OTHER]


def test_target_that_is_mounted_stays_in_the_report_whatever_the_pair_says() -> None:
    rig = without_object(mounts=HERE, stored=holding())
    assert rig.target().state == "Mounted"


def test_target_that_a_child_may_write_to_stays_in_the_report() -> None:
    rig = without_object(children={T: "mount of an earlier agent"})
    assert rig.target().child is True


def test_target_stays_in_the_report_while_the_pair_has_no_status() -> None:
    rig = Rig(grants=[grant("Hold", 3), KEPT], osts=[ost(), ost(OTHER)]).start()
    rig.read(target=OTHER)
    rig.lose("OST", f"ns/{T.lower()}")
    rig.lose("OSSPair", "ns/pair-a")
    assert T in told(rig)


def test_target_of_an_epoch_above_the_pair_stays_in_the_report() -> None:
    rig = without_object(stored=holding(boot="boot-before", seen=(7,)))
    assert T in told(rig)


def test_retired_target_that_is_declared_again_is_watched_again() -> None:
    rig = without_object()
    rig.osts = [ost(), ost(OTHER)]
    rig.step(Seen(rig.osts[0]))
    assert {ref.target for ref in rig.all(ev.WatchDisks)[-1].disks} == {T, OTHER}


def test_report_names_assigned_targets_first_and_no_more_than_it_has_room_for() -> None:
    names = [f"scratch-OST{index:04x}" for index in range(MOST_TARGETS + 2)]
    rig = Rig(grants=[grant("Serve", 3, "oss2", names[-1])], osts=[ost(name) for name in names]).start()
    for name in names:
        rig.read(target=name)
    assert len(told(rig)) == MOST_TARGETS
    assert names[-1] in told(rig)
    assert rig.report.wire()


def test_replaced_device_is_mounted_after_its_target_was_released_once() -> None:
    old = ev.Remembered({CLUSTER: {}}, {T: record("boot-before", disk="uuid-of-the-old-disk")})
    rig = Rig(stored=old).start()
    assert rig.target().reason == "WrongUUID"
    assert "desired: Unmounted" in rig.target().message
    rig.change(grant("Release", 4))
    check = rig.one(ev.CheckRelease)
    rig.step(ev.ReleaseChecked(check.op, T, free=True, clean=True))
    assert rig.target().state == "Unmounted"
    rig.change(grant("Serve", 5))
    assert rig.one(ev.Mount).uuid == CLEAN.uuid
