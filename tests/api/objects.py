"""Good objects of the five kinds to start from, and how a test changes them and asks the real API server.

Here: builders, `changed`, `Api`. Not here: what is refused, and why; each test file states its own.
"""

import copy
import itertools
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiClient, ApiError
from ostkeeper.testbed.identities import ADMIN, Identity

Json = dict[str, Any]
NAMESPACE = "scratch"
CAROL = Identity("carol", ("storage",))
"""She may patch everything of ours, and may not approve."""
ABSENT: Any = object()
"""In `changed`: take the field away."""
PLURALS = {"FenceDevice": "fencedevices", "OSSPair": "osspairs", "OST": "osts", "OSS": "osses", "Failover": "failovers"}
_numbers = itertools.count(1)


def fresh(prefix: str) -> str:
    """Return a name that no other test of this process uses."""
    return f"{prefix}{next(_numbers)}"


def _object(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "ostkeeper.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def bmc(name: str = "bmc-oss1") -> Json:
    return _object("FenceDevice", name, {"ipmi": {"address": "192.0.2.11", "credentialsSecretName": "bmc"}})


def pair(name: str = "pair-a") -> Json:
    levels = {
        node: [
            {
                "name": "pdus",
                "feeds": [{"deviceName": "pdu-left", "outlet": outlet}, {"deviceName": "pdu-right", "outlet": outlet}],
            },
            {"name": "bmc", "feeds": [{"deviceName": f"bmc-{node}"}]},
        ]
        for node, outlet in (("oss1", "1"), ("oss2", "2"))
    }
    return _object("OSSPair", name, {"nodes": [{"name": node, "fencing": levels[node]} for node in levels]})


def ost(name: str = "scratch-ost0000") -> Json:
    spec = {
        "fileSystem": "scratch",
        "index": 0,
        "pairName": "pair-a",
        "homeNode": "oss1",
        "backend": {"ldiskfs": {"device": "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"}},
        "mountPoint": "/mnt/ost0000",
    }
    return _object("OST", name, spec)


def oss(name: str = "oss1") -> Json:
    return _object("OSS", name, {"pair": {"namespace": NAMESPACE, "name": "pair-a"}})


def failover(name: str = "pair-a-7", type_: str = "Failover") -> Json:
    """Return a Failover; PAIR and EPOCH are taken from its name."""
    pair_name, _, epoch = name.rpartition("-")
    levels = [{"name": "bmc", "feeds": [{"deviceName": "bmc-oss1", "outlet": ""}]}]
    policy = {
        "mode": "Automatic", "armed": True, "levels": levels, "confirm": {"rounds": 3, "interval": "500ms", "settle": "2s"},
        "clearMMP": True, "validFor": "2m", "bootTimeout": "15m", "releaseTimeout": "5m",
    }  # fmt: skip
    spec = {
        "pairName": pair_name, "epoch": int(epoch), "type": type_, "node": "oss1", "partner": "oss2",
        "targets": ["scratch-OST0000"], "evidence": {"verdict": "Failed", "sentence": "no witness sees it", "bootID": "7f3a"},
        "policy": policy,
    }  # fmt: skip
    return _object("Failover", name, spec)


def certificate(**fields: Any) -> Json:
    """Return a death certificate that fits `failover()`."""
    proof = {"deviceName": "bmc-oss1", "outlet": "", "state": "PoweredOff", "reads": 3}
    disk = {"target": "scratch-OST0000", "state": "Still"}
    whole = {"node": "oss1", "bootID": "7f3a", "holdEpoch": 9, "level": "bmc", "feeds": [proof], "disks": [disk]}
    return whole | {"digest": "d1"} | fields


def confirmed() -> Json:
    """Return the certificate that rests on alice's word (`CONFIRMATION`)."""
    return certificate(confirmedBy="alice", feeds=[], level="")


CONFIRMATION = {"answer": "ConfirmDead", "evidence": "e1", "by": "alice"}
"""The answer in spec.approval that `confirmed` rests on."""


def changed(manifest: Json, changes: Mapping[str, Any]) -> Json:
    """Return a copy with each path such as `spec.nodes[1].name` set, or taken away if it is ABSENT."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        steps: list[Any] = [int(word) if word.isdigit() else word for word in re.findall(r"[^.\[\]]+", path)]
        place: Any = result
        for step in steps[:-1]:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})
        if value is ABSENT:
            del place[steps[-1]]
        else:
            place[steps[-1]] = value
    return result


class Api:
    """One user's way to objects of the five kinds. All methods raise ApiError with the server's words."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @staticmethod
    def path(kind: str, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection, an object or its status."""
        scope = "" if kind == "OSS" else f"namespaces/{NAMESPACE}/"
        return "/".join(filter(None, (f"/apis/ostkeeper.dev/v1alpha1/{scope}{PLURALS[kind]}", name, subresource)))

    async def create(self, manifest: Json, dry_run: bool = False) -> Json:
        return await self._client.create(self.path(manifest["kind"]) + ("?dryRun=All" if dry_run else ""), manifest)

    async def get(self, kind: str, name: str) -> Json:
        return await self._client.get(self.path(kind, name))

    async def patch(self, kind: str, name: str, body: Json, dry_run: bool = False) -> Json:
        """Merge-patch the object (not its status)."""
        query = {"dryRun": "All"} if dry_run else {}
        return await self._client.patch(self.path(kind, name), body, **query)

    async def status(self, kind: str, name: str, status: Json | None, dry_run: bool = False) -> Json:
        """Merge-patch the status; null takes a field away, or all of it."""
        query = {"dryRun": "All"} if dry_run else {}
        return await self._client.patch(self.path(kind, name, "status"), {"status": status}, **query)

    async def delete(self, kind: str, name: str) -> Json:
        return await self._client.delete(self.path(kind, name))


@asynccontextmanager
async def api(plane: ControlPlane, user: str = ADMIN.user) -> AsyncIterator[Api]:
    """Yield the way of `user` to the API server."""
    async with plane.client(user, timeout=20) as client:
        yield Api(client)


class Refusal:
    """What a block was refused with; raises AssertionError at its end if it was not, or for another reason.

    `field` must be named and `reason` given in the server's message, as a person would read it.
    """

    def __init__(self, field: str, reason: str, status: int = 422) -> None:
        self.field, self.reason, self.status = field, reason, status

    def __enter__(self) -> "Refusal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            raise AssertionError(f"was admitted, and should have been refused: {self.field}: {self.reason}")
        if not isinstance(error, ApiError):
            return False
        told = f"{error.status} {error.message}"
        assert error.status == self.status, told
        assert self.field in error.message, f"{self.field} is not named in: {told}"
        assert self.reason in error.message, f"{self.reason!r} is not said in: {told}"
        return True
