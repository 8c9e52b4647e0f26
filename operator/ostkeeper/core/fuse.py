"""What the fuse has to know of a pair's servers: whose failures at one moment count together.

Here: file systems and power domains of a server, and whether it is excused. Not here: the count itself (`heartbeats`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ostkeeper.api.common import seconds
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.claims import device_key
from ostkeeper.core.heartbeats import Server


def servers_of(pair: OSSPair, osts: Iterable[OST], devices: Mapping[str, FenceDevice]) -> dict[str, Server]:
    """The servers of a pair, by name. `osts`: those that name it; `devices`: all, by `namespace/name`."""
    systems = {f"filesystem/{ost.spec.file_system}" for ost in osts}
    excused = {*pair.spec.maintenance, *(f.node for f in (pair.status.fenced if pair.status else ()))}
    found: dict[str, Server] = {}
    for node in pair.spec.nodes:
        keys = [device_key(pair, feed) for level in node.fencing for feed in level.feeds]
        pdus = {f"power/{key}" for key in keys if (d := devices.get(key)) and d.spec.has_outlets}
        found[node.name] = Server(
            interval=seconds(pair.spec.heartbeat.interval),
            groups=tuple(sorted(systems | pdus)),
            excused=node.name in excused,
        )
    return found
