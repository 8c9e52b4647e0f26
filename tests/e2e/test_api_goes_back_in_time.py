"""The API knows less than the servers do: etcd restored from a backup, objects deleted, CRDs deleted and applied again.

Absence orders nothing: what is mounted stays mounted, nobody is shot or stopped, and a person's `spec.adopt` mends it.
"""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.identities import ONCALL
from ostkeeper.testbed.world import REPOSITORY
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


async def boots(w: E2E) -> dict[str, str]:
    """Server → the boot that really runs; a dead one is not named."""
    hosts = (await w.verbs.truth())["hosts"]
    return {name: host["boot_id"] for name, host in hosts.items() if host["running"]}


async def seen(w: E2E) -> int:
    """The highest epoch that an agent of the pair has seen, as its reports say."""
    statuses = [(await w.oss(host)).status for host in w.world.layout.hosts]
    return max(status.epoch_seen for status in statuses if status is not None)


async def adopt(w: E2E) -> None:
    """A person's word, as the condition asks for it; then the pair stands above every epoch that was seen."""

    async def asked() -> int:
        epoch, said = await seen(w), await w.condition("EpochRegressed")
        assert said is not None
        assert said.status == "True"
        assert f"spec.adopt: {epoch}" in said.message
        return epoch

    epoch = await wait_for_async(
        asked, 60, "a person should be asked to adopt the highest epoch that was seen", step=0.2
    )
    await w.patch("osspair", "pair-a", {"spec": {"adopt": epoch}}, user=ONCALL.user)
    await w.true("EpochRegressed", status="False")
    status = (await w.pair()).status
    assert status is not None
    assert status.epoch > epoch


async def test_etcd_restored_from_before_a_failover_moves_nothing_and_a_person_mends_it() -> None:
    async with e2e_world() as w:
        await w.ready()
        backup = w.world.directory / "etcd-backup"
        await w.world.control_plane.snapshot(backup)
        await w.verbs.power_cut("oss1")
        await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
        survivor = await boots(w)

        await w.world.control_plane.restore(backup)
        await w.true("EpochRegressed")
        assert await w.failovers() == [], "the backup knows of no failover, and calls the dead server the owner"
        await w.verbs.power_on("oss1")
        await w.renewed("oss1")

        async def as_it_was() -> None:
            w.untouched("oss1")
            w.untouched("oss2")
            assert w.mounted_on("oss1") == []
            assert w.mounted_on("oss2") == sorted(w.world.images)
            assert (await boots(w))["oss2"] == survivor["oss2"]

        await w.while_beating("oss1", 4, as_it_was)
        assert await w.failovers() == []
        await adopt(w)
        await w.served(on="oss2")
        await as_it_was()
        question = await w.phase("pair-a", "AwaitingApproval", type_="Failback")
        await w.approve(question.name, "Failback")
        await w.ready()


async def deleted_without_the_policy(w: E2E, target: str) -> None:
    """The policy refuses to delete an OST in service; then it is deleted as on a site whose policies were taken away."""
    delete = ("delete", "ost", target.lower(), "--namespace", "scratch")
    with pytest.raises(ControlPlaneError, match="desired: Unmounted"):
        await w.kubectl(*delete)
    await w.kubectl("delete", "validatingadmissionpolicybinding", "ostkeeper-deletion")

    async def gone() -> bool:
        try:
            await w.kubectl(*delete)
        except ControlPlaneError:
            return False
        return True

    await wait_for_async(gone, 60, "the API server should stop to refuse the deletion", step=0.5)


async def test_deleted_ost_stays_mounted_and_its_object_comes_back_to_the_same_place() -> None:
    async with e2e_world() as w:
        await w.ready()
        before = await boots(w)
        target = w.homed_at("oss1")[0]
        await deleted_without_the_policy(w, target)
        assert target not in await w.osts()

        async def as_it_was() -> None:
            assert w.mounted_on("oss1") == w.homed_at("oss1")
            assert await boots(w) == before

        await w.while_beating("oss1", 3, as_it_was)
        await w.world.apply()
        await w.ready()
        await as_it_was()
        assert await w.failovers() == []


async def test_deleted_crds_unmount_nothing_and_what_is_applied_again_waits_for_a_person() -> None:
    async with e2e_world() as w:
        await w.ready()
        before = await boots(w)
        await w.kubectl("delete", "--filename", str(REPOSITORY / "crds"), "--wait")

        async def as_it_was() -> None:
            for host in w.world.layout.hosts:
                w.untouched(host)
                assert w.mounted_on(host) == w.homed_at(host)
            assert await boots(w) == before

        await w.while_beating("oss1", 3, as_it_was)
        await w.world.control_plane.apply([REPOSITORY / "crds"])
        await w.world.apply()
        await w.true("EpochRegressed")
        await w.while_beating("oss1", 3, as_it_was)
        await adopt(w)
        await w.ready()
        await as_it_was()
