"""A server of an Automatic pair loses its power: it is fenced, proven dead, and its partner serves what it left."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.failover import Failover

pytestmark = pytest.mark.e2e

BMC_FIRST = {
    "nodes": [
        {
            "name": f"oss{n}",
            "fencing": [
                {"name": "bmc", "feeds": [{"deviceName": f"bmc-oss{n}"}]},
                {
                    "name": "pdus",
                    "feeds": [{"deviceName": f"pdu-{side}", "outlet": str(n)} for side in ("left", "right")],
                },
            ],
        }
        for n in (1, 2)
    ]
}


async def cleared(w: E2E, host: str) -> set[str]:
    """The targets whose MMP the server's agent has cleared before it mounted them."""
    status = (await w.oss(host)).status
    assert status is not None
    return {target.target for target in status.targets if target.cleared_mmp}


def level_of(fo: Failover) -> str:
    """The level that the death certificate rests on."""
    assert fo.status is not None
    assert fo.status.certificate is not None
    return fo.status.certificate.level


@pytest.mark.parametrize("sector_size", [512, 4096])
async def test_partner_serves_all_and_clears_mmp_under_the_certificate_after_a_power_cut(sector_size: int) -> None:
    async with e2e_world(sectors=(sector_size,)) as w:
        await w.ready()
        await w.verbs.power_cut("oss1")
        fo = await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
        assert fo.status is not None
        assert fo.status.answered_by == "policy"
        assert level_of(fo) == "pdus"
        assert await cleared(w, "oss2") == set(fo.spec.targets) == set(w.homed_at("oss1"))


async def test_mount_waits_as_the_kernel_does_where_mmp_is_to_wait() -> None:
    async with e2e_world(spec={"failover": {"mmp": "Wait"}}) as w:
        await w.ready()
        await w.verbs.crash("oss1")
        fo = await w.phase("pair-a", "Complete", within=120)
        await w.served(on="oss2")
        assert fo.status is not None
        assert fo.status.certificate is not None
        assert not fo.status.certificate.clear_mmp
        assert await cleared(w, "oss2") == set()


async def test_bmc_that_is_silent_since_all_feeds_are_dead_proves_nothing_and_the_outlets_do() -> None:
    async with e2e_world(spec=BMC_FIRST) as w:
        await w.ready()
        await w.verbs.power_cut("oss1", feeds=True)
        fo = await w.phase("pair-a", "Complete")
        assert level_of(fo) == "pdus"
        await w.served(on="oss2")
