"""A BMC address that leads to another server's BMC: nobody is switched off by it, and the failover says what it needs."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.failover import Failover
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


def oss2_is_alive(w: E2E, boot: str) -> None:
    assert w.world.plane.powered("oss2"), "the healthy server went dark"
    assert w.world.hosts["oss2"].boot_id == boot, "the healthy server was rebooted"
    assert w.mounted_on("oss2") == w.homed_at("oss2")


async def identified(w: E2E) -> bool:
    """Whether the operator knows all devices."""
    devices = [await w.device(name) for name in ("pdu-left", "pdu-right", "bmc-oss1", "bmc-oss2")]
    return all(device.status is not None and device.status.identity for device in devices)


async def missing(w: E2E, name: str, *words: str) -> Failover:
    """Wait until the Failover is Blocked and says these words."""

    async def so() -> Failover:
        fo = await w.failover(name)
        assert fo.status is not None
        assert fo.phase == "Blocked", f"{name} is {fo.phase}: {fo.status.message}"
        said = " ".join(str(one) for one in fo.status.missing)
        assert all(word in said for word in words), said
        return fo

    return await wait_for_async(so, 120, f"{name} should be Blocked, and say {words}", step=0.2)


async def test_bmc_of_the_healthy_server_is_not_switched_off_in_place_of_the_dead_ones() -> None:
    """Both PDUs are silent, so that the BMC alone could prove the death; a person has answered Failover."""
    async with e2e_world(mode="Manual") as w:
        await w.ready()
        await wait_for_async(lambda: identified(w), 60, "every device should have reported its identity", step=0.2)
        boot = w.world.hosts["oss2"].boot_id
        other = w.world.devices.bmcs["bmc-oss2"].guid
        await w.verbs.bmc_swap("oss1", "oss2")
        for pdu in ("pdu-left", "pdu-right"):
            await w.verbs.device(pdu, "silent")
        await w.verbs.crash("oss1")
        asked = await w.phase("pair-a", "AwaitingApproval")
        await w.approve(asked.name)

        fo = await missing(w, asked.name, "bmc-oss1", f"guid:{other}")
        assert fo.status is not None
        assert fo.status.certificate is None
        await w.while_beating("oss2", 3, lambda: oss2_is_alive(w, boot))
        assert (await w.failover(asked.name)).phase == "Blocked"

        await w.verbs.power_cut("oss1", feeds=True)
        await w.approve(asked.name, "ConfirmDead")
        done = await w.phase("pair-a", "Complete")
        assert done.status is not None
        assert done.status.certificate is not None
        assert done.status.certificate.confirmed_by == "alice"
        assert w.world.hosts["oss2"].boot_id == boot
        await w.served(on="oss2")
