"""Fence devices that fail: UNKNOWN is never OFF, a level that proves nothing hands on to the next, and the last blocks."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.failover import Certificate, Failover
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


def certificate_of(fo: Failover) -> Certificate:
    assert fo.status is not None
    assert fo.status.certificate is not None, f"{fo.name} has no certificate"
    return fo.status.certificate


async def blocked(w: E2E, *words: str) -> Failover:
    """The Failover was Blocked, said what is missing, and nothing is mounted while oss2 goes on for a while.

    Where the server itself shows that it lives, Blocked is over at once: so it is looked for in the timeline.
    """

    async def so() -> Failover:
        fo = next(reversed(await w.failovers()), None)
        assert fo is not None, "there is none"
        assert fo.status is not None
        said = [entry.message for entry in fo.status.timeline if entry.phase == "Blocked"]
        assert any(all(word in message for word in words) for message in said), f"{fo.phase}: {said}"
        return fo

    fo = await wait_for_async(so, 120, f"the Failover should be Blocked, and say {words}", step=0.1)
    assert fo.status is not None
    assert fo.status.certificate is None

    async def nothing_mounted() -> None:
        assert w.mounted_on("oss2") == w.homed_at("oss2")
        status = (await w.pair()).status
        assert status is not None
        assert {a.node for a in status.assignments if a.target in fo.spec.targets} == {"oss1"}

    await w.while_beating("oss2", 3, nothing_mounted)
    return fo


async def test_outlet_that_is_stuck_on_hands_on_to_the_next_level() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.device("pdu-right/1", "stuck")
        await w.verbs.hang("oss1")
        fo = await w.phase("pair-a", "Complete")
        assert certificate_of(fo).level == "bmc"
        await w.served(on="oss2")


async def test_pdu_that_reboots_with_outlets_on_gives_no_certificate_and_a_persons_word_moves_on() -> None:
    """The server's supply on that PDU is dead: it stays off, but no reading says so, and its BMC has no current."""
    async with e2e_world(spec={"failover": {"confirm": {"rounds": 10, "interval": "1s"}}}, osts_per_host=1) as w:
        await w.ready()
        await w.verbs.supply("oss1", "pdu-left", alive=False)
        await w.verbs.crash("oss1")
        plane = w.world.plane
        await wait_for_async(
            lambda: not plane.outlet("pdu-left", "1") and not plane.outlet("pdu-right", "1"), 60, "both should be cut"
        )
        await w.verbs.device("pdu-left", "reboot")
        assert plane.outlet("pdu-left", "1")
        # A reading that meets the reboot is none, and is followed by a second try: that one is to cut nothing.
        await w.verbs.device("pdu-left/1", "stuck")
        fo = await blocked(w, "pdu-left/1", "bmc-oss1")
        await w.approve(fo.name, "ConfirmDead", user="alice")
        fo = await w.phase("pair-a", "Complete", within=150)
        assert certificate_of(fo).confirmed_by == "alice"
        assert not certificate_of(fo).clear_mmp, "a person's word never clears MMP"
        await w.served(on="oss2")


async def test_silent_levels_block_and_it_goes_on_by_itself_when_a_device_answers_again() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.hang("oss1")
        for device in ("pdu-right", "bmc-oss1"):
            await w.verbs.device(device, "silent")
        fo = await blocked(w, "pdu-right/1", "bmc-oss1")
        assert w.world.plane.powered("oss1")
        assert not w.world.plane.outlet("pdu-left", "1"), "what a failed level cut stays cut"
        await w.verbs.device("pdu-right", "normal")
        done = await w.phase("pair-a", "Complete")
        assert done.name == fo.name
        assert certificate_of(done).level == "pdus"
        await w.served(on="oss2")


async def lie(w: E2E) -> None:
    """All feeds of oss1 acknowledge the off, read OFF, and switch nothing."""
    for device in ("pdu-left/1", "pdu-right/1", "bmc-oss1"):
        await w.verbs.device(device, "lie")


async def test_liars_are_caught_when_the_server_thaws_after_they_read_off() -> None:
    async with e2e_world(spec={"failover": {"confirm": {"settle": "8s"}}}) as w:
        await w.ready()
        await lie(w)
        await w.verbs.hang("oss1")
        fo = await w.phase("pair-a", "Fencing")

        async def first_round_read_off() -> bool:
            status = (await w.pair()).status
            return bool(status and status.nonce and status.nonce.failover == fo.name)

        await wait_for_async(first_round_read_off, 60, "the disks are asked about after the first round of OFF")
        await w.verbs.thaw("oss1")
        await blocked(w, "level pdus", "level bmc")
        assert w.mounted_on("oss1") == w.homed_at("oss1")


async def test_liars_are_caught_by_the_disk_of_a_server_that_nobody_reaches() -> None:
    async with e2e_world() as w:
        await w.ready()
        await lie(w)
        await w.verbs.partition("oss1", "all")
        asked = await w.phase("pair-a", "AwaitingApproval")
        assert asked.spec.evidence.verdict == "Isolated"
        await w.approve(asked.name, "Failover")
        await blocked(w, "still being written")
        assert w.mounted_on("oss1") == w.homed_at("oss1")


async def test_server_powered_on_by_hand_after_its_certificate_mounts_nothing() -> None:
    async with e2e_world(operators=1) as w:
        await w.ready()
        dead = w.world.hosts["oss1"].boot_id
        await w.verbs.operator("stop", when="Relocating")
        await w.verbs.crash("oss1")
        operator = await w.caught()
        await w.verbs.power_on("oss1")
        await wait_for_async(lambda: w.world.hosts["oss1"].running, 30, "oss1 should boot")
        assert w.world.hosts["oss1"].boot_id != dead

        def mounts_nothing() -> None:
            assert w.mounted_on("oss1") == []

        await w.renewed("oss1")
        await w.while_beating("oss1", 4, mounts_nothing)
        await w.verbs.operator("cont", operator)
        fo = await w.phase("pair-a", "Complete")
        assert certificate_of(fo).boot_id == dead
        await w.served(on="oss2")
        await w.while_beating("oss1", 2, mounts_nothing)
