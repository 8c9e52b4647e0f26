"""A UDP proxy in front of one simulated device: where its network is silent, slow or lossy.

Here: forwarding, one upstream socket a client (IPMI sessions and SNMP replies go back to whom they belong), the faults
of a link, counters. Not here: what a device answers (`bmc`, `pdu`); a proxy never looks into a packet.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Literal

Address = tuple[str, int]
LinkKind = Literal["normal", "silent", "slow", "lossy"]
MAX_CLIENTS = 256
"""Upstream sockets kept; the oldest is closed for the next client. A client is one source port."""


class UdpProxy(asyncio.DatagramProtocol):
    """Forwards between `listen` and `device`. Always in the path; without a fault it changes nothing."""

    def __init__(self, listen: Address, device: Address, seed: str) -> None:
        """`seed`: which packets a lossy link loses, so that a run can be repeated."""
        self.listen = listen
        self.device = device
        self.received = 0
        """Packets that clients sent, whether or not they were passed on."""
        self._kind: LinkKind = "normal"
        self._argument = 0.0
        self._random = random.Random(seed)
        self._transport: asyncio.DatagramTransport | None = None
        self._upstreams: dict[Address, asyncio.DatagramTransport] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the address is not there or taken."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.listen)
        self.listen = self._transport.get_extra_info("sockname")[:2]

    def stop(self) -> None:
        """Close every socket. What was under way is lost."""
        for transport in (*self._upstreams.values(), self._transport):
            if transport is not None:
                transport.abort()
        self._upstreams.clear()

    def redirect(self, device: Address) -> None:
        """Forward to `device` from now on: the process behind was started anew."""
        self.device = device
        for transport in self._upstreams.values():
            transport.abort()
        self._upstreams.clear()

    def link(self, kind: LinkKind, argument: float = 0.0) -> None:
        """Set the fault. `slow`: `argument` ms more a round trip. `lossy`: `argument` percent lost each way."""
        self._kind, self._argument = kind, argument

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Take one packet of a client."""
        self.received += 1
        if self._lost():
            return
        upstream = self._upstreams.get(addr)
        if upstream is not None and not upstream.is_closing():
            self._later(upstream, data, None)
            return
        task = asyncio.get_running_loop().create_task(self._first(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _first(self, data: bytes, client: Address) -> None:
        """Open the upstream socket of a new client, and pass its packet on."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Upstream(self, client), remote_addr=self.device)
        while len(self._upstreams) >= MAX_CLIENTS:
            self._upstreams.pop(next(iter(self._upstreams))).abort()
        earlier = self._upstreams.pop(client, None)
        if earlier is not None:
            earlier.abort()
        self._upstreams[client] = transport
        self._later(transport, data, None)

    def answered(self, data: bytes, client: Address) -> None:
        """Take one packet of the device for `client`."""
        if self._transport is not None and not self._lost():
            self._later(self._transport, data, client)

    def _lost(self) -> bool:
        if self._kind == "lossy":
            return self._random.random() * 100 < self._argument
        return self._kind == "silent"

    def _later(self, transport: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
        if self._kind == "slow":
            asyncio.get_running_loop().call_later(self._argument / 2000, _send, transport, data, to)
        else:
            _send(transport, data, to)


class _Upstream(asyncio.DatagramProtocol):
    """The socket towards the device on behalf of one client. Connected: an error of ICMP concerns nobody else."""

    def __init__(self, proxy: UdpProxy, client: Address) -> None:
        self._proxy = proxy
        self._client = client

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._proxy.answered(data, self._client)


def _send(transport: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
    if not transport.is_closing():
        transport.sendto(data, to)
