"""What a server's kernel does about mounts: its mount table, its own MMP check, and the children that ask for it.

Here: mounting and unmounting as the kernel does, with all the ways in which they take long or never end. Not here: whether
anybody should have asked (`core`), the agent's steps before it does (`acts`), what stands on the disk (`disks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from ostkeeper.core.diskview import Mark, MmpState, kernel_wait
from ostkeeper.sim.disks import Disk, Writer
from ostkeeper.sim.kernel import Actor, Kernel

News = Literal["mounts", "locks", "disks"]
"""What an agent hears of its kernel: the mount table has changed, a child has ended, disks that stalled go on."""
Ended = Callable[[str], None]
"""Told how a mount or umount ended: one CamelCase word of why it failed, or nothing."""
MOUNT_TIME = (0.02, 0.8)
SLOW_MOUNT = (15.0, 40.0)
UMOUNT_TIME = (0.05, 0.6)


class Watcher(Protocol):
    """Who compares all this with what must never be."""

    def begins_to_write(self, host: str, target: str) -> None:
        """From now on it could."""
        ...

    def beside_a_third_host(self, host: str, target: str) -> None:
        """It has mounted what a host outside of the site has mounted, too."""
        ...

    def late_write(self, target: str, writer: str, mounted_on: str) -> None:
        """A write of one lands on what another has mounted."""
        ...

    def broken(self, rule: str, detail: str = "") -> None:
        """Anything else."""
        ...


class World(Protocol):
    """What of the world is needed here."""

    trace: Callable[[str, str], None] | None

    @property
    def kernel(self) -> Kernel:
        """Virtual time."""
        ...

    @property
    def disks(self) -> Mapping[str, Disk]:
        """By target."""
        ...

    @property
    def checker(self) -> Watcher:
        """Who looks."""
        ...


class Machine(Protocol):
    """The server that this is the mount table of."""

    name: str
    actor: Actor
    rate: float
    stalled: bool

    def sees(self, target: str) -> bool:
        """Commands to the LUN of a target arrive."""
        ...

    def mark(self, target: str) -> Mark:
        """What its kernel writes into an MMP block."""
        ...

    def say(self, what: str) -> None:
        """For the trace."""
        ...

    def hear(self, of: News) -> None:
        """Let the agent know."""
        ...


class KernelMount:
    """One mount in a kernel's table, or on its way into it."""

    __slots__ = ("by_hand", "done", "mount_point", "read_only", "target", "writer", "writes")

    def __init__(self, target: str, mount_point: str, by_hand: bool) -> None:
        self.target, self.mount_point, self.by_hand = target, mount_point, by_hand
        self.done = False
        """It is in the mount table."""
        self.writes = not by_hand
        """It has begun to write, or counts as if: what an agent orders must not need the kernel's own check."""
        self.read_only = False
        self.writer: Writer | None = None


class MountTable:
    """The mounts of one kernel, in one boot after the other."""

    def __init__(self, world: World, host: Machine) -> None:
        self._world, self._host = world, host
        self.mounts: dict[str, KernelMount] = {}
        self.children: dict[str, str] = {}
        """Target, what child holds its lock: mount or umount. It outlives the agent."""
        self.mounting: Literal["", "slow", "hang", "fail"] = ""
        self.umount_hangs = False
        self._waiting: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        """What is done once stalled disks, or hanging mounts and umounts, go on."""

    def clear(self) -> None:
        """The boot is over."""
        self.mounts.clear()
        self.children.clear()
        self._waiting.clear()

    def child(self, verb: Literal["mount", "umount"], target: str, mount_point: str, ended: Ended) -> None:
        """Start a child that holds the target's lock until it ends; the agent hears of that, whichever it is by then."""
        self.children[target] = verb

        def over(why: str) -> None:
            self.children.pop(target, None)
            self._host.hear("locks")
            ended(why)

        if verb == "mount":
            self.mount(target, mount_point, over)
        else:
            self.umount(target, over)

    def _wait_for(self, act: Callable[..., None], *args: object) -> bool:
        """Keep this for later if disks are stalled."""
        if self._host.stalled:
            self._waiting.append((act, args))
        return self._host.stalled

    def when_disks_go_on(self, target: str, verb: str, act: Callable[[], None]) -> None:
        """A command of the agent is stuck in the kernel: it is done once the disks go on, and holds the lock until then."""
        self.children[target] = verb

        def late() -> None:
            if self._wait_for(late):
                return
            self.children.pop(target, None)
            act()
            self._host.hear("locks")

        self._wait_for(late)

    def go_on(self) -> None:
        """What has waited is done, if what it waited for is over; else it waits on."""
        waiting, self._waiting = self._waiting, []
        for act, args in waiting:
            self._world.kernel.at(self._world.kernel.now, self._host.actor, act, *args)

    def set_mounting(self, how: Literal["", "slow", "hang", "fail"]) -> None:
        """How mounts go from now on; those that hang go on if they may."""
        self.mounting = how
        self.go_on()

    def set_umount_hangs(self, on: bool) -> None:
        """Whether unmounts hang from now on."""
        self.umount_hangs = on
        self.go_on()

    def mount(self, target: str, mount_point: str, ended: Ended, by_hand: bool = False) -> None:
        """Begin to mount. It may take long, or for ever; what is told of its end goes to whoever is still there."""
        kernel, random = self._world.kernel, self._world.kernel.random
        if target in self.mounts:
            kernel.after(0.01, self._host.actor, ended, "DeviceBusy")
            return
        if self.mounting == "fail":
            kernel.after(random.uniform(*MOUNT_TIME), self._host.actor, ended, "MountFailed")
            return
        mount = self.mounts[target] = KernelMount(target, mount_point, by_hand)
        self._host.say(f"begins to mount {target}{' by hand' if by_hand else ''}")
        disk = self._world.disks[target]
        if not by_hand and disk.stale(self._host.name):
            self._world.checker.broken(
                "a stale page cache", f"{self._host.name} mounts {target} over what it cached before"
            )
        if mount.writes:
            self._world.checker.begins_to_write(self._host.name, target)
        self._read_block(mount, ended)

    def _read_block(self, mount: KernelMount, ended: Ended) -> None:
        """The kernel's own check (fs/ext4/mmp.c): CLEAN does not wait, FSCK refuses, a sequence is watched twice."""
        if self._wait_for(self._read_block, mount, ended):
            return
        kernel, disk = self._world.kernel, self._world.disks[mount.target]
        block = disk.block(kernel.now)
        if not self._host.sees(mount.target) or block[0] is MmpState.FSCK:
            self._fail(mount, ended, "DeviceBusy" if self._host.sees(mount.target) else "DeviceUnreadable")
        elif block[0] is MmpState.CLEAN:
            self._write_block(mount, ended, block, 0.0)
        else:
            half = kernel_wait(disk.update_interval, disk.update_interval) / 2
            kernel.after(
                half / self._host.rate, self._host.actor, self._write_block, mount, ended, block, half / self._host.rate
            )

    def _write_block(self, mount: KernelMount, ended: Ended, seen: tuple[MmpState, int, Mark], half: float) -> None:
        if self._wait_for(self._write_block, mount, ended, seen, half):
            return
        kernel, disk = self._world.kernel, self._world.disks[mount.target]
        if not self._host.sees(mount.target) or disk.block(kernel.now) != seen:
            self._fail(mount, ended, "ActiveElsewhere" if self._host.sees(mount.target) else "DeviceUnreadable")
            return
        if not mount.writes:
            mount.writes = True
            self._world.checker.begins_to_write(self._host.name, mount.target)
        disk.write(MmpState.SEQUENCE, kernel.now)
        took = kernel.random.uniform(*(SLOW_MOUNT if self.mounting == "slow" else MOUNT_TIME))
        kernel.after(half + took, self._host.actor, self._complete, mount, ended, disk.block(kernel.now))

    def _complete(self, mount: KernelMount, ended: Ended, seen: tuple[MmpState, int, Mark]) -> None:
        if self.mounting == "hang":
            self._waiting.append((self._complete, (mount, ended, seen)))
            return
        if self._wait_for(self._complete, mount, ended, seen):
            return
        kernel, disk = self._world.kernel, self._world.disks[mount.target]
        if not self._host.sees(mount.target) or disk.block(kernel.now) != seen:
            self._fail(mount, ended, "ActiveElsewhere" if self._host.sees(mount.target) else "DeviceUnreadable")
            return
        if disk.third_host is not None:
            self._world.checker.beside_a_third_host(self._host.name, mount.target)
        mount.done = True
        mount.writer = disk.start(self._host.name, self._host.mark(mount.target), kernel.now)
        self._host.say(f"has mounted {mount.target}")
        self._host.hear("mounts")
        ended("")

    def _fail(self, mount: KernelMount, ended: Ended, why: str) -> None:
        self.mounts.pop(mount.target, None)
        self._host.say(f"does not mount {mount.target}: {why}")
        ended(why)

    def umount(self, target: str, ended: Ended) -> None:
        """Begin to unmount, plainly."""
        kernel = self._world.kernel
        kernel.after(kernel.random.uniform(*UMOUNT_TIME), self._host.actor, self._umounted, target, ended)

    def _umounted(self, target: str, ended: Ended) -> None:
        if self.umount_hangs:
            self._waiting.append((self._umounted, (target, ended)))
            return
        if self._wait_for(self._umounted, target, ended):
            return
        mount = self.mounts.get(target)
        if mount is None or not mount.done:
            ended("NotMounted")
            return
        if mount.writer is not None:
            self._world.disks[target].end(mount.writer, self._world.kernel.now, clean=self._host.sees(target))
        del self.mounts[target]
        self._host.say(f"has unmounted {target}")
        self._host.hear("mounts")
        ended("")
