"""The servers: power, boots, hangs and panics, what becomes of their disks, and what their agents remember.

Here: one server below its agent. Not here: the agent (`agents`), mounting (`mounttable`), cords and devices (`power`), what
stands on a disk (`disks`), whether any of it was right (`checker`).

Three states can write: running, hung (frozen with all that it has in memory, and may go on) and panicked (until somebody
resets it). Only power, or a reset, ends a boot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from ostkeeper.core.diskview import Mark, MmpState, Probe
from ostkeeper.core.hostevents import Mounted, Remembered
from ostkeeper.sim.disks import THIRD_HOST, Disk
from ostkeeper.sim.kernel import Actor
from ostkeeper.sim.mounttable import KernelMount, MountTable, News, World

AGENT_AFTER = (0.5, 3.0)
"""Seconds from a running system to its agent: at least, at most."""
LANDS_WITHIN = 1.5
"""Seconds after its end within which the array lands what a server had queued there."""
CACHED_AT_BOOT = 0.7
"""The share of disks that something reads through the page cache while a server boots."""


class AgentProcess(Protocol):
    """The agent, as its server sees it."""

    def start(self) -> None:
        """The system is up: begin."""
        ...

    def end(self) -> None:
        """The process is no more."""
        ...

    def freeze(self) -> None:
        """The server stands still."""
        ...

    def thaw(self) -> None:
        """The server goes on."""
        ...

    def hear(self, of: News) -> None:
        """The mount table has changed; a child has ended; disks that stalled go on."""
        ...


class Memory:
    """The agent's state file: what is durable."""

    __slots__ = ("corrupt", "epochs", "mounts")

    def __init__(self) -> None:
        self.epochs: dict[str, dict[str, int]] = {}
        self.mounts: dict[str, Mounted] = {}
        self.corrupt = ""

    def remember(self, cluster: str, epochs: Mapping[str, int], mounts: Mapping[str, Mounted | None]) -> None:
        """As `agent.store` does: no epoch goes back, None forgets a mount."""
        known = self.epochs.setdefault(cluster, {})
        for disk, epoch in epochs.items():
            known[disk] = max(epoch, known.get(disk, 0))
        for target, record in mounts.items():
            if record is None:
                self.mounts.pop(target, None)
            else:
                self.mounts[target] = record

    def read(self) -> Remembered:
        """As an agent finds it when it starts."""
        return Remembered({cluster: dict(disks) for cluster, disks in self.epochs.items()}, dict(self.mounts))


class Host:
    """One server. `targets` are those of its pair: the disks that it sees."""

    def __init__(
        self,
        world: World,
        name: str,
        targets: Iterable[str],
        boot_time: tuple[float, float] = (40.0, 80.0),
        rate: float = 1.0,
        late: float = 0.5,
    ) -> None:
        """`rate`: seconds of its monotonic clock in a true second; `late`: the share of cut mounts of which something lands
        late."""
        self._world = world
        self.name = name
        self.targets = tuple(targets)
        self.board = f"board-of-{name}"
        self.boot_time, self.rate, self.late = boot_time, rate, late
        self.chassis = self.repaired = True
        self.powered = False
        self.system: Literal["off", "booting", "running", "hung", "panicked"] = "off"
        self.boots = 0
        self.boot = ""
        """The boot that runs, or is frozen; empty: none."""
        self.boot_began = -math.inf
        self.actor = Actor(f"{name}/kernel")
        """Its kernel, in this boot."""
        self.agent: AgentProcess | None = None
        self.memory = Memory()
        self.filtered = 0
        """How many filters stand before its TCP port 7845."""
        self.spoken: set[str] = set()
        """The boots in which its partner has had an answer of it."""
        self.hazards: tuple[str, ...] = ()
        self.table = MountTable(world, self)
        self.stalled = self.lost = False
        """Its disks answer nothing at all, or errors."""
        self.gone: set[str] = set()
        """Targets whose LUN alone it does not see."""

    # --- what is so

    @property
    def running(self) -> bool:
        """Its system runs."""
        return self.system == "running"

    def could_write(self, target: str) -> bool:
        """It has begun to mount the target, or has it mounted, in the boot that runs or is frozen."""
        mount = self.table.mounts.get(target)
        return mount is not None and mount.writes and self.boot != ""

    def by_hand(self, target: str) -> bool:
        """Somebody mounts the target here, or has mounted it, past the agent."""
        mount = self.table.mounts.get(target)
        return mount is not None and mount.by_hand

    def mounted(self, target: str) -> bool:
        """It serves the target: mounted, to be written to."""
        mount = self.table.mounts.get(target)
        return mount is not None and mount.done and not mount.read_only

    def clock(self) -> float:
        """Its monotonic clock."""
        return self.actor.clock(self._world.kernel.now)

    def mark(self, target: str) -> Mark:
        """What this server's kernel writes into the block of a target. The node name fills its field: 64 characters."""
        return Mark(self.name.ljust(64, "."), f"dm-{self.targets.index(target)}")

    def hear(self, of: News) -> None:
        """Let the agent know."""
        if self.agent is not None:
            self.agent.hear(of)

    def say(self, what: str) -> None:
        """For the trace."""
        if self._world.trace is not None:
            self._world.trace(self.name, what)

    # --- power and boots

    def power(self, on: bool) -> None:
        """It has power, or has none; nothing if that is so already."""
        if on == self.powered:
            return
        self.powered = on
        if on:
            self._begin_boot()
        else:
            self.say("has no power")
            self._end_boot()

    def reset(self) -> None:
        """A warm reset: sysrq `b`, a watchdog, somebody's finger. Nothing is synced or unmounted."""
        if self.powered:
            self.say("is reset")
            self._end_boot()
            self._begin_boot()

    def _end_boot(self) -> None:
        world, kernel = self._world, self._world.kernel
        for target, mount in self.table.mounts.items():
            if mount.writer is not None:
                disk = world.disks[target]
                disk.end(mount.writer, kernel.now, clean=False)
                if self.sees(target) and kernel.random.random() < self.late:
                    wait = LANDS_WITHIN * kernel.random.random()
                    kernel.after(wait, kernel.net, self._land, disk, mount.writer.mark, disk.generation)
        self.system, self.boot = "off", ""
        self.table.clear()
        for target in self.targets:
            world.disks[target].flush(self.name)
        kernel.kill(self.actor)
        if self.agent is not None:
            self.agent.end()

    def _land(self, disk: Disk, mark: Mark, generation: int) -> None:
        """A command that was queued in the array: of the MMP block, or of data."""
        now = self._world.kernel.now
        if disk.generation == generation and self._world.kernel.random.random() < 0.3:
            disk.write(MmpState.SEQUENCE, now, mark)
        for writer in disk.writers:
            if writer.host not in (self.name, THIRD_HOST):
                self._world.checker.late_write(disk.target, self.name, writer.host)

    def _begin_boot(self) -> None:
        kernel = self._world.kernel
        self.system = "booting"
        self.actor = Actor(f"{self.name}/kernel", self.rate, 5.0 - kernel.now * self.rate)
        self.say("boots")
        kernel.after(kernel.random.uniform(*self.boot_time), self.actor, self.come_up)

    def come_up(self, uptime: float = 0.0) -> None:
        """The system runs, since so many seconds; its agent is started soon."""
        kernel = self._world.kernel
        self.powered = True
        self.system = "running"
        self.boots += 1
        self.boot, self.boot_began = f"{self.name}-boot-{self.boots}", kernel.now - uptime
        if uptime:
            self.actor = Actor(f"{self.name}/kernel", self.rate, 5.0 - self.boot_began * self.rate)
        for target in self.targets:
            if kernel.random.random() < CACHED_AT_BOOT:
                self._world.disks[target].cache(self.name)
        self.say(f"is up: {self.boot}")
        if self.agent is not None and not uptime:
            kernel.after(kernel.random.uniform(*AGENT_AFTER), self.actor, self.agent.start)

    # --- frozen

    def hang(self) -> None:
        """Everything stands still, and nobody knows whether it goes on."""
        if self.system == "running":
            self.system = "hung"
            self.say("hangs")
            self._freeze()

    def thaw(self) -> None:
        """It goes on as if nothing had been."""
        if self.system == "hung":
            self.system = "running"
            self.say("goes on")
            kernel = self._world.kernel
            if not self.stalled:
                self._let_write()
            kernel.resume(self.actor)
            if self.agent is not None:
                self.agent.thaw()

    def panic(self) -> None:
        """Nothing goes on until somebody resets it."""
        if self.system in ("running", "hung"):
            self.system = "panicked"
            self.say("panics")
            self._freeze()

    def _freeze(self) -> None:
        self._world.kernel.pause(self.actor)
        if self.agent is not None:
            self.agent.freeze()
        self._stop_writing()

    def _stop_writing(self) -> None:
        for target, mount in self.table.mounts.items():
            if mount.writer is not None:
                self._world.disks[target].stop(mount.writer, self._world.kernel.now)

    def _let_write(self) -> None:
        for target, mount in self.table.mounts.items():
            if mount.writer is not None and not mount.read_only:
                self._world.disks[target].resume(mount.writer, self._world.kernel.now)

    # --- its disks

    def stall_disks(self) -> None:
        """Nothing that is asked of its disks is answered; nothing is lost."""
        if not self.stalled:
            self.stalled = True
            self._stop_writing()

    def unstall_disks(self) -> None:
        """All that was asked meanwhile is done now."""
        if self.stalled:
            self.stalled = False
            if self.system == "running":
                self._let_write()
            self.table.go_on()
            self.hear("disks")

    def lose_disks(self) -> None:
        """All paths are gone: every command fails, and its file systems are read-only from then on."""
        self.lost = True
        self._give_up_writing(clean=False)

    def lose_disk(self, target: str) -> None:
        """The LUN of one target is gone here: every command fails, and what is mounted of it is read-only from then on."""
        self.gone.add(target)
        self._give_up_writing(clean=False, only=target)

    def find_disk(self, target: str) -> None:
        """The LUN is there again."""
        self.gone.discard(target)

    def sees(self, target: str) -> bool:
        """Commands to the LUN of a target arrive."""
        return not self.lost and target not in self.gone

    def find_disks(self) -> None:
        """The paths are back; what is read-only stays so until it is mounted anew."""
        self.lost = False

    def disk_errors(self) -> None:
        """Its kernel sees errors in the file systems that it has mounted, flags them, and makes them read-only."""
        for target, mount in self.table.mounts.items():
            if mount.done:
                self._world.disks[target].errors = True
        self._give_up_writing(clean=not (self.lost or self.stalled))

    def _give_up_writing(self, *, clean: bool, only: str = "") -> None:
        """Remounted read-only: the kernel's MMP thread ends, and writes CLEAN where it can (fs/ext4/mmp.c, kmmpd)."""
        for target, mount in self.table.mounts.items():
            if mount.writer is not None and only in ("", target):
                self._world.disks[target].end(mount.writer, self._world.kernel.now, clean and self.sees(target))
                mount.writer, mount.read_only = None, True
        self.hear("mounts")

    def probe(self, target: str, began: float) -> Probe:
        """One reading of a disk, that began then on this server's clock and is complete now. Not while it is stalled."""
        if not self.sees(target):
            return Probe(target, began, self.clock(), error=f"{target}: Input/output error")
        return self._world.disks[target].probe(target, began, self.clock(), self._world.kernel.now)

    def disk(self, target: str) -> Disk:
        """What stands on it."""
        return self._world.disks[target]

    def exclusive(self, target: str) -> bool:
        """`open(device, O_EXCL)` succeeds."""
        return target not in self.table.mounts

    # --- a world that begins in the middle

    def at_rest(self, mounted: Mapping[str, tuple[int, str]], cluster: str, uptime: float = 3600.0) -> None:
        """It has been up for long; these targets are mounted here: by a grant of which epoch, and where.

        Its agent is not started: whoever builds the world does that, once all there is to see is there.
        """
        self.come_up(uptime)
        now = self._world.kernel.now
        for target, (epoch, mount_point) in mounted.items():
            disk, mount = self._world.disks[target], KernelMount(target, mount_point, by_hand=False)
            mount.writer = disk.start(self.name, self.mark(target), now - disk.update_interval * disk.random.random())
            mount.done = True
            self.table.mounts[target] = mount
            record = Mounted(disk.uuid, self.boot, epoch, mark=str(self.mark(target)))
            self.memory.remember(cluster, {disk.uuid: epoch}, {target: record})
