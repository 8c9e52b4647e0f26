"""A thin client of the API server for the testbed itself: one request, one JSON answer, no cache and no retry.

Here: what the kubelet's player, the readiness check and the tests need. Not here: the product's own clients; those are
under test and must not be used to look at what they did.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import aiohttp

Json = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server refused. `status` is the HTTP code, `reason` and `message` are its own words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message


UNHEARD = (ApiError, aiohttp.ClientError, TimeoutError)
"""What a request raises while the API server is away, busy, or not ready."""


class ApiClient:
    """One user's connection; an async context manager, to be used in one event loop.

    `timeout` bounds each request in seconds, default 5. Connection errors are aiohttp.ClientError or TimeoutError.
    """

    def __init__(self, url: str, ca: bytes, token: str, timeout: float = 5.0) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        self._tls = ssl.create_default_context(cadata=ca.decode())
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ApiClient":
        self._session = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(ssl=self._tls),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        """GET `path` such as /api/v1/nodes/oss1. Raises ApiError."""
        return await self._request("GET", path, None, "", query)

    async def create(self, path: str, body: Mapping[str, Any]) -> Json:
        """POST `body` to a collection. Raises ApiError (409 AlreadyExists)."""
        return await self._request("POST", path, body, "application/json", {})

    async def patch(self, path: str, body: Mapping[str, Any], kind: str = MERGE_PATCH, **query: str) -> Json:
        """PATCH `path`; `kind` is the content type, merge patch by default. Raises ApiError (404, 409)."""
        return await self._request("PATCH", path, body, kind, query)

    async def delete(self, path: str) -> Json:
        """DELETE `path`. Raises ApiError."""
        return await self._request("DELETE", path, None, "", {})

    async def watch(self, path: str, version: str) -> AsyncIterator[Json]:
        """Yield every event of a collection after `version`, as it arrives, until the server ends it. Raises ApiError."""
        if self._session is None:
            raise RuntimeError("ApiClient is used outside of its `async with`")
        query, forever = {"watch": "1", "resourceVersion": version}, aiohttp.ClientTimeout(total=None)
        async with self._session.get(path, params=query, timeout=forever) as response:
            if response.status >= 400:
                raise _refusal(response.status, await response.read())
            async for line in response.content:
                yield json.loads(line)

    async def text(self, path: str) -> str:
        """GET something that is not JSON, such as /readyz. Raises ApiError."""
        return (await self._answer("GET", path, None, {}, {})).decode()

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, kind: str, query: Mapping[str, str]
    ) -> Json:
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        answer: Json = json.loads(await self._answer(method, path, body, headers, query))
        return answer

    async def _answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> bytes:
        if self._session is None:
            raise RuntimeError("ApiClient is used outside of its `async with`")
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(method, path, data=data, headers=headers, params=query) as response:
            raw = await response.read()
            if response.status >= 400:
                raise _refusal(response.status, raw)
            return raw


def _refusal(status: int, raw: bytes) -> ApiError:
    try:
        document = json.loads(raw)
        return ApiError(status, document.get("reason", ""), document.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", raw.decode(errors="replace")[:500])
