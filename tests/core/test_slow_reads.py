"""A quorum read that was under way while the watch showed something later: what the watch has shown is not shown again."""

import pytest

from ostkeeper.api.common import ObjectMeta
from ostkeeper.api.oss import OSS, OSSSpec, PairRef
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.events import Gone, Led, Read, ReadAll, Seen, Snapshot
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.pair import PairMachine

pytestmark = pytest.mark.scenario
PAIR = OSSPair.parse(
    {
        "metadata": {"name": "pair-a", "namespace": "scratch", "uid": "p", "resourceVersion": "5"},
        "spec": {
            "nodes": [
                {"name": name, "fencing": [{"name": "bmc", "feeds": [{"deviceName": f"bmc-{name}"}]}]}
                for name in ("oss1", "oss2")
            ]
        },
    }
)


def oss(version: int, name: str = "oss1", uid: str = "u") -> OSS:
    return OSS(
        metadata=ObjectMeta(name=name, uid=uid, resource_version=str(version)),
        spec=OSSSpec(pair=PairRef(namespace="scratch", name="pair-a")),
    )


def reading(*known: OSS) -> tuple[PairMachine, ReadAll]:
    """A machine that has just asked for everything, at second 10."""
    machine = PairMachine("scratch/pair-a", Heartbeats())
    for seen in (PAIR, *known):
        machine.step(Seen(seen), 1.0)
    asked = [effect for effect in machine.step(Led("t1"), 10.0) if isinstance(effect, ReadAll)]
    assert len(asked) == 1
    return machine, asked[0]


def versions(machine: PairMachine) -> dict[str, str]:
    return {name: found.version for name, found in machine.view.osses.items()}


def answer(machine: PairMachine, asked: ReadAll, *osses: OSS) -> None:
    """What was read at second 10.1 comes at second 12."""
    machine.step(Read(asked.op, 10.1, Snapshot(PAIR, osses=osses, leading=True)), 12.0)


def test_object_that_was_created_while_all_was_read_stays() -> None:
    machine, asked = reading()
    machine.step(Seen(oss(7)), 11.0)
    answer(machine, asked)
    assert versions(machine) == {"oss1": "7"}


def test_change_that_was_shown_while_all_was_read_stays() -> None:
    machine, asked = reading(oss(6))
    machine.step(Seen(oss(8)), 11.0)
    answer(machine, asked, oss(7))
    assert versions(machine) == {"oss1": "8"}


def test_what_was_gone_while_all_was_read_does_not_come_back() -> None:
    machine, asked = reading(oss(6))
    machine.step(Gone("OSS", "oss1"), 11.0)
    answer(machine, asked, oss(6))
    assert versions(machine) == {}


def test_what_was_shown_before_gives_way_to_what_was_read() -> None:
    machine, asked = reading(oss(9), oss(4, "oss2"))
    answer(machine, asked, oss(7))
    assert versions(machine) == {"oss1": "7"}, "etcd was restored, and oss2 is not there any more"
