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


def identified(said: Json, name: str, identity: str) -> Json:
    """The device has reported this identity."""
    found = next(device for device in said["devices"] if device["metadata"]["name"] == name)
    found["status"] = {"identity": identity}
    return said


def board(said: Json, at: int, *uuids: str) -> Json:
    """The boards of a pair are pinned."""
    servers = [node["name"] for node in said["pairs"][at]["spec"]["nodes"]]
    pinned = [{"node": node, "systemUUID": uuid} for node, uuid in zip(servers, uuids, strict=True)]
    said["pairs"][at]["status"] = {"epoch": 1, "boards": pinned}
    return said


ONE, OTHER = "4c4c4544-0042-3510-8052-b4c04f4d3232", "4c4c4544-0042-3510-8052-b4c04f4d3233"
SWAPPED = "44454c4c42001035" + "8052b4c04f4d3232"
SaidOfDevices = list[tuple[str, str, str, tuple[str, ...]]]
IDENTITIES: dict[str, tuple[Change, SaidOfDevices]] = {
    "two PDUs of one serial number": (
        lambda w: (
            w["devices"].append(pdu("pdu-again", "pdu.example")),
            feed(w, 1, 0, 0).update(deviceName="pdu-again"),
            identified(w, "pdu", "serial:ZA1"),
            identified(w, "pdu-again", "serial:za1"),
        ),
        [
            ("FenceDevice", "scratch/pdu", "SharedAddress", ("scratch/pdu",)),
            ("FenceDevice", "scratch/pdu-again", "SharedAddress", ("scratch/pdu-again",)),
        ],
    ),
    "two PDUs of a serial number that is none": (
        lambda w: (
            w["devices"].append(pdu("pdu-again", "pdu.example")),
            identified(w, "pdu", "serial:0000"),
            identified(w, "pdu-again", "serial:0000"),
        ),
        [],
    ),
    "two BMCs of one GUID in two spellings": (
        lambda w: (identified(w, "bmc1", f"guid:{ONE}"), identified(w, "bmc3", f"guid:{SWAPPED}")),
        [
            ("FenceDevice", "scratch/bmc1", "SharedAddress", ("scratch/bmc1",)),
            ("FenceDevice", "scratch/bmc3", "SharedAddress", ("scratch/bmc3",)),
        ],
    ),
    "a BMC that leads to the board of another server": (
        lambda w: (
            board(w, 0, ONE, OTHER),
            identified(w, "bmc1", f"guid:{OTHER}"),
            identified(w, "bmc2", f"guid:{OTHER}"),
        ),
        [("FenceDevice", "scratch/bmc1", "SharedAddress", ("scratch/bmc1",))],
    ),
    "two boards of one UUID, in two pairs": (
        lambda w: (board(w, 0, ONE, OTHER), board(w, 1, SWAPPED, "4c4c4544-0042-3510-8052-b4c04f4d3234")),
        [("OSS", "oss1", "DuplicateIdentity", ()), ("OSS", "oss3", "DuplicateIdentity", ())],
    ),
    "two BMCs of two boards of one UUID": (
        lambda w: (
            board(w, 0, ONE, ONE),
            identified(w, "bmc1", f"guid:{ONE}"),
            identified(w, "bmc2", f"guid:{ONE}"),
        ),
        [("OSS", "oss1", "DuplicateIdentity", ()), ("OSS", "oss2", "DuplicateIdentity", ())],
    ),
    "two boards of a placeholder": (
        lambda w: board(w, 0, "03000200-0400-0500-0006-000700080009", "03000200-0400-0500-0006-000700080009"),
        [],
    ),
}


@pytest.mark.parametrize(("change", "expected"), IDENTITIES.values(), ids=IDENTITIES)
def test_devices_and_boards_are_recognised_by_what_they_report(change: Change, expected: SaidOfDevices) -> None:
    said = world()
    change(said)
    assert [(p.kind, p.key, p.reason, p.devices) for p in problems(said)] == expected


@pytest.mark.parametrize("spelling", ["2001:DB8:0:0::9", "2001:db8::9"])
def test_pdu_under_two_spellings_of_its_address_is_one_device(spelling: str) -> None:
    said = world()
    said["devices"][0] = pdu("pdu", "2001:db8::9")
    said["devices"].append(pdu("pdu-again", spelling))
    feed(said, 1, 0, 0).update(deviceName="pdu-again", outlet="1")
    found = [(p.key, p.reason, p.nodes) for p in problems(said)]
    assert ("scratch/a", "FeedFeedsTwoServers", ("oss1", "oss3")) in found
    assert ("scratch/pdu", "SharedAddress", ("oss1", "oss2", "oss4")) in found
    assert ("scratch/pdu-again", "SharedAddress", ("oss3",)) in found


def test_outlet_of_a_pdu_under_two_names_is_one_outlet() -> None:
    said = world()
    said["devices"].append(pdu("pdu-again", "pdu.example"))
    feed(said, 1, 0, 0).update(deviceName="pdu-again", outlet="1")
    identified(said, "pdu", "serial:ZA1")
    identified(said, "pdu-again", "serial:ZA1")
    found = [(p.key, p.reason, p.nodes) for p in problems(said)]
    assert ("scratch/a", "FeedFeedsTwoServers", ("oss1", "oss3")) in found
    assert ("scratch/b", "FeedFeedsTwoServers", ("oss1", "oss3")) in found


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
