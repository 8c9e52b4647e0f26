"""The kubelets and the node controller of the fake hosts, played: Node objects, leases, the Ready condition.

Here: what Kubernetes itself would write about a host. Not here: whether a host lives (the caller's `alive`), nor
anything that ostkeeper writes. Like the real ones, a kubelet writes only while it runs and reaches the API server, and
the node controller turns Ready to Unknown when it has seen no renewal for a while.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ostkeeper.testbed.controlplane_client import STRATEGIC_MERGE_PATCH, UNHEARD, ApiClient, ApiError

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEW_SECONDS = 3.0
"""One write a node; a real kubelet renews every 10 s. Shorter here, as all the testbed's times are."""
GRACE_SECONDS = 8.0
"""After this long without a renewal Ready turns Unknown; 50 s by default in a real cluster."""
STATUS_EVERY = 4
"""The Ready condition's heartbeat is written with every fourth renewal: 12 s; a real kubelet's is written every 5 min."""
TICK_SECONDS = 0.5

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Kubelet:
    """What is known of one played kubelet. Times are seconds on the event loop's clock."""

    node: str
    renewed_at: float
    renewals: int = 0
    ready: str = ""
    """The Ready condition as last written: True, Unknown, or nothing yet."""


class Kubelets:
    """Plays for all nodes of one control plane: `add` nodes, then have `run` run until it is cancelled.

    `alive(node)` says at each tick whether that kubelet runs and reaches the API server: the host has power, is not
    hung, its kubelet not stopped, its link not cut. An API server that is away is waited for, and nobody turns Unknown
    for it: living kubelets renew before the node controller looks.
    """

    def __init__(
        self,
        client: ApiClient,
        alive: Callable[[str], bool],
        renew_seconds: float = RENEW_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._client, self._alive = client, alive
        self._renew_seconds, self._grace_seconds = renew_seconds, grace_seconds
        self._kubelets: dict[str, Kubelet] = {}

    async def add(self, nodes: Iterable[str]) -> None:
        """Create the Node and its lease for each of `nodes`, Ready if alive. Those that exist are taken over."""
        for node in nodes:
            labels = {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"}
            await self._create("/api/v1/nodes", "v1", "Node", {"name": node, "labels": labels}, {})
            spec = {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": _now_micro()}
            await self._create(LEASES, "coordination.k8s.io/v1", "Lease", {"name": node}, {"spec": spec})
            self._kubelets[node] = Kubelet(node, asyncio.get_running_loop().time() - self._renew_seconds)
        await self.tick()

    async def run(self) -> None:
        """Renew and judge until cancelled. Errors of the API server are logged and waited out."""
        while True:
            try:
                await self.tick()
            except UNHEARD as error:
                _LOG.info("kubelets: %s; trying again in %.1fs", error, self._renew_seconds)
                await asyncio.sleep(self._renew_seconds)
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Let every kubelet that is due renew, then judge those that are silent. Raises what the client raises."""
        for kubelet in list(self._kubelets.values()):
            now = asyncio.get_running_loop().time()
            if self._alive(kubelet.node):
                if kubelet.ready != "True" or now - kubelet.renewed_at >= self._renew_seconds:
                    await self._renew(kubelet)
            elif kubelet.ready != "Unknown" and now - kubelet.renewed_at >= self._grace_seconds:
                message = "Kubelet stopped posting node status."
                await self._write_ready(kubelet, "Unknown", "NodeStatusUnknown", message)

    async def _renew(self, kubelet: Kubelet) -> None:
        await self._client.patch(f"{LEASES}/{kubelet.node}", {"spec": {"renewTime": _now_micro()}})
        kubelet.renewed_at = asyncio.get_running_loop().time()
        if kubelet.ready != "True" or kubelet.renewals % STATUS_EVERY == 0:
            await self._write_ready(kubelet, "True", "KubeletReady", "kubelet is posting ready status")
        kubelet.renewals += 1

    async def _write_ready(self, kubelet: Kubelet, status: str, reason: str, message: str) -> None:
        condition: dict[str, Any] = {"type": "Ready", "status": status, "reason": reason, "message": message}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if status == "True":  # the heartbeat is the kubelet's; the node controller leaves the last one standing
            condition["lastHeartbeatTime"] = now
        if status != kubelet.ready:
            condition["lastTransitionTime"] = now
        path = f"/api/v1/nodes/{kubelet.node}/status"
        await self._client.patch(path, {"status": {"conditions": [condition]}}, kind=STRATEGIC_MERGE_PATCH)
        kubelet.ready = status

    async def _create(self, path: str, version: str, kind: str, metadata: dict[str, Any], rest: dict[str, Any]) -> None:
        try:
            await self._client.create(path, {"apiVersion": version, "kind": kind, "metadata": metadata, **rest})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise


def _now_micro() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
