"""A Failover's status, as the API server referees it: the certificate. The phases stand in `test_failover_phases.py`."""

from typing import Any

import pytest

from api.objects import Api, Json, Refusal, api, certificate, changed, failover, fresh
from ostkeeper.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.contract

FENCING = {"phase": "Fencing", "evidence": "e1", "holdEpoch": 9}
OFF = {"deviceName": "bmc-oss1", "outlet": "", "state": "PoweredOff", "reads": 3}
DISK = {"target": "scratch-OST0000", "state": "Still"}
BY_HAND = {"feeds": [], "level": "", "confirmedBy": "alice"}

SOUND: list[tuple[str, Json]] = [
    ("every feed off in every round", {}),
    ("read in more rounds than asked for", {"feeds": [OFF | {"reads": 5}]}),
    ("disks that stand still", {"disks": [DISK, {"target": "scratch-OST0002", "state": "Clean"}], "clearMMP": True}),
    ("a person's word", BY_HAND),
]
UNSOUND: list[tuple[Json, str, str]] = [
    # what the certificate claims, the field that is named, the reason that is given
    ({"feeds": []}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"state": "Unknown"}]}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"state": "PoweredOn"}]}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"reads": 0}]}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"reads": 2}]}, "certificate.feeds", "in as many rounds as the policy asks for"),
    ({"feeds": [OFF | {"deviceName": "bmc-oss2"}]}, "certificate.feeds", "every feed of one level of spec.policy"),
    ({"feeds": [OFF | {"outlet": "2"}]}, "certificate.feeds", "every feed of one level of spec.policy"),
    ({"level": "pdus"}, "certificate.feeds", "every feed of one level of spec.policy"),
    ({"disks": [DISK | {"state": "Advancing"}]}, "certificate.disks", "what moves is alive"),
    ({"disks": [DISK | {"state": "Unreadable"}]}, "certificate.disks", "what cannot be read proves nothing"),
    (BY_HAND | {"confirmedBy": ""}, "certificate.feeds", "UNKNOWN is never OFF"),
    (BY_HAND | {"clearMMP": True}, "certificate.clearMMP", "must be false where a person's word"),
    ({"node": "oss2"}, "status.certificate", "must name spec.node"),
    ({"holdEpoch": 0}, "status.certificate", "no certificate without a durable Hold"),
]


async def fencing(admin: Api) -> str:
    """Create a Failover of epoch 7 in the phase Fencing, its Hold at epoch 9; return its name."""
    name = fresh("pair-") + "-7"
    await admin.create(failover(name))
    await admin.status("Failover", name, {"phase": "Holding", "evidence": "e1"})
    await admin.status("Failover", name, FENCING)
    return name


@pytest.mark.parametrize("claims", [case[1] for case in SOUND], ids=[case[0] for case in SOUND])
async def test_certificate_is_admitted(plane: ControlPlane, claims: dict[str, Any]) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate(**claims)})


@pytest.mark.parametrize(("claims", "field", "reason"), UNSOUND, ids=[f"{c[2]}-{i}" for i, c in enumerate(UNSOUND)])
async def test_certificate_that_proves_nothing_is_refused(
    plane: ControlPlane, claims: dict[str, Any], field: str, reason: str
) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        with Refusal(field, reason):
            await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate(**claims)})
        assert (await admin.get("Failover", name))["status"] == FENCING


async def test_two_feeds_of_a_level_are_both_asked_for(plane: ControlPlane) -> None:
    level = {"name": "pdus", "feeds": [{"deviceName": d, "outlet": "1"} for d in ("pdu-left", "pdu-right")]}
    left, right = (
        {"deviceName": f"pdu-{d}", "outlet": "1", "state": "PoweredOff", "reads": 3} for d in ("left", "right")
    )
    async with api(plane) as admin:
        name = fresh("pair-") + "-7"
        await admin.create(changed(failover(name), {"spec.policy.levels": [level]}))
        await admin.status("Failover", name, {"phase": "Holding"})
        await admin.status("Failover", name, FENCING)
        with Refusal("certificate.feeds", "every feed of one level"):
            half = certificate(level="pdus", feeds=[left])
            await admin.status("Failover", name, {"phase": "Relocating", "certificate": half})
        whole = certificate(level="pdus", feeds=[left, right])
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": whole})


@pytest.mark.parametrize("edit", [None, {"digest": "d2"}, {"bootID": "8888"}, {"clearMMP": True}], ids=str)
async def test_certificate_is_never_edited(plane: ControlPlane, edit: Json | None) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        await admin.status("Failover", name, {"certificate": certificate()})
        with Refusal("status.certificate", "never edited and never taken back"):
            await admin.status("Failover", name, {"certificate": edit})
        await admin.status("Failover", name, {"phase": "Relocating", "message": "the rest of the status goes on"})


async def test_status_does_not_vanish_once_it_was_set(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        with Refusal("status", "must not vanish"):
            await admin.status("Failover", name, None)


async def test_hold_epoch_does_not_go_back(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        for older in (8, None):
            with Refusal("status.holdEpoch", "must not go back"):
                await admin.status("Failover", name, {"holdEpoch": older})
        await admin.status("Failover", name, {"holdEpoch": 10})
