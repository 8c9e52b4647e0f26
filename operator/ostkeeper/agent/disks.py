"""The pair's disks on this server: watching them, what of the mount table is theirs, who holds their locks.

Here: one `Shelf` of all disks, and the events they give. Not here: mounting and unmounting (`acts`), reading a disk
(`backends`, `watch`), what follows (`core`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from ostkeeper.agent import mounts
from ostkeeper.agent.backends.base import Backend, BackendUnavailableError, DiskError
from ostkeeper.agent.backends.registry import backend_for
from ostkeeper.agent.children import Children
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.watch import DiskWatch
from ostkeeper.api.common import DISK_READING_MAX_AGE
from ostkeeper.core import hostevents as ev
from ostkeeper.core.diskview import FAST_INTERVAL, reading_of

log = logging.getLogger(__name__)
EventT = TypeVar("EventT", ev.MountsSeen, ev.ChildrenSeen)
_FRESH_WITHIN = 5.0


@dataclass(slots=True)
class Disk:
    """One disk of the pair."""

    ref: ev.DiskRef
    backend: Backend
    watch: DiskWatch
    seen: list[mounts.MountEntry] = field(default_factory=list)
    """Its mounts as last found: what counts while its device node is gone."""


class Shelf:
    """All disks that the machine asked for. Events go to `emit`; all methods belong in the event loop."""

    def __init__(self, locks: Locks, children: Children, emit: Callable[[ev.HostEvent], None]) -> None:
        self.locks, self.children = locks, children
        self._emit = emit
        self._disks: dict[str, Disk] = {}
        self._refused: dict[str, ev.DiskRef] = {}
        self._fast = False
        self._mounts_said: ev.MountsSeen | None = None
        self._held_said: ev.ChildrenSeen | None = None
        self.in_hand: set[str] = set()
        """Targets with an act of this agent under way: their lock is our own."""

    def get(self, target: str) -> Disk | None:
        """One disk; None where it is not served by this release, or was never asked for."""
        return self._disks.get(target)

    def refs(self) -> tuple[ev.DiskRef, ...]:
        """All disks that were asked for."""
        return (*(disk.ref for disk in self._disks.values()), *self._refused.values())

    def uuids(self) -> dict[str, str]:
        """File system UUID by target, where it was read."""
        views = {name: disk.watch.view for name, disk in self._disks.items()}
        return {name: view.good.uuid for name, view in views.items() if view and view.good}

    def set(self, asked: ev.WatchDisks) -> None:
        """Watch these disks and no others, at this pace."""
        wanted = {ref.target: ref for ref in asked.disks}
        for name in [name for name, disk in self._disks.items() if wanted.get(name) != disk.ref]:
            self._disks.pop(name).watch.close()
        self._fast = asked.fast
        self._refused = {}
        for name, ref in wanted.items():
            if name not in self._disks:
                self._add(ref)
        for disk in self._disks.values():
            disk.watch.set_interval(FAST_INTERVAL if self._fast else None)
        self._mounts_said = self._held_said = None
        self.look_at_locks()
        self.look_at_mounts()

    def _add(self, ref: ev.DiskRef) -> None:
        try:
            backend = backend_for(ref.kind, ref.target, ref.source, self.children)
        except BackendUnavailableError as error:
            self._refused[ref.target] = ref
            seen = ev.Reading(ref.target, time.monotonic(), False, str(error), error.reason, "Unreadable")
            self._emit(ev.DiskSeen(seen))
            return
        watch = DiskWatch(
            ref.target, backend.reader(), lambda view: self._emit(ev.DiskSeen(reading_of(ref.target, view)))
        )
        self._disks[ref.target] = Disk(ref, backend, watch)
        watch.start()

    def unread(self) -> tuple[str, ...] | None:
        """The targets whose latest good reading is overdue; None where no disk is read."""
        overdue = [name for name, disk in self._disks.items() if disk.watch.age() > DISK_READING_MAX_AGE]
        return tuple(sorted([*overdue, *self._refused])) if self._disks else None

    async def read_now(self, target: str) -> None:
        """One reading that begins now; it arrives as an event. A disk that hangs is told by its age."""
        disk = self._disks.get(target)
        if disk:
            with contextlib.suppress(DiskError):
                await disk.watch.fresh(_FRESH_WITHIN)

    def look_at_locks(self) -> None:
        """Say whose locks are held by a child of an earlier agent, or one that we do not follow any more."""
        names = [ref.target for ref in self.refs() if ref.target not in self.in_hand]
        held = {name: str(holder) for name in sorted(names) if (holder := self.locks.holder(name))}
        looked_at = tuple(ref.target for ref in self.refs())
        self._held_said = self._say(ev.ChildrenSeen(held, looked_at), self._held_said)

    def look_at_mounts(self, entries: Iterable[mounts.MountEntry] | None = None) -> None:
        """Say what is mounted, from this table or from the present one, if it has changed."""
        try:
            table = list(entries) if entries is not None else mounts.read_mounts()
        except (OSError, ValueError) as error:
            log.error("the mount table cannot be read: %s", error)
            return
        found: dict[str, tuple[ev.MountFact, ...]] = {}
        obstacles: dict[str, str] = {}
        for disk in self._disks.values():
            self._find(disk, table)
            if disk.seen:
                facts = (ev.MountFact(entry.mount_point, entry.read_only, entry.mount_id) for entry in disk.seen)
                found[disk.ref.target] = tuple(dict.fromkeys(facts))
            top = mounts.at(table, disk.ref.mount_point)
            if top and top not in disk.seen:
                obstacles[disk.ref.target] = f"{top.source} ({top.file_system})"
        for ref in self._refused.values():
            entry = mounts.at(table, ref.mount_point)
            if entry:
                found[ref.target] = (ev.MountFact(entry.mount_point, entry.read_only, entry.mount_id),)
        looked_for = tuple(ref.target for ref in self.refs())
        self._mounts_said = self._say(ev.MountsSeen(found, obstacles, looked_for), self._mounts_said)

    def _find(self, disk: Disk, table: list[mounts.MountEntry]) -> None:
        """Its mounts. While its device node is gone, what was known of it still counts, and what is on its mount point."""
        try:
            disk.seen = disk.backend.mounts(table)
        except DiskError:
            known = {entry.mount_id for entry in disk.seen}
            place = mounts.at(table, disk.ref.mount_point)
            disk.seen = [entry for entry in table if entry.mount_id in known or entry == place]

    def _say(self, event: EventT, said: EventT | None) -> EventT:
        if event != said:
            self._emit(event)
        return event

    def close(self) -> None:
        """Watch nothing any more. Changes no mount."""
        for disk in self._disks.values():
            disk.watch.close()
