"""Mounting, unmounting and checking a release, as the machine ordered: each act with the target's lock, each with one answer.

Here: the order in which one act is done, and its answer as an event. Not here: whether it may be done (`core`), how a
disk is read, cleared or mounted (`backends`).

The mount table is looked at once more before each answer, so that the machine hears of the mount before it hears that the
act has ended.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ostkeeper.agent import mounts
from ostkeeper.agent.backends.base import ClearRefusedError, DiskError
from ostkeeper.agent.disks import Disk, Shelf
from ostkeeper.agent.locks import LockHeldError, TargetLock
from ostkeeper.agent.mounts import MountEntry
from ostkeeper.core import hostevents as ev
from ostkeeper.core.diskview import MmpState, Probe

log = logging.getLogger(__name__)
_WITHIN = 5.0
"""Seconds in which a disk must answer before an act on it is given up."""


class ActError(Exception):
    """The act was not begun, or has failed: `reason` is one CamelCase word. `cleared`: MMP was, before it failed."""

    def __init__(self, reason: str, message: str, *, cleared: bool = False) -> None:
        super().__init__(message)
        self.reason, self.cleared = reason, cleared


async def mount(shelf: Shelf, order: ev.Mount) -> ev.MountEnded:
    """Compare the disk with what the order rests on, clear MMP where that is allowed, mount, wait for the end."""
    shelf.in_hand.add(order.target)
    try:
        disk, lock = _disk(shelf, order.target), _lock(shelf, order.target, "mount")
        await _mount(disk, lock, order)
        ended = ev.MountEnded(order.op, order.target, True, cleared=order.clear)
    except ActError as error:
        ended = ev.MountEnded(order.op, order.target, False, error.reason, str(error), error.cleared)
    finally:
        shelf.in_hand.discard(order.target)
    shelf.look_at_mounts()
    return ended


async def _mount(disk: Disk, lock: TargetLock, order: ev.Mount) -> None:
    cleared = False
    try:
        await _leave_to(disk, lock, order)
        cleared = order.clear
        child = await disk.backend.mount(lock, Path(order.mount_point), order.options, order.until)
    except DiskError as error:
        refused = isinstance(error, ClearRefusedError)
        reason = "ClearRefused" if refused else error.reason
        raise ActError(reason, f"{order.target}: {error}", cleared=cleared) from error
    finally:
        disk.watch.resume()
    failure = disk.backend.mount_failure(await child.wait())
    if failure:
        raise ActError(failure.reason, failure.message, cleared=cleared)


async def _leave_to(disk: Disk, lock: TargetLock, order: ev.Mount) -> None:
    """Close our descriptors and prepare the disk. The lock is let go if that fails; after it, `mount` takes it over."""
    try:
        await disk.watch.release(_WITHIN)
        await _prepare(disk, lock, order)
    except TimeoutError:
        lock.release()
        raise ActError("DiskStalled", f"{order.target}: its disk did not answer within {_WITHIN:g}s") from None
    except BaseException:
        lock.release()
        raise


async def _prepare(disk: Disk, lock: TargetLock, order: ev.Mount) -> None:
    """With no descriptor of ours left open, read the disk once more: it must be what was decided upon, to the byte."""
    probe = await _read(disk)
    if probe.uuid != order.uuid or probe.block_digest != order.digest:
        raise ActError(
            "DiskChanged", f"{order.target}: its MMP block or file system changed since the decision: {probe.error}"
        )
    if not order.clear:
        return
    async with asyncio.timeout(_WITHIN):
        after = await disk.backend.clear_mmp(probe.raw_block, lock, order.until)
    if not after.ok or after.state is not MmpState.CLEAN:
        why = f"{order.target}: MMP was cleared, but does not read CLEAN: {after.error}"
        raise ActError("ClearUncertain", why, cleared=True)


async def _read(disk: Disk) -> Probe:
    async with asyncio.timeout(_WITHIN):
        return await disk.backend.probe()


async def unmount(shelf: Shelf, order: ev.Unmount) -> ev.UnmountEnded:
    """A plain umount of the mount that the order names, and of nothing else on its path; wait for its end."""
    shelf.in_hand.add(order.target)
    try:
        disk, lock = _disk(shelf, order.target), _lock(shelf, order.target, "umount")
        try:
            child = await disk.backend.unmount(lock, _mounted(disk, order))
        except DiskError as error:
            lock.release()
            raise ActError(error.reason, str(error)) from error
        failure = disk.backend.unmount_failure(await child.wait())
        if failure:
            raise ActError(failure.reason, failure.message)
        ended = ev.UnmountEnded(order.op, order.target, True)
    except ActError as error:
        ended = ev.UnmountEnded(order.op, order.target, False, error.reason, str(error))
    finally:
        shelf.in_hand.discard(order.target)
    shelf.look_at_mounts()
    return ended


def _mounted(disk: Disk, order: ev.Unmount) -> MountEntry:
    """The mount that the order names, as it was last seen on this disk."""
    for entry in disk.seen:
        if (entry.mount_id, entry.mount_point) == (order.mount_id, order.mount_point):
            return entry
    raise DiskError(
        "NotMounted", f"{order.target}: mount {order.mount_id} on {order.mount_point} is not there any more"
    )


async def check_release(shelf: Shelf, order: ev.CheckRelease) -> ev.ReleaseChecked:
    """The lock is free, O_EXCL opens, and then MMP reads CLEAN."""
    shelf.in_hand.add(order.target)
    try:
        disk = _disk(shelf, order.target)
        with _lock(shelf, order.target, "check"):
            async with asyncio.timeout(_WITHIN):
                check = await disk.backend.release_check()
    except DiskError as error:
        absent = mounts.device_is_gone(disk.ref.source)
        return ev.ReleaseChecked(order.op, order.target, False, message=str(error), absent=absent)
    except ActError as error:
        return ev.ReleaseChecked(order.op, order.target, False, message=str(error))
    except TimeoutError:
        why = f"{order.target}: its disk did not answer within {_WITHIN:g}s"
        return ev.ReleaseChecked(order.op, order.target, False, message=why)
    finally:
        shelf.in_hand.discard(order.target)
        shelf.look_at_mounts()
    state = check.probe.state.value if check.probe.state else check.probe.error
    places = ", ".join(entry.mount_point for entry in disk.seen)
    held = f"still mounted on {places}" if places else "still held by a mount of this kernel"
    why = f"{order.target}: {'free' if check.exclusive else held}, MMP reads {state}"
    return ev.ReleaseChecked(order.op, order.target, check.exclusive, check.clean, "" if check.clean else why)


def _disk(shelf: Shelf, target: str) -> Disk:
    disk = shelf.get(target)
    if disk is None:
        raise ActError("BackendNotServed", f"{target}: not served by this release of the agent")
    return disk


def _lock(shelf: Shelf, target: str, verb: str) -> TargetLock:
    try:
        return shelf.locks.take(target, verb)
    except LockHeldError as error:
        raise ActError("ChildAlive", str(error)) from error
    except (OSError, ValueError) as error:
        raise ActError("LockFailed", f"{target}: its lock cannot be taken: {error}") from error
