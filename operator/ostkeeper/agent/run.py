"""The agent of one server: the host machine, and everything around it that touches the world.

Here: starting in the right order, and carrying out each effect as a task whose answer comes back as an event. Not here:
any decision (`core`), the command line (`cli.agent`).
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ostkeeper.agent import acts, hazards, pair_reader, peer
from ostkeeper.agent.api import RESOURCES, Api, ApiError
from ostkeeper.agent.children import Children
from ostkeeper.agent.disks import Shelf
from ostkeeper.agent.heartbeat import Heartbeat
from ostkeeper.agent.identity import Identity
from ostkeeper.agent.journal import Journal
from ostkeeper.agent.kubeconfig import Access
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.mounts import MountWatch
from ostkeeper.agent.stop import stop_machine
from ostkeeper.agent.store import MountRecord, State, Store, StoreError
from ostkeeper.agent.threads import Worker
from ostkeeper.agent.watches import Watcher, What
from ostkeeper.api.failover import Failover
from ostkeeper.api.oss import OSS, OSSStatus, PairRef
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import hostevents as ev
from ostkeeper.core.diskview import Mark
from ostkeeper.core.events import Gone, Seen
from ostkeeper.core.host import HostMachine
from ostkeeper.core.hoststate import Server
from ostkeeper.shell import drive

log = logging.getLogger(__name__)
VERSION = version("ostkeeper")
_LOOK_EVERY = 1.0
"""Seconds between two looks at locks and mount table beside their own notices: a remount by the kernel gives none."""
_HAZARDS_EVERY = 30.0
_REPORT_WITHIN = 5.0
FIRST_PROCESS = Path("/proc/1/stat")


@dataclass(frozen=True, slots=True)
class Settings:
    """How one agent runs."""

    identity: Identity
    access: Access
    state_directory: Path = Path("/var/lib/ostkeeper")
    run_directory: Path = Path("/run/ostkeeper")
    stop_command: str = ""
    """Empty: sysrq `b`."""
    port: int = peer.PORT
    peers: dict[str, str] = field(default_factory=dict)
    """How a server is reached, by name."""


class MonotonicClock:
    """The port `Clock` on this server."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> str:
        """RFC 3339 in UTC."""
        return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Agent:
    """One run. `run` returns only by being cancelled or by an error."""

    def __init__(self, settings: Settings, locks: Locks) -> None:
        """`locks`: with the lock of this host's one agent held already, by the caller."""
        self._settings = settings
        self._inbox: asyncio.Queue[ev.HostEvent] = asyncio.Queue()
        self._shelf = Shelf(locks, Children(locks, settings.run_directory / "children"), self._inbox.put_nowait)
        self._store, corrupt = _open_store(settings.state_directory)
        identity = settings.identity
        start = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        server = Server(identity.node, identity.boot_id, identity.system_uuid, start, VERSION)
        self._machine = HostMachine(server, remembered(self._store.state if self._store else State()), corrupt)
        self._api = Api(settings.access, f"ostkeeper-agent/{VERSION}")
        self._heartbeat = Heartbeat(
            self._api, identity.node, identity.boot_id, self._shelf.unread, lambda at: self._tell(ev.Renewed(at))
        )
        self._heartbeat.went_back = self._relist
        self._watchers: list[Watcher] = []
        self._peer = peer.PeerWatch(settings.port, settings.peers, lambda boot: self._tell(ev.PeerSeen(boot)))
        self._tasks: set[asyncio.Task[None]] = set()
        self._journal = Journal()
        self._failed: asyncio.Future[None] | None = None
        self._pair: PairRef | None = None
        self._partner = ""

    async def run(self) -> None:
        """Start everything and drive the machine. Raises OSError when the port cannot be had."""
        identity = self._settings.identity
        self._journal.starts(VERSION, identity, self._settings.state_directory)
        self._failed = asyncio.get_running_loop().create_future()
        server = await peer.serve(f"{identity.node}/{identity.boot_id}", self._settings.port)
        mount_watch = MountWatch(self._shelf.look_at_mounts)
        async with server, self._api:
            try:
                mount_watch.start()
                self._spawn(self._heartbeat.run())
                self._spawn(self._find_cluster())
                self._spawn(self._look_around())
                self._spawn(self._look_for_hazards())
                self._watch_own_oss()
                self._spawn(drive(self._machine, self._inbox, self._perform, MonotonicClock()))
                await self._failed
            finally:
                mount_watch.close()
                self._shelf.close()
                self._peer.close()
                for task in list(self._tasks):
                    task.cancel()

    def _tell(self, event: ev.HostEvent) -> None:
        self._inbox.put_nowait(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the loop. What it raises is a bug, and ends the agent: a restart changes nothing."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and self._failed and not self._failed.done():
            self._failed.set_exception(error)

    # --- what is watched -------------------------------------------------------------------------------------------------

    def _watch_own_oss(self) -> None:
        name = self._settings.identity.node

        def listed(count: int) -> None:
            if count == 0:
                self._tell(ev.OSSMissing())

        self._watch(What(OSS, f"metadata.name={name}"), self._own_oss, listed)

    def _own_oss(self, event: Seen | Gone) -> None:
        """The OSS says which pair: from then on, that pair is watched. It never changes, but for a person's hand."""
        self._tell(event)
        oss = event.object if isinstance(event, Seen) else None
        if not isinstance(oss, OSS) or oss.spec.pair == self._pair:
            return
        if self._pair is not None and self._failed and not self._failed.done():
            moved = RuntimeError(f"this server was moved to pair {oss.spec.pair.name}: the agent starts anew")
            self._failed.set_exception(moved)
        elif self._pair is None:
            self._pair = pair = oss.spec.pair
            log.info("this server belongs to pair %s/%s", pair.namespace, pair.name)
            by_pair = f"spec.pairName={pair.name}"

            def listed(count: int) -> None:
                if count == 0:
                    self._tell(Gone("OSSPair", f"{pair.namespace}/{pair.name}"))

            self._watch(What(OSSPair, f"metadata.name={pair.name}", pair.namespace), self._pair_seen, listed)
            self._watch(What(OST, by_pair, pair.namespace), self._tell, lambda count: self._tell(ev.OSTsListed()))
            self._watch(What(Failover, by_pair, pair.namespace), self._tell)

    def _pair_seen(self, event: Seen | Gone) -> None:
        self._tell(event)
        pair = event.object if isinstance(event, Seen) else None
        own = self._settings.identity.node
        if isinstance(pair, OSSPair) and own in pair.servers and self._partner != pair.partner_of(own):
            self._partner = pair.partner_of(own)
            self._watch(What(OSS, f"metadata.name={self._partner}"), self._tell)

    def _watch(self, what: What, emit: Any, listed: Any = lambda count: None) -> None:
        watcher = Watcher(self._api, what, emit, listed)
        self._watchers.append(watcher)
        self._spawn(watcher.run())

    def _relist(self) -> None:
        for watcher in self._watchers:
            watcher.relist()

    async def _find_cluster(self) -> None:
        complained = False
        while True:
            try:
                self._tell(ev.ClusterKnown(await pair_reader.cluster_uid(self._api)))
                return
            except ApiError as error:
                if not complained:
                    log.warning("the cluster's UID (namespace kube-system) cannot be read yet: %s; tried again", error)
                complained = True
            await asyncio.sleep(1.0)

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self._shelf.look_at_locks()
            self._shelf.look_at_mounts()

    async def _look_for_hazards(self) -> None:
        worker = Worker("hazards")
        while True:
            refs, uuids = self._shelf.refs(), self._shelf.uuids()
            if refs:
                self._tell(ev.HazardsSeen(await worker.run(lambda r=refs, u=uuids: hazards.find(r, u))))  # type: ignore[misc]
            await asyncio.sleep(_HAZARDS_EVERY if refs else _LOOK_EVERY)

    # --- effects ---------------------------------------------------------------------------------------------------------

    def _perform(self, effect: ev.HostEffect) -> None:
        """Carry out one effect; never blocks."""
        match effect:
            case ev.Beat():
                self._heartbeat.set(effect)
            case ev.WatchDisks():
                self._shelf.set(effect)
            case ev.WatchPeer(node=node, interval=interval):
                self._peer.set(node, interval)
            case ev.ReadDisksNow(targets=targets):
                for target in targets:
                    self._spawn(self._shelf.read_now(target))
            case ev.StopMachine(why=why):
                log.critical("STOPPING THIS MACHINE without a sync: %s", why)
                problem = stop_machine(self._settings.stop_command)
                if problem:
                    log.critical("%s", problem)
            case _:
                self._spawn(self._answer(effect))

    async def _answer(self, effect: ev.HostEffect) -> None:
        """Those that have an answer."""
        match effect:
            case ev.ReadPair():
                self._tell(await pair_reader.read_pair(self._api, effect))
            case ev.Remember():
                self._tell(await self._remember(effect))
            case ev.Mount():
                self._journal.begins(effect)
                self._tell(self._journal.ended(await acts.mount(self._shelf, effect)))
            case ev.Unmount():
                self._journal.begins(effect)
                self._tell(self._journal.ended(await acts.unmount(self._shelf, effect)))
            case ev.CheckRelease():
                self._tell(await acts.check_release(self._shelf, effect))
            case ev.Report():
                self._journal.reports(effect.status)
                self._tell(await self._report(effect))

    async def _remember(self, asked: ev.Remember) -> ev.Stored:
        if self._store is None:
            return ev.Stored(asked.op, False, "the store cannot be trusted")
        try:
            records = {target: to_store(record) if record else None for target, record in asked.mounts.items()}
            await self._store.remember(asked.cluster, asked.epochs, records)
        except StoreError as error:
            return ev.Stored(asked.op, False, str(error))
        return ev.Stored(asked.op, True)

    async def _report(self, report: ev.Report) -> ev.Reported:
        node, heartbeat = self._settings.identity.node, self._heartbeat
        if heartbeat.pending_since is None:
            heartbeat.pending_since = time.monotonic()
        try:
            answer = await self._api.patch(
                f"{RESOURCES}/osses/{node}/status", {"status": wire_status(report.status)}, _REPORT_WITHIN
            )
        except ApiError as error:
            heartbeat.pending_why = str(error)
            log.warning("the report was not written: %s; tried again", error)
            return ev.Reported(report.op, False)
        heartbeat.report = str(answer["metadata"]["resourceVersion"])
        heartbeat.pending_since, heartbeat.pending_why = None, ""
        return ev.Reported(report.op, True)


def wire_status(status: OSSStatus) -> dict[str, Any]:
    """As a merge patch: everything that the agent writes, nothing of the operator's conditions; no answer is null."""
    body = status.wire()
    body.pop("conditions", None)
    body.setdefault("nonce", None)
    body["uptimeSeconds"] = _uptime()
    return body


def _uptime() -> int:
    """Seconds since this server's first process began: since it booted, wherever else its kernel came from."""
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        after_name = FIRST_PROCESS.read_text("ascii", "replace").rpartition(")")[2].split()
        return max(0, int(since_boot - int(after_name[19]) / os.sysconf("SC_CLK_TCK")))  # field 22 of proc_pid_stat(5)
    except (OSError, ValueError, IndexError):
        return int(since_boot)


def _open_store(directory: Path) -> tuple[Store | None, str]:
    """The store, or why it cannot be trusted: the agent then reports that, and serves nothing."""
    try:
        return Store(directory), ""
    except StoreError as error:
        log.error("%s", error)
        return None, str(error)


def remembered(state: State) -> ev.Remembered:
    """What the store holds, as the machine takes it."""
    return ev.Remembered(
        epochs={cluster: dict(disks) for cluster, disks in state.epochs.items()},
        mounts={
            target: ev.Mounted(r.disk, r.boot_id, r.epoch, r.origin == "adopted", str(r.mark) if r.mark else "")
            for target, r in state.mounts.items()
        },
    )


def to_store(record: ev.Mounted) -> MountRecord:
    """A mount record as the store keeps it.

    MMP's device name has no slash (kernel bdevname: `!` stands for it), so the last one separates.
    """
    node, _, device = record.mark.rpartition("/")
    mark = Mark(node, device) if record.mark else None
    return MountRecord(record.disk, record.boot_id, record.epoch, "adopted" if record.adopted else "mounted", mark)
