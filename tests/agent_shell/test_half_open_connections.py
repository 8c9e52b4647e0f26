"""The agent's kept-alive connections are forgotten by a middlebox: one call is lost, not one for each connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from middlebox import Middlebox
from ostkeeper.agent.api import Api, ApiError
from ostkeeper.agent.kubeconfig import Access
from waiting import wait_for_async

pytestmark = pytest.mark.contract
IDLE = 16
WITHIN = 0.5


@asynccontextmanager
async def through_a_middlebox() -> AsyncIterator[tuple[Api, Middlebox]]:
    together = asyncio.Barrier(IDLE)

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            stream = web.StreamResponse()
            await stream.prepare(request)
            await stream.write(b'{"type": "BOOKMARK"}\n')
            await asyncio.Event().wait()
        if request.path == "/together":
            await together.wait()  # so that each call has a connection of its own
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box = Middlebox("127.0.0.1", runner.addresses[0][1])
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    try:
        async with Api(Access(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", None), "test") as api:
            await asyncio.gather(*(api.get("/together", 20) for _ in range(IDLE)))
            yield api, box
    finally:
        server.close()
        await runner.cleanup()


async def answered(api: Api) -> bool:
    try:
        await api.get("/lease", WITHIN)
    except ApiError:
        return False
    return True


async def test_second_call_is_answered_although_all_kept_connections_are_dead() -> None:
    async with through_a_middlebox() as (api, box):
        assert box.accepted == IDLE
        box.forget()
        assert not await answered(api)
        tries = 1
        while not await answered(api):
            tries += 1
            assert tries < 5, "the retries take dead connections"


async def test_watch_over_a_dead_connection_ends_with_the_first_call_that_is_not_answered() -> None:
    async with through_a_middlebox() as (api, box):
        events: list[object] = []

        async def watch() -> None:
            async for event in api.watch("/osspairs", "1"):
                events.append(event)

        watching = asyncio.create_task(watch())
        await wait_for_async(lambda: events, 20, "the watch runs")
        box.forget()
        assert not await answered(api)
        await asyncio.wait({watching}, timeout=20)
        assert isinstance(watching.exception(), ApiError)
