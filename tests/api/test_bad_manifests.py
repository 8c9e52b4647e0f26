"""What kube-apiserver refuses when it is applied: one line a manifest, with the field and the reason it gives."""

import asyncio
from typing import Any

import pytest

from api.objects import ABSENT, Json, Refusal, api, bmc, changed, failover, ost, pair
from ostkeeper.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.contract

PDU = {"address": "192.0.2.21", "credentialsSecretName": "pdu"}
ZFS = {"dataset": "ost0pool/ost0"}
FEED = {"deviceName": "pdu-left", "outlet": "1"}
LEVEL = {"name": "pdus", "feeds": [FEED]}
NODES = pair()["spec"]["nodes"]
HEARTBEAT = {"interval": "2s", "timeout": "5s"}
DRILL = {"node": "oss1", "level": "pdus", "id": "1"}
BOARD = {"node": "oss3", "systemUUID": "u"}
APPROVAL = {"answer": "Failover", "evidence": "e1", "by": "admin"}

UNHEALTHY = [{"type": "Ready", "status": "False", "duration": "25h"}]
AT_ONCE = {"mode": "Automatic", "automaticAfter": "5m"}

GOOD: list[tuple[Json, str, Any]] = [
    # manifest, what is changed, to what: each stands at the edge of what is refused
    *((bmc(), "spec.ipmi.address", a) for a in ("::1", "2001:db8::11", "fe80::", "bmc_oss1", "bmc-oss1.example.com")),
    (ost(), "spec.mountOptions", ["noatime", "errors=panic", "commit=5", "barrier=1", "data=ordered", "_netdev"]),
    (ost(), "spec.mountOptions", ["max_sectors_kb=16384", "recovery_time_soft=300", "retry=3", "user_xattr", "acl"]),
    (pair(), "spec.failover", {"mode": "Manual", "automaticAfter": "1s", "releaseTimeout": "1s", "bootTimeout": "24h"}),
    (pair(), "spec.failover.partnerSoak", "0s"),
    (pair(), "spec.failback.soak", "720h"),
    (pair(), "spec.heartbeat", {"interval": "1m", "timeout": "10m"}),
    (pair(), "spec.maintenance", ["oss1", "oss2"]),
]

BAD: list[tuple[Json, str, Any, str, str]] = [
    # manifest, what is changed, to what; the field that is named, the reason that is given
    (pair(), "spec.nodes", NODES[:1], "spec.nodes", "should have at least 2 items"),
    (pair(), "spec.nodes", [*NODES, {"name": "oss3", "fencing": [LEVEL]}], "spec.nodes", "must have at most 2 items"),
    (pair(), "spec.nodes[1].name", "oss1", "spec.nodes", "names one server twice"),
    (pair(), "spec.nodes[0].name", "OSS_1", "spec.nodes[0].name", "should match"),
    (pair(), "spec.nodes[0].fencing", [], "spec.nodes[0].fencing", "should have at least 1 items"),
    (pair(), "spec.nodes[0].fencing[0].feeds", [], "spec.nodes[0].fencing[0].feeds", "should have at least 1 items"),
    (pair(), "spec.nodes[0].fencing[0].feeds", [FEED, FEED], "spec.nodes[0].fencing[0].feeds", "names one feed twice"),
    (pair(), "spec.nodes[1].fencing[1].feeds", [{"deviceName": "b"}] * 2, "fencing[1].feeds", "names one feed twice"),
    (pair(), "spec.nodes[0].fencing", [LEVEL, LEVEL], "spec.nodes[0].fencing", "two levels of one name"),
    (pair(), "spec.heartbeat", HEARTBEAT, "spec.heartbeat.timeout", "is 5s, under 3 x spec.heartbeat.interval (2s)"),
    (pair(), "spec.heartbeat.timeout", "soon", "spec.heartbeat.timeout", "is not a duration"),
    (pair(), "spec.heartbeat.interval", "0s", "spec.heartbeat.interval", "is under 100ms"),
    (pair(), "spec.failover.confirm.settle", "2 s", "spec.failover.confirm.settle", "is not a duration"),
    (pair(), "spec.failover.confirm.interval", "0ms", "spec.failover.confirm.interval", "is under 50ms"),
    (pair(), "spec.failover.confirm.rounds", 0, "spec.failover.confirm.rounds", "greater than or equal to 1"),
    (pair(), "spec.failover.mode", "Auto", "spec.failover.mode", 'supported values: "Observe", "Manual", "Automatic"'),
    (pair(), "spec.maintenance", ["oss3"], "spec.maintenance", "not in spec.nodes"),
    (pair(), "spec.drill", DRILL | {"level": "ups"}, "spec.drill", "a level that spec.nodes does not have"),
    (pair(), "spec.acceptBoards", [BOARD], "spec.acceptBoards", "not in spec.nodes"),
    (bmc(), "spec.snmpPDU", PDU, "spec", "must have exactly one of: ipmi, snmpPDU, redfish, fenceAgent"),
    (bmc(), "spec.ipmi", ABSENT, "spec", "must have exactly one of: ipmi, snmpPDU, redfish, fenceAgent"),
    (bmc(), "spec.ipmi.port", 0, "spec.ipmi.port", "greater than or equal to 1"),
    (bmc(), "spec.ipmi.address", "bmc; reboot", "spec.ipmi.address", "should match"),
    (bmc(), "spec.ipmi.credentialsSecretName", ABSENT, "spec.ipmi.credentialsSecretName", "Required value"),
    (bmc(), "spec.requestTimeout", "5", "spec.requestTimeout", "is not a duration"),
    (ost(), "spec.backend.zfs", ZFS, "spec.backend", "must have exactly one of: ldiskfs, zfs, ext4"),
    (ost(), "spec.backend", {}, "spec.backend", "must have exactly one of: ldiskfs, zfs, ext4"),
    (ost(), "spec.backend.ldiskfs.device", "/dev/sdb", "spec.backend.ldiskfs.device", "must be below /dev/disk/"),
    (
        ost(),
        "spec.backend.ldiskfs.device",
        "/dev/disk/../sdb",
        "spec.backend.ldiskfs.device",
        "must be below /dev/disk/",
    ),
    (ost(), "spec.backend.ldiskfs.device", "/dev/loop7", "spec.backend.ldiskfs.device", "must be below /dev/disk/"),
    (ost(), "spec.backend", {"ext4": {"device": "/tmp/image"}}, "spec.backend.ext4.device", "or a /dev/loopN"),
    (ost(), "spec.backend", {"zfs": {"dataset": "pool"}}, "spec.backend.zfs.dataset", "should match"),
    (ost(), "spec.mountPoint", "/usr/lib", "spec.mountPoint", "below /mnt/, /lustre/ or /srv/"),
    (ost(), "spec.mountPoint", "/mnt/../etc", "spec.mountPoint", "no '..'"),
    (ost(), "spec.mountPoint", "/mnt/", "spec.mountPoint", "below /mnt/, /lustre/ or /srv/"),
    (ost(), "spec.mountOptions", ["ro,noatime"], "spec.mountOptions[0]", "is not on the list"),
    (ost(), "spec.mountOptions", ["ro"], "spec.mountOptions[0]", "passes MMP by"),
    (ost(), "spec.deletionPolicy", "Unmount", "spec.deletionPolicy", "not carried out by this release"),
    (ost(), "spec.mountOptions", ["noatime", "bind"], "spec.mountOptions[1]", "is not on the list"),
    *(
        (ost(), "spec.mountOptions", [option], "spec.mountOptions[0]", "is not on the list of mount options")
        for option in (
            *("abort_recov", "abort_recovery", "nosvc", "nomgs", "writeconf", "noload", "norecovery", "sb=131072"),
            *("abort", "nobarrier", "barrier=0", "loop", "remount", "errors=continue", "data=writeback", "commit="),
            *(
                "noatime ",
                "noatime,ro",
                "nouser_xattr",
                "journal_async_commit",
                "journal_dev=8",
                "debug_want_extra_isize=4",
            ),
        )
    ),
    *(
        (pair(), path, value, path, "is under")
        for path, value in (
            ("spec.heartbeat.timeout", "11m"),
            ("spec.failover.confirm.settle", "1h"),
            ("spec.failover.approval.validFor", "0s"),
            ("spec.failover.approval.validFor", "25h"),
            ("spec.failover.automaticAfter", "0s"),
            ("spec.failover.releaseTimeout", "0s"),
            ("spec.failover.releaseTimeout", "0h0m0s"),
            ("spec.failover.bootTimeout", "0ms"),
            ("spec.failover.bootTimeout", "25h"),
            ("spec.failover.partnerSoak", "721h"),
            ("spec.failback.soak", "96426000000h"),
            ("spec.failback.soak", "99999999999999999999999999999ms"),
        )
    ),
    (pair(), "spec.unhealthyConditions", UNHEALTHY, "spec.unhealthyConditions[0].duration", "is under"),
    (pair(), "spec.failover", AT_ONCE, "spec.failover.automaticAfter", "is for the modes that ask"),
    (bmc(), "spec.requestTimeout", "2m", "spec.requestTimeout", "is under 100ms or over 1m"),
    (bmc(), "spec.probe.interval", "2h", "spec.probe.interval", "is under 100ms or over 1h"),
    (bmc(), "spec.ipmi.address", "192.0.2.11:623", "spec.ipmi.address", "a port has a field of its own"),
    (bmc(), "spec.ipmi.address", "bmc-oss1:623", "spec.ipmi.address", "a port has a field of its own"),
    (bmc(), "spec.ipmi.address", "2001:db8::g", "spec.ipmi.address", "a port has a field of its own"),
    (bmc(), "spec.ipmi.address", "[2001:db8::1]", "spec.ipmi.address", "should match"),
    (bmc(), "spec", {"snmpPDU": PDU | {"address": "pdu:161"}}, "spec.snmpPDU.address", "a port has a field of its own"),
    (ost(), "spec.fileSystem", "scratch-too-long", "spec.fileSystem", "may not be more than 8"),
    (ost(), "spec.index", -1, "spec.index", "greater than or equal to 0"),
    (ost(), "spec.homeNode", ABSENT, "spec.homeNode", "Required value"),
    (failover(), "metadata.name", "pair-a-8", "spec.epoch", "must make up metadata.name as PAIR-EPOCH"),
    (failover(), "metadata.name", "pair-b-7", "spec.epoch", "must make up metadata.name as PAIR-EPOCH"),
    (failover(), "spec.partner", "oss1", "spec.partner", "must be the other server"),
    (failover(), "spec.approval", APPROVAL, "spec.approval", "must not be there from the beginning"),
]


def _title(case: tuple[Json, str, Any, str, str]) -> str:
    return f"{case[0]['kind']} {case[1]} {case[4][:40]}"


@pytest.mark.parametrize(("manifest", "path", "value", "field", "reason"), BAD, ids=map(_title, BAD))
async def test_manifest_is_refused_with_field_and_reason(
    plane: ControlPlane, manifest: Json, path: str, value: Any, field: str, reason: str
) -> None:
    async with api(plane) as admin:
        with Refusal(field, reason):
            await admin.create(changed(manifest, {path: value}), dry_run=True)


@pytest.mark.parametrize(("manifest", "path", "value"), GOOD, ids=[f"{c[1]} {c[2]}"[:60] for c in GOOD])
async def test_manifest_at_the_edge_is_admitted(plane: ControlPlane, manifest: Json, path: str, value: Any) -> None:
    async with api(plane) as admin:
        await admin.create(changed(manifest, {path: value}), dry_run=True)


async def test_all_that_the_table_starts_from_is_admitted(plane: ControlPlane) -> None:
    """Else the table would prove nothing: each of its lines is refused for the one thing it changes."""
    async with api(plane) as admin:
        await asyncio.gather(*(admin.create(good, dry_run=True) for good in (pair(), bmc(), ost(), failover())))


def test_at_least_twenty_manifests_are_refused() -> None:
    assert len(BAD) >= 20
