"""Looks at a world a few times a second, and waits until something is to be seen.

Here: one look, the loop of looks, waiting with a deadline, the moment at which a pair's assignment was written. Not here:
what a look is made of (`scene`), what is done about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from ostkeeper.testbed.controlplane_client import UNHEARD, ApiClient
from ostkeeper.testbed.scene import GROUP, FeedSeen, Scene, ServerSeen, targets_of, verdicts_of
from ostkeeper.testbed.world import World

EVERY = 0.3
"""Seconds between two looks."""
TRIES = 60
"""Looks until one succeeds that has to."""
BASE = "/apis/ostkeeper.dev/v1alpha1/namespaces"
Listener = Callable[[Scene, Scene], None]
"""Called after each look with the one before and this one."""


class WaitedInVainError(RuntimeError):
    """Something did not happen in time. The text says what was awaited, for how long, and what was seen last."""


class Observer:
    """Looks at one world. Use `watching` around everything else."""

    def __init__(self, world: World, listener: Listener | None = None) -> None:
        self.world = world
        self.scene = Scene()
        """The latest look."""
        self._listener = listener or (lambda _before, _after: None)
        self._looked = asyncio.Condition()
        self._client: ApiClient | None = None

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Observer]:
        """Look again and again until the block is left."""
        async with self.world.control_plane.client() as client:
            self._client = client
            self.scene = await self._look_patiently(client)
            task = asyncio.create_task(self._run(client))
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def until(self, why: str, condition: Callable[[Scene], object], seconds: float) -> Scene:
        """Wait until a look satisfies the condition, and give it. Raises `WaitedInVainError`."""
        deadline = time.monotonic() + seconds
        async with self._looked:
            while not condition(self.scene):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitedInVainError(f"{why}: not within {seconds:g}s. {self._last()}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._looked.wait(), left)
            return self.scene

    async def look(self) -> Scene:
        """One more look now."""
        assert self._client is not None
        return await self._look_patiently(self._client)

    async def _look_patiently(self, client: ApiClient) -> Scene:
        """Storage of new CRDs answers 429 for a moment (seen: "storage is (re)initializing"); a busy machine, too late."""
        for _ in range(TRIES):
            try:
                return await self._look(client)
            except UNHEARD:
                await asyncio.sleep(EVERY)
        return await self._look(client)

    async def _run(self, client: ApiClient) -> None:
        while True:
            await asyncio.sleep(EVERY)
            with contextlib.suppress(*UNHEARD):
                after = await self._look(client)
                before, self.scene = self.scene, after
                self._listener(before, after)
                async with self._looked:
                    self._looked.notify_all()

    async def _look(self, client: ApiClient) -> Scene:
        layout = self.world.layout
        failovers, pairs, osts = await asyncio.gather(
            *(_items(client, f"{BASE}/{layout.namespace}/{resource}") for resource in GROUP)
        )
        verdict = await self.world.monitor.verdict()
        verdicts = verdicts_of(pairs)
        servers = tuple(self._server(name, verdicts.get(name, "")) for name in layout.hosts)
        return Scene(
            servers=servers,
            targets=targets_of(osts, {server.name: server.mounts for server in servers}),
            pairs=tuple(pairs),
            failovers=tuple(failovers),
            overlaps=len(verdict.overlaps),
            samples=verdict.samples,
        )

    def _server(self, name: str, verdict: str) -> ServerSeen:
        plane, host, layout = self.world.plane, self.world.hosts[name], self.world.layout
        outlets = [FeedSeen(str(feed), plane.outlet(feed.device, feed.outlet)) for feed in plane.feeds(name)]
        powered = plane.powered(name)
        before = next((server for server in self.scene.servers if server.name == name), None)
        lived = before is not None and before.condition not in ("no power", "boots")
        return ServerSeen(
            name=name,
            pair=layout.pair_of(name).name,
            running=host.running,
            powered=powered,
            crashed=lived and powered and not host.running,
            hung=host.hung,
            cut_off=bool(host.cuts) or not host.cable,
            feeds=(*outlets, FeedSeen(layout.bmc(name), plane.bmc(name) and plane.ac(name))),
            verdict=verdict,
            mounts=tuple(sorted(host.mounts())),
        )

    def _last(self) -> str:
        scene = self.scene
        servers = ", ".join(f"{s.name} {s.condition} ({s.verdict or 'no verdict'})" for s in scene.servers)
        targets = ", ".join(f"{t.name} {t.state or '-'} on {t.node or '-'}" for t in scene.targets)
        end = scene.timeline[-1] if scene.timeline else None
        last = f"{end.failover} {end.phase}: {end.message}" if end else "no Failover"
        return f"Seen last: {servers}; {targets}; {last}"


async def _items(client: ApiClient, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(path))["items"]
    return items
