"""HTTP to the API server: one kept-alive pool, a deadline on every call, JSON in and out.

Here: connecting (kubeconfig, service account, exec plugins: all by `kubernetes.aio`) and calls with raw JSON. Its generated
models are left aside: building and walking them costs more than the whole call (budget: 10 ms a write).
Not here: which objects there are (`cluster`), watches' resuming (`watch`).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
POOL = 200
"""Connections at most. A pair in trouble reads a dozen objects at once; TLS handshakes must not be in the way."""


class ConfigError(Exception):
    """The kubeconfig or the service account cannot be used. One line, for the person who started the operator."""


class ApiError(Exception):
    """The API server refused (its code, reason and words), or did not answer (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status or 'no answer'} {reason}: {message}".strip())
        self.status, self.reason, self.message = status, reason, message


class Api:
    """One connection pool under one identity. All calls raise `ApiError`; none takes longer than its time-out."""

    def __init__(self, configuration: Any, user_agent: str = "ostkeeper-operator") -> None:
        self.configuration = configuration
        self._client = kube.ApiClient(configuration)
        self._rest = self._client.rest_client
        self._headers = {"User-Agent": user_agent, "Accept": JSON}
        configuration.client_session_kwargs = {
            "connector": aiohttp.TCPConnector(limit=POOL, ssl=self._rest.ssl_context, keepalive_timeout=KEEP_ALIVE)
        }

    async def close(self) -> None:
        """Close the pool."""
        connector = self.configuration.client_session_kwargs["connector"]
        await self._client.close()
        await connector.close()

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

    @asynccontextmanager
    async def stream(self, path: str, silence: float, query: Query = NO_QUERY) -> AsyncIterator[aiohttp.StreamReader]:
        """GET `path` and hand out the body as it comes; no bytes for `silence` seconds end it."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT, sock_read=silence)
        try:
            response = await self._send("GET", path, None, "", query, timeout, JSON)
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
        try:
            async with asyncio.timeout(within):
                response = await self._send(method, path, body, kind, query, aiohttp.ClientTimeout(total=None), accept)
                async with response:
                    raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _silence(method, path, error) from error
        if response.status >= 400:
            raise _refusal(response.status, raw)
        try:
            answer: Json = json.loads(raw)
        except ValueError as error:
            raise ApiError(0, "BadAnswer", f"{method} {path}: not JSON: {raw[:80]!r}") from error
        return answer

    async def _send(
        self,
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
        answer = await self._rest.request(method, url, headers=headers, body=body, _request_timeout=limits)
        return answer.response


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
