"""The consistent read before an act: pair, OSTs, partner and Failovers, all from the quorum, in parallel, with a deadline.

Here: `read_pair`, `cluster_uid`. Not here: watches, and what is done with what was read.
"""

from __future__ import annotations

import asyncio
import time

from pydantic import ValidationError

from ostkeeper.agent.api import RESOURCES, Api, ApiError, Json
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev

WITHIN = 2.0
"""Seconds for the whole read."""


async def read_pair(api: Api, asked: ev.ReadPair) -> ev.PairRead:
    """Read all at once. Whatever is not found is absent in the snapshot; any other failure fails the whole read."""
    began = time.monotonic()
    place = f"{RESOURCES}/namespaces/{asked.namespace}"
    selector = f"spec.pairName={asked.pair}"
    try:
        osts, found = await asyncio.gather(
            api.get(f"{place}/osts", WITHIN, fieldSelector=selector),
            asyncio.gather(
                _found(api, f"{place}/osspairs/{asked.pair}"),
                _found(api, f"{RESOURCES}/osses/{asked.partner}") if asked.partner else _nothing(),
                *(_found(api, f"{place}/failovers/{name}") for name in asked.failovers),
            ),
        )
        pair, partner, *failovers = found
        snapshot = ev.HostSnapshot(
            pair=OSSPair.parse(pair) if pair else None,
            osts=tuple(OST.parse(item) for item in osts["items"]),
            partner=OSS.parse(partner) if partner else None,
            failovers=tuple(Failover.parse(item) for item in failovers if item),
        )
    except (ApiError, ValidationError) as error:
        return ev.PairRead(asked.op, began, None, str(error))
    return ev.PairRead(asked.op, began, snapshot)


async def _found(api: Api, path: str) -> Json | None:
    try:
        return await api.get(path, WITHIN)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


async def _nothing() -> None:
    return None


async def cluster_uid(api: Api, within: float = 5.0) -> str:
    """UID of the namespace kube-system: it names the cluster, and outlives everything else in it. Raises `ApiError`."""
    found = await api.get("/api/v1/namespaces/kube-system", within)
    return str(found["metadata"]["uid"])
