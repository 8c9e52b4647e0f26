"""The agent's list and watch, over real HTTP: what it shows, what is gone, and that a restored etcd does not make it deaf."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from ostkeeper.agent.api import Api
from ostkeeper.agent.kubeconfig import Access
from ostkeeper.agent.watches import Watcher, What
from ostkeeper.api.common import API_VERSION
from ostkeeper.api.oss import OSS
from ostkeeper.core.events import Gone, Seen
from waiting import wait_for_async

pytestmark = pytest.mark.contract


@dataclass
class Server:
    """An API server with some OSS. A watch brings what is put above the version that it began from, and nothing else."""

    version: int = 100
    pairs: dict[str, tuple[int, str]] = field(default_factory=dict)
    watches: list[tuple[int, asyncio.Queue[str]]] = field(default_factory=list)

    def put(self, name: str, pair: str) -> None:
        self.version += 1
        self.pairs[name] = (self.version, pair)
        line = json.dumps({"type": "MODIFIED", "object": self._object(name)})
        for began, queue in self.watches:
            if self.version > began:
                queue.put_nowait(line)

    def _object(self, name: str) -> dict[str, object]:
        version, pair = self.pairs[name]
        meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
        spec = {"pair": {"namespace": "scratch", "name": pair}}
        return {"apiVersion": API_VERSION, "kind": "OSS", "metadata": meta, "spec": spec}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            items = [self._object(name) for name in self.pairs]
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        queue = asyncio.Queue[str]()
        self.watches.append((int(request.query["resourceVersion"]), queue))
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write((await queue.get() + "\n").encode())


@contextlib.asynccontextmanager
async def watching(server: Server) -> AsyncIterator[tuple[Watcher, list[str]]]:
    said = list[str]()

    def emit(event: Seen | Gone) -> None:
        if isinstance(event, Gone):
            said.append(f"{event.key} gone")
        elif isinstance(event.object, OSS):
            said.append(f"{event.object.name} {event.object.spec.pair.name}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Api(Access(f"http://127.0.0.1:{runner.addresses[0][1]}", None), "test") as api:
        watcher = Watcher(api, What(OSS, "metadata.name=oss1"), emit)
        task = asyncio.create_task(watcher.run())
        yield watcher, said
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()


async def test_change_is_shown_once_as_it_comes() -> None:
    server = Server()
    server.put("oss1", "a")
    async with watching(server) as (_, said):
        await wait_for_async(lambda: bool(server.watches), 5.0, "it watches")
        server.put("oss1", "b")
        await wait_for_async(lambda: said == ["oss1 a", "oss1 b"], 5.0, "both are shown")


async def test_told_that_etcd_was_restored_it_shows_everything_anew_and_hears_what_is_written_then() -> None:
    server = Server()
    server.put("oss1", "a")
    server.put("oss2", "a")
    async with watching(server) as (watcher, said):
        await wait_for_async(lambda: bool(server.watches), 5.0, "it watches")
        server.version = 50
        del server.pairs["oss2"]
        server.put("oss1", "unheard")  # below the version from which it watches
        watcher.relist()
        await wait_for_async(lambda: len(server.watches) == 2, 5.0, "it watches anew")
        server.put("oss1", "heard")
        await wait_for_async(lambda: said[-1] == "oss1 heard", 5.0, "it hears again")
    assert said == ["oss1 a", "oss2 a", "oss1 unheard", "oss2 gone", "oss1 heard"]


async def test_version_that_comes_again_with_other_content_is_shown_after_a_restore() -> None:
    server = Server()
    server.put("oss1", "a")
    async with watching(server) as (watcher, said):
        await wait_for_async(lambda: bool(server.watches), 5.0, "it watches")
        server.version -= 1
        server.put("oss1", "b")
        watcher.relist()
        await wait_for_async(lambda: said == ["oss1 a", "oss1 b"], 5.0, "the other content is shown")
