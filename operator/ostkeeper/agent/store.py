"""What the agent must remember over its own restarts and the server's: epochs seen, and what it mounted.

Here: one small file on the node, written so that a crash at any point leaves the old or the new content, whole. Not here:
what follows from an epoch (`core.host`), locks (`agent.locks`).

The directory must be on the node's own disk and survive reboots. A file that is there and cannot be trusted is an error,
never an empty store: forgetting an epoch would let an old grant mount again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ostkeeper.agent.threads import Worker
from ostkeeper.core.diskview import Mark

DEFAULT_DIRECTORY = Path("/var/lib/ostkeeper")
_FILE = "state.json"
_FORMAT = 1


class StoreError(Exception):
    """The store cannot be trusted or written. The text says which file, why and what next. Until then nothing is mounted."""


@dataclass(frozen=True, slots=True)
class MountRecord:
    """That this agent mounted a target, or adopted a mount it found. Written before the mount, completed after it."""

    disk: str
    """UUID of the file system, or GUID of the pool."""
    boot_id: str
    """The boot in which that was: a mount does not outlive it."""
    epoch: int
    """Of the grant it rests on."""
    origin: Literal["mounted", "adopted"] = "mounted"
    mark: Mark | None = None
    """MMP's mark as read back after the mount; None: the mount was begun, and nobody has read it back yet."""


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered. A value: a change makes a new one."""

    epochs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The highest epoch seen: cluster UID → disk → epoch."""
    mounts: Mapping[str, MountRecord] = field(default_factory=dict)
    """Target → record."""

    def epoch(self, cluster: str, disk: str) -> int:
        """The highest epoch seen for a disk in a cluster; 0: none yet."""
        return self.epochs.get(cluster, {}).get(disk, 0)

    def mounted(self, target: str, boot_id: str) -> MountRecord | None:
        """The record of that target if it is of this boot: we mounted or adopted it, or were about to."""
        record = self.mounts.get(target)
        return record if record and record.boot_id == boot_id else None

    def with_epochs(self, cluster: str, seen: Mapping[str, int]) -> State:
        """The same with each disk's epoch raised to what was seen; one that is lower changes nothing: none goes back."""
        old = self.epochs.get(cluster, {})
        raised = {**old, **{disk: max(epoch, old.get(disk, 0)) for disk, epoch in seen.items()}}
        return self if raised == old else replace(self, epochs={**self.epochs, cluster: raised})

    def with_mount(self, target: str, record: MountRecord | None) -> State:
        """The same with that target's record; None forgets it (released)."""
        others = {name: kept for name, kept in self.mounts.items() if name != target}
        return replace(self, mounts=others if record is None else {**others, target: record})


class Store:
    """The state of one node on disk, for one agent a host. What `state` shows is durable.

    Writes run in a thread of their own, one after the other: a stalled root disk delays them, never the event loop.
    """

    def __init__(self, directory: Path = DEFAULT_DIRECTORY) -> None:
        """Load. The directory is made if missing. Raises `StoreError` for a file that cannot be read or trusted."""
        self._directory = directory
        self._worker = Worker("store")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{directory}: cannot be made: {error}") from error
        self._state = self._intended = load(directory)

    @property
    def state(self) -> State:
        """What is durably written."""
        return self._state

    async def see_epochs(self, cluster: str, seen: Mapping[str, int]) -> None:
        """Remember epochs seen (disk → epoch); durable on return. Lower ones are ignored. Raises `StoreError`."""
        await self._update(lambda state: state.with_epochs(cluster, seen))

    async def record_mount(self, target: str, record: MountRecord) -> None:
        """Remember a mount; durable on return. Call it before the mount, and with the mark after it. Raises `StoreError`."""
        await self._update(lambda state: state.with_mount(target, record))

    async def forget_mount(self, target: str) -> None:
        """Forget a mount that was unmounted and released; durable on return. Raises `StoreError`."""
        await self._update(lambda state: state.with_mount(target, None))

    async def remember(self, cluster: str, seen: Mapping[str, int], mounts: Mapping[str, MountRecord | None]) -> None:
        """Do as `see_epochs`, `record_mount` and `forget_mount` (None) in one write: before a mount, milliseconds count."""

        def change(state: State) -> State:
            state = state.with_epochs(cluster, seen)
            for target, record in mounts.items():
                state = state.with_mount(target, record)
            return state

        await self._update(change)

    async def _update(self, change: Callable[[State], State]) -> None:
        """Save what `change` makes of all that was asked for so far, also by callers that were cancelled or failed."""
        new = self._intended = change(self._intended)
        if new == self._state:
            return
        saving = asyncio.ensure_future(self._worker.run(lambda: save(self._directory, new)))
        saving.add_done_callback(lambda done: self._saved(done, new))
        await asyncio.shield(saving)

    def _saved(self, done: asyncio.Future[None], new: State) -> None:
        if not done.cancelled() and done.exception() is None:
            self._state = new


def load(directory: Path) -> State:
    """Read the store; an empty state only if there is no file at all. Raises `StoreError`. Blocks."""
    path = directory / _FILE
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path}: cannot be trusted ({error}): which epochs this server has seen is unknown, so it mounts nothing. "
            f"If no target is mounted here and the pair's assignments are right, move the file away and restart the agent"
        ) from error


def save(directory: Path, state: State) -> None:
    """Write the store: temporary file, fsync, rename, fsync of the directory. Raises `StoreError`. Blocks.

    A crash between any two of these steps leaves the old content or the new one.
    """
    path, temporary = directory / _FILE, directory / f"{_FILE}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encode(state))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        _sync_directory(directory)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error}; nothing that rests on it is done") from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(state: State) -> bytes:
    body = {
        "format": _FORMAT,
        "epochs": {cluster: dict(disks) for cluster, disks in state.epochs.items()},
        "mounts": {target: _record_to_json(record) for target, record in state.mounts.items()},
    }
    return json.dumps({"sha256": _digest(body), "state": body}, indent=1, sort_keys=True).encode() + b"\n"


def _decode(raw: bytes) -> State:
    file = json.loads(raw)
    body = file["state"]
    if file["sha256"] != _digest(body):
        raise ValueError("its checksum does not fit its content")
    if body["format"] != _FORMAT:
        raise ValueError(f"format {body['format']} is not {_FORMAT}: written by another release")
    return State(
        epochs={
            cluster: {disk: int(epoch) for disk, epoch in disks.items()} for cluster, disks in body["epochs"].items()
        },
        mounts={target: _record_from_json(record) for target, record in body["mounts"].items()},
    )


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _record_to_json(record: MountRecord) -> dict[str, Any]:
    mark = [record.mark.node, record.mark.device] if record.mark else None
    kept = {"disk": record.disk, "bootID": record.boot_id, "epoch": record.epoch, "origin": record.origin}
    return {**kept, "mark": mark}


def _record_from_json(record: Mapping[str, Any]) -> MountRecord:
    mark = Mark(*record["mark"]) if record["mark"] is not None else None
    return MountRecord(record["disk"], record["bootID"], int(record["epoch"]), record["origin"], mark)
