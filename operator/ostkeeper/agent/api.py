"""The API server, as an agent needs it: one request with a deadline, one watch. Plain aiohttp, no cache, no retry.

Here: HTTP and JSON, what an answer means. Not here: what is read when (`watches`, `pair_reader`), the lease (`heartbeat`).
A read without resourceVersion is a quorum read: the API server asks etcd's leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

from ostkeeper.agent.kubeconfig import Access
from ostkeeper.agent.threads import Worker
from ostkeeper.api.common import API_VERSION

Json = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"
RESOURCES = f"/apis/{API_VERSION}"
WATCH_SECONDS = 60
"""Seconds after which a watch is asked for anew. A dead connection is noticed sooner, by TCP keepalive."""
_TOKEN_EVERY = 60.0
_LINE_LIMIT = 16 * 1024 * 1024
"""Bytes that one watch event may have: etcd takes no object above 1.5 MiB."""


class ApiError(Exception):
    """No answer, or a refusal. `status` is the HTTP code, 0 where there was no answer. The text says what was asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True, eq=False)
class _Pool:
    """Kept-alive connections."""

    session: aiohttp.ClientSession
    calls: int = 0
    """Calls under way, watches aside."""
    watches: list[aiohttp.ClientResponse] = field(default_factory=list)

    def end_watches(self) -> None:
        """Have the watches over it end with an error. Closing the session would leave them waiting."""
        for response in self.watches:
            response.content.set_exception(
                aiohttp.ClientConnectionError("a call over these connections was not answered")
            )


class Api:
    """One connection pool; an async context manager. Every call has a deadline and raises `ApiError`.

    A call that is not answered makes all kept-alive connections suspect: behind a load balancer or NAT that forgot them each
    would cost another time-out, and the heartbeat with it. The calls that follow use new ones, and the watches end.
    """

    def __init__(self, access: Access, user_agent: str) -> None:
        self._access = access
        self._agent = user_agent
        self._token = access.token
        self._pool: _Pool | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Api:
        self._pool = self._new_pool()
        if self._access.token_file:
            self._token = self._access.token_file.read_text("ascii").strip()
            self._reading = asyncio.create_task(self._reread_token())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading:
            self._reading.cancel()
        if self._pool:
            await self._pool.session.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _new_pool(self) -> _Pool:
        tls = self._access.tls
        connector = aiohttp.TCPConnector(
            ssl=tls if tls is not None else True, limit=0, keepalive_timeout=30, ttl_dns_cache=600
        )
        headers = {"User-Agent": self._agent}
        return _Pool(aiohttp.ClientSession(connector=connector, read_bufsize=2**18, headers=headers))

    @contextlib.contextmanager
    def _call(self) -> Iterator[_Pool]:
        """The pool for one call. One that is not answered retires it; a retired pool is closed with its last call."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("Api is used outside of its `async with`")
        pool.calls += 1
        try:
            yield pool
        except TimeoutError:
            if pool is self._pool:
                self._pool = self._new_pool()
                pool.end_watches()
            raise
        finally:
            pool.calls -= 1
            if pool is not self._pool and not pool.calls:
                closing = asyncio.create_task(pool.session.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def get(self, path: str, within: float, **query: str) -> Json:
        """GET an object or a list, from the quorum."""
        return await self._request("GET", path, within, query=query)

    async def create(self, path: str, body: Mapping[str, Any], within: float) -> Json:
        """POST an object to its collection."""
        return await self._request("POST", path, within, body)

    async def patch(self, path: str, body: Mapping[str, Any], within: float) -> Json:
        """PATCH by merge."""
        return await self._request("PATCH", path, within, body)

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[Json]:
        """Yield watch events after `version`, bookmarks too, until the API server ends it. Raises `ApiError`."""
        query |= {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        limits = aiohttp.ClientTimeout(total=WATCH_SECONDS + 10, connect=5)
        with _as_api_error(f"watch {path}"):
            pool = self._pool
            if pool is None:
                raise RuntimeError("Api is used outside of its `async with`")
            async with self._open(pool, "GET", path, None, query, limits) as response:
                await _refuse(response, f"watch {path}")
                _keep_alive(response)
                pool.watches.append(response)
                try:
                    async for event in _lines(response):
                        yield event
                finally:
                    pool.watches.remove(response)

    def _open(
        self,
        pool: _Pool,
        method: str,
        path: str,
        data: bytes | None,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
    ) -> Any:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if data is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        url = self._access.server + path
        return pool.session.request(method, url, data=data, params=query, headers=headers, timeout=limits)

    async def _request(
        self,
        method: str,
        path: str,
        within: float,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        data = None if body is None else json.dumps(body).encode()
        limits = aiohttp.ClientTimeout(total=within)
        with _as_api_error(f"{method} {path}"), self._call() as pool:
            async with self._open(pool, method, path, data, query or {}, limits) as response:
                await _refuse(response, f"{method} {path}")
                answer: Json = json.loads(await response.read())
                return answer

    async def _reread_token(self) -> None:
        """In a thread of its own: a stalled root disk must not hold up the heartbeat."""
        worker, file = Worker("token"), self._access.token_file
        while file:
            await asyncio.sleep(_TOKEN_EVERY)
            with contextlib.suppress(OSError, UnicodeDecodeError):
                self._token = (await worker.run(lambda: file.read_text("ascii"))).strip() or self._token


@contextlib.contextmanager
def _as_api_error(what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise ApiError(0, f"{what}: no answer in time") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ApiError(0, f"{what}: {error or type(error).__name__}") from error


async def _refuse(response: aiohttp.ClientResponse, what: str) -> None:
    if response.status < 400:
        return
    raw = await response.read()
    try:
        said = str(json.loads(raw).get("message", ""))
    except (ValueError, AttributeError):
        said = raw.decode("utf-8", "replace")[:300]
    raise ApiError(response.status, f"{what}: {response.status}: {said}")


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    buffered = bytearray()
    async for chunk in response.content.iter_any():
        buffered += chunk
        if len(buffered) > _LINE_LIMIT:
            raise ValueError("a watch event without an end")
        *whole, rest = bytes(buffered).split(b"\n")
        buffered = bytearray(rest)
        for line in whole:
            if line:
                yield json.loads(line)


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have the kernel notice a dead peer of an idle watch within about 11 s (tcp(7))."""
    transport = response.connection.transport if response.connection else None
    found = transport.get_extra_info("socket") if transport else None
    if found is None:
        return
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)):
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
