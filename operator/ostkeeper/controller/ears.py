"""kopf, as ears: `on.event` for the five kinds wakes pairs. Nothing in it decides, writes or retries.

Here: kopf's settings, credentials, and its life: when a watch of it breaks for good, a fresh one starts, and shows all
objects again. Beside it a sweep, because kopf does not notice what was deleted while a watch was away. Not here: what an
object means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import kopf

from ostkeeper.api.common import GROUP, VERSION, Resource
from ostkeeper.controller import objects
from ostkeeper.controller.client import METADATA_ONLY, Api, ApiError
from ostkeeper.controller.objects import KINDS, Json, key_of

logger = logging.getLogger(__name__)
SWEEP_EVERY = 60.0
"""Seconds between two looks for objects that are gone without a word."""
START_AGAIN = 2.0
"""Seconds before a broken watch starts afresh."""
LIST_TIMEOUT = 30.0
LIST_AGAIN = 0.5
"""Seconds between two first LISTs: an API server that has just started answers 429 for a moment."""

Show = Callable[[type[Resource], Json], None]
GoneFn = Callable[[str, str], None]


class Ears:
    """The watches of the five kinds."""

    def __init__(self, api: Api, show: Show, gone: GoneFn, known: Callable[[str], list[str]]) -> None:
        self._api, self._show, self._gone, self._known = api, show, gone, known
        self._restart = asyncio.Event()
        self.started: Callable[[], None] = lambda: None
        """Called whenever kopf has started, and taken the process's signals."""

    async def hear_all(self) -> None:
        """LIST all five kinds and show every object, so that no pair is judged by half of what there is.

        Waits for the CRDs and for the API server as long as it takes, and says so.
        """
        said = ""
        while True:
            try:
                for kind in KINDS.values():
                    answer = await self._api.get(objects.collection(kind), LIST_TIMEOUT)
                    for raw in answer.get("items", ()):
                        self._show(kind, raw)
                return
            except ApiError as error:
                hint = "; are the CRDs installed? kubectl apply -f crds/" if error.status == 404 else ""
                if str(error) != said:
                    said = str(error)
                    logger.warning("cannot list the objects of %s/%s yet: %s%s", GROUP, VERSION, error, hint)
                await asyncio.sleep(LIST_AGAIN)

    def start_afresh(self) -> None:
        """The API server's history went back: kopf would go on from a version that comes again only later, in silence."""
        self._restart.set()

    async def run(self) -> None:
        """Listen until cancelled."""
        sweep = asyncio.create_task(self._sweep_for_ever(), name="sweep")
        try:
            while True:
                self._restart.clear()
                await self._listen()
                await asyncio.sleep(START_AGAIN)
                await self.hear_all()
                await self._sweep()
        finally:
            sweep.cancel()

    async def _listen(self) -> None:
        """One life of kopf; ends when it breaks or is to start afresh."""
        tasks = set(
            await kopf.spawn_tasks(registry=self._registry(), settings=_settings(), standalone=True, clusterwide=True)
        )
        self.started()
        restart = asyncio.create_task(self._restart.wait(), name="restart of the watches")
        try:
            done, _ = await asyncio.wait({*tasks, restart}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {restart}:
                why = "cancelled" if task.cancelled() else task.exception() or "no error"
                logger.warning("the watches ended (%s: %s) and start afresh", task.get_name(), why)
        finally:
            for task in (*tasks, restart):
                task.cancel()
            await asyncio.wait({*tasks, restart}, timeout=START_AGAIN)

    # --- what was deleted in silence

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            try:
                await self._sweep()
            except ApiError as error:
                logger.info("did not look for objects that are gone: %s", error)

    async def _sweep(self) -> None:
        for name, kind in KINDS.items():
            before = self._known(name)  # before the LIST: what is created meanwhile is not in it, and not gone
            try:
                answer = await self._api.get(objects.collection(kind), LIST_TIMEOUT, METADATA_ONLY)
            except ApiError as error:
                if error.status != 404:
                    raise
                continue  # no CRD: absence orders nothing
            there = {key_of(item) for item in answer.get("items", ())}
            for key in before:
                if key not in there:
                    self._gone(name, key)

    # --- kopf

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for kind in KINDS.values():
            kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)(self._handler(kind))
        return registry

    def _handler(self, kind: type[Resource]) -> Callable[..., Any]:
        async def heard(event: dict[str, Any], **_: object) -> None:
            raw = event["object"]
            if event["type"] == "DELETED":
                self._gone(kind.kind, key_of(raw))
            else:
                self._show(kind, raw)

        return heard

    async def _login(self, **_: object) -> kopf.ConnectionInfo:
        """The same credentials as our own client's; asked again by kopf when they are refused."""
        used = self._api.configuration
        token = await used.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
        scheme, _space, secret = token.partition(" ")
        return kopf.ConnectionInfo(
            server=used.host,
            ca_path=used.ssl_ca_cert,
            insecure=not used.verify_ssl,
            scheme=scheme if secret else None,
            token=secret or None,
            certificate_path=used.cert_file,
            private_key_path=used.key_file,
        )


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = LIST_TIMEOUT
    settings.watching.connect_timeout = 5.0
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").setLevel(logging.ERROR)
    return settings
