"""A living server lets go, and only then the other one mounts: maintenance, switchover, `desired`, and home again.

Nobody is shot for any of it; where a server cannot let go, a person says whether it has to be.
"""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.ost import OST
from waiting import wait_for_async

pytestmark = pytest.mark.e2e

AT_ONCE = {"failback": {"mode": "Automatic", "soak": "0s"}}
OFTEN = 100
"""More often than a mount is tried before the test has seen it fail."""


async def ost_state(w: E2E, target: str, state: str) -> OST:
    """Wait until `kubectl get ost` says so."""

    async def so() -> OST:
        ost = (await w.osts())[target]
        assert ost.status is not None
        assert ost.status.state == state, f"{target} is {ost.status.state}"
        return ost

    return await wait_for_async(so, 60, f"{target} should be {state}", step=0.1)


def nobody_was_shot(w: E2E) -> None:
    for host in w.world.layout.hosts:
        w.untouched(host)


async def test_maintenance_empties_a_server_in_order_and_its_end_brings_all_back() -> None:
    async with e2e_world(spec=AT_ONCE) as w:
        await w.ready()
        boots = {host: w.world.hosts[host].boot_id for host in w.world.layout.hosts}
        await w.patch("osspair", "pair-a", {"spec": {"maintenance": ["oss1"]}})
        await w.served(on="oss2")
        assert w.mounted_on("oss1") == []
        await w.patch("osspair", "pair-a", {"spec": {"maintenance": []}})
        await w.ready()
        assert [fo.spec.type for fo in await w.failovers()] == ["Switchover", "Failback"]
        assert {host: w.world.hosts[host].boot_id for host in boots} == boots
        nobody_was_shot(w)


async def test_switchover_retries_a_mount_that_fails_and_desired_unmounts_and_mounts_again() -> None:
    async with e2e_world(spec=AT_ONCE) as w:
        await w.ready()
        target, other = w.homed_at("oss1")
        await w.verbs.mount("oss2", "fail", OFTEN)
        await w.patch("ost", target.lower(), {"spec": {"serveFrom": "Partner"}})
        failed = await ost_state(w, target, "Failed")
        assert failed.status is not None
        assert failed.status.node == "oss2"
        await w.verbs.mount("oss2", "ok")
        await w.served(on={target: "oss2", other: "oss1"})

        await w.patch("ost", target.lower(), {"spec": {"serveFrom": "Home"}})
        await w.patch("ost", other.lower(), {"spec": {"desired": "Unmounted"}})
        await ost_state(w, other, "Unmounted")
        await wait_for_async(lambda: w.mounts_of(target) == ["oss1"], 60, f"{target} should go home")
        assert w.mounts_of(other) == []
        await w.true("Ready")

        await w.patch("ost", other.lower(), {"spec": {"desired": "Mounted"}})
        await w.ready()
        nobody_was_shot(w)


async def test_server_that_cannot_let_go_is_shot_only_once_a_person_says_so() -> None:
    async with e2e_world(spec={"failover": {"releaseTimeout": "4s"}}) as w:
        await w.ready()
        await w.verbs.umount("oss1", "hang", 4)
        await w.patch("osspair", "pair-a", {"spec": {"maintenance": ["oss1"]}})
        asked = await w.phase("pair-a", "AwaitingApproval", type_="Failover")
        assert asked.spec.evidence.verdict == "ReleaseOverdue"

        def still_there() -> None:
            nobody_was_shot(w)
            assert w.mounted_on("oss1") == w.homed_at("oss1")

        await w.while_beating("oss1", 4, still_there)
        assert (await w.failover(asked.name)).phase == "AwaitingApproval"
        await w.approve(asked.name, "Failover")
        done = await w.phase("pair-a", "Complete", type_="Failover")
        assert done.name == asked.name
        await w.served(on="oss2")
