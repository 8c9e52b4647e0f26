"""Kubernetes Nodes and their kubelets' leases, by plain watches: the witness `node`.

Here: one `NodeState` a server, shown when it moves. The lease is watched, too, because the Node object itself moves every
five minutes only. A cluster where this is forbidden, or servers that are no Nodes, simply have no such witness.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ostkeeper.controller.client import Api
from ostkeeper.controller.cluster import NODE_LEASES, NODES
from ostkeeper.controller.objects import Json, node_state
from ostkeeper.controller.once import Once
from ostkeeper.controller.watch import Watch
from ostkeeper.core.events import NodeState
from ostkeeper.ports import Clock

logger = logging.getLogger(__name__)

SILENCE = 120.0
"""Seconds without a byte: bookmarks come about once a minute."""


class Nodes:
    """Both watches. `seen` gets the state of each Node that moved, `gone` the name of each that was deleted; states without a
    Node are not shown."""

    def __init__(self, api: Api, clock: Clock, seen: Callable[[NodeState], None], gone: Callable[[str], None]) -> None:
        self._seen, self._gone = seen, gone
        self._nodes: dict[str, Json] = {}
        self._leases: dict[str, Json] = {}
        self._watches = (
            Watch(api, NODES, self._node, SILENCE, Once(logger, clock), gone=self._lost),
            Watch(api, NODE_LEASES, self._lease, SILENCE, Once(logger, clock)),
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(watch.run(), name=f"watch of {watch.path}")

    def relist(self) -> None:
        """The API server's history went back."""
        for watch in self._watches:
            watch.relist()

    def _node(self, raw: Json) -> None:
        name = raw["metadata"]["name"]
        self._nodes[name] = {
            "metadata": {"name": name},
            "status": {"conditions": raw.get("status", {}).get("conditions")},
        }
        self._show(name)

    def _lost(self, name: str) -> None:
        """The Node was deleted. Its lease may outlive it, and says nothing alone."""
        self._nodes.pop(name, None)
        self._gone(name)

    def _lease(self, raw: Json) -> None:
        name = raw["metadata"]["name"]
        self._leases[name] = {"spec": {"renewTime": (raw.get("spec") or {}).get("renewTime")}}
        self._show(name)

    def _show(self, name: str) -> None:
        if name in self._nodes:
            self._seen(node_state(self._nodes[name], self._leases.get(name)))
