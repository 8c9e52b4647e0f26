"""The testbed's network: one switch in a namespace of its own, one cable to each server.

Here: the switch (a bridge 10.77.0.1/16 in an unnamed namespace that a process holds), veth cables, addresses for BMCs
and PDUs, pulled cables and partitions. Not here: who listens there (`controlplane`, `bmc`, `pdu`). Nothing of it shows
in the root namespace, several testbeds run side by side, and all of it vanishes with its processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from pathlib import Path

from ostkeeper.testbed.processes import CommandFailed, daemon, end, in_network_of, run

SWITCH_ADDRESS = "10.77.0.1"
"""The switch itself: kube-apiserver and the operators."""
PREFIX = 16
API_PORT = 6443


def host_address(number: int) -> str:
    """The address of server 1, 2, 3 ...: 10.77.0.11 and up. Raises `ValueError` above 200."""
    return _address(0, 10 + number, number)


def bmc_address(number: int) -> str:
    """The address of the BMC of server 1, 2, 3 ...: 10.77.1.1 and up."""
    return _address(1, number, number)


def pdu_address(number: int) -> str:
    """The address of PDU 1, 2, 3 ...: 10.77.2.1 and up."""
    return _address(2, number, number)


def hardware_address(address: str) -> str:
    """The MAC address of a server, the same at every boot: with a new one its partner would talk to the old for seconds."""
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _address(net: int, last: int, number: int) -> str:
    if not 1 <= number <= 200:
        raise ValueError(f"number {number}: the testbed's address plan has room for 1 to 200")
    return f"10.77.{net}.{last}"


class Cut(enum.StrEnum):
    """What a partition drops, in both directions, in the server's own namespace."""

    API = "api"
    """The way to kube-apiserver."""
    PEER = "peer"
    """The way to every other server."""
    ALL = "all"
    """Everything but its own loopback."""


_RULES = {
    Cut.API: f"ip {{side}} {SWITCH_ADDRESS} tcp {{port}} {API_PORT} drop",
    Cut.PEER: f"ip {{side}} 10.77.0.0/24 ip {{side}} != {SWITCH_ADDRESS} drop",
    Cut.ALL: '{interface} != "lo" drop',
}


def partition_rules(cuts: frozenset[Cut]) -> str:
    """The nftables file that drops exactly this, and nothing when it is empty."""
    incoming = "\n".join(_RULES[c].format(side="saddr", port="sport", interface="iifname") for c in sorted(cuts))
    outgoing = "\n".join(_RULES[c].format(side="daddr", port="dport", interface="oifname") for c in sorted(cuts))
    return f"""
table inet testbed
delete table inet testbed
table inet testbed {{
  chain incoming {{ type filter hook input priority 0
{incoming}
  }}
  chain outgoing {{ type filter hook output priority 0
{outgoing}
  }}
}}
"""


class Switch:
    """The network of one testbed. Start it, plug things in, stop it: nothing is left."""

    def __init__(self) -> None:
        self._holder: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """A process whose network namespace is the switch's. Raises `RuntimeError` before `start` and after `stop`."""
        if self._holder is None:
            raise RuntimeError("the switch is not running")
        return self._holder.pid

    async def start(self) -> None:
        """Make namespace and bridge. Raises `CommandFailed`: no root, or no bridges in this kernel."""
        self._holder = await daemon("unshare", "--net", "--", "sleep", "infinity")
        await self._wait_for_namespace()
        await self._ip(
            "link set lo up",
            # The bridge forwards at once: no spanning tree, no learning delay.
            "link add br0 type bridge stp_state 0 forward_delay 0",
            f"addr add {SWITCH_ADDRESS}/{PREFIX} dev br0",
            "link set br0 up",
        )

    async def _wait_for_namespace(self) -> None:
        for _ in range(500):
            if self._holder is None or self._holder.returncode is not None:
                break
            if _sleeps_in_its_own_network(self.pid):
                return
            await asyncio.sleep(0.01)
        raise CommandFailed("unshare --net: no namespace within 5s; run as root on a kernel with network namespaces")

    async def stop(self) -> None:
        """End the holder; the namespace goes with its last process. May be repeated."""
        holder, self._holder = self._holder, None
        if holder is not None:
            await end(holder)

    async def run(self, *argv: str) -> str:
        """Run a command in the switch's namespace and give its output. Raises `CommandFailed`."""
        return await run(*in_network_of(self.pid, *argv))

    async def _ip(self, *lines: str) -> None:
        await run(*in_network_of(self.pid, "ip", "-batch", "-"), stdin="\n".join(lines) + "\n")

    async def add_address(self, address: str) -> None:
        """Give the switch one more address, for a BMC or PDU that listens there."""
        await self._ip(f"addr add {address}/{PREFIX} dev br0")

    async def attach(self, host: str, pid: int, address: str) -> None:
        """Plug a cable from the switch into the network namespace of process `pid`, as its eth0. 20 ms.

        The cable of its earlier life goes first: TCP connections of a server that died with its link down go on trying
        to end for a minute, and keep their namespace, and with it their end of the cable.
        """
        with contextlib.suppress(CommandFailed):
            await self._ip(f"link del {_port(host)}")
        await self._ip(
            f"link add {_port(host)} type veth peer name eth0 address {hardware_address(address)} netns {pid}",
            f"link set {_port(host)} master br0 up",
        )
        lines = ["link set lo up", f"addr add {address}/{PREFIX} dev eth0", "link set eth0 up"]
        await run(*in_network_of(pid, "ip", "-batch", "-"), stdin="\n".join(lines) + "\n")

    async def detach(self, host: str) -> None:
        """Take a server's cable out, at both ends, at once. Not being plugged in is no error.

        The kernel takes a dead namespace apart when it finds the time; until then its IP stack would answer as if the
        server lived, and the server's next boot would find its port taken (seen under load).
        """
        with contextlib.suppress(CommandFailed):
            await self._ip(f"link del {_port(host)}")

    async def set_link(self, host: str, up: bool) -> None:
        """Pull or plug the cable of a server at the switch's end."""
        await self._ip(f"link set {_port(host)} {'up' if up else 'down'}")


def _sleeps_in_its_own_network(pid: int) -> bool:
    path = Path(f"/proc/{pid}")
    ours = Path("/proc/self/ns/net").readlink()
    return (path / "ns/net").readlink() != ours and (path / "comm").read_text().strip() == "sleep"


def _port(host: str) -> str:
    name = f"p-{host}"
    if len(name) > 15:
        raise ValueError(f"server name {host!r} is too long for a network interface; use 13 characters at most")
    return name


async def partition(pid: int, cuts: frozenset[Cut]) -> None:
    """Have the namespace of process `pid` drop exactly `cuts` (none: heal). Raises `CommandFailed` from nft."""
    await run(*in_network_of(pid, "nft", "-f", "-"), stdin=partition_rules(cuts))
