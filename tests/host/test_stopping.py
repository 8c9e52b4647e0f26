"""When the agent stops the machine instead of unmounting, and what never makes it do so."""

from collections.abc import Callable

import pytest

from host.rig import BOOT, HERE, MINE, OLD_BOOT, STILL, THEIRS, Rig, T, certificate, failover, grant, holding
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario
OWN = STILL._replace(activity="Advancing", mark=MINE)


def serving(**more: object) -> Rig:
    return Rig(stored=holding(), mounts=dict(HERE), disk=OWN, **more).start()  # type: ignore[arg-type]


def served_elsewhere(rig: Rig) -> None:
    rig.change(grant("Serve", 5, "oss2"))


def certified_dead(rig: Rig) -> None:
    rig.step(Seen(failover(certificate(node="oss1", bootID=BOOT))))


def overwritten(rig: Rig) -> None:
    rig.now += 1
    rig.read(OWN._replace(mark=THEIRS))


@pytest.mark.parametrize("what", [served_elsewhere, certified_dead, overwritten])
def test_machine_stops_and_unmounts_nothing(what: Callable[[Rig], None]) -> None:
    rig = serving()
    mark = len(rig.effects)
    what(rig)
    assert rig.one(ev.StopMachine).why
    assert rig.since(mark, ev.Beat)[-1].allowed is False
    assert not rig.all(ev.Unmount)


def test_mount_in_flight_counts_as_mounted() -> None:
    rig = Rig().start()
    rig.one(ev.Mount)
    served_elsewhere(rig)
    rig.one(ev.StopMachine)


def test_stop_that_fails_is_repeated_and_nothing_else_is_done() -> None:
    rig = serving()
    certified_dead(rig)
    mark = len(rig.effects)
    rig.wait(3.5, 0.5)
    assert len(rig.since(mark, ev.StopMachine)) == 3
    assert {type(effect) for effect in rig.effects[mark:]} == {ev.StopMachine, ev.Beat}


def held(rig: Rig) -> None:
    rig.change(grant("Hold", 4))


def at_its_own_epoch(rig: Rig) -> None:
    rig.change(grant("Serve", 3, "oss2"))


def below_a_seen_epoch(rig: Rig) -> None:
    rig.change(grant("Serve", 9))
    rig.grants, rig.epoch = [grant("Serve", 5, "oss2")], 12
    rig.change()


def from_a_backup(rig: Rig) -> None:
    rig.change(grant("Serve", 9))
    rig.grants, rig.epoch = [grant("Serve", 5, "oss2")], 5
    rig.change()


def gone(rig: Rig) -> None:
    for kind, key in (("OSSPair", "ns/pair-a"), ("OST", f"ns/{T.lower()}"), ("OSS", "oss1")):
        rig.lose(kind, key)


def emptied(rig: Rig) -> None:
    rig.grants, rig.epoch = [], 9
    rig.change()


def earlier_boot_certified(rig: Rig) -> None:
    rig.step(Seen(failover(certificate(node="oss1", bootID=OLD_BOOT))))


def certificate_without_a_boot(rig: Rig) -> None:
    rig.step(Seen(failover(certificate(node="oss1", bootID=""))))


def partner_certified(rig: Rig) -> None:
    rig.step(Seen(failover(certificate(bootID=BOOT))))


def unreadable(rig: Rig) -> None:
    rig.read(OWN._replace(ok=False, error="I/O error", mark=THEIRS, activity="Unreadable"))


def old_reading(rig: Rig) -> None:
    rig.now -= 100
    rig.step(ev.DiskSeen(OWN._replace(mark=THEIRS, began=rig.now)))


@pytest.mark.parametrize(
    "what",
    [
        held,
        at_its_own_epoch,
        below_a_seen_epoch,
        from_a_backup,
        gone,
        emptied,
        earlier_boot_certified,
        certificate_without_a_boot,
        partner_certified,
        unreadable,
        old_reading,
    ],
)
def test_machine_does_not_stop(what: Callable[[Rig], None]) -> None:
    rig = serving()
    what(rig)
    assert not rig.all(ev.StopMachine)
    assert not rig.all(ev.Unmount)


def test_foreign_mount_that_is_served_elsewhere_stops_nothing() -> None:
    rig = Rig(mounts=dict(HERE), disk=OWN, grants=[grant("Serve", 5, "oss2")]).start()
    assert rig.target().state == "ForeignMount"
    assert not rig.all(ev.StopMachine)


def test_target_that_was_released_in_order_and_is_served_elsewhere_stops_nothing() -> None:
    rig = serving()
    rig.change(grant("Release", 4))
    rig.mounts = {}
    rig.look()
    rig.step(ev.UnmountEnded(rig.one(ev.Unmount).op, T, True))
    rig.step(ev.ReleaseChecked(rig.one(ev.CheckRelease).op, T, free=True, clean=True))
    rig.change(grant("Serve", 5, "oss2", released={"node": "oss1", "epoch": 4}))
    rig.now += 1
    rig.read(OWN._replace(mark=THEIRS))
    assert not rig.all(ev.StopMachine)


def test_mark_is_trusted_only_after_the_kernels_thread_has_written() -> None:
    rig = Rig().start()
    rig.mounts = dict(HERE)
    rig.look()
    rig.step(ev.MountEnded(rig.one(ev.Mount).op, T, True))
    rig.now += 0.1
    rig.read(OWN._replace(mark="an/old-one", moves=1))
    assert rig.target().mark == ""
    rig.now += 1
    rig.read(OWN._replace(mark=MINE, moves=2))
    assert rig.target().mark == MINE
    assert not rig.all(ev.StopMachine)
