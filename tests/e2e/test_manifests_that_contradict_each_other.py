"""Mistakes that take two objects to see: a condition with its reason; nothing of it is granted or shot, until it is mended.

What one object alone shows is refused by the API server (tests/api).
"""

import copy
from typing import Any

import pytest
import yaml

from e2e.world import E2E, NAMESPACE, e2e_world
from waiting import wait_for_async

pytestmark = pytest.mark.e2e

Manifest = dict[str, Any]


async def applied(w: E2E, *manifests: Manifest) -> None:
    await w.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(manifests))


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """A copy, to be spoilt."""
    return copy.deepcopy(next(one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name)))


def feeds(pair: Manifest, server: int, level: int) -> list[Manifest]:
    found: list[Manifest] = pair["spec"]["nodes"][server]["fencing"][level]["feeds"]
    return found


async def refused(w: E2E, target: str, reason: str, *words: str) -> None:
    """Its OST says so, and nobody has it mounted."""

    async def so() -> bool:
        ost = (await w.osts())[target]
        assert ost.status is not None
        stalled = next(c for c in ost.status.conditions if c.type == "Stalled")
        assert (stalled.status, stalled.reason) == ("True", reason)
        assert all(word in stalled.message for word in words), stalled.message
        return True

    await wait_for_async(so, 60, f"{target} should be refused: {words}", step=0.2)
    assert w.mounts_of(target) == []


async def test_osts_with_a_foreign_home_or_one_disk_are_not_mounted_and_the_others_are() -> None:
    async with e2e_world(apply=False) as w:
        manifests: list[Manifest] = list(yaml.safe_load_all(w.world.manifests()))
        good, homeless, twin, other = (target.name for target in w.world.layout.targets)
        spoilt = named(manifests, "OST", homeless.lower())
        spoilt["spec"]["homeNode"] = "oss9"
        double = named(manifests, "OST", other.lower())
        double["spec"]["backend"] = named(manifests, "OST", twin.lower())["spec"]["backend"]
        rest = [one for one in manifests if one["metadata"]["name"] not in (homeless.lower(), other.lower(), "pair-a")]
        await applied(
            w, *rest, spoilt, double, named(manifests, "OSSPair", "pair-a")
        )  # last: nobody mounts before that
        await refused(w, homeless, "HomeNotInPair", "spec.homeNode: oss9 is not a server of scratch/pair-a")
        await refused(w, twin, "DuplicateDevice", f"is claimed by OST scratch/{other.lower()}")
        await refused(w, other, "DuplicateDevice", f"is claimed by OST scratch/{twin.lower()}")
        await wait_for_async(lambda: w.mounts_of(good) == ["oss1"], 60, f"{good} should be mounted all the same")
        assert w.mounted_on("oss2") == []

        await w.kubectl("delete", "ost", other.lower(), "--namespace", NAMESPACE)
        await applied(w, *manifests)
        await w.ready()


async def test_feeds_that_cannot_be_right_are_told_and_not_shot_with_until_they_are_mended() -> None:
    async with e2e_world() as w:
        await w.ready()
        right = named(list(yaml.safe_load_all(w.world.manifests())), "OSSPair", "pair-a")

        wrong = copy.deepcopy(right)
        feeds(wrong, 0, 1)[0]["outlet"] = "1"
        await applied(w, wrong)
        await w.true(
            "Stalled", reason="OutletOnBMC", words=("fencing[1].feeds[0].outlet", "oss1 cannot be fenced by it")
        )

        wrong = copy.deepcopy(right)
        feeds(wrong, 0, 1)[0]["deviceName"] = "bmc-gone"
        await applied(w, wrong)
        await w.true("Stalled", reason="FeedDeviceNotFound", words=("there is no FenceDevice bmc-gone",))

        wrong = copy.deepcopy(right)
        feeds(wrong, 0, 0)[0]["outlet"] = feeds(right, 1, 0)[0]["outlet"]
        await applied(w, wrong)
        await w.true("Stalled", reason="FeedFeedsTwoServers", words=("a shot at one would hit the other",))
        await w.true("Armed", status="False", reason="NotArmed")
        await w.verbs.crash("oss1")
        await w.judged("oss1", "Failed")

        async def nobody_is_shot() -> None:
            assert await w.failovers() == []
            for host in w.world.layout.hosts:
                w.untouched(host)

        await w.while_beating("oss2", 4, nobody_is_shot)
        await applied(w, right)
        fo = await w.phase("pair-a", "AwaitingApproval", "Complete")
        if fo.phase == "AwaitingApproval":
            await w.approve(fo.name)
        await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
