"""A server of the testbed, as the world treats it: booted, cut, hung, stalled, its cable pulled.

Here: what is done to a server from outside. Booting gives it new namespaces, new loop devices and a new boot ID; its
state directory and its board stay. Not here: what happens inside (`hostinit`), when it has power (`power`), whether two
servers hold one disk (`monitor`).

The order of a power cut is what leaves MMP dirty, as real power does: first the disks are cut off, so that nothing
reaches an image any more; then PID 1 is killed, and all else with it; then what was frozen is thawed, or its super block
would stay for ever (measured: 25 ms, and 62 ms until the super blocks are gone, for four disks).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostkeeper.agent import unmount_child
from ostkeeper.testbed import hostinit, kernel, net
from ostkeeper.testbed.disks import Disk, Image, attach_all, let_go_all
from ostkeeper.testbed.hostcontrol import HostControl, HostGone, Result
from ostkeeper.testbed.processes import daemon, descendants

DEATH_SECONDS = 30.0
"""How long the last super block of a dead server may take to vanish before the testbed calls itself broken."""
BOOT_SECONDS = 20.0


class HostStuck(RuntimeError):
    """A server did not boot or die as it should: the testbed is broken, no test on it means anything."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service that PID 1 starts, and starts again 0.3 s after it ends."""

    argv: Sequence[str]
    """Every word `{boot}` becomes the boot ID."""
    env: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What a server is, whether it runs or not."""

    name: str
    number: int
    """1, 2, 3 ...: its addresses follow from it."""
    directory: Path
    """Holds its logs, and `state`, which it sees as /var/lib/ostkeeper at every boot."""
    images: Sequence[Image] = ()
    """The disks of its pair."""
    services: Mapping[str, ServiceSpec] = field(default_factory=dict)

    board: str = "00000000-0000-4000-8000-000000000001"
    """System UUID of its first board."""
    hosts_file: str = "127.0.0.1 localhost\n"
    """What it sees as /etc/hosts."""

    @property
    def address(self) -> str:
        """Its address behind the switch."""
        return net.host_address(self.number)


Listener = Callable[["Host", dict[str, Any]], None]


class Host:
    """One server. `power_on` and `power_off` are the relays' (`power.Board`); the rest are the verbs of the testbed."""

    def __init__(self, spec: HostSpec, switch: net.Switch, listener: Listener | None = None) -> None:
        """`listener(host, event)` hears `disks` (they came or went), `running` and `dead`, the services' comings
        and goings, and `stop-machine`.
        """
        self.spec = spec
        self.name = spec.name
        self.board = spec.board
        """System UUID as SMBIOS spells it. Another board shows from the next boot on."""
        self.boot_id = ""
        self.disks: list[Disk] = []
        self.pid = 0
        """PID 1 of the server as the root namespace numbers it; 0 while it is dead."""
        self.cuts: frozenset[net.Cut] = frozenset()
        """Partitions belong to the network, so they stay over a boot."""
        self.cable = True
        self.hung = False
        self.stalled = False
        self._switch = switch
        self._listener = listener or (lambda _host, _event: None)
        self._control: HostControl | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopped: list[int] = []
        self._frozen: dict[str, dict[str, int]] = {"hang": {}, "stall": {}}
        """Why → mount point → the descriptor that will thaw it."""
        self._stall_gate = -1
        self._lock = asyncio.Lock()
        """What is done to a server from outside is done one thing after the other."""

    @property
    def running(self) -> bool:
        """Whether its first process lives; it may hang."""
        return self.pid != 0

    # Life and death ------------------------------------------------------------------------------------------------

    async def power_on(self) -> None:
        """Boot: new namespaces, disks, boot ID. Raises `HostStuck`; then nothing of the attempt is left."""
        async with self._lock:
            if not self.running:
                await self._power_on()

    async def _power_on(self) -> None:
        self.boot_id = str(uuid.uuid4())
        try:
            self.disks = await attach_all(self.spec.images)
            self._listener(self, {"event": "disks"})  # before anything inside could use one
            await self._boot()
        except Exception as error:
            await self._die()
            raise HostStuck(f"{self.name} did not boot: {error!r}") from error
        self._listener(self, {"event": "running", "boot_id": self.boot_id})

    async def _boot(self) -> None:
        (self.spec.directory / "state").mkdir(parents=True, exist_ok=True)
        control = self._control = HostControl(self.name, lambda event: self._listener(self, event))
        script = [sys.executable, "-I", "-S", hostinit.__file__, str(control.theirs.fileno())]
        self._process = await daemon(
            *("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--", *script),
            log=self.spec.directory / "console.log",
            pass_fds=[control.theirs.fileno()],
        )
        control.start()
        control.tell("boot", **self._boot_config())
        self.pid = (await control.expect("namespaces", BOOT_SECONDS))["pid"]
        await self._switch.attach(self.name, self.pid, self.spec.address)
        if self.cuts:
            await net.partition(self.pid, self.cuts)
        if not self.cable:
            await self._switch.set_link(self.name, up=False)
        control.tell("start")
        await control.expect("booted", BOOT_SECONDS)

    def _boot_config(self) -> dict[str, Any]:
        disks = [{"device": disk.image.device, "number": disk.number} for disk in self.disks]
        services = {
            name: {
                "argv": [self.boot_id if word == "{boot}" else word for word in service.argv],
                "env": dict(service.env),
                "log": str(self.spec.directory / f"{name}.log"),
                "enabled": service.enabled,
            }
            for name, service in self.spec.services.items()
        }
        return {
            "hostname": self.name,
            "boot_id": self.boot_id,
            "product_uuid": self.board,
            "hosts": self.spec.hosts_file,
            "state_dir": str(self.spec.directory / "state"),
            "disks": disks,
            "mount_points": [image.mount_point for image in self.spec.images],
            "commands": {
                **{command: shutil.which(command) or f"/usr/bin/{command}" for command in ("mount", "umount")},
                "unmount_child": unmount_child.__file__,
            },
            "services": services,
        }

    async def power_off(self) -> None:
        """Cut the power. Returns when nothing of this server is left. Raises `HostStuck` when something stays."""
        async with self._lock:
            await self._die()

    async def _die(self) -> None:
        disks, self.disks = self.disks, []
        if not disks and self._process is None:
            return
        await asyncio.to_thread(_cut_and_kill, disks, self.pid)
        process, self._process, self.pid = self._process, None, 0
        if process is not None and process.returncode is None:
            # Before it told us its PID, killing its parent is what kills it (--kill-child).
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await self._switch.detach(self.name)
        self._thaw_all()
        if process is not None:
            await process.wait()
        if self._control is not None:
            self._control.close()
        try:
            await self._wait_until_gone(disks)
        finally:
            let_go_all(disks)
            self._listener(self, {"event": "disks"})
        self.hung = self.stalled = False
        self._listener(self, {"event": "dead"})

    async def _wait_until_gone(self, disks: Sequence[Disk]) -> None:
        deadline = asyncio.get_running_loop().time() + DEATH_SECONDS
        while held := [disk.name for disk in disks if disk.held()]:
            if asyncio.get_running_loop().time() > deadline:
                raise HostStuck(f"{self.name} is dead, but {', '.join(held)} has a super block after {DEATH_SECONDS}s")
            await asyncio.sleep(0.005)

    # Hanging -------------------------------------------------------------------------------------------------------

    async def hang(self) -> None:
        """Stop every process, freeze every disk, take the link down. Mounts in flight end with ETIMEDOUT (measured)."""
        async with self._lock:
            if not self.running or self.hung:
                return
            self.hung = True
            await self._switch.set_link(self.name, up=False)
            self._stopped = _stop_all(self.pid)
            await self._freeze("hang")

    async def thaw(self) -> None:
        """Back as if nothing had been; a stall and what was stopped before the hang stay as they were."""
        async with self._lock:
            if not self.hung:
                return
            self.hung = False
            self._thaw("hang")
            for pid in self._stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self._stopped = []
            if self.cable:
                await self._switch.set_link(self.name, up=True)

    async def stall(self) -> None:
        """Have all disks stop answering, and nothing else: mounted targets are frozen, mount and umount hang."""
        async with self._lock:
            if not self.running or self.stalled:
                return
            self.stalled = True
            gate = self._path("/run/testbed/stalled.gate")
            os.mkfifo(gate)
            self._stall_gate = os.open(gate, os.O_RDWR | os.O_CLOEXEC)
            await self._freeze("stall")

    async def unstall(self) -> None:
        """Have the disks answer again."""
        async with self._lock:
            if not self.stalled:
                return
            self.stalled = False
            self._thaw("stall")  # first, since our descriptors would make the umount that waits at the gate fail: busy
            with contextlib.suppress(OSError):
                self._path("/run/testbed/stalled.gate").unlink()
            self._close_stall_gate()  # whoever waits there goes on

    async def _freeze(self, why: str) -> None:
        frozen = self._frozen[why]
        for point in self.mounts().values():
            fd = os.open(self._path(point), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if await asyncio.to_thread(kernel.freeze, fd):
                frozen[point] = fd
            else:  # stalled before it was hung: whoever froze it first will thaw it
                os.close(fd)

    def _thaw(self, why: str) -> None:
        frozen, self._frozen[why] = self._frozen[why], {}
        for fd in frozen.values():
            kernel.thaw(fd)
            os.close(fd)

    def _thaw_all(self) -> None:
        for why in self._frozen:
            self._thaw(why)
        self._close_stall_gate()
        self._stopped = []

    def _close_stall_gate(self) -> None:
        gate, self._stall_gate = self._stall_gate, -1
        if gate >= 0:
            os.close(gate)

    # Network -------------------------------------------------------------------------------------------------------

    async def set_cable(self, plugged: bool) -> None:
        """Pull or plug its cable; stays so over a boot."""
        self.cable = plugged
        if self.running and not self.hung:
            await self._switch.set_link(self.name, up=plugged)

    async def set_partition(self, cuts: frozenset[net.Cut]) -> None:
        """Drop exactly this from now on; stays so over a boot."""
        self.cuts = cuts
        if self.running:
            await net.partition(self.pid, cuts)

    # Inside --------------------------------------------------------------------------------------------------------

    def mounts(self) -> dict[str, str]:
        """Target → mount point, for its own disks, as its mount table says. Empty when it is dead."""
        by_device = {f"{kernel.LOOP_MAJOR}:{disk.number}": disk.image.target for disk in self.disks}
        try:
            lines = Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()
        except OSError:
            return {}
        rows = [line.split() for line in lines]
        return {by_device[row[2]]: row[4] for row in rows if row[2] in by_device}

    async def execute(self, argv: Sequence[str], seconds: float = 60.0) -> Result:
        """Run a command inside, as root, with the server's own `mount` and `umount`. Raises `HostGone`, `TimeoutError`."""
        return await self._running_control(" ".join(argv)).execute(argv, seconds)

    def signal_service(self, service: str, number: int) -> None:
        """Signal a service's main process and nothing else, as systemd's KillMode=process does. Raises `HostGone`."""
        self._running_control(f"signal {number} to {service}").tell("signal", service=service, number=number)

    def enable_service(self, service: str, on: bool) -> None:
        """Start a service, or kill it and leave it dead until the next boot. Raises `HostGone`."""
        self._running_control(f"{service} on={on}").tell("enable", service=service, on=on)

    def set_command(self, command: str, behaviour: str, times: int) -> None:
        """Have the next `times` runs of `mount` or `umount` `fail` or `hang`; `ok` lets go of all that hang."""
        self._running_control(f"{command} {behaviour}")
        run = self._path("/run/testbed")
        for token in run.glob(f"{command}.*.*"):
            token.unlink(missing_ok=True)
        if behaviour == "ok":
            # With nobody waiting there, opening the gate fails with ENXIO, which is as good.
            with contextlib.suppress(OSError):
                os.close(os.open(run / f"{command}.gate", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return
        for number in range(times):
            (run / f"{command}.{behaviour}.{number}").touch()

    def _running_control(self, what: str) -> HostControl:
        if self._control is None or not self.running:
            raise HostGone(f"{self.name} is not running: {what}")
        return self._control

    def _path(self, inside: str) -> Path:
        return Path(f"/proc/{self.pid}/root{inside}")


def _cut_and_kill(disks: Sequence[Disk], pid: int) -> None:
    for disk in disks:
        disk.cut()
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stop_all(pid: int) -> list[int]:
    """Stop a whole tree, children born meanwhile included; gives those that ran before, the last stopped first."""
    stopped: list[int] = []
    seen: set[int] = set()
    while new := [one for one in descendants(pid) if one not in seen]:
        for one in new:
            seen.add(one)
            with contextlib.suppress(OSError, IndexError):
                if Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0] in "Tt":
                    continue
                os.kill(one, signal.SIGSTOP)
                stopped.append(one)
    return stopped[::-1]
