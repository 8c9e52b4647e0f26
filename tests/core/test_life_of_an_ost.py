"""Life of an OST: after each step of each order the pair is armed, its status says nothing of a person, and it fails over.

The steps: declare an OST, declare one with a mistyped device and correct it, replace a device, retire an OST, delete one that
is mounted by mistake and declare it again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from core.machines import Disk
from core.pairs import arm, at_rest, ost
from core.story import happen
from core.world import World
from ostkeeper.api.common import condition_of
from ostkeeper.api.ost import OST

pytestmark = pytest.mark.scenario
Step = Callable[[World], None]
REST = 15.0


def passes(world: World, seconds: float = REST) -> None:
    world.run(world.now - world.zero + seconds)


def declare(world: World) -> None:
    """A new target on a LUN that both servers see."""
    happen(world, "OST0002 is added, its home oss1")


def mistype_and_correct(world: World) -> None:
    """A device that no server has, deleted, and declared with the right one."""
    for server in world.floor.servers.values():
        server.blind = (*server.blind, "scratch-OST0003")
    happen(world, "OST0003 is added, its home oss2")
    passes(world)
    happen(world, "delete ost 0003")
    passes(world)
    for server in world.floor.servers.values():
        server.blind = ()
    happen(world, "OST0003 is added, its home oss2")


def replace_device(world: World) -> None:
    """Unmounted, deleted, another LUN, declared again."""
    retire(world, 0)
    passes(world)
    world.floor.disks["scratch-OST0000"] = Disk("scratch-OST0000")
    happen(world, "OST0000 is added, its home oss1")


def retire(world: World, index: int = 1) -> None:
    """Unmounted, then deleted; its LUN is taken out."""
    name = f"{index:04x}"
    happen(world, f'edit ost {name} {{"desired": "Unmounted"}}')
    passes(world)
    happen(world, f"delete ost {name}")
    passes(world, 5.0)
    world.floor.disks.pop(f"scratch-OST{name}")


def delete_by_mistake(world: World) -> None:
    """A mounted target's OST, declared again a while later."""
    gone = ost(0, "oss1")
    happen(world, "delete ost 0000")
    passes(world)
    assert "scratch-OST0000" in world.mounted()["oss1"]
    assert world.status.assignment("scratch-OST0000") is not None
    said = condition_of(world.status.conditions, "Stalled")
    assert said is not None
    assert said.reason == "OSTDeleted"
    assert "scratch-OST0000" in said.message
    world.store.put(gone)


STEPS: dict[str, Step] = {
    "declare": declare,
    "mistype": mistype_and_correct,
    "replace": replace_device,
    "retire": retire,
    "delete": delete_by_mistake,
}
ORDERS = [order for count in (1, 2, 3) for order in permutations(STEPS, count)] + list(permutations(STEPS))[::20]


def is_well(world: World) -> None:
    """Armed, everything declared is served at home, nothing else is assigned, and no person is needed."""
    declared = {o.target: o.spec.home_node for o in world.store.every(OST)}
    assert arm(world) == ""
    assert {a.target: a.node for a in world.status.assignments} == declared
    for server, mounted in world.mounted().items():
        assert mounted == sorted(t for t, home in declared.items() if home == server)
    for name, wanted in (("Ready", "True"), ("Stalled", "False")):
        condition = condition_of(world.status.conditions, name)
        assert condition is not None
        assert condition.status == wanted, condition.message


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_pair_is_armed_after_each_step_and_fails_over_after_the_last(order: tuple[str, ...]) -> None:
    world = at_rest()
    for step in order:
        STEPS[step](world)
        passes(world)
        is_well(world)
    happen(world, "oss1 loses its mains")
    passes(world, 40.0)
    assert world.mounted()["oss2"] == sorted(o.target for o in world.store.every(OST))
    assert world.floor.overlaps == []
    assert world.store.broken == []
    assert world.store.refusals == []
