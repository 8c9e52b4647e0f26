"""What an admin mounted by hand is the admin's: it is shown, both agents respect it, and nobody touches it."""

import pytest

from e2e.world import E2E, e2e_world
from waiting import wait_for_async

pytestmark = pytest.mark.e2e

BY_HAND = "/mnt/by-hand"


async def mounted_by_hand(w: E2E, target: str) -> bool:
    """Not at once where somebody, as the monitor does, had the device open by O_EXCL just then."""
    done = await w.verbs.exec("oss2", "mount", w.world.images[target].device, BY_HAND)
    assert done.code == 0, done.err
    return True


async def test_mount_by_hand_is_left_alone_and_keeps_both_servers_from_mounting() -> None:
    async with e2e_world() as w:
        await w.ready()
        target = w.homed_at("oss1")[0]
        await w.patch("ost", target.lower(), {"spec": {"desired": "Unmounted"}})
        await wait_for_async(lambda: w.mounts_of(target) == [], 60, f"{target} should be unmounted")
        await w.true("Ready")
        done = await w.verbs.exec("oss2", "mkdir", "-p", BY_HAND)
        assert done.code == 0, done.err
        await wait_for_async(lambda: mounted_by_hand(w, target), 60, "an admin tries until it is mounted", step=0.2)

        await w.patch("ost", target.lower(), {"spec": {"desired": "Mounted"}})

        async def shown() -> bool:
            ost = (await w.osts())[target]
            return ost.status is not None and (ost.status.state, ost.status.mounted_on) == ("ForeignMount", "oss2")

        await wait_for_async(shown, 60, f"{target} should be shown as somebody else's mount")

        def left_alone() -> None:
            assert w.world.hosts["oss2"].mounts().get(target) == BY_HAND
            assert w.mounts_of(target) == ["oss2"]
            w.untouched("oss2")

        await w.while_beating("oss1", 4, left_alone)
        await w.patch("ost", target.lower(), {"spec": {"desired": "Unmounted"}})
        await w.while_beating("oss2", 3, left_alone)

        await w.patch("ost", target.lower(), {"spec": {"desired": "Mounted"}})
        done = await w.verbs.exec("oss2", "umount", BY_HAND)
        assert done.code == 0, done.err
        await w.ready()
        assert await w.failovers() == []
