"""A whole world: pairs of servers on shared disks, power, devices, control plane, operators, load and monitor.

Here: what is started in which order, how it is wired together, and that nothing is left of it. Not here: the parts
themselves, one module each; the verbs by which it is treated (`verbs`); what it says about itself (`truth`).

    async with World(WorldOptions(layout(pairs=1))) as world:
        await world.apply()
        await world.verbs.power_cut("oss1")

Leaving the block raises `DoubleMount` when the monitor ever saw one disk held by two servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from ostkeeper.testbed import identities, janitor, manifests, net
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.devices import Devices, bmc_spec, pdu_spec
from ostkeeper.testbed.disks import Image, make_image
from ostkeeper.testbed.host import Host, HostSpec, ServiceSpec
from ostkeeper.testbed.hostcontrol import HostGone
from ostkeeper.testbed.kubelet import Kubelets
from ostkeeper.testbed.layout import PDUS, Layout, layout
from ostkeeper.testbed.load import RATE, SERVICE, Load
from ostkeeper.testbed.monitor import Monitor
from ostkeeper.testbed.operators import Command, CommandFor, Operators
from ostkeeper.testbed.power import PowerPlane
from ostkeeper.testbed.powersocket import PowerSocket
from ostkeeper.testbed.verbs import Verbs

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[3]
AGENT = "agent"
MARKER = ".ostkeeper-testbed"
"""In a directory that may be emptied by the next world that uses it."""
STOP_MACHINE = "/run/testbed/stop-machine"
HIDDEN = ("/run", "/mnt", "/dev", "/sys", "/proc", "/var/lib")
"""What a server sees its own of: a world's directory below one of these would be invisible inside."""


class WorldError(RuntimeError):
    """This world cannot be made. The text says what is in the way, and what to do."""


def agent_command(host: str, kubeconfig: Path) -> Command:
    """`ostkeeper agent`, as on a real server but for the order that stops the machine."""
    program = [sys.executable, "-m", "ostkeeper.cli.main"]
    return Command([*program, "agent", "--node", host, "--kubeconfig", str(kubeconfig), "--stop-command", STOP_MACHINE])


def operator_command(name: str, kubeconfig: Path) -> Command:
    """`ostkeeper operator`, by the entry that can be caught in a phase."""
    program = [sys.executable, "-m", "ostkeeper.testbed.operator_entry"]
    return Command([*program, "--kubeconfig", str(kubeconfig), "--id", name], {"POD_NAME": name})


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """What a world is made of. Everything can be left out, so that the rest can be tested alone."""

    layout: Layout = field(default_factory=layout)
    directory: Path | None = None
    """Where everything is kept; kept afterwards, too. None: a temporary one, removed at the end."""
    control_plane: bool = True
    devices: bool = True
    kubelets: bool = True
    agent: CommandFor | None = agent_command
    operator: CommandFor | None = operator_command
    operators: int = 2
    load_rate: float = RATE
    """Records a second and target; 0: no load."""
    boot_delay: float = 0.3
    """Seconds from power to a server's first process."""
    tolerate_overlap: bool = False
    """For the tests of the monitor: do not raise `DoubleMount` at the end."""


class World:
    """One testbed. Its parts are public: the demo and the tests look at them, and change things by `verbs` only."""

    def __init__(self, options: WorldOptions | None = None) -> None:
        self.options = options or WorldOptions()
        self.layout = self.options.layout
        self.switch = net.Switch()
        self.hosts: dict[str, Host] = {}
        self.images: dict[str, Image] = {}
        self.stopped_kubelets: set[str] = set()
        self.agents_started: dict[str, int] = {}
        """Server → how often its agent has been started since the beginning."""
        self.verbs = Verbs(self)
        self._stack = contextlib.AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._events: TextIO | None = None
        self._control_plane: ControlPlane | None = None
        self._devices: Devices | None = None
        self._operators: Operators | None = None

    # Parts that may have been left out ---------------------------------------------------------------------------------

    @property
    def control_plane(self) -> ControlPlane:
        """etcd and kube-apiserver. Raises `WorldError` in a world without."""
        return _present(self._control_plane, "control plane")

    @property
    def devices(self) -> Devices:
        """BMCs and PDUs. Raises `WorldError` in a world without."""
        return _present(self._devices, "fence devices")

    @property
    def operators(self) -> Operators:
        """The operators. Raises `WorldError` in a world without."""
        return _present(self._operators, "operators")

    @property
    def has_operators(self) -> bool:
        """Whether there are any."""
        return self._operators is not None

    # Life --------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> World:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            verdict = await self.monitor.verdict()
        finally:
            await self._stack.aclose()
        if error is None and not self.options.tolerate_overlap:
            verdict.check()

    async def _start(self) -> None:
        self.directory = self._make_directory()
        self._events = self._stack.enter_context((self.directory / "events.jsonl").open("a"))
        self.log("start", {"hosts": list(self.layout.hosts)})
        await self._start_ground()
        await _together(
            *([self._start_control_plane()] if self.options.control_plane else []),
            *([self._start_devices()] if self.options.devices else []),
        )
        self._make_hosts()
        self._stack.push_async_callback(self.plane.stop)
        self._stack.push_async_callback(self._end_background)
        await self.plane.start()
        if self.options.control_plane and self.options.kubelets:
            await self._start_kubelets()
        if self.options.control_plane and self.options.operator is not None:
            await self._start_operators(self.options.operator)
        self.log("up")

    def _make_directory(self) -> Path:
        if self.options.directory is None:
            made = Path(tempfile.mkdtemp(prefix="ostkeeper-"))
            self._stack.callback(shutil.rmtree, made, ignore_errors=True)
            return made
        directory = self.options.directory.absolute()
        if hidden := [top for top in HIDDEN if directory.is_relative_to(top)]:
            raise WorldError(f"{directory} is below {hidden[0]}, of which every server has its own; use one in /tmp")
        if len(str(directory)) > 80:
            raise WorldError(f"{directory} is too long for the Unix sockets in it (80 characters at most)")
        _empty(directory)
        return directory

    async def _start_ground(self) -> None:
        """Janitor, switch, disks, monitor, power: what every world has."""
        await self._start_janitor()
        await self.switch.start()
        self._stack.push_async_callback(self.switch.stop)
        (self.directory / "disks").mkdir(exist_ok=True)
        sizes = self.layout.sector_sizes
        made = [
            make_image(self.directory / "disks", target.name, sizes[number % len(sizes)])
            for number, target in enumerate(self.layout.targets)
        ]
        self.images = {image.target: image for image in await asyncio.gather(*made)}
        self.load = Load(self.directory / "load", self.images.values(), self.options.load_rate or RATE)
        self.monitor = Monitor(self.directory)
        self._stack.push_async_callback(self.monitor.stop)
        await self.monitor.start()
        self.plane = PowerPlane(self.layout.wiring, boot_delay=self.options.boot_delay, log=self.log)
        self.plane_socket = PowerSocket(self.plane, self.directory / "plane.sock")
        await self.plane_socket.start()
        self._stack.push_async_callback(self.plane_socket.stop)

    async def _start_janitor(self) -> None:
        fate = "remove" if self.options.directory is None else "keep"
        janitor_process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", janitor.__file__, str(self.directory), fate),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in our terminal is not for it
        )

        async def dismiss() -> None:
            await janitor_process.communicate(janitor.DONE)

        self._stack.push_async_callback(dismiss)

    async def _start_control_plane(self) -> None:
        everyone = identities.everyone(self.layout.hosts)
        directory = self.directory / "control-plane"
        plane = self._control_plane = ControlPlane(directory, self.switch.pid, net.SWITCH_ADDRESS, everyone)
        self._stack.push_async_callback(plane.stop)
        await plane.start()
        await plane.apply([REPOSITORY / "crds", REPOSITORY / "deploy" / "testbed"])

    async def _start_devices(self) -> None:
        bmcs, pdus = [], []
        for host in self.layout.hosts:
            address, guid = self.layout.bmc_address(host), self.layout.board(host).replace("-", "")
            bmcs.append(bmc_spec(self.layout.bmc(host), host, address, guid))
        for number, name in enumerate(PDUS, start=1):
            pdus.append(pdu_spec(name, net.pdu_address(number), len(self.layout.hosts)))
        for address in (*(bmc.address for bmc in bmcs), *(pdu.address for pdu in pdus)):
            await self.switch.add_address(address)
        devices = self._devices = Devices(self.directory / "devices", self.directory / "plane.sock", bmcs, pdus)
        self._stack.push_async_callback(devices.stop)
        await devices.start(self.switch.pid)
        self.plane.on_ac_change(devices.ac)

    def _make_hosts(self) -> None:
        addresses = {host: net.host_address(self.layout.number(host)) for host in self.layout.hosts}
        hosts_file = "127.0.0.1 localhost\n" + "".join(f"{addresses[host]} {host}\n" for host in addresses)
        for name in self.layout.hosts:
            pair = self.layout.pair_of(name).name
            images = [self.images[target.name] for target in self.layout.targets if target.pair == pair]
            directory = self.directory / "hosts" / name
            directory.mkdir(parents=True, exist_ok=True)
            spec = HostSpec(
                name=name,
                number=self.layout.number(name),
                directory=directory,
                images=images,
                services=self._services(name, images),
                board=self.layout.board(name),
                hosts_file=hosts_file,
            )
            self.hosts[name] = Host(spec, self.switch, self._hear)
            self.plane.connect(name, self.hosts[name])

    def _services(self, host: str, images: list[Image]) -> dict[str, ServiceSpec]:
        services: dict[str, ServiceSpec] = {}
        if self.options.control_plane and self.options.agent is not None:
            kubeconfig = self.control_plane.kubeconfig(identities.agent(host).user, inside=True)
            command = self.options.agent(host, kubeconfig)
            services[AGENT] = ServiceSpec(command.argv, command.env)
        if self.options.load_rate > 0:
            services[SERVICE] = self.load.service(host, images)
        return services

    async def _start_kubelets(self) -> None:
        client = await self._stack.enter_async_context(self.control_plane.client())
        kubelets = Kubelets(client, self.kubelet_alive)
        await kubelets.add(self.layout.hosts)
        task = asyncio.create_task(kubelets.run())
        self._stack.push_async_callback(_cancel, task)

    async def _start_operators(self, command: CommandFor) -> None:
        kubeconfig = self.control_plane.kubeconfig(identities.OPERATOR.user, inside=True)
        names = [f"op-{number}" for number in range(1, self.options.operators + 1)]
        operators = Operators(self.directory / "operators", names, lambda name: command(name, kubeconfig))
        self._operators = operators
        self._stack.push_async_callback(operators.stop_all)
        await operators.start(self.switch.pid)

    async def _end_background(self) -> None:
        for task in list(self._background):
            await _cancel(task)

    # What happens in it ------------------------------------------------------------------------------------------------

    def kubelet_alive(self, host: str) -> bool:
        """Whether this server's kubelet runs and reaches the API server."""
        one = self.hosts[host]
        reached = one.cable and not one.cuts & {net.Cut.API, net.Cut.ALL}
        return one.running and not one.hung and reached and host not in self.stopped_kubelets

    def _hear(self, host: Host, event: dict[str, Any]) -> None:
        what = event["event"]
        if what == "disks":
            self.monitor.watch(self.hosts.values())
            return
        if what == "service" and event["name"] == AGENT and event["state"] == "started":
            self.agents_started[host.name] = self.agents_started.get(host.name, 0) + 1
        self.log(f"host-{what}", {"host": host.name, **{k: v for k, v in event.items() if k != "event"}})
        if what == "stop-machine":
            self._in_background(lambda: self.plane.reset(host.name))

    def _in_background(self, what: Callable[[], Any]) -> None:
        async def act() -> None:
            try:
                await what()
            except HostGone:
                return  # it was cut in between: dead is what it was to be
            except Exception as error:
                self.plane.errors.append(repr(error))
                self.log("error", {"error": repr(error)})

        task = asyncio.create_task(act())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def log(self, what: str, fields: dict[str, Any] | None = None) -> None:
        """Append a line to events.jsonl: what was done to this world, and what followed, with both clocks."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        record = {"time": now, "monotonic": time.monotonic(), "what": what, **(fields or {})}
        if self._events is not None and not self._events.closed:
            print(json.dumps(record), file=self._events, flush=True)

    def manifests(self) -> str:
        """The YAML of this world's Secrets, FenceDevices, OSSPairs and OSTs."""
        return manifests.to_yaml(manifests.world_manifests(self.layout, self.images, self.devices))

    async def apply(self) -> None:
        """`kubectl apply` these manifests. Raises `ControlPlaneError`."""
        path = self.directory / "manifests.yaml"
        path.touch(mode=0o600)  # it holds the devices' credentials
        path.write_text(self.manifests())
        await self.control_plane.kubectl("apply", "-f", str(path))


def _empty(directory: Path) -> None:
    """Make the directory, or remove what an earlier world left in it. Raises `WorldError` when it is somebody else's."""
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / MARKER
    if any(directory.iterdir()) and not marker.exists():
        raise WorldError(f"{directory} is neither empty nor a testbed's; give another directory")
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != marker:
            path.unlink()
    marker.touch()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """All at once; the first that fails ends the others, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _present(part: T | None, name: str) -> T:
    if part is None:
        raise WorldError(f"this world was made without {name}")
    return part
