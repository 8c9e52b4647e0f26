"""The `Cluster` port on the real API server: guarded writes, quorum reads, Events.

Here: which request an effect becomes, and which `Outcome` an answer is. Every call has a deadline, none is retried: what
to do about a failed write is decided in `core`. Not here: HTTP (`client`), times (`stamp`), watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from ostkeeper.api import OSS, OST, Failover, FenceDevice, OSSPair
from ostkeeper.api.common import HEARTBEAT_NAMESPACE, Condition, Resource
from ostkeeper.api.failover import FailoverStatus
from ostkeeper.api.fencedevice import FenceDeviceStatus
from ostkeeper.api.oss import PairRef
from ostkeeper.api.osspair import OSSPairStatus
from ostkeeper.api.ost import OSTStatus
from ostkeeper.controller import objects
from ostkeeper.controller.client import APPLY_PATCH, CALL_TIMEOUT, Api, ApiError
from ostkeeper.controller.notices import Notices
from ostkeeper.controller.objects import BadObjectError, Json, Parser
from ostkeeper.controller.stamp import stamp, stamp_condition
from ostkeeper.core.events import Outcome, Snapshot, Tell
from ostkeeper.ports import Clock, ReadFailedError, Written

logger = logging.getLogger(__name__)
FIELD_MANAGER = "ostkeeper-operator"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
NODE_LEASES = LEASES.format("kube-node-lease")
AGENT_LEASES = LEASES.format(HEARTBEAT_NAMESPACE)
NODES = "/api/v1/nodes"

ResourceT = TypeVar("ResourceT", bound=Resource)
StatusT = OSSPairStatus | FailoverStatus | OSTStatus | FenceDeviceStatus


class KubeCluster:
    """`Cluster` on the API server. `holder` is this operator's name in the leader lease at `leader_lease`."""

    def __init__(self, api: Api, parser: Parser, clock: Clock, leader_lease: str, holder: str) -> None:
        self.api = api
        self._parser = parser
        self._clock = clock
        self._leader_lease = leader_lease
        self._holder = holder
        self._last: dict[tuple[str, str], Resource] = {}
        """The objects as last read or written, for the times in their statuses and for what a snapshot asks by name."""
        self._notices = Notices(api, clock)

    # --- quorum reads

    async def snapshot(self, pair: str) -> Snapshot:
        """All at once, in parallel, from the servers that the pair named when it was last seen."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await self._snapshot(pair)
        except TimeoutError:
            raise ReadFailedError(f"reading {pair} took longer than {CALL_TIMEOUT:g}s") from None
        except ExceptionGroup as errors:
            if errors.split((ApiError, BadObjectError))[1]:
                raise  # a bug of ours
            why = "; ".join(sorted({str(error) for error in errors.exceptions}))
            raise ReadFailedError(f"reading {pair}: {why}") from errors

    async def _snapshot(self, key: str) -> Snapshot:
        last = self._last.get(("OSSPair", key))
        servers = last.servers if isinstance(last, OSSPair) else ()
        answer = await self._read_all(key, servers)
        if answer.pair and answer.pair.servers != servers:
            answer = await self._read_all(key, answer.pair.servers)
        return answer

    async def _read_all(self, key: str, servers: tuple[str, ...]) -> Snapshot:
        namespace, _, name = key.rpartition("/")
        async with asyncio.TaskGroup() as group:
            start = group.create_task
            pair = start(self._find(OSSPair, key))
            osts = start(self._list(OST, namespace, "spec.pairName", name))
            failovers = start(self._list(Failover, namespace, "spec.pairName", name))
            devices = start(self._list(FenceDevice, namespace))
            osses = [start(self._find(OSS, server)) for server in servers]
            beats = [start(self._get(f"{AGENT_LEASES}/{server}")) for server in servers]
            nodes = [start(self._get_if_allowed(f"{NODES}/{server}")) for server in servers]
            kubelets = [start(self._get_if_allowed(f"{NODE_LEASES}/{server}")) for server in servers]
            leader = start(self._get(self._leader_lease))
        lease = leader.result() or {}
        return Snapshot(
            pair=pair.result(),
            osts=tuple(ost for ost in osts.result() if ost.spec.pair_name == name),
            osses=tuple(oss for task in osses if (oss := task.result())),
            devices=devices.result(),
            failovers=tuple(fo for fo in failovers.result() if fo.spec.pair_name == name),
            beats=tuple(objects.beat(raw) for task in beats if (raw := task.result())),
            nodes=tuple(
                objects.node_state(raw, kubelet.result())
                for node, kubelet in zip(nodes, kubelets, strict=True)
                if (raw := node.result())
            ),
            leading=(lease.get("spec") or {}).get("holderIdentity") == self._holder,
        )

    async def _get(self, path: str) -> Json | None:
        try:
            return await self.api.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _get_if_allowed(self, path: str) -> Json | None:
        """What a site may keep from the operator: it then has no such witness."""
        try:
            return await self._get(path)
        except ApiError as error:
            if error.status == 403:
                return None
            raise

    async def _find(self, kind: type[ResourceT], key: str) -> ResourceT | None:
        raw = await self._get(objects.path(kind, key))
        if raw is None:
            return None
        try:
            return self._remember(self._parser.parse(kind, raw))
        except BadObjectError:
            if kind is OSS:  # a server whose report cannot be read is a server without a report
                return None
            raise

    async def _list(
        self, kind: type[ResourceT], namespace: str, field: str = "", value: str = ""
    ) -> tuple[ResourceT, ...]:
        """A whole collection. A Failover that cannot be read fails it; other bad objects are left out (`index` tells)."""
        selector = {"fieldSelector": f"{field}={value}"} if f".{field}" in kind.selectable else {}
        answer = await self.api.get(objects.collection(kind, namespace), query=selector)
        found: list[ResourceT] = []
        for raw in answer.get("items", ()):
            try:
                found.append(self._remember(self._parser.parse(kind, raw)))
            except BadObjectError:
                if kind is Failover and (raw.get("spec") or {}).get("pairName") == value:
                    raise
        return tuple(found)

    def _remember(self, found: ResourceT) -> ResourceT:
        self._last[found.kind, found.key] = found
        return found

    def saw(self, found: Resource) -> None:
        """A watch showed an object: what it was is where its next status takes its times from."""
        self._remember(found)

    def forget(self, kind: str, key: str) -> None:
        """A watch said that an object is gone."""
        gone = self._last.pop((kind, key), None)
        if gone:
            self._parser.forget(gone.metadata.uid)

    # --- writes

    async def write_pair(self, key: str, version: str, status: OSSPairStatus) -> Written:
        """Replace OSSPair.status."""
        return await self._replace(OSSPair, key, version, status)

    async def write_failover(self, key: str, version: str, status: FailoverStatus) -> Written:
        """Replace Failover.status."""
        return await self._replace(Failover, key, version, status)

    async def write_ost(self, key: str, version: str, status: OSTStatus) -> Written:
        """Replace OST.status."""
        return await self._replace(OST, key, version, status)

    async def write_device(self, key: str, version: str, status: FenceDeviceStatus) -> Written:
        """Replace FenceDevice.status."""
        return await self._replace(FenceDevice, key, version, status)

    async def create_failover(self, failover: Failover) -> Written:
        """Create a Failover; nothing of the pair's labels or annotations goes with it."""
        fields = objects.body(Failover, failover.key, spec=failover.spec.wire())
        namespace = failover.metadata.namespace
        return await self._write(Failover, self.api.post(objects.collection(Failover, namespace), fields))

    async def delete_failover(self, key: str, version: str) -> Written:
        """Delete a Failover."""
        guard = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": version}}
        try:
            await self.api.delete(objects.path(Failover, key), guard)
        except ApiError as error:
            return Written(outcome_of(error.status), None, str(error))
        return Written(Outcome.OK, None)

    async def create_oss(self, node: str, pair: PairRef) -> Written:
        """Create the OSS of a server."""
        fields = objects.body(OSS, node, spec={"pair": pair.wire()})
        return await self._write(OSS, self.api.post(objects.collection(OSS), fields))

    async def write_oss_ready(self, node: str, condition: Condition) -> Written:
        """By server-side apply: the list of conditions is a map by type, and the rest of the status is the agent's."""
        last = self._last.get(("OSS", node))
        before = last.status.conditions if isinstance(last, OSS) and last.status else ()
        stamped = stamp_condition(condition, before, self._clock.wall())
        fields = objects.body(OSS, node, status={"conditions": [stamped.wire()]})
        path = objects.path(OSS, node) + "/status"
        request = self.api.patch(path, fields, APPLY_PATCH, query={"fieldManager": FIELD_MANAGER, "force": "true"})
        return await self._write(OSS, request)

    async def _replace(self, kind: type[Resource], key: str, version: str, status: StatusT) -> Written:
        last = self._last.get((kind.kind, key))
        stamped = stamp(status, getattr(last, "status", None), self._clock.wall())
        fields = objects.body(kind, key, version, status=stamped.wire())
        return await self._write(kind, self.api.put(objects.path(kind, key) + "/status", fields))

    async def _write(self, kind: type[Resource], request: Awaitable[Json]) -> Written:
        try:
            stored = self._parser.parse(kind, await request)
        except ApiError as error:
            return Written(outcome_of(error.status), None, str(error))
        except BadObjectError as error:
            return Written(Outcome.FAILED, None, f"written, but what came back cannot be read: {error}")
        return Written(Outcome.OK, self._remember(stored))

    async def tell(self, tell: Tell) -> None:
        """Show a Kubernetes Event."""
        await self._notices.tell(tell)


def outcome_of(status: int) -> Outcome:
    """What an HTTP status says about a write."""
    if status == 409:
        return Outcome.CONFLICT
    if status == 404:
        return Outcome.GONE
    return Outcome.REFUSED if status in (400, 403, 413, 422) else Outcome.FAILED


def devices_named(pairs: Iterable[OSSPair]) -> set[str]:
    """The keys of all FenceDevices that feeds of these pairs name."""
    return {
        f"{pair.metadata.namespace}/{feed.device_name}"
        for pair in pairs
        for node in pair.spec.nodes
        for level in node.fencing
        for feed in level.feeds
    }
