"""Two objects that claim one thing: what is in service stays in service, both say so, and nobody is advised to adopt."""

from __future__ import annotations

import pytest

from core.pairs import arm, at_rest, build, ost
from core.story import happen
from core.world import World
from ostkeeper.api.common import ObjectMeta, condition_of
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS, OSSSpec, PairRef
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST, Backend, Ext4
from ostkeeper.core.claims import find_problems
from ostkeeper.core.events import Problem

pytestmark = pytest.mark.scenario


def look(world: World) -> None:
    """Look for problems between the objects, as the operator does when a spec has changed."""
    found = find_problems(world.store.every(OSSPair), world.store.every(OST), world.store.every(FenceDevice))
    world.set_problems(*found)


def newcomer(world: World, index: int, device: str) -> OST:
    """Another OST, and a look at all of them."""
    found = ost(index, "oss2")
    meta = found.metadata.model_copy(update={"name": "newcomer"})
    spec = found.spec.model_copy(update={"backend": Backend(ext4=Ext4(device=device)), "mount_point": "/mnt/newcomer"})
    stored = world.store.put(found.model_copy(update={"metadata": meta, "spec": spec}))
    world.floor.disks.setdefault(stored.target, world.floor.disks["scratch-OST0000"])
    look(world)
    return stored


def stalled(world: World, name: str) -> tuple[str, str]:
    status = world.store.get(OST, name).status
    assert status is not None
    found = condition_of(status.conditions, "Stalled")
    assert found is not None
    assert found.status == "True"
    return found.reason, status.state


@pytest.mark.parametrize(
    ("index", "device", "reason"),
    [(0, "/dev/loop9", "DuplicateTarget"), (9, "/dev/loop0", "DuplicateDevice")],
    ids=["one target", "one disk"],
)
def test_ost_in_service_stays_and_fails_over_and_both_say_what_is_wrong(index: int, device: str, reason: str) -> None:
    world = at_rest()
    newcomer(world, index, device)
    world.run(20)
    assert stalled(world, "scratch-ost0000") == (reason, "Mounted")
    assert stalled(world, "newcomer") == (reason, "Refused")
    assert [a.target for a in world.status.assignments] == ["scratch-OST0000", "scratch-OST0001"]
    assert arm(world) == ""
    happen(world, "oss1 loses its mains")
    world.run(60)
    assert world.mounted()["oss2"] == ["scratch-OST0000", "scratch-OST0001"]
    assert world.floor.overlaps == []


def test_newcomer_is_placed_once_the_other_ost_is_retired() -> None:
    world = at_rest()
    newcomer(world, 9, "/dev/loop0")
    world.run(5)
    happen(world, 'edit ost 0000 {"desired": "Unmounted"}')
    world.run(10)
    happen(world, "delete ost 0000")
    look(world)
    world.run(30)
    assert [a.target for a in world.status.assignments] == ["scratch-OST0001", "scratch-OST0009"]


def test_of_two_osts_that_were_never_in_service_none_is_placed() -> None:
    world = build(adopted=False)
    found = ost(7, "oss1")
    for name in ("one", "other"):
        world.store.put(found.model_copy(update={"metadata": found.metadata.model_copy(update={"name": name})}))
    world.floor.disks[found.target] = world.floor.disks["scratch-OST0000"]
    look(world)
    world.start_operator()
    look(world)
    world.run(20)
    assert [a.target for a in world.status.assignments] == ["scratch-OST0000", "scratch-OST0001"]


def test_pair_that_names_a_server_of_another_pair_is_told_so_and_not_to_adopt() -> None:
    world = build(adopted=False)
    elsewhere = OSSSpec(pair=PairRef(namespace="scratch", name="pair-other"))
    world.store.put(OSS(metadata=ObjectMeta(name="oss1"), spec=elsewhere))
    world.floor.servers["oss1"].epoch_seen = 99
    world.set_problems(
        Problem(
            "OSSPair",
            "scratch/pair-a",
            "ServerInTwoPairs",
            "spec.nodes: oss1 is a server of OSSPair scratch/pair-other, too; a server is in one pair",
            ("scratch-OST0000", "scratch-OST0001"),
            ("oss1",),
        )
    )
    world.start_operator()
    world.run(20)
    happen(world, "oss1 agent dies")
    world.run(60)
    conditions = {c.type: c for c in world.status.conditions}
    assert conditions["EpochRegressed"].status == "False"
    assert conditions["Stalled"].reason == "ServerInTwoPairs"
    assert not any("adopt" in c.message for c in world.status.conditions)
    assert world.status.assignments == ()
