"""kopf, as ears: `on.event` for the five kinds wakes pairs. Nothing in it decides, writes or retries.

Here: kopf's settings, credentials, and its life. A watch of kopf's that meets a 404 (CRDs deleted) ends for good, in
silence, while the rest goes on; one that goes on from a version which a restored etcd has not reached yet is deaf. So both
are looked for, and then all watches start afresh and every object is shown again. Beside it a sweep, by what a LIST says:
kopf does not notice what was deleted while a watch was away. Not here: what an object means.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from ostkeeper.api.common import GROUP, VERSION, Resource
from ostkeeper.controller import objects
from ostkeeper.controller.client import METADATA_ONLY, Api, ApiError
from ostkeeper.controller.objects import KINDS, Json, key_of

logger = logging.getLogger(__name__)
SWEEP_EVERY = 60.0
"""Seconds between two looks for objects that are gone, or have changed, without a word."""
SWEEP_SOON = 10.0
"""Seconds after the watches began at which it is looked for the first time: of a CRD that was just created they lose events."""
LISTENING_GRACE = 5.0
"""Seconds in which a change that a LIST shows must have come by the watch, too."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether all watches still run."""
START_AGAIN = 1.0
"""Seconds before watches that broke start afresh."""
AFRESH_REST = 30.0
"""Seconds that watches run at least before dead connections have them start afresh: each start LISTs every object."""
LIST_TIMEOUT = 30.0
LIST_AGAIN = 0.5
"""Seconds between two first LISTs: an API server that has just started answers 429 for a moment."""

Show = Callable[[type[Resource], Json], None]
GoneFn = Callable[[str, str], None]


KOPF_NAME: Any = "ostkeeper"
"""What kopf calls itself among peers; it has none here. Left out, it asks for the user's name, and a container's uid has none."""


class Patience:
    """kopf's back-off, in seconds, for ever: a watch that gives up stays away in silence."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1.0), itertools.repeat(2.0))


class Ears:
    """The watches of the five kinds."""

    def __init__(self, api: Api, show: Show, gone: GoneFn, known: Callable[[str], list[str]]) -> None:
        self._api, self._show, self._gone, self._known = api, show, gone, known
        self._versions: dict[tuple[str, str], str] = {}
        """The resourceVersion of each object as it was shown last."""
        self._restart = asyncio.Event()
        self._began = 0.0
        """When the watches began, on the loop's clock."""
        self.started: Callable[[], None] = lambda: None
        """Called whenever kopf has started, and taken the process's signals."""

    async def hear_all(self) -> None:
        """LIST all five kinds and show every object, so that no pair is judged by half of what there is.

        What is not there any more is gone. Waits for the CRDs and for the API server as long as it takes, and says so.
        """
        said = ""
        while True:
            try:
                for kind in KINDS.values():
                    await self._hear(kind)
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

    def connections_died(self) -> None:
        """Connections to the API server were found dead: kopf's are, too, and it waits 70 s for a bookmark to notice."""
        now = asyncio.get_running_loop().time()
        if now >= self._began + AFRESH_REST:
            logger.warning("connections to the API server are dead: the watches take new ones")
            self.start_afresh()

    async def run(self) -> None:
        """Listen until cancelled. `hear_all` comes first."""
        sweep = asyncio.create_task(self._sweep_for_ever(), name="sweep")
        try:
            while True:
                self._restart.clear()
                await self._listen()
                await asyncio.sleep(START_AGAIN)
                await self.hear_all()
        finally:
            sweep.cancel()

    # --- what comes in

    async def _hear(self, kind: type[Resource]) -> None:
        before = self._known(kind.kind)  # before the LIST: what is created meanwhile is not in it, and not gone
        answer = await self._api.get(objects.collection(kind), LIST_TIMEOUT)
        there = [self._take(kind, raw) for raw in answer.get("items", ())]
        for key in set(before) - set(there):
            self._lose(kind.kind, key)

    def _take(self, kind: type[Resource], raw: Json) -> str:
        key = key_of(raw)
        self._versions[kind.kind, key] = raw["metadata"]["resourceVersion"]
        self._show(kind, raw)
        return key

    def _lose(self, kind: str, key: str) -> None:
        self._versions.pop((kind, key), None)
        self._gone(kind, key)

    # --- kopf's life

    async def _listen(self) -> None:
        """One life of kopf; ends when a part of it breaks, or when it is to start afresh."""
        roots = set(
            await kopf.spawn_tasks(
                registry=self._registry(), settings=_settings(), identity=KOPF_NAME, standalone=True, clusterwide=True
            )
        )
        self.started()
        self._began = asyncio.get_running_loop().time()
        restart = asyncio.create_task(self._restart.wait(), name="restart of the watches")
        most = 0
        try:
            while True:
                done, _ = await asyncio.wait({*roots, restart}, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
                running = len(_watchers())
                most = max(most, running)
                if done or running < most:
                    break
            logger.warning("the watches start afresh: %s", _why(done - {restart}, most - running))
        finally:
            watchers = _watchers()
            for task in (*roots, restart, *watchers):
                task.cancel()
            await asyncio.wait({*roots, restart, *watchers}, timeout=START_AGAIN)

    # --- what happened without a word

    async def _sweep_for_ever(self) -> None:
        last = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = asyncio.get_running_loop().time()
            anew = last < self._began <= now - SWEEP_SOON
            if now < last + SWEEP_EVERY and not anew:
                continue
            last = now
            try:
                await self._sweep()
            except ApiError as error:
                logger.info("did not look for objects that are gone: %s", error)

    async def _sweep(self) -> None:
        """Drop what is gone; start afresh if a change that a LIST shows does not come by the watch."""
        unheard: dict[tuple[str, str], str] = {}
        for name, kind in KINDS.items():
            before = self._known(name)
            try:
                answer = await self._api.get(objects.collection(kind), LIST_TIMEOUT, METADATA_ONLY)
            except ApiError as error:
                if error.status != 404:
                    raise
                continue  # no CRD: absence orders nothing
            there = {key_of(item): item["metadata"]["resourceVersion"] for item in answer.get("items", ())}
            for key in set(before) - set(there):
                self._lose(name, key)
            for key, version in there.items():
                shown = self._versions.get((name, key), "")
                if shown != version:
                    unheard[name, key] = shown
        if unheard:
            await asyncio.sleep(LISTENING_GRACE)
            if any(self._versions.get(place, "") == shown for place, shown in unheard.items()):
                logger.warning("a watch is deaf: %s %s", *next(iter(unheard)))
                self.start_afresh()

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
                self._lose(kind.kind, key_of(raw))
            else:
                self._take(kind, raw)

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


def _watchers() -> list[asyncio.Task[Any]]:
    """kopf's watches, by the name that it gives their tasks; it keeps them to itself otherwise."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("watcher for ")]


def _why(ended: set[asyncio.Task[Any]], lost: int) -> str:
    for task in ended:
        return f"{task.get_name()} ended: {'cancelled' if task.cancelled() else task.exception() or 'no error'}"
    return f"{lost} of them ended" if lost else "history went back"


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = LIST_TIMEOUT
    settings.networking.connect_timeout = 5.0
    settings.networking.error_backoffs = Patience()
    for noisy in (
        "kopf",
        "kopf._cogs",
        "kopf.objects",
        "kopf.activities",
    ):  # a page of traceback for each lost connection
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    return settings
