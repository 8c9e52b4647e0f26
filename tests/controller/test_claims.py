"""What takes two objects to see: one change to a sound pair of pairs, and what is said of it, of whom, and what it stops."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ostkeeper.api import OST, FenceDevice, OSSPair
from ostkeeper.core.claims import find_problems
from ostkeeper.core.events import Problem

pytestmark = pytest.mark.scenario
Json = dict[str, Any]


def meta(name: str, namespace: str = "scratch") -> Json:
    return {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "generation": 1}


def pair(name: str, left: str, right: str, outlets: tuple[str, str], bmcs: tuple[str, str]) -> Json:
    nodes = [
        {
            "name": server,
            "fencing": [
                {"name": "pdu", "feeds": [{"deviceName": "pdu", "outlet": outlet}]},
                {"name": "bmc", "feeds": [{"deviceName": bmc}]},
            ],
        }
        for server, outlet, bmc in ((left, outlets[0], bmcs[0]), (right, outlets[1], bmcs[1]))
    ]
    return {"metadata": meta(name), "spec": {"nodes": nodes}}


def ost(index: int, pair_name: str, home: str, device: str = "") -> Json:
    spec = {
        "fileSystem": "scratch",
        "index": index,
        "pairName": pair_name,
        "homeNode": home,
        "backend": {"ext4": {"device": device or f"/dev/disk/by-id/wwn-{index}"}},
        "mountPoint": f"/mnt/ost{index}",
    }
    return {"metadata": meta(f"ost{index}"), "spec": spec}


def bmc(name: str, address: str) -> Json:
    return {"metadata": meta(name), "spec": {"ipmi": {"address": address, "credentialsSecretName": "s"}}}


def pdu(name: str, address: str) -> Json:
    return {"metadata": meta(name), "spec": {"snmpPDU": {"address": address, "credentialsSecretName": "s"}}}


def world() -> Json:
    """Two sound pairs: a (oss1, oss2; OSTs 0, 1) and b (oss3, oss4; OST 2), one PDU, four BMCs."""
    return {
        "pairs": [
            pair("a", "oss1", "oss2", ("1", "2"), ("bmc1", "bmc2")),
            pair("b", "oss3", "oss4", ("3", "4"), ("bmc3", "bmc4")),
        ],
        "osts": [ost(0, "a", "oss1"), ost(1, "a", "oss2"), ost(2, "b", "oss3")],
        "devices": [pdu("pdu", "192.0.2.9"), *(bmc(f"bmc{n}", f"192.0.2.{n}") for n in (1, 2, 3, 4))],
    }


def problems(said: Json) -> tuple[Problem, ...]:
    return find_problems(
        [OSSPair.parse(raw) for raw in said["pairs"]],
        [OST.parse(raw) for raw in said["osts"]],
        [FenceDevice.parse(raw) for raw in said["devices"]],
    )


def feed(said: Json, pair_at: int, node: int, level: int) -> Json:
    found: Json = said["pairs"][pair_at]["spec"]["nodes"][node]["fencing"][level]["feeds"][0]
    return found


T0, T1, T2 = "scratch-OST0000", "scratch-OST0001", "scratch-OST0002"
Change = Callable[[Json], object]
Said = tuple[str, str, str, tuple[str, ...], tuple[str, ...]]
CASES: dict[str, tuple[Change, list[Said], list[str]]] = {
    "home of another pair": (
        lambda w: w["osts"][0]["spec"].update(homeNode="oss3"),
        [("OST", "scratch/ost0", "HomeNotInPair", (T0,), ())],
        ["spec.homeNode: oss3", "scratch/a", "oss1 and oss2"],
    ),
    "pair that is not there": (
        lambda w: w["osts"][0]["spec"].update(pairName="c"),
        [("OST", "scratch/ost0", "PairNotFound", (T0,), ())],
        ["spec.pairName", "no OSSPair c in namespace scratch"],
    ),
    "feed without a device": (
        lambda w: feed(w, 0, 1, 1).update(deviceName="bmc9"),
        [("OSSPair", "scratch/a", "FeedDeviceNotFound", (), ("oss2",))],
        ["spec.nodes[1].fencing[1].feeds[0].deviceName", "no FenceDevice bmc9", "oss2 cannot be fenced by it"],
    ),
    "outlet on a BMC": (
        lambda w: feed(w, 0, 0, 1).update(outlet="7"),
        [("OSSPair", "scratch/a", "OutletOnBMC", (), ("oss1",))],
        ["spec.nodes[0].fencing[1].feeds[0].outlet", "bmc1 is a BMC"],
    ),
    "PDU without an outlet": (
        lambda w: feed(w, 0, 0, 0).pop("outlet"),
        [("OSSPair", "scratch/a", "OutletMissing", (), ("oss1",))],
        ["pdu is a PDU", "the outlet that feeds oss1"],
    ),
    "one disk twice in a pair": (
        lambda w: w["osts"][1]["spec"].update(backend=w["osts"][0]["spec"]["backend"]),
        [
            ("OST", "scratch/ost0", "DuplicateDevice", (T0,), ()),
            ("OST", "scratch/ost1", "DuplicateDevice", (T1,), ()),
        ],
        ["spec.backend: /dev/disk/by-id/wwn-0", "OST scratch/ost1, too"],
    ),
    "one by-id path in two pairs": (
        lambda w: w["osts"][2]["spec"].update(backend=w["osts"][0]["spec"]["backend"]),
        [
            ("OST", "scratch/ost0", "DuplicateDevice", (T0,), ()),
            ("OST", "scratch/ost2", "DuplicateDevice", (T2,), ()),
        ],
        ["OST scratch/ost2, too"],
    ),
    "one mapper path in two pairs is two disks": (
        lambda w: [w["osts"][at]["spec"].update(backend={"ext4": {"device": "/dev/mapper/m0"}}) for at in (0, 2)],
        [],
        [],
    ),
    "one index twice": (
        lambda w: w["osts"][2]["spec"].update(index=0),
        [
            ("OST", "scratch/ost0", "DuplicateTarget", (T0,), ()),
            ("OST", "scratch/ost2", "DuplicateTarget", (T0,), ()),
        ],
        ["spec.index: scratch-OST0000 is OST scratch/ost2, too"],
    ),
    "one mount point twice in a pair": (
        lambda w: w["osts"][1]["spec"].update(mountPoint="/mnt/ost0/"),
        [
            ("OST", "scratch/ost0", "DuplicateMountPoint", (T0,), ()),
            ("OST", "scratch/ost1", "DuplicateMountPoint", (T1,), ()),
        ],
        ["spec.mountPoint: /mnt/ost0"],
    ),
    "one mount point in two pairs": (lambda w: w["osts"][2]["spec"].update(mountPoint="/mnt/ost0"), [], []),
    "one outlet for both servers of a pair": (
        lambda w: feed(w, 0, 1, 0).update(outlet="1"),
        [
            ("OSSPair", "scratch/a", "FeedFeedsTwoServers", (T0, T1), ("oss1", "oss2")),
            ("OSSPair", "scratch/a", "FeedFeedsTwoServers", (T0, T1), ("oss1", "oss2")),
        ],
        ["outlet 1 feeds oss2 of scratch/a as well as oss1"],
    ),
    "one BMC for servers of two pairs": (
        lambda w: feed(w, 1, 0, 1).update(deviceName="bmc1"),
        [
            ("OSSPair", "scratch/a", "FeedFeedsTwoServers", (T0, T1), ("oss1", "oss3")),
            ("OSSPair", "scratch/b", "FeedFeedsTwoServers", (T2,), ("oss1", "oss3")),
        ],
        ["this BMC feeds oss3 of scratch/b as well as oss1"],
    ),
    "one PDU declared twice, different outlets": (
        lambda w: (w["devices"].append(pdu("pdu-again", "192.0.2.9")), feed(w, 1, 0, 0).update(deviceName="pdu-again")),
        [
            ("FenceDevice", "scratch/pdu", "SharedAddress", (), ("oss1", "oss2", "oss4")),
            ("FenceDevice", "scratch/pdu-again", "SharedAddress", (), ("oss3",)),
        ],
        ["192.0.2.9:161 is the address of FenceDevice scratch/pdu-again, too"],
    ),
    "one PDU declared twice, the same outlet": (
        lambda w: (
            w["devices"].append(pdu("pdu-again", "192.0.2.9")),
            feed(w, 1, 0, 0).update(deviceName="pdu-again", outlet="1"),
        ),
        [
            ("OSSPair", "scratch/a", "FeedFeedsTwoServers", (T0, T1), ("oss1", "oss3")),
            ("OSSPair", "scratch/b", "FeedFeedsTwoServers", (T2,), ("oss1", "oss3")),
            ("FenceDevice", "scratch/pdu", "SharedAddress", (), ("oss1", "oss2", "oss4")),
            ("FenceDevice", "scratch/pdu-again", "SharedAddress", (), ("oss3",)),
        ],
        ["outlet 1 feeds oss3 of scratch/b as well as oss1"],
    ),
    "one server in two pairs": (
        lambda w: w["pairs"][1]["spec"]["nodes"][0].update(name="oss2"),
        [
            ("OST", "scratch/ost2", "HomeNotInPair", (T2,), ()),
            ("OSSPair", "scratch/a", "ServerInTwoPairs", (T0, T1), ("oss2",)),
            ("OSSPair", "scratch/b", "ServerInTwoPairs", (T2,), ("oss2",)),
        ],
        ["spec.nodes: oss2 is a server of OSSPair scratch/b, too"],
    ),
}


def test_sound_pairs_have_no_problem() -> None:
    assert problems(world()) == ()


@pytest.mark.parametrize(("change", "expected", "words"), CASES.values(), ids=CASES)
def test_clash_is_told_of_each_object_and_stops_what_it_names(
    change: Change, expected: list[Said], words: list[str]
) -> None:
    said = world()
    change(said)
    found = problems(said)
    assert [(p.kind, p.key, p.reason, p.targets, p.nodes) for p in found] == expected
    told = " | ".join(problem.message for problem in found)
    assert [word for word in words if word not in told] == []


def test_order_of_the_objects_does_not_matter() -> None:
    said = world()
    for change, _, _ in CASES.values():
        trial = copy.deepcopy(said)
        change(trial)
        backwards = {name: list(reversed(objects)) for name, objects in trial.items()}
        assert problems(trial) == problems(backwards)
