"""What `ostkeeper fence-test` does: read every feed of a pair, or ask the leader for drills, and print what came of it.

Without `--really` every feed is read, and nothing is switched. With it the leader is asked for a drill of each level: it cuts
real power, on a server that holds no target, and remembers what that proved. Here: asking and printing. Not here: the drill.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import uuid
from dataclasses import dataclass

from ostkeeper.api import FenceDevice, OSSPair
from ostkeeper.api.osspair import Wiring
from ostkeeper.controller.client import Api, ApiError, ConfigError, connect
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.objects import body, path
from ostkeeper.core.power import Feed, PowerReading, PowerState
from ostkeeper.fencing.registry import credentials_secret, open_device
from ostkeeper.ports import FenceError

FIELD_MANAGER = "ostkeeper-fence-test"
"""Its own, so that Git and the drill request do not fight over the pair's spec."""
POLL = 0.5
"""Seconds between two looks at the pair while a drill runs."""
READ_DEADLINE = 10.0
"""Seconds for one reading."""


@dataclass(frozen=True, slots=True)
class Row:
    """One feed of one level and what it read."""

    node: str
    level: str
    feed: Feed
    reading: str
    ok: bool


def run(arguments: argparse.Namespace) -> int:
    """Carry it out. 0: all as declared; 1: something is wrong; 2: it could not be asked."""
    try:
        return asyncio.run(_run(arguments))
    except (ConfigError, ApiError, ValueError) as error:
        print(f"fence-test: {error}")
        return 2


async def _run(arguments: argparse.Namespace) -> int:
    namespace, _, name = arguments.pair.partition("/")
    if not name:
        raise ValueError(f"{arguments.pair} is not NAMESPACE/NAME of an OSSPair")
    api = await connect(arguments.kubeconfig)
    try:
        pair = OSSPair.parse(await api.get(path(OSSPair, arguments.pair)))
        wanted = levels(pair, arguments.node, arguments.level)
        if not wanted:
            raise ValueError(
                f"{arguments.pair} has no level {arguments.level or '*'} of server {arguments.node or '*'}"
            )
        if not arguments.really:
            return report(await read_feeds(api, pair, namespace, wanted))
        accept = arguments.accept_partner_outage
        drills = [
            await drill(api, arguments.pair, node, level, arguments.timeout, accept=accept) for node, level in wanted
        ]
        return report_drills(drills)
    finally:
        await api.close()


def levels(pair: OSSPair, node: str, level: str) -> list[tuple[str, str]]:
    """The (server, level) pairs that are asked for."""
    return [
        (spec.name, entry.name)
        for spec in pair.spec.nodes
        for entry in spec.fencing
        if node in ("", spec.name) and level in ("", entry.name)
    ]


async def read_feeds(api: Api, pair: OSSPair, namespace: str, wanted: list[tuple[str, str]]) -> list[Row]:
    """Read each feed once."""
    rows = []
    for node, level in wanted:
        feeds = next(entry.feeds for entry in pair.fencing_of(node) if entry.name == level)
        for ref in feeds:
            feed = Feed(ref.device_name, ref.outlet or "")
            reading = await read_feed(api, namespace, feed)
            said = "; ".join(part for part in (reading.detail, reading.identity) if part)
            text = reading.state.value + (f" ({said})" if said else "")
            rows.append(Row(node, level, feed, text, reading.state is not PowerState.UNKNOWN))
    return rows


async def read_feed(api: Api, namespace: str, feed: Feed) -> PowerReading:
    """Open the device, read, close. What goes wrong is an UNKNOWN with its reason."""
    clock = SystemClock()
    began = clock.monotonic()
    try:
        device = FenceDevice.parse(await api.get(path(FenceDevice, f"{namespace}/{feed.device}")))
        secret = credentials_secret(device.spec)
        raw = await api.get(f"/api/v1/namespaces/{namespace}/secrets/{secret}") if secret else {}
        data = {key: base64.b64decode(value) for key, value in raw.get("data", {}).items()}
        driver = open_device(device.spec, data, clock, feed.device)
    except (ApiError, FenceError) as error:
        return PowerReading(state=PowerState.UNKNOWN, began=began, ended=clock.monotonic(), detail=str(error))
    try:
        return await driver.read(feed.outlet, clock.monotonic() + READ_DEADLINE)
    finally:
        await driver.close()


async def drill(api: Api, key: str, node: str, level: str, within: float, *, accept: bool = False) -> Wiring:
    """Ask the leader for one drill and wait for what it found. Raises ValueError when nobody answers in time."""
    request = f"{node}-{level}-{uuid.uuid4().hex[:8]}"
    print(f"{node}: drill of level {level} ({request}): requested, waiting for the operator ...", flush=True)
    asked: dict[str, object] = {"node": node, "level": level, "id": request}
    spec = {"drill": asked | {"acceptPartnerOutage": True} if accept else asked}
    await api.patch(path(OSSPair, key), body(OSSPair, key, spec=spec), query={"fieldManager": FIELD_MANAGER})
    clock = SystemClock()
    deadline = clock.monotonic() + within
    while clock.monotonic() < deadline:
        pair = OSSPair.parse(await api.get(path(OSSPair, key)))
        found = next((w for w in pair.status.wiring if w.id == request), None) if pair.status else None
        if found is not None:
            return found
        await asyncio.sleep(POLL)
    raise ValueError(f"no operator has answered drill {request} within {within:g}s; is one leading?")


def report(rows: list[Row]) -> int:
    """Print what was read. 1 when a feed is UNKNOWN: it could prove no death."""
    for row in rows:
        print(f"{row.node:12} {row.level:10} {row.feed!s:24} {row.reading}")
    return 0 if all(row.ok for row in rows) else 1


def report_drills(results: list[Wiring]) -> int:
    """Print what the drills proved. 1 when one did not prove the wiring."""
    for w in results:
        print(f"{w.node:12} {w.level:10} {'proven' if w.proven else 'NOT proven'}: {w.message}")
    return 0 if all(w.proven for w in results) else 1
