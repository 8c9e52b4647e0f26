"""What is decided once: fields that the API server does not let anyone change, and their neighbours that it does."""

from typing import Any

import pytest

from api.objects import Json, Refusal, api, changed, failover, fresh, oss, ost
from ostkeeper.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.contract

ZFS = {"ldiskfs": None, "zfs": {"dataset": "ost0pool/ost0"}}
OTHER_DISK = {"ldiskfs": {"device": "/dev/disk/by-id/wwn-0x1"}}
EVIDENCE = {"verdict": "Failed", "sentence": "another"}

IMMUTABLE: list[tuple[Json, Json, str]] = [
    (ost(), {"fileSystem": "other"}, "spec.fileSystem"),
    (ost(), {"index": 1}, "spec.index"),
    (ost(), {"pairName": "pair-b"}, "spec.pairName"),
    (ost(), {"backend": ZFS}, "spec.backend"),
    (ost(), {"backend": OTHER_DISK}, "spec.backend"),
    (oss(), {"pair": {"name": "pair-b"}}, "spec"),
    (failover(), {"pairName": "pair-b"}, "spec"),
    (failover(), {"epoch": 8}, "spec"),
    (failover(), {"type": "Drill"}, "spec"),
    (failover(), {"node": "oss2", "partner": "oss1"}, "spec"),
    (failover(), {"targets": []}, "spec"),
    (failover(), {"targets": None}, "spec"),
    (failover(), {"evidence": EVIDENCE}, "spec"),
    (failover(), {"policy": {"levels": []}}, "spec"),
    (failover(), {"policy": {"confirm": {"rounds": 1}}}, "spec"),
    (failover(), {"drillLevel": "bmc"}, "spec"),
]
MUTABLE: list[tuple[Json, Json]] = [
    (ost(), {"homeNode": "oss2", "desired": "Unmounted", "serveFrom": "Partner"}),
    (ost(), {"mountPoint": "/mnt/elsewhere", "mountOptions": ["noatime"]}),
]


def named(manifest: Json) -> Json:
    name = fresh("fixed-")
    return changed(manifest, {"metadata.name": f"{name}-7"} | _pair_of(manifest, name))


def _pair_of(manifest: Json, name: str) -> dict[str, Any]:
    return {"spec.pairName": name} if manifest["kind"] == "Failover" else {}


@pytest.mark.parametrize(("manifest", "change", "field"), IMMUTABLE, ids=[f"{c[0]['kind']} {c[1]}" for c in IMMUTABLE])
async def test_change_is_refused_as_immutable(plane: ControlPlane, manifest: Json, change: Json, field: str) -> None:
    async with api(plane) as admin:
        before = await admin.create(named(manifest))
        name = before["metadata"]["name"]
        with Refusal(f"{field}: Invalid value", "is immutable"):
            await admin.patch(manifest["kind"], name, {"spec": change})
        assert await admin.get(manifest["kind"], name) == before


@pytest.mark.parametrize(("manifest", "change"), MUTABLE, ids=[str(list(c[1])) for c in MUTABLE])
async def test_change_is_admitted(plane: ControlPlane, manifest: Json, change: Json) -> None:
    async with api(plane) as admin:
        before = await admin.create(named(manifest))
        after = await admin.patch(manifest["kind"], before["metadata"]["name"], {"spec": change})
    assert after["spec"] == before["spec"] | change
