"""What people edit while a failover runs: it goes on under the policy and the devices that it was opened with."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.failover import Failover
from waiting import wait_for_async

pytestmark = pytest.mark.e2e

NOWHERE = "10.77.1.99"


def level_of(fo: Failover) -> str:
    """The level that the death certificate rests on."""
    assert fo.status is not None
    assert fo.status.certificate is not None
    return fo.status.certificate.level


async def test_edited_pair_ost_and_device_change_nothing_in_a_failover_but_what_is_not_wanted_is_not_mounted() -> None:
    async with e2e_world(operators=1) as w:
        await w.ready()
        wanted, unwanted = w.homed_at("oss1")
        await w.verbs.operator("stop", when="Fencing")
        await w.verbs.power_cut("oss1")
        operator = await w.caught()

        nodes = [node.model_dump(by_alias=True, exclude_none=True, mode="json") for node in (await w.pair()).spec.nodes]
        nodes[0]["fencing"] = [level for level in nodes[0]["fencing"] if level["name"] == "bmc"]
        policy = {"mode": "Observe", "confirm": {"rounds": 1, "interval": "500ms", "settle": "0s"}}
        await w.patch("osspair", "pair-a", {"spec": {"nodes": nodes, "failover": policy}})
        await w.patch("ost", unwanted.lower(), {"spec": {"desired": "Unmounted"}})
        await w.patch("ost", wanted.lower(), {"spec": {"homeNode": "oss2"}})
        await w.patch("fencedevice", "pdu-left", {"spec": {"requestTimeout": "2s"}})
        await w.verbs.operator("cont", operator)

        fo = await w.phase("pair-a", "Complete")
        assert level_of(fo) == "pdus", "the level that was declared when it was opened"
        assert fo.status is not None
        assert fo.status.certificate is not None
        assert {feed.reads for feed in fo.status.certificate.feeds} == {3}
        assert not any(w.world.plane.outlet(pdu, "1") for pdu in ("pdu-left", "pdu-right"))
        await _served_but(w, unwanted)
        await w.patch("ost", unwanted.lower(), {"spec": {"desired": "Mounted"}})
        await w.served(on="oss2")


async def _served_but(w: E2E, unwanted: str) -> None:
    async def so() -> bool:
        osts = await w.osts()
        states = {name: (ost.status.node, ost.status.state) for name, ost in osts.items() if ost.status}
        assert states == {name: ("oss2", "Unmounted" if name == unwanted else "Mounted") for name in osts}
        assert w.mounts_of(unwanted) == []
        return True

    await wait_for_async(so, 60, f"oss2 should serve all but {unwanted}")


async def test_device_whose_address_is_edited_while_blocked_stays_silent_for_this_failover() -> None:
    async with e2e_world() as w:
        await w.ready()
        for device in ("pdu-left", "bmc-oss1"):
            await w.verbs.device(device, "silent")
        await w.verbs.power_cut("oss1")
        blocked = await w.phase("pair-a", "Blocked", within=120)
        await w.patch("fencedevice", "bmc-oss1", {"spec": {"ipmi": {"address": NOWHERE}}})
        await w.verbs.device("bmc-oss1", "normal")

        async def stays_blocked() -> None:
            assert (await w.failover(blocked.name)).phase == "Blocked"
            assert w.mounted_on("oss2") == w.homed_at("oss2")

        await w.while_beating("oss2", 4, stays_blocked)
        await w.verbs.device("pdu-left", "normal")
        fo = await w.phase("pair-a", "Complete")
        assert (fo.name, level_of(fo)) == (blocked.name, "pdus")
        await w.served(on="oss2")
