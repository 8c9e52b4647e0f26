"""Kubelets and the node controller: the witness that is Kubernetes' own.

Here: Nodes whose heartbeat moves while their server runs and reaches the API server, and which fall to Unknown else. Not
here: what that says about a server (`core.verdict`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ostkeeper.core.events import NodeState
from ostkeeper.sim.network import API

if TYPE_CHECKING:
    from ostkeeper.sim.world import World

EVERY = 10.0
"""Seconds between two renewals of a Node's lease (kubelet, nodeLeaseRenewInterval)."""
GRACE = 40.0
"""Seconds after which the node controller says Unknown (kube-controller-manager, --node-monitor-grace-period)."""


class Kubelets:
    """Those of all servers that have a Node; one event for all."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._beats = 0
        self._renewed = dict.fromkeys(world.site.nodes, 0.0)

    def start(self) -> None:
        """Every Node is Ready now; go on from here."""
        if self._renewed:
            self._turn()

    def _turn(self) -> None:
        world, now = self._world, self._world.kernel.now
        self._beats += 1
        for server, renewed in self._renewed.items():
            alive = world.hosts[server].running and world.network.reaches(server, API)
            if not world.store.up:
                self._renewed[server] = now  # the node controller is cut off from it, too
            elif alive:
                self._renewed[server] = now
                world.store.show_node(NodeState(server, "True", str(self._beats)))
            elif now - renewed > GRACE:
                self._unknown(server)
        world.kernel.after(EVERY, world.kernel.net, self._turn)

    def _unknown(self, server: str) -> None:
        known = self._world.store.node_of(server)
        if known is not None and known.ready == "True":
            self._world.store.show_node(NodeState(server, "Unknown", known.heartbeat))
