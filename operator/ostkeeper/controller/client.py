"""HTTP to the API server: one kept-alive pool, a deadline on every call, JSON in and out.

Here: connecting (kubeconfig, service account, exec plugins: all by `kubernetes.aio`) and calls with raw JSON. Its generated
models are left aside: building and walking them costs more than the whole call (budget: 10 ms a write).
A call that is not answered makes all kept-alive connections suspect: behind a dead NAT entry or load balancer they are
half-open, and each would cost a time-out. The calls that follow use new ones. Not here: which objects there are (`cluster`),
watches' resuming (`watch`).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client as kube
from kubernetes.aio import config as kube_config

Json = dict[str, Any]
Query = Mapping[str, str]
NO_QUERY: Query = {}
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

CALL_TIMEOUT = 2.0
"""Seconds that one call may take, connecting included, unless the caller asks for less."""
KEEP_ALIVE = 75.0
"""Seconds for which an idle connection is kept: kube-apiserver closes them after 90 (its IdleTimeout)."""
QUICK = 0.5
"""An API server that answers a call within so many seconds over a new connection was not slow: the old ones were dead."""
READ_BUFFER = 2**21
"""Bytes: a watch event of Kubernetes may be that long."""
POOL = 200
"""Connections at most. A pair in trouble reads a dozen objects at once; TLS handshakes must not be in the way."""


class ConfigError(Exception):
    """The kubeconfig or the service account cannot be used. One line, for the person who started the operator."""


class ApiError(Exception):
    """The API server refused (its code, reason and words), or did not answer (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status or 'no answer'} {reason}: {message}".strip())
        self.status, self.reason, self.message = status, reason, message


@dataclass(slots=True, eq=False)
class _Pool:
    """Kept-alive connections."""

    session: aiohttp.ClientSession
    calls: int = 0
    """Calls under way."""
    replaces_silent: bool = False
    """It was made because a call over an older connection was not answered, and has not been answered itself yet."""


class Api:
    """One connection pool under one identity. All calls raise `ApiError`; none takes longer than its time-out.

    Streams have connections of their own, opened for each: a watch that resumes never takes a kept-alive one.
    """

    def __init__(self, configuration: Any, user_agent: str = "ostkeeper-operator") -> None:
        self.configuration = configuration
        self._client = kube.ApiClient(configuration)
        self._rest = self._client.rest_client
        self._headers = {"User-Agent": user_agent, "Accept": JSON}
        self._pool = self._use_new_pool()
        self._streams = type(self._rest)(configuration)
        self._streams.pool_manager = _session(aiohttp.TCPConnector(ssl=self._rest.ssl_context, force_close=True))
        self._closing: set[asyncio.Task[None]] = set()
        self.reconnected: Callable[[], None] = lambda: None
        """Called when a new connection is answered quickly after an old one was not: others' connections may be dead, too."""

    async def close(self) -> None:
        """Close the pool."""
        await self._client.close()
        await self._streams.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _use_new_pool(self) -> _Pool:
        connector = aiohttp.TCPConnector(limit=POOL, ssl=self._rest.ssl_context, keepalive_timeout=KEEP_ALIVE)
        self._rest.pool_manager = _session(connector)
        return _Pool(self._rest.pool_manager)

    def _suspect(self, pool: _Pool) -> None:
        """Use no connection of this pool again: a call over it was not answered."""
        if pool is self._pool:
            self._pool = self._use_new_pool()
            self._pool.replaces_silent = True

    def _ended(self, pool: _Pool) -> None:
        """One call over it has ended. A suspect pool is closed with its last call."""
        pool.calls -= 1
        if pool is not self._pool and not pool.calls:
            closing = asyncio.create_task(pool.session.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _answered(self, pool: _Pool, took: float) -> None:
        suspected, pool.replaces_silent = pool.replaces_silent, False
        if suspected and took < QUICK:
            self.reconnected()

    async def get(self, path: str, within: float = CALL_TIMEOUT, accept: str = JSON, query: Query = NO_QUERY) -> Json:
        """Quorum read of `path`: no resourceVersion, so the answer is no older than the question."""
        return await self._call("GET", path, None, "", query, within, accept)

    async def post(self, path: str, body: Json, within: float = CALL_TIMEOUT, query: Query = NO_QUERY) -> Json:
        """Create."""
        return await self._call("POST", path, body, JSON, query, within)

    async def put(self, path: str, body: Json, within: float = CALL_TIMEOUT, query: Query = NO_QUERY) -> Json:
        """Replace; guarded by the resourceVersion in the body."""
        return await self._call("PUT", path, body, JSON, query, within)

    async def patch(
        self, path: str, body: Json, kind: str = MERGE_PATCH, within: float = CALL_TIMEOUT, query: Query = NO_QUERY
    ) -> Json:
        """Patch; `kind` is the content type."""
        return await self._call("PATCH", path, body, kind, query, within)

    async def delete(self, path: str, body: Json | None = None, within: float = CALL_TIMEOUT) -> Json:
        """Delete; `body`: the options, such as preconditions."""
        return await self._call("DELETE", path, body, JSON if body else "", NO_QUERY, within)

    @asynccontextmanager
    async def stream(self, path: str, silence: float, query: Query = NO_QUERY) -> AsyncIterator[aiohttp.StreamReader]:
        """GET `path` and hand out the body as it comes; no bytes for `silence` seconds end it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT, sock_read=silence)
        try:
            response = await self._send(self._streams, "GET", path, None, "", query, timeout, JSON)
            try:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                yield response.content
            finally:
                response.close()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _silence("GET", path, error) from error

    async def _call(
        self,
        method: str,
        path: str,
        body: Json | None,
        kind: str,
        query: Query,
        within: float,
        accept: str = JSON,
    ) -> Json:
        pool, limits, began = self._pool, aiohttp.ClientTimeout(total=None), asyncio.get_running_loop().time()
        pool.calls += 1
        try:
            async with asyncio.timeout(within):
                response = await self._send(self._rest, method, path, body, kind, query, limits, accept)
                async with response:
                    raw = await response.read()
            self._answered(pool, asyncio.get_running_loop().time() - began)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._suspect(pool)
            raise _silence(method, path, error) from error
        finally:
            self._ended(pool)
        if response.status >= 400:
            raise _refusal(response.status, raw)
        try:
            answer: Json = json.loads(raw)
        except ValueError as error:
            raise ApiError(0, "BadAnswer", f"{method} {path}: not JSON: {raw[:80]!r}") from error
        return answer

    async def _send(
        self,
        rest: Any,
        method: str,
        path: str,
        body: Json | None,
        kind: str,
        query: Query,
        limits: aiohttp.ClientTimeout,
        accept: str,
    ) -> Any:
        headers = self._headers | {"Accept": accept, "Content-Type": kind or JSON}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self.configuration.host + path + ("?" + urlencode(query) if query else "")
        answer = await rest.request(method, url, headers=headers, body=body, _request_timeout=limits)
        return answer.response


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session that owns its connections; the library would make one of its own otherwise."""
    return aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=READ_BUFFER)


def _silence(method: str, path: str, error: BaseException) -> ApiError:
    return ApiError(0, type(error).__name__, f"{method} {path}: {error}".rstrip(": "))


def _refusal(status: int, raw: bytes) -> ApiError:
    try:
        document = json.loads(raw)
        return ApiError(status, str(document.get("reason", "")), str(document.get("message", "")))
    except (ValueError, AttributeError):
        return ApiError(status, "", raw.decode(errors="replace")[:500])


def _is_file(path: str) -> bool:
    return Path(path).is_file()


async def connect(kubeconfig: str = "", user_agent: str = "ostkeeper-operator") -> Api:
    """Open a pool: by `kubeconfig`, else the service account of the pod, else $KUBECONFIG or ~/.kube/config.

    Raises ConfigError with one line that says which file, what is wrong with it and what to do.
    """
    configuration = kube.Configuration()
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and not kubeconfig
    where = "the pod's service account" if in_pod else kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config")
    try:
        if in_pod:
            kube_config.load_incluster_config(client_configuration=configuration)
        else:
            if kubeconfig and not _is_file(kubeconfig):
                raise ConfigError(f"--kubeconfig {kubeconfig}: no such file")
            await kube_config.load_kube_config(config_file=kubeconfig or None, client_configuration=configuration)
    except ConfigError:
        raise
    except Exception as error:  # yaml, ConfigException, OSError: the library raises whatever its parts raise
        text = " ".join(str(error).split())
        raise ConfigError(f"{where}: cannot be used: {text}; give a valid file by --kubeconfig FILE") from error
    return Api(configuration, user_agent)
