"""The lease, over real HTTP: its pace, its retries, and that nothing but permission and the API server holds it up."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from ostkeeper.agent.api import Api
from ostkeeper.agent.heartbeat import Heartbeat
from ostkeeper.agent.kubeconfig import Access
from ostkeeper.api.common import pending_of
from ostkeeper.core import hostevents as ev
from waiting import wait_for_async

pytestmark = pytest.mark.contract
Answer = Callable[[int], Awaitable[int]]
DEADLINE = 20.0


@dataclass
class Server:
    """An API server that knows one lease; `answer` gives the status of each request by its number."""

    answer: Answer
    bodies: list[dict[str, Any]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    version: int = 100

    async def handle(self, request: web.Request) -> web.Response:
        self.times.append(time.monotonic())
        self.methods.append(request.method)
        self.bodies.append(await request.json())
        status = await self.answer(len(self.methods) - 1)
        body = {"message": "as the test says", "metadata": {"resourceVersion": str(self.version)}}
        self.version += 1
        return web.json_response(body, status=status)


@contextlib.asynccontextmanager
async def beating(answer: Answer, beat: ev.Beat) -> AsyncIterator[tuple[Server, Heartbeat, list[float]]]:
    server, renewed = Server(answer), list[float]()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with Api(Access(f"http://127.0.0.1:{port}", None), "test") as api:
        heartbeat = Heartbeat(api, "oss1", "boot-1", lambda: ("scratch-OST0001",), renewed.append)
        heartbeat.set(beat)
        task = asyncio.create_task(heartbeat.run())
        yield server, heartbeat, renewed
        task.cancel()
    await runner.cleanup()


async def well(number: int) -> int:
    return 200


async def test_lease_is_renewed_every_interval_and_says_who_and_what() -> None:
    async with beating(well, ev.Beat(True, 0.1, 0.5)) as (server, heartbeat, renewed):
        heartbeat.report = "77"
        await wait_for_async(lambda: len(renewed) >= 5, DEADLINE, "five renewals")
    body = server.bodies[-1]
    assert body["spec"]["holderIdentity"] == "oss1/boot-1"
    assert body["metadata"]["annotations"] == {
        "ostkeeper.dev/report": "77",
        "ostkeeper.dev/report-pending": "",
        "ostkeeper.dev/unread-disks": "scratch-OST0001",
    }
    assert all(later - earlier > 0.05 for earlier, later in itertools.pairwise(renewed))


async def test_lease_says_that_a_report_is_pending_for_how_long_and_why() -> None:
    async with beating(well, ev.Beat(True, 0.1, 0.5)) as (server, heartbeat, renewed):
        heartbeat.pending_since = time.monotonic() - 12.0
        heartbeat.pending_why = "422: status.disks:\n" + 300 * "x"
        await wait_for_async(lambda: len(renewed) >= 2, DEADLINE, "two renewals")
    word = server.bodies[-1]["metadata"]["annotations"]["ostkeeper.dev/report-pending"]
    assert word.startswith("12 422: status.disks: xxx")
    assert len(word) == 240
    assert pending_of(word)[0] == 12.0


async def test_lease_that_does_not_exist_is_created() -> None:
    async def missing(number: int) -> int:
        return 404 if number == 0 else 200

    async with beating(missing, ev.Beat(True, 0.1, 0.5)) as (server, _, renewed):
        await wait_for_async(lambda: bool(renewed), DEADLINE, "it is created and renewed")
        assert server.methods[:2] == ["PATCH", "POST"]


async def test_conflict_is_tried_again_at_once() -> None:
    async def conflict(number: int) -> int:
        return 409 if number == 0 else 200

    async with beating(conflict, ev.Beat(True, 30.0, 90.0)) as (server, _, renewed):
        await wait_for_async(lambda: bool(renewed), DEADLINE, "the second try succeeds")
        assert server.methods == ["PATCH", "PATCH"]


async def test_request_that_hangs_is_given_up_before_the_next_is_due() -> None:
    async def hang(number: int) -> int:
        if number % 2 == 0:
            await asyncio.Event().wait()
        return 200

    async with beating(hang, ev.Beat(True, 1.0, 3.0)) as (server, _, renewed):
        await wait_for_async(lambda: bool(renewed), DEADLINE, "the next one gets through")

        def in_time() -> bool:
            return any(again - hung < 1.0 for hung, again in zip(server.times[::2], server.times[1::2], strict=False))

        await wait_for_async(in_time, DEADLINE, "the next one is in time, unless the machine stands still")


async def test_renewal_counts_from_when_its_request_began() -> None:
    async def slow(number: int) -> int:
        await asyncio.get_running_loop().create_task(_later(0.2))
        return 200

    async with beating(slow, ev.Beat(True, 30.0, 90.0)) as (server, _, renewed):
        await wait_for_async(lambda: bool(renewed), DEADLINE, "it is renewed")
        assert renewed[0] <= server.times[0]


async def _later(seconds: float) -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, future.set_result, None)
    await future


async def test_lease_is_not_touched_without_permission_and_at_once_with_it() -> None:
    async with beating(well, ev.Beat(False, 0.1, 0.5)) as (server, heartbeat, renewed):
        await _later(0.3)
        assert server.methods == []
        heartbeat.set(ev.Beat(True, 30.0, 90.0))
        await wait_for_async(lambda: len(renewed) == 1, DEADLINE, "it begins at once")


async def test_renewal_stored_at_a_lower_version_tells_that_etcd_was_restored() -> None:
    async with beating(well, ev.Beat(True, 0.1, 0.5)) as (server, heartbeat, renewed):
        restored = list[int]()
        heartbeat.went_back = lambda: restored.append(server.version)
        await wait_for_async(lambda: len(renewed) >= 3, DEADLINE, "three renewals")
        assert restored == []
        server.version = 50
        await wait_for_async(lambda: bool(restored), DEADLINE, "it is told")
        before = len(renewed)
        await wait_for_async(lambda: len(renewed) >= before + 3, DEADLINE, "it goes on")
        assert len(restored) == 1
