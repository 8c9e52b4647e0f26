"""The verbs of the testbed, for Python: what can be done to a world, under the names that `ostkeeper testbed` uses.

Here: one method a verb; each is logged, with the moment it began, and returns when it has happened. Not here: how a verb
is typed (`verbparser`), how a world is built (`world`).
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from ostkeeper.testbed import truth
from ostkeeper.testbed.host import Host
from ostkeeper.testbed.hostcontrol import Result
from ostkeeper.testbed.net import Cut

if TYPE_CHECKING:
    from ostkeeper.testbed.world import World

AGENT_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}
COMMANDS = ("mount", "umount")
BEHAVIOURS = ("ok", "hang", "fail")


class Verbs:
    """What can be done to one world. Every method raises `ValueError` for names that there are not."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _host(self, name: str) -> Host:
        self._world.layout.number(name)
        return self._world.hosts[name]

    def _log(self, verb: str, **fields: Any) -> float:
        began = time.monotonic()
        self._world.log(f"verb-{verb}", fields)
        return began

    # Power -------------------------------------------------------------------------------------------------------------

    async def power_cut(self, host: str, feeds: bool = False) -> float:
        """Cut a server's power: it is dead when this returns. Gives the monotonic second at which it began.

        By its chassis relay, so that its BMC lives and reads off; with `feeds` by all its outlets: the BMC is dead, too.
        """
        self._host(host)
        began = self._log("power-cut", host=host, feeds=feeds)
        if feeds:
            await self._world.plane.set_outlets(self._world.plane.feeds(host), on=False)
        else:
            await self._world.plane.set_bmc(host, on=False)
        return began

    async def power_on(self, host: str) -> None:
        """Give a server its power back, outlets and chassis relay. Returns at once; it boots a moment later.

        A server that crashed while its power stayed on is cut first.
        """
        self._host(host)
        self._log("power-on", host=host)
        if self._world.plane.powered(host) and not self._world.hosts[host].running:
            await self._world.plane.reset(host)
            return
        await self._world.plane.set_outlets(self._world.plane.feeds(host), on=True)
        await self._world.plane.set_bmc(host, on=True)

    async def crash(self, host: str) -> float:
        """Kill a server as a panic does: dead at once, its power still on. Gives the monotonic second of it."""
        self._host(host)
        began = self._log("crash", host=host)
        await self._world.plane.crash(host)
        return began

    async def wires_swap(self, one: str, other: str, pdus: Sequence[str] = ()) -> None:
        """Swap two servers' cords, in the named PDUs or in all: what the manifests say is wrong from then on."""
        for host in (one, other):
            self._host(host)
        self._log("wires-swap", hosts=[one, other], pdus=list(pdus))
        await self._world.plane.swap_wires(one, other, pdus)

    async def bmc_swap(self, one: str, other: str) -> None:
        """Swap the network cables of two servers' BMCs: each address leads to the other's BMC from then on."""
        for host in (one, other):
            self._host(host)
        self._log("bmc-swap", hosts=[one, other])
        await self._world.devices.swap_bmcs(one, other)

    async def supply(self, host: str, pdu: str, alive: bool) -> None:
        """Kill or mend the power supply of a server that hangs on this PDU. Its partner supply may carry it alone."""
        self._host(host)
        self._log("supply", host=host, pdu=pdu, alive=alive)
        await self._world.plane.set_supply(host, pdu, alive)

    async def board_replace(self, host: str) -> str:
        """Put another board under a server's name, as of its next boot. Gives the new system UUID."""
        one = self._host(host)
        one.board = str(uuid.uuid4())
        self._log("board-replace", host=host, board=one.board)
        return one.board

    # Hanging -----------------------------------------------------------------------------------------------------------

    async def hang(self, host: str) -> float:
        """Every process stopped, every disk frozen, the link down. Gives the monotonic second at which it began."""
        one = self._host(host)
        began = self._log("hang", host=host)
        await one.hang()
        return began

    async def thaw(self, host: str) -> None:
        """Back from a hang, as if nothing had been. Nothing happens to one that was cut in between."""
        one = self._host(host)
        self._log("thaw", host=host)
        await one.thaw()

    async def stall(self, host: str) -> float:
        """The server's disks alone stop answering. Gives the monotonic second at which it began."""
        one = self._host(host)
        began = self._log("stall", host=host)
        await one.stall()
        return began

    async def unstall(self, host: str) -> None:
        """They answer again."""
        one = self._host(host)
        self._log("unstall", host=host)
        await one.unstall()

    # Inside a server ---------------------------------------------------------------------------------------------------

    async def agent(self, host: str, action: str) -> None:
        """kill (it is restarted after 0.3 s), stop, cont; disable: kill and leave dead until `enable` or a boot."""
        one = self._host(host)
        self._log("agent", host=host, action=action)
        if action in ("enable", "disable"):
            one.enable_service("agent", action == "enable")
        elif action in AGENT_SIGNALS:
            one.signal_service("agent", AGENT_SIGNALS[action])
        else:
            raise ValueError(f"agent {action}: there are {', '.join(AGENT_SIGNALS)}, disable and enable")

    async def command(self, command: str, host: str, behaviour: str, times: int = 1) -> None:
        """Have a server's next `times` runs of mount or umount hang or fail; `ok`: no more, and those that hang go on."""
        if command not in COMMANDS or behaviour not in BEHAVIOURS:
            raise ValueError(f"{command} {behaviour}: write {'|'.join(COMMANDS)} HOST {'|'.join(BEHAVIOURS)} N")
        one = self._host(host)
        self._log(command, host=host, behaviour=behaviour, times=times)
        one.set_command(command, behaviour, times)

    async def mount(self, host: str, behaviour: str, times: int = 1) -> None:
        """What the command mount does: see `command`."""
        await self.command("mount", host, behaviour, times)

    async def umount(self, host: str, behaviour: str, times: int = 1) -> None:
        """What the command umount does: see `command`."""
        await self.command("umount", host, behaviour, times)

    async def exec(self, host: str, *argv: str, seconds: float = 60.0) -> Result:
        """Run a command in a server, as root. Raises `HostGone` when it is dead, `TimeoutError`."""
        return await self._host(host).execute(argv, seconds)

    async def kubelet(self, host: str, action: str) -> None:
        """Stop or start the server's kubelet; its Node turns NotReady after a while."""
        self._host(host)
        self._log("kubelet", host=host, action=action)
        if action == "stop":
            self._world.stopped_kubelets.add(host)
        elif action == "start":
            self._world.stopped_kubelets.discard(host)
        else:
            raise ValueError(f"kubelet {action}: there are stop and start")

    # Network -----------------------------------------------------------------------------------------------------------

    async def partition(self, host: str, what: str) -> float:
        """Cut a server off from the API server, from the other servers, or from everything; stays over a boot."""
        one = self._host(host)
        began = self._log("partition", host=host, cut=what)
        await one.set_partition(one.cuts | {_cut(what)})
        return began

    async def heal(self, host: str, what: str = "all") -> None:
        """Undo a partition; `all` undoes every one."""
        one = self._host(host)
        self._log("heal", host=host, cut=what)
        gone = frozenset(Cut) if what == Cut.ALL else {_cut(what)}
        await one.set_partition(one.cuts - gone)

    async def cable(self, host: str, plugged: bool) -> None:
        """Pull or plug a server's cable."""
        self._log("cable", host=host, plugged=plugged)
        await self._host(host).set_cable(plugged)

    # Devices, operators, API server ------------------------------------------------------------------------------------

    async def device(self, name: str, fault: str, argument: float | None = None) -> None:
        """Break or mend NAME or NAME/OUTLET: see `devices.Devices.fault`. Raises `DeviceError`."""
        self._log("device", name=name, fault=fault, argument=argument)
        await self._world.devices.verb([name, fault, *([] if argument is None else [f"{argument:g}"])])

    async def operator(self, action: str, name: str = "", when: str = "") -> None:
        """kill, stop, cont or start one operator, or all.

        kill and stop with `when` (a phase of Failover) have one do so to itself right after its write of that phase: the
        named one, which is started anew for it, so use it before the fault; with no name whoever comes first, once.
        """
        operators, names = self._world.operators, [name] if name else []
        self._log("operator", action=action, name=name, when=when)
        if when:
            await operators.arm(self._world.switch.pid, names, when, action)
        elif action == "start":
            await operators.start(self._world.switch.pid, names)
        elif action == "kill":
            await asyncio.gather(*(operators.kill(one) for one in names or operators.names))
        elif action in ("stop", "cont"):
            for one in names or operators.names:
                (operators.pause if action == "stop" else operators.resume)(one)
        else:
            raise ValueError(f"operator {action}: there are kill, stop, cont and start")

    async def apiserver(self, action: str) -> None:
        """Stop kube-apiserver, or start it again; its data stay."""
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "stop": self._world.control_plane.stop_apiserver,
            "start": self._world.control_plane.start_apiserver,
        }
        if action not in acts:
            raise ValueError(f"apiserver {action}: there are stop and start")
        self._log("apiserver", action=action)
        await acts[action]()

    async def truth(self) -> dict[str, Any]:
        """What is really so: see `truth`."""
        return await truth.tell(self._world)


def _cut(what: str) -> Cut:
    try:
        return Cut(what)
    except ValueError:
        raise ValueError(f"partition {what}: there are {', '.join(Cut)}") from None
