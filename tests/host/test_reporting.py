"""Nonces, the report, the heartbeat and the network witness."""

import pytest

from host.rig import ADVANCING, CLEAN, CLUSTER, HERE, MINE, OTHER, STILL, Rig, T, grant, holding, oss, ost
from ostkeeper.api.oss import NonceAnswer
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Gone, Seen, Tick

pytestmark = pytest.mark.scenario
OWN = STILL._replace(activity="Advancing", mark=MINE)


def asked(value: str = "n1", failover: str = "", level: int = -1, disk: ev.Reading = STILL) -> Rig:
    rig = Rig(grants=[grant("Serve", 3, "oss2")], disk=disk).start()
    rig.now += 1
    rig.change(nonce={"value": value, "failover": failover, "level": level, "open": True})
    return rig


def disk_state(rig: Rig) -> str:
    return rig.report.disks[0].state


def peer(rig: Rig) -> tuple[str, str]:
    return rig.report.peer.state, rig.report.peer.boot_id


def answer(rig: Rig) -> NonceAnswer | None:
    return rig.report.nonce


def test_nonce_is_answered_with_readings_that_began_after_it() -> None:
    rig = asked()
    assert rig.one(ev.ReadDisksNow).targets == (T,)
    assert answer(rig) is None
    rig.step(ev.DiskSeen(STILL._replace(began=rig.now - 0.5)))
    assert answer(rig) is None
    rig.read()
    said = answer(rig)
    assert said is not None
    assert (said.value, said.disks[0].state, said.disks[0].block) == ("n1", "Still", "d-still")


def test_disks_are_read_fast_while_a_nonce_is_open() -> None:
    rig = asked()
    assert rig.all(ev.WatchDisks)[-1].fast is True
    rig.change(nonce={"value": "n1", "open": False})
    assert rig.all(ev.WatchDisks)[-1].fast is False


def test_failovers_nonce_is_answered_after_two_readings_that_can_tell_movement() -> None:
    rig = asked(failover="pair-a-4", level=0)
    rig.read()
    assert answer(rig) is None
    rig.now += 0.1
    rig.read()
    said = answer(rig)
    assert said is not None
    assert said.moved == ()


def test_movement_before_the_nonce_is_not_movement() -> None:
    rig = asked(failover="pair-a-4", level=0)
    rig.read(STILL._replace(moves=1))
    rig.now += 0.1
    rig.read()
    said = answer(rig)
    assert said is not None
    assert said.moved == ()


def test_movement_after_the_first_nonce_of_a_level_is_told_in_each_later_answer() -> None:
    rig = asked(failover="pair-a-4", level=0)
    rig.read()
    rig.now += 0.1
    rig.read(STILL._replace(moves=1))
    said = answer(rig)
    assert said is not None
    assert said.moved == (T,)
    rig.change(nonce={"value": "n2", "failover": "pair-a-4", "level": 0, "open": True})
    rig.now += 0.1
    rig.read()
    said = answer(rig)
    assert said is not None
    assert (said.value, said.moved) == ("n2", (T,))
    rig.change(nonce={"value": "n3", "failover": "pair-a-4", "level": 1, "open": True})
    for _ in range(3):
        rig.now += 0.1
        rig.read()
    said = answer(rig)
    assert said is not None
    assert (said.value, said.moved) == ("n3", ())


def test_disk_that_hangs_delays_the_answer_by_a_second_and_reads_unknown() -> None:
    rig = asked()
    while answer(rig) is None:
        before = rig.now
        rig.tick()
        assert rig.now <= before + 1.0
    said = answer(rig)
    assert said is not None
    assert said.disks[0].state == "Unknown"


def test_answer_tells_children_and_mounts_whoever_made_them() -> None:
    rig = Rig(mounts=dict(HERE), disk=OWN, osts=[ost(), ost(OTHER)], grants=[grant("Serve", 3)]).start()
    rig.children = {OTHER: "umount (pid 9) holds it"}
    rig.look()
    rig.change(nonce={"value": "n1", "open": True})
    rig.now += 1.1
    rig.read(target=OTHER)
    rig.read()
    said = answer(rig)
    assert said is not None
    assert (said.mounted, said.children) == ((T,), (OTHER,))


def test_own_mount_is_never_reported_as_moved() -> None:
    rig = Rig(mounts=dict(HERE), disk=OWN, stored=holding()).start()
    rig.change(nonce={"value": "n1", "failover": "pair-a-4", "level": 0, "open": True})
    for moves in range(3):
        rig.now += 0.1
        rig.read(OWN._replace(moves=moves))
    said = answer(rig)
    assert said is not None
    assert said.moved == ()


def test_new_agent_answers_the_same_nonce_again() -> None:
    own = {"bootID": "boot-now", "nonce": {"value": "n1"}}
    rig = Rig(own=own, status={"nonce": {"value": "n1", "open": True}}).start()
    rig.now += 0.1
    rig.read()
    said = answer(rig)
    assert said is not None
    assert said.disks


# --- the report


def test_unchanged_report_is_written_once_a_minute() -> None:
    rig = Rig(grants=[grant("Serve", 3, "oss2")]).start()
    rig.wait(5)
    mark = len(rig.effects)
    rig.wait(61, 0.5)
    assert len(rig.since(mark, ev.Report)) == 1


def test_report_that_failed_is_written_again() -> None:
    rig = Rig(willing=False).start()
    first = rig.one(ev.Report)
    rig.willing = True
    rig.step(ev.Reported(first.op, False))
    rig.wait(1.5)
    assert len(rig.all(ev.Report)) > 1


def test_agent_without_an_oss_beats_and_does_nothing_else() -> None:
    rig = Rig()
    rig.step(ev.OSSMissing())
    rig.step(ev.ClusterKnown("cluster-1"))
    rig.look()
    assert rig.all(ev.Beat)[-1].allowed is True
    assert {type(effect) for effect in rig.effects} == {ev.Beat}


def test_advancing_disk_that_stops_answering_reads_unreadable() -> None:
    rig = Rig(disk=ADVANCING, grants=[grant("Serve", 3, "oss2")]).start()
    assert disk_state(rig) == "Advancing"
    rig.now += 10.1
    rig.tick()
    assert disk_state(rig) == "Unreadable"


def test_block_is_given_for_still_only() -> None:
    rig = Rig(disk=ADVANCING, grants=[grant("Serve", 3, "oss2")]).start()
    assert rig.report.disks[0].block == ""
    rig.read(STILL)
    assert rig.report.disks[0].block == "d-still"


def test_mount_that_the_kernel_turned_read_only_has_errors() -> None:
    rig = Rig(mounts=dict(HERE), disk=OWN, stored=holding()).start()
    assert rig.target().errors is False
    rig.mounts = {T: (ev.MountFact(f"/mnt/{T}", read_only=True),)}
    rig.look()
    assert (rig.target().errors, rig.target().read_only) == (True, True)


def test_errors_flagged_long_ago_are_history() -> None:
    flagged = OWN._replace(file_system_errors=True)
    rig = Rig(disk=CLEAN._replace(file_system_errors=True)).start()
    rig.mounts = dict(HERE)
    rig.look()
    rig.step(ev.MountEnded(rig.one(ev.Mount).op, T, True))
    rig.now += 1
    rig.read(flagged)
    assert rig.target().errors is False


def test_errors_flagged_while_mounted_are_told() -> None:
    rig = Rig().start().mounted()
    rig.read(rig.disk._replace(file_system_errors=True))
    assert rig.target().errors is True


def test_hazards_are_told() -> None:
    rig = Rig().start()
    rig.step(ev.HazardsSeen(("pacemakerd is running",)))
    assert rig.report.hazards == ("pacemakerd is running",)


# --- heartbeat and partner


def test_another_board_gets_no_lease_until_a_person_accepts_it() -> None:
    rig = Rig(status={"boards": [{"node": "oss1", "systemUUID": "board-2"}]}).start()
    assert all(not beat.allowed for beat in rig.all(ev.Beat))
    rig.change(boards=[{"node": "oss1", "systemUUID": "board-1"}])
    assert rig.all(ev.Beat)[-1].allowed is True


def test_pinned_board_still_counts_while_the_pairs_status_is_gone() -> None:
    rig = Rig(status={"boards": [{"node": "oss1", "systemUUID": "board-2"}]}).start()
    rig.step(Gone("OSSPair", "ns/pair-a"))
    assert not rig.all(ev.Beat)[-1].allowed


def test_heartbeat_follows_the_pairs_interval() -> None:
    rig = Rig().start()
    assert (rig.all(ev.Beat)[-1].interval, rig.all(ev.Beat)[-1].timeout) == (2.0, 10.0)
    faster = rig.pair.model_copy(
        update={
            "spec": rig.pair.spec.model_copy(
                update={"heartbeat": rig.pair.spec.heartbeat.model_copy(update={"interval": "1s"})}
            )
        }
    )
    rig.step(Seen(faster))
    assert rig.all(ev.Beat)[-1].interval == 1.0


def test_partner_is_unknown_then_answering_then_silent_an_interval_before_the_time_out() -> None:
    rig = Rig().start()
    assert rig.one(ev.WatchPeer).node == "oss2"
    assert peer(rig)[0] == "Unknown"
    rig.step(ev.PeerSeen("boot-of-oss2"))
    assert peer(rig) == ("Answering", "boot-of-oss2")
    rig.wait(7.5)
    rig.step(ev.PeerSeen(""))
    assert peer(rig)[0] == "Answering"
    rig.wait(1)
    assert peer(rig) == ("Silent", "boot-of-oss2")


def test_partner_that_never_answered_is_silent_an_interval_before_the_time_out() -> None:
    rig = Rig().start()
    rig.step(ev.PeerSeen(""))
    rig.wait(7.5)
    assert peer(rig)[0] == "Unknown"
    rig.wait(1)
    assert peer(rig)[0] == "Silent"


def test_objects_of_other_pairs_are_none_of_its_business() -> None:
    rig = Rig().start()
    mark = len(rig.effects)
    rig.step(Seen(oss("oss9")))
    rig.step(Seen(ost(OTHER, pairName="pair-b")))
    assert not rig.effects[mark:]


# --- the first report of a restarted agent


def restarted() -> Rig:
    """An agent that starts while the target is mounted, and has seen its OSS, the pair and the cluster, no more."""
    rig = Rig(mounts=dict(HERE), disk=OWN, grants=[grant("Serve", 3)], stored=holding())
    rig.status["nonce"] = {"value": "n1", "open": True}
    rig.step(Seen(oss("oss1")))
    rig.step(ev.ClusterKnown(CLUSTER))
    rig.step(Seen(rig.pair))
    return rig


def test_first_report_waits_until_osts_mounts_locks_and_disks_were_looked_at() -> None:
    rig = restarted()
    rig.step(ev.MountsSeen({}, {}))  # a look at the table before any disk was known
    assert not rig.all(ev.Report), "no target is not the same as no OST"
    rig.step(Seen(rig.osts[0]))
    rig.step(ev.OSTsListed())
    assert not rig.all(ev.Report)
    rig.children = {T: "umount (pid 7) holds it"}
    rig.look()
    assert not rig.all(ev.Report)
    rig.read()
    assert len(rig.all(ev.Report)) == 1
    assert (rig.target().state, rig.target().child) == ("Mounted", True)
    assert rig.report.disks[0].state == "Advancing"


def test_nonce_is_not_answered_before_what_is_mounted_was_looked_for() -> None:
    rig = restarted()
    rig.step(ev.MountsSeen({}, {}))
    rig.now += 3.0
    rig.step(Tick())
    rig.step(Seen(rig.osts[0]))
    rig.read()
    rig.now += 3.0
    rig.step(Tick())
    assert answer(rig) is None, "the five seconds are over: it reports, and does not answer"
    assert rig.target().state == "Unknown"
    rig.step(ev.OSTsListed())
    rig.look()
    said = answer(rig)
    assert said is not None
    assert (said.value, said.mounted) == ("n1", (T,))


def test_first_report_waits_for_a_disk_that_hangs_for_five_seconds_and_no_longer() -> None:
    rig = restarted()
    rig.step(Seen(rig.osts[0]))
    rig.step(ev.OSTsListed())
    rig.look()
    began = rig.now
    while not rig.all(ev.Report):
        rig.tick()
        assert rig.now <= began + 5.0
    assert rig.target().state == "Mounted"
    assert rig.report.disks[0].state == "Unknown"


def test_restarted_agent_that_has_not_looked_mounts_and_lets_go_of_nothing() -> None:
    for intent in ("Serve", "Release"):
        rig = Rig(disk=CLEAN, grants=[grant(intent, 3)])
        for seen in (oss("oss1"), rig.pair, rig.osts[0]):
            rig.step(Seen(seen))
        rig.step(ev.ClusterKnown(CLUSTER))
        rig.step(ev.Renewed(rig.now))
        rig.step(ev.MountsSeen({}, {}))
        rig.read()
        assert not [effect for effect in rig.effects if isinstance(effect, ev.Mount | ev.Unmount | ev.CheckRelease)]


def test_restarted_agent_knows_from_its_own_object_which_boot_of_its_partner_answered_last() -> None:
    rig = Rig(grants=[grant("Serve", 3)])
    rig.step(Seen(oss("oss1", peer={"state": "Answering", "bootID": "boot-of-oss2"})))
    rig.step(ev.ClusterKnown(CLUSTER))
    rig.step(Seen(rig.pair))
    rig.step(ev.PeerSeen(""))
    rig.now += 60.0
    rig.step(Tick())
    peer = rig.machine.host.peer
    assert (peer.state, peer.boot_id) == ("Silent", "boot-of-oss2")
