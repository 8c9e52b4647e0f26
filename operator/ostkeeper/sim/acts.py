"""An agent's acts on one disk, step by step, as `agent.acts` and `agent.backends` take them.

Here: the order of the steps, each an event of its own: a pause, a death or a stalled disk may fall between any two. Not
here: whether an act may be done (`core`), what the kernel makes of it (`mounttable`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ostkeeper.core import hostevents as ev
from ostkeeper.core.diskview import MmpState, Probe

if TYPE_CHECKING:
    from ostkeeper.sim.agents import AgentRun

WITHIN = 5.0
"""Seconds in which a disk must answer before an act on it is given up."""
STEP = (0.0005, 0.006)
"""Seconds that one step takes: at least, at most."""


class Act(ABC):
    """One act under way. It ends with one answer, unless its agent ends before."""

    __slots__ = ("order", "run", "target")
    verb: Literal["mount", "umount", "check"] = "check"

    def __init__(self, run: AgentRun, order: ev.Mount | ev.Unmount | ev.CheckRelease) -> None:
        self.run, self.order, self.target = run, order, order.target

    def begin(self) -> None:
        """Take the target's lock; then the first step."""
        run, permits = self.run, self.run.world.checker.permits
        if permits is not None and self.verb == "mount":
            permits.mounts(run.host.name, self.target)
        elif permits is not None and self.verb == "umount":
            permits.unmounts(run.host.name, self.target)
        run.in_hand.add(self.target)
        holder = run.host.table.children.get(self.target)
        if self.target not in run.disks.watches:
            self.end("BackendNotServed", f"{self.target}: not watched")
        elif holder is not None:
            self.end("ChildAlive", f"{holder} holds {self.target}")
        else:
            self.then(self.first)

    def then(self, step: Callable[[], None]) -> None:
        """Go on with this after a moment; if disks stall meanwhile, give up after a while."""
        kernel = self.run.kernel
        kernel.after(kernel.random.uniform(*STEP), self.run.actor, self._step, step)

    def _step(self, step: Callable[[], None]) -> None:
        if self.run.host.stalled:
            self.run.kernel.after(WITHIN, self.run.actor, self.end, "DiskStalled", f"{self.target}: no answer")
        else:
            step()

    @abstractmethod
    def first(self) -> None:
        """The first step."""

    def read(self) -> Probe:
        """One reading with descriptors of its own."""
        return self.run.host.probe(self.target, self.run.actor.clock(self.run.kernel.now))

    def spawn(self, verb: Literal["mount", "umount"], mount_point: str) -> None:
        """Start the child. What it is told of its end, it tells this act only if the agent still lives."""

        def ended(why: str) -> None:
            kernel = self.run.kernel
            kernel.at(kernel.now, self.run.actor, self.end, why, f"{verb} of {self.target}: {why}" if why else "")

        self.run.host.table.child(verb, self.target, mount_point, ended)

    def end(self, reason: str, message: str = "") -> None:
        """It is over: the mount table is looked at first, so that the machine hears of the mount before the answer."""
        self.run.in_hand.discard(self.target)
        self.run.look_at_mounts()
        self.run.tell(self.answer(reason, message))
        if self.target in self.run.host.table.children:
            self.run.look_at_locks_soon()

    @abstractmethod
    def answer(self, reason: str, message: str) -> ev.HostEvent:
        """The answer; an empty reason: it is done."""


class MountAct(Act):
    """Compare the disk with what the order rests on, clear MMP where that is allowed, flush, mount."""

    __slots__ = ("certified", "cleared")
    verb = "mount"
    order: ev.Mount

    def __init__(self, run: AgentRun, order: ev.Mount) -> None:
        super().__init__(run, order)
        self.cleared = False

    def first(self) -> None:
        """Close the descriptors of the watch."""
        self.run.disks.park(self.target, True)
        self.then(self.compare)

    def compare(self) -> None:
        """The disk must be what was decided upon, to the byte."""
        probe = self.read()
        if probe.uuid != self.order.uuid or probe.block_digest != self.order.digest:
            self.give_up("DiskChanged", f"{self.target}: changed since the decision: {probe.error}")
        elif self.order.clear:
            self.certified = probe
            self.then(self.look_before_clear)
        else:
            self.then(self.flush)

    def look_before_clear(self) -> None:
        """With O_EXCL and its cache flushed, the block is compared once more; FSCK is always a veto."""
        if not self.run.host.exclusive(self.target):
            self.give_up("ClearRefused", f"{self.target}: held by a mount")
            return
        self.flush_cache()
        probe = self.read()
        if not probe.ok:
            self.give_up("DeviceUnreadable", probe.error)
        elif probe.raw_block != self.certified.raw_block or probe.state is MmpState.FSCK:
            self.give_up("ClearRefused", f"{self.target}: its block is not the certified one any more")
        elif self.late():
            self.give_up("ClearRefused", f"{self.target}: too late")
        else:
            self.then_write(self.clear)

    def then_write(self, write: Callable[[], None]) -> None:
        """The one write. A pause may fall before it; if disks stall by then, it is done when they go on."""
        kernel = self.run.kernel
        kernel.after(kernel.random.uniform(*STEP), self.run.actor, self._write, write)

    def _write(self, write: Callable[[], None]) -> None:
        if not self.run.host.stalled:
            write()
            return
        self.run.host.table.when_disks_go_on(self.target, "clear", self._clear_block)
        self.run.kernel.after(WITHIN, self.run.actor, self.give_up, "DiskStalled", f"{self.target}: no answer")

    def _clear_block(self) -> None:
        host, now = self.run.host, self.run.kernel.now
        if host.sees(self.target):
            disk = host.disk(self.target)
            state, _, mark = disk.block(now)
            self.run.world.checker.clears(host.name, self.target, state, mark, stale=disk.stale(host.name))
            disk.write(MmpState.CLEAN, now)

    def clear(self) -> None:
        """Write CLEAN, and read it back."""
        self._clear_block()
        self.cleared = True
        probe = self.read()
        if not probe.ok or probe.state is not MmpState.CLEAN:
            self.give_up("ClearUncertain", f"{self.target}: does not read CLEAN")
        else:
            self.then(self.flush)

    def flush(self) -> None:
        """Drop what this kernel has cached of the device, right before the mount."""
        self.flush_cache()
        self.then(self.start)

    def flush_cache(self) -> None:
        """BLKFLSBUF."""
        self.run.host.disk(self.target).flush(self.run.host.name)

    def late(self) -> bool:
        """The permission has run out."""
        return self.run.actor.clock(self.run.kernel.now) >= self.order.until

    def start(self) -> None:
        """Start the mount, if it is not too late."""
        if self.late():
            self.give_up("TooLate", f"{self.target}: not started: its time had passed")
            return
        self.spawn("mount", self.order.mount_point)
        self.run.disks.park(self.target, False)

    def give_up(self, reason: str, message: str) -> None:
        """Nothing was started."""
        self.run.disks.park(self.target, False)
        self.end(reason, message)

    def end(self, reason: str, message: str = "") -> None:
        """See `Act`; also where it stalled before anything was started."""
        self.run.disks.park(self.target, False)
        super().end(reason, message)

    def answer(self, reason: str, message: str) -> ev.HostEvent:
        """See `Act`."""
        return ev.MountEnded(self.order.op, self.target, not reason, reason, message, self.cleared)


class UnmountAct(Act):
    """A plain umount."""

    __slots__ = ()
    verb = "umount"
    order: ev.Unmount

    def first(self) -> None:
        """Start it."""
        self.spawn("umount", self.order.mount_point)

    def answer(self, reason: str, message: str) -> ev.HostEvent:
        """See `Act`."""
        return ev.UnmountEnded(self.order.op, self.target, not reason, reason, message)


class CheckAct(Act):
    """The lock is free, O_EXCL opens, and then MMP reads CLEAN."""

    __slots__ = ("clean", "free")
    order: ev.CheckRelease

    def first(self) -> None:
        """O_EXCL, then a reading."""
        self.free = self.run.host.exclusive(self.target)
        probe = self.read()
        self.clean = self.free and probe.ok and probe.state is MmpState.CLEAN
        state = probe.state.value if probe.state else probe.error
        self.end("" if self.clean else "NotReleased", "" if self.clean else f"{self.target}: MMP reads {state}")

    def end(self, reason: str, message: str = "") -> None:
        """See `Act`. The mount table is looked at afterwards."""
        self.run.in_hand.discard(self.target)
        self.run.tell(self.answer(reason, message))
        self.run.look_at_mounts()

    def answer(self, reason: str, message: str) -> ev.HostEvent:
        """See `Act`."""
        if reason not in ("", "NotReleased"):
            return ev.ReleaseChecked(self.order.op, self.target, False, message=message)
        if not self.run.host.sees(self.target):
            return ev.ReleaseChecked(self.order.op, self.target, False, message=message, absent=self.free)
        return ev.ReleaseChecked(self.order.op, self.target, self.free, self.clean, message)
