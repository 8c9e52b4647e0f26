"""The lease watch and its canary on a real API server: what it proves, and when it proves nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api import objects as good
from controller.parts import made_ready, never, operators_api
from ostkeeper.controller import leases as leases_module
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.leases import Leases
from ostkeeper.core.events import Beat
from ostkeeper.core.heartbeats import CANARY_GAP, CANARY_INTERVAL, Heartbeats
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from waiting import wait_for_async

pytestmark = pytest.mark.contract
BEATS = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases"


class Listener:
    """One operator's lease watch, and what came of it."""

    def __init__(self) -> None:
        self.heartbeats = Heartbeats()
        self.heartbeats.restart(time.monotonic())
        self.beats: list[Beat] = []
        self.proofs: list[float] = []
        self.went_back = 0
        self.leases: Leases

    def _went_back(self) -> None:
        self.went_back += 1

    @classmethod
    @asynccontextmanager
    async def listening(cls, plane: ControlPlane, name: str) -> AsyncIterator["Listener"]:
        self = cls()
        async with operators_api(plane) as api:
            self.leases = Leases(
                api, SystemClock(), self.heartbeats, name, f"{name}_0000",
                self.beats.append, lambda: self.proofs.append(time.monotonic()), self._went_back,
            )  # fmt: skip
            running = asyncio.create_task(self.leases.run())
            try:
                await self.proof("the canary is heard")
                yield self
                assert not running.done(), running
            finally:
                running.cancel()
                await asyncio.wait({running})

    async def proof(self, why: str, within: float = 15) -> None:
        """Wait for a canary that began to be written after now."""
        asked = time.monotonic()
        await wait_for_async(lambda: self.heartbeats.horizon > asked, within, why)


def lease(server: str, boot: str) -> dict[str, Any]:
    return {"metadata": {"name": server}, "spec": {"holderIdentity": f"{server}/{boot}"}}


async def test_beat_is_heard_with_its_boot_and_the_canary_proves_what_came_before(plane: ControlPlane) -> None:
    server = "oss1"
    agent = identities.agent(server).user
    async with Listener.listening(plane, good.fresh("op-")) as heard, plane.client(agent) as api:
        await api.create(BEATS, lease(server, "boot-1"))
        await heard.proof("a canary written after the lease comes after it")
        assert [(beat.node, beat.boot_id) for beat in heard.beats if beat.node == server] == [(server, "boot-1")]
        assert heard.heartbeats.stale_for(server) >= 0.0

        async def moved() -> bool:
            """Whether it does by one renewal: all clocks start again, and it is forgotten, where the machine stands still."""
            renewed = good.fresh("renewed-")
            await api.patch(f"{BEATS}/{server}", {"metadata": {"annotations": {"test": renewed}}, "spec": boot_2})
            await heard.proof("a canary written after the renewal comes after it")
            return heard.heartbeats.pulses[server].moved

        boot_2 = {"holderIdentity": f"{server}/boot-2"}
        await wait_for_async(moved, 60, "a renewal moves the pulse")
        assert heard.beats[-1].boot_id == "boot-2"
        assert not any(beat.node.startswith("ostkeeper-canary") for beat in heard.beats)


async def test_proof_that_is_asked_for_comes_at_once_and_serves_all_who_ask(plane: ControlPlane) -> None:
    async with Listener.listening(plane, good.fresh("op-")) as heard:

        async def at_once() -> bool:
            await heard.proof("the canary sings")  # the next one is a whole interval away
            asked, before = time.monotonic(), len(heard.proofs)
            for _ in range(50):
                heard.leases.prove()
            await heard.proof("a proof that was asked for")
            assert time.monotonic() - asked < CANARY_INTERVAL / 2
            assert len(heard.proofs) - before <= 2
            return True

        await wait_for_async(at_once, 60, "a proof that is asked for comes at once, unless the machine stands still")


async def test_canary_that_is_not_ours_proves_nothing(plane: ControlPlane) -> None:
    """Another operator of the same name, or our own of an earlier life: when it was written, we cannot know."""
    name = good.fresh("op-")
    async with Listener.listening(plane, name) as heard, plane.client() as admin:
        sung, proofs = heard.leases._count, len(heard.proofs)
        for number in range(20):
            foreign = {"metadata": {"annotations": {"ostkeeper.dev/canary": f"{name}_ffff:{sung + number}"}}}
            await admin.patch(f"{BEATS}/ostkeeper-canary-{name}", foreign)
        await heard.proof("our own song comes after them")
        assert len(heard.proofs) - proofs <= heard.leases._count - sung + 1, "a foreign song counts"


async def test_canary_of_an_operator_that_is_gone_is_deleted(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "ABANDONED", 1.5)
    gone, lives = good.fresh("gone-"), good.fresh("lives-")
    async with plane.client() as admin:
        await admin.create(BEATS, {"metadata": {"name": f"ostkeeper-canary-{gone}"}, "spec": {"holderIdentity": gone}})

        async def is_left() -> bool:
            found = await admin.get(BEATS)
            return any(item["metadata"]["name"] == f"ostkeeper-canary-{gone}" for item in found["items"])

        async def is_deleted() -> bool:
            return not await is_left()

        async with Listener.listening(plane, lives) as heard:
            await wait_for_async(is_deleted, 15, "nobody renews it")
            await heard.proof("the own canary goes on")


async def test_api_server_that_was_away_makes_all_clocks_start_again(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane:
        await made_ready(plane)
        async with Listener.listening(plane, "op-1") as heard:
            async with plane.client() as admin:
                await admin.create(BEATS, lease("oss7", "boot-1"))
            await wait_for_async(lambda: heard.heartbeats.stale_for("oss7") > 1.0, 10, "a lease that stands still ages")
            await plane.stop_apiserver()
            gone = time.monotonic()  # what was sent before may be heard after
            await never(
                lambda: heard.heartbeats.horizon > gone, CANARY_GAP + 0.5, "time accrues while nothing is proven"
            )
            back = time.monotonic()  # it answers before it calls itself ready
            await plane.start_apiserver()
            await heard.proof("the watch lives again", 20)
            assert heard.heartbeats.started > gone + CANARY_GAP, "an amnesty"
            assert heard.heartbeats.stale_for("oss7") <= time.monotonic() - back + 0.5


async def test_restored_etcd_whose_revision_is_higher_than_ever_is_noticed_by_the_canary(tmp_path: Path) -> None:
    """As after `etcdutl snapshot restore --bump-revision`: no write and no LIST has a lower version than those before."""
    async with ControlPlane(tmp_path / "plane") as plane:
        await made_ready(plane)
        async with Listener.listening(plane, "op-1") as heard:
            await plane.snapshot(tmp_path / "snapshot")
            for _ in range(3):
                await heard.proof("the canary is ahead of the snapshot")
            api, go_on = heard.leases._api, asyncio.Event()
            with pytest.MonkeyPatch.context() as patched:
                for name in ("get", "patch"):
                    patched.setattr(api, name, waits_for(go_on, getattr(api, name)))
                await plane.restore(tmp_path / "snapshot")
                async with plane.client() as admin:
                    for number in range(200):
                        await admin.create(BEATS, lease(f"later-{number}", "boot-1"))
                assert heard.went_back == 0
                go_on.set()
                await wait_for_async(lambda: heard.went_back == 1, 20, "the canary's conflict is looked at")
            await heard.proof("and it is renewed again")


def waits_for(event: asyncio.Event, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def waiting(*args: Any, **named: Any) -> Any:
        await event.wait()
        return await call(*args, **named)

    return waiting


async def test_restored_etcd_does_not_leave_the_watch_deaf(tmp_path: Path) -> None:
    """A watch from a resourceVersion that is still to come opens, says nothing, and misses what happens meanwhile."""
    async with ControlPlane(tmp_path / "plane") as plane:
        await made_ready(plane)
        await plane.snapshot(tmp_path / "snapshot")
        async with Listener.listening(plane, "op-1") as heard:
            async with plane.client() as admin:
                for number in range(200):
                    await admin.create(BEATS, lease(f"later-{number}", "boot-1"))
            await heard.proof("the canary is far ahead of the snapshot")
            await plane.restore(tmp_path / "snapshot")
            await heard.proof("the watch hears again", 20)
            assert heard.went_back >= 1
            async with plane.client() as admin:
                await admin.create(BEATS, lease("oss9", "boot-1"))
            await wait_for_async(lambda: any(b.node == "oss9" for b in heard.beats), 15, "what is new is heard")
