"""Agents on simulated servers: the real machine, and a world that does to it what a real one does."""

from __future__ import annotations

import pytest

from ostkeeper.api.osspair import Nonce
from ostkeeper.core.diskview import MmpState
from sim.hostfloor import EPOCH, OTHER, Floor, T

pytestmark = pytest.mark.sim


def test_agents_at_rest_report_what_is_mounted_and_go_on() -> None:
    floor = Floor().run(30.0)
    assert (floor.state("oss1"), floor.state("oss2"), floor.state("oss2", OTHER)) == ("Mounted", "Unmounted", "Mounted")
    assert floor.report("oss1").mark == str(floor.hosts["oss1"].mark(T)) == f"{'oss1':.<64}/dm-0"
    seen = {disk.target: disk.state for disk in floor.status("oss2").disks}
    assert seen == {T: "Advancing", OTHER: "Advancing"}
    assert floor.status("oss1").peer.state == "Answering"
    assert floor.checker.violations == []


def test_lease_is_renewed_every_interval_with_the_age_of_the_disks() -> None:
    floor = Floor().run(10.0)
    first = floor.store.beat_of("oss1")
    floor.run(2.1)
    second = floor.store.beat_of("oss1")
    assert first is not None
    assert second is not None
    assert int(second.version) > int(first.version)
    assert second.unread == ()


def test_orderly_move_unmounts_here_and_mounts_there_without_waiting() -> None:
    floor = Floor().run(5.0)
    epoch = floor.assign("Release", "oss1")
    floor.until(lambda: (released := floor.report("oss1").released) is not None and released.epoch == epoch)
    assert floor.disks[T].state is MmpState.CLEAN
    floor.assign("Serve", "oss2", {"released": {"node": "oss1", "epoch": epoch}})
    assert floor.until(lambda: floor.state("oss2") == "Mounted") < 3.0
    assert floor.hosts["oss2"].mounted(T)
    assert not floor.hosts["oss1"].could_write(T)
    assert floor.checker.violations == []


def test_certified_target_is_cleared_and_mounted_quickly() -> None:
    floor = Floor().run(5.0)
    floor.assign("Hold", "oss1")
    floor.hosts["oss1"].repaired = False
    floor.devices.settle()
    floor.run(12.0)
    floor.relocate("oss1")
    took = floor.until(lambda: floor.state("oss2") == "Mounted")
    assert took < 15.0, "two update intervals of stillness since the certificate was seen, and no wait of the kernel's"
    assert floor.report("oss2").cleared_mmp
    assert floor.checker.violations == []


def test_mount_over_a_live_owner_is_told_to_the_checker_though_mmp_saves_the_disk() -> None:
    floor = Floor().run(5.0)
    ended: list[str] = []
    floor.hosts["oss2"].table.mount(T, "/mnt/ost0000", ended.append)
    floor.run(60.0)
    assert ended == ["ActiveElsewhere"]
    assert any("mounted twice" in said for said in floor.checker.violations)


def test_thawed_owner_writes_on_and_stops_itself_once_it_sees_its_certificate() -> None:
    floor = Floor().run(5.0)
    floor.hosts["oss1"].hang()
    floor.run(12.0)
    assert {disk.target: disk.state for disk in floor.status("oss2").disks}[T] == "Still"
    floor.assign("Hold", "oss1")
    floor.certify("oss1", (T,))
    floor.hosts["oss1"].thaw()
    floor.until(lambda: floor.hosts["oss1"].system == "booting", 10.0)


def test_agent_killed_within_a_mount_leaves_a_child_that_its_successor_respects() -> None:
    floor = Floor().run(5.0)
    epoch = floor.assign("Release", "oss1")
    floor.until(lambda: floor.report("oss1").released is not None)
    host = floor.hosts["oss2"]
    host.table.set_mounting("hang")
    floor.assign("Serve", "oss2", {"released": {"node": "oss1", "epoch": epoch}})
    floor.until(lambda: "mount" in host.table.children.values())
    floor.agents["oss2"].restart()
    floor.until(lambda: floor.status("oss2").agent_start.startswith("run-2") and floor.state("oss2") != "")
    floor.until(lambda: floor.report("oss2").child, 1.0)
    host.table.set_mounting("")
    floor.until(lambda: floor.state("oss2") == "Mounted")
    assert floor.checker.violations == []


def test_stalled_disks_age_and_then_answer() -> None:
    floor = Floor().run(5.0)
    floor.hosts["oss2"].stall_disks()
    floor.run(15.0)
    beat = floor.store.beat_of("oss2")
    assert beat is not None
    assert beat.unread
    assert {disk.state for disk in floor.status("oss2").disks} == {"Unreadable"}
    floor.hosts["oss2"].unstall_disks()
    floor.run(6.0)
    assert {disk.state for disk in floor.status("oss2").disks} == {"Advancing"}


def test_power_cut_ends_the_boot_and_a_new_one_finds_nothing_that_it_may_mount() -> None:
    floor = Floor().run(5.0)
    floor.assign("Hold", "oss1")
    floor.devices.plug_in("oss1", False)
    assert not floor.hosts["oss1"].could_write(T)
    floor.run(5.0)
    floor.devices.plug_in("oss1", True)
    floor.until(lambda: floor.status("oss1").boot_id == "oss1-boot-2")
    floor.run(30.0)
    assert floor.state("oss1") == "Unmounted"
    assert floor.status("oss1").epoch_seen == EPOCH + 1


def test_corrupt_state_refuses_everything() -> None:
    floor = Floor().run(5.0)
    floor.hosts["oss1"].memory.corrupt = "its checksum does not fit"
    floor.agents["oss1"].restart()
    floor.until(lambda: "StoreCorrupt" in floor.status("oss1").refusal)


def test_agent_cut_off_from_the_api_renews_nothing_and_comes_back() -> None:
    floor = Floor().run(5.0)
    floor.network.cut("oss1", "api")
    floor.run(5.0)
    before = floor.store.beat_of("oss1")
    floor.run(20.0)
    assert floor.store.beat_of("oss1") == before
    floor.network.heal("oss1", "api")
    floor.until(lambda: floor.store.beat_of("oss1") != before, 5.0)


def test_one_seed_is_one_run() -> None:
    def told(seed: int) -> list[str]:
        floor, said = Floor(seed), list[str]()
        floor.trace = lambda who, what: said.append(f"{floor.kernel.now:.6f} {who} {what}")
        floor.run(5.0)
        floor.assign("Release", "oss1")
        floor.hosts["oss2"].hang()
        floor.run(20.0)
        floor.hosts["oss2"].thaw()
        return said

    assert told(7) == told(7)
    assert told(7) != told(8)


def test_what_is_written_right_after_a_restore_of_etcd_is_heard_although_the_watch_was_further_on() -> None:
    floor = Floor().run(5.0)
    backup = floor.store.backup()
    floor.run(10.0)
    floor.assign("Serve", "oss1")
    floor.run(5.0)
    floor.store.restore(backup)
    floor.write(nonce=Nonce(value="after-the-restore", open=True))
    floor.until(lambda: all(_answered(floor, server) for server in ("oss1", "oss2")), 5.0)
    assert floor.status("oss1").epoch_seen == EPOCH + 1, "what was seen stays seen"


def _answered(floor: Floor, server: str) -> bool:
    answer = floor.status(server).nonce
    return answer is not None and answer.value == "after-the-restore"
