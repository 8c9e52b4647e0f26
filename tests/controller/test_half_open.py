"""Half-open connections: the API server is well, but what was sent over the kept-alive connections is lost without a word.

So it is behind a load balancer or NAT that forgot them. Each used to cost a time-out: with 16 of them, 34 s until the first answer.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from api import objects as good
from controller.parts import LEADER_LEASE, operators_api
from middlebox import Middlebox
from ostkeeper.controller import ears
from ostkeeper.controller.client import Api, ApiError
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.cluster import AGENT_LEASES
from ostkeeper.controller.elector import Elector, KubeLease
from ostkeeper.controller.once import Once
from ostkeeper.controller.options import Options
from ostkeeper.controller.run import Operator
from ostkeeper.controller.watch import Watch
from ostkeeper.testbed.controlplane import ControlPlane
from waiting import wait_for_async

pytestmark = pytest.mark.contract
LEASES = AGENT_LEASES
IDLE = 16
WITHIN = 0.5


@asynccontextmanager
async def through_a_middlebox(plane: ControlPlane) -> AsyncIterator[tuple[Api, Middlebox]]:
    async with operators_api(plane) as api:
        where = urlsplit(api.configuration.host)
        box = Middlebox(str(where.hostname), int(where.port or 443))
        server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
        api.configuration.host = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield api, box
        finally:
            server.close()


async def answered(api: Api) -> bool:
    try:
        await api.get(LEASES, within=WITHIN)
    except ApiError:
        return False
    return True


async def fill_the_pool(api: Api) -> None:
    await asyncio.gather(*(api.get(LEASES, within=10) for _ in range(IDLE)))


async def test_second_call_is_answered_although_all_kept_connections_are_dead(plane: ControlPlane) -> None:
    async with through_a_middlebox(plane) as (api, box):
        await fill_the_pool(api)
        assert box.accepted >= IDLE, "the calls at once each have a connection"
        reconnected: list[float] = []
        api.reconnected = lambda: reconnected.append(time.monotonic())
        box.forget()
        before = box.accepted
        assert not await answered(api)
        tries = 1
        while not await answered(api):
            tries += 1
            assert tries < 5, "the retries take dead connections"
        assert box.accepted > before, "the retry has a new connection"
        assert reconnected


async def test_calls_that_time_out_at_once_replace_the_pool_once(plane: ControlPlane) -> None:
    async with through_a_middlebox(plane) as (api, box):
        await fill_the_pool(api)
        box.forget()
        assert not any(await asyncio.gather(*(answered(api) for _ in range(IDLE))))
        await wait_for_async(lambda: answered(api), 10, "the next is answered", step=0.01)
        before = box.accepted
        for _ in range(5):
            await api.get(LEASES, within=10)
        assert box.accepted == before, "kept alive again"


async def test_leader_stays_the_leader_when_its_connections_die(plane: ControlPlane) -> None:
    async with through_a_middlebox(plane) as (api, box):
        ends: list[float] = []
        lease = KubeLease(api, LEADER_LEASE, 1.5)
        elector = Elector(lease, "half-open_0", SystemClock(), lambda _: None, lambda: ends.append(time.monotonic()))
        await elector.attempt()
        assert elector.term
        await fill_the_pool(api)
        await elector.attempt()
        box.forget()
        running = asyncio.create_task(elector.run())
        renewed = elector.leads_until()
        await wait_for_async(lambda: elector.leads_until() > renewed, 20, "it renews over a new connection", step=0.02)
        running.cancel()
        await elector.release()


async def test_watch_resumes_on_a_new_connection(plane: ControlPlane) -> None:
    async with through_a_middlebox(plane) as (api, box):
        seen: list[str] = []
        silence = 1.0
        once = Once(logging.getLogger(__name__), SystemClock())
        watch = Watch(api, LEASES, lambda raw: seen.append(raw["metadata"]["name"]), silence, once)
        running = asyncio.create_task(watch.run())
        try:
            await fill_the_pool(api)
            await plane.kubectl("create", "-f", "-", stdin=_lease("before-the-middlebox-forgot"))
            await wait_for_async(lambda: "before-the-middlebox-forgot" in seen, 20, "the stream is open")
            box.forget()
            await plane.kubectl("create", "-f", "-", stdin=_lease("after-the-middlebox-forgot"))
            began = time.monotonic()
            await wait_for_async(lambda: "after-the-middlebox-forgot" in seen, 20, "the watch resumes", step=0.02)
            print(f"the watch resumed after {time.monotonic() - began:.1f}s")
        finally:
            running.cancel()
            await asyncio.wait({running})


def _lease(name: str) -> str:
    return f"apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{name: {name}, namespace: ostkeeper-heartbeats}}\n"


async def test_watches_of_the_objects_take_new_connections_as_soon_as_a_call_has_found_the_old_ones_dead(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kopf alone would wait 70 s for a bookmark, and nobody would see what a person answers meanwhile."""
    monkeypatch.setattr(ears, "AFRESH_REST", 0.0)
    name = good.fresh("half-open-")
    async with through_a_middlebox(plane) as (api, box), good.api(plane) as admin:
        heard: list[str] = []
        listening = ears.Ears(api, lambda _, raw: heard.append(raw["metadata"]["name"]), lambda *_: None, lambda _: [])
        api.reconnected = listening.connections_died
        await listening.hear_all()
        running = asyncio.create_task(listening.run())
        try:
            await admin.create(good.pair(name))
            await wait_for_async(lambda: name in heard, 20, "the watch lives")
            box.forget()
            await admin.create(good.pair(name + "-later"))
            began = time.monotonic()
            await wait_for_async(lambda: answered(api), 20, "a call finds the connections dead")
            await wait_for_async(lambda: name + "-later" in heard, 20, "the watches start afresh")
            print(f"what changed meanwhile was heard after {time.monotonic() - began:.1f}s")
        finally:
            running.cancel()
            await asyncio.wait({running})


async def test_operator_whose_connections_die_leads_and_sees_what_is_created_then(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parts wired: elector, canary, calls, kopf. Without a restart of its watches kopf notices after 70 s."""
    monkeypatch.setattr(ears, "AFRESH_REST", 0.0)
    name = good.fresh("half-open-operator-")
    async with through_a_middlebox(plane) as (api, box), good.api(plane) as admin:
        operator = Operator(api, Options(id="half-open"), lambda cluster: cluster)
        running = asyncio.create_task(operator.run())
        try:
            await wait_for_async(lambda: operator.elector.term, 30, "it leads")
            term = operator.elector.term
            await admin.create(good.pair(name))
            await wait_for_async(lambda: operator.supervisor._tasks.get(f"scratch/{name}"), 30, "it sees a pair")
            await fill_the_pool(api)
            box.forget()
            began = time.monotonic()
            await admin.create(good.pair(name + "-later"))
            await wait_for_async(
                lambda: operator.supervisor._tasks.get(f"scratch/{name}-later"), 30, "it sees what is created now"
            )
            print(f"seen after {time.monotonic() - began:.1f}s")
            await wait_for_async(lambda: operator.elector.term, 30, "it leads, still or again")
            print("the term went on" if operator.elector.term == term else "another term began")
        finally:
            running.cancel()
            await asyncio.wait({running})
