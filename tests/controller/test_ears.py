"""kopf as ears: shows what comes and goes, outlives CRDs and restores, and writes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api import objects as good
from controller.parts import ROOT, made_ready, operators_api
from ostkeeper.api.common import Resource
from ostkeeper.controller.ears import Ears
from ostkeeper.controller.objects import Json, key_of
from ostkeeper.testbed.controlplane import ControlPlane
from waiting import wait_for_async

pytestmark = pytest.mark.contract


class Memory:
    """What was shown, by kind and key."""

    def __init__(self) -> None:
        self.shown: dict[tuple[str, str], Json] = {}
        self.ears: Ears

    def show(self, kind: type[Resource], raw: Json) -> None:
        self.shown[kind.kind, key_of(raw)] = raw

    def gone(self, kind: str, key: str) -> None:
        self.shown.pop((kind, key), None)

    def known(self, kind: str) -> list[str]:
        return [key for shown, key in self.shown if shown == kind]

    @classmethod
    @asynccontextmanager
    async def listening(cls, plane: ControlPlane) -> AsyncIterator["Memory"]:
        self = cls()
        async with operators_api(plane) as api:
            self.ears = Ears(api, self.show, self.gone, self.known)
            await self.ears.hear_all()
            running = asyncio.create_task(self.ears.run())
            try:
                yield self
                assert not running.done(), running
            finally:
                running.cancel()
                await asyncio.wait({running})

    async def has(self, kind: str, key: str, within: float = 20) -> None:
        await wait_for_async(lambda: (kind, key) in self.shown, within, f"{kind} {key} is shown")

    async def has_not(self, kind: str, key: str, within: float = 20) -> None:
        await wait_for_async(lambda: (kind, key) not in self.shown, within, f"{kind} {key} is gone")


async def test_objects_are_shown_as_they_come_change_and_go_and_stay_as_they_are(plane: ControlPlane) -> None:
    old, new = good.fresh("old-"), good.fresh("new-")
    async with good.api(plane) as admin:
        await admin.create(good.pair(old))
        async with Memory.listening(plane) as heard:
            await heard.has("OSSPair", f"scratch/{old}", 0.1)
            created = await admin.create(good.pair(new))
            await heard.has("OSSPair", f"scratch/{new}")
            await admin.patch("OSSPair", new, {"spec": {"paused": True}})
            await wait_for_async(
                lambda: heard.shown["OSSPair", f"scratch/{new}"]["spec"]["paused"], 10, "a change is shown"
            )
            stored = await admin.get("OSSPair", new)
            assert "finalizers" not in stored["metadata"]
            assert stored["metadata"].get("annotations") == created["metadata"].get("annotations")
            await admin.delete("OSSPair", new)
            await heard.has_not("OSSPair", f"scratch/{new}")


async def test_deleted_crds_do_not_end_it_and_what_is_applied_again_is_heard(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane:
        await made_ready(plane)
        async with Memory.listening(plane) as heard, good.api(plane) as admin:
            await admin.create(good.ost())
            await heard.has("OST", "scratch/scratch-ost0000")
            await plane.kubectl("delete", "-f", str(ROOT / "crds"), "--wait=true")
            await plane.apply([ROOT / "crds"])
            await plane.kubectl("get", "fd,pair,ost,oss,fo", "-A")
            await admin.create(good.changed(good.ost("again"), {"spec.index": 1}))
            await heard.has("OST", "scratch/again", 60)


async def test_restored_etcd_shows_what_is_there_now_and_not_what_was(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane:
        await made_ready(plane)
        async with Memory.listening(plane) as heard, good.api(plane) as admin:
            await admin.create(good.pair("before"))
            await heard.has("OSSPair", "scratch/before")
            await plane.snapshot(tmp_path / "snapshot")
            for number in range(60):
                await admin.create(good.failover(f"lost-{number + 1}"))
            await heard.has("Failover", "scratch/lost-60")
            await plane.restore(tmp_path / "snapshot")
            heard.ears.start_afresh()  # as the canary says (test_leases)
            await heard.has_not("Failover", "scratch/lost-60", 30)
            await admin.create(good.pair("after"))
            await heard.has("OSSPair", "scratch/after", 30)
            assert ("OSSPair", "scratch/before") in heard.shown
