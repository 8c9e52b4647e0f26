"""SNMP requests over pysnmp, so that one call is one packet, now or never.

Here: engines (one a set of credentials), sockets, one request. Not here: when to ask again (`snmp_pdu`), what to ask
(`pdu_families`). pysnmp's own retries are off, those after a report as well: it would send them when the report comes,
whenever that is, and a cancelled SET would go on being sent. MIBs are not loaded for names: it takes 0.2 s of the event
loop, and we have numbers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from pysnmp.carrier.asyncio.dgram import udp, udp6
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import cmdgen
from pysnmp.error import PySnmpError
from pysnmp.proto.api import v2c

Oid = tuple[int, ...]
Value = int | str | bytes | Oid | None
ANSWER_SECONDS = 10
"""How long pysnmp remembers a question; whoever asked gives up before, and a later answer finds nobody."""
PARAMETERS = "parameters"


@dataclass(frozen=True, slots=True)
class Credentials:
    """For v2c `community`; for v3 the other three (authPriv, SHA-256, AES-128). Never shown."""

    version: str
    community: bytes = field(default=b"", repr=False)
    username: bytes = field(default=b"", repr=False)
    auth_password: bytes = field(default=b"", repr=False)
    priv_password: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to one request."""

    indication: str = ""
    """The name of pysnmp's error indication, such as WrongDigest: the request as such failed."""
    status: int = 0
    """error-status of the PDU (RFC 3416, 3)."""
    values: tuple[Value, ...] = ()
    """One a variable: None where there is no such object or instance."""


class _Gate:
    """A socket that is open for one packet at a time: pysnmp sends nothing that was not asked for just now.

    The deadline is looked at here, after the message was encoded and encrypted (2 ms): right before it leaves.
    """

    deadline = 0.0
    transport: Any

    def send_message(self, message: bytes, address: Any) -> None:
        deadline, self.deadline = self.deadline, 0.0
        if time.monotonic() < deadline:
            super().send_message(message, address)  # type: ignore[misc]

    @property
    def holds_back(self) -> bool:
        """Whether the kernel did not take a packet at once, so that asyncio would send it later."""
        return bool(self.transport.get_write_buffer_size())


class _Udp(_Gate, udp.UdpAsyncioTransport):  # type: ignore[misc]
    domain = udp.DOMAIN_NAME


class _Udp6(_Gate, udp6.Udp6AsyncioTransport):  # type: ignore[misc]
    domain = udp6.DOMAIN_NAME


class SnmpClient:
    """One pysnmp engine for one set of credentials, in one event loop, shared by the devices that have them."""

    _clients: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Credentials, SnmpClient]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._engine: Any = None
        self._transports: dict[int, _Udp | _Udp6] = {}
        self._targets: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._users = 0

    @classmethod
    def acquire(cls, credentials: Credentials) -> SnmpClient:
        """Take the client for these credentials; it lives until its last user gives it back by `release`."""
        clients = cls._clients.setdefault(asyncio.get_running_loop(), {})
        client = clients.setdefault(credentials, cls(credentials))
        client._users += 1
        return client

    def release(self) -> None:
        """Give it back. With its last user its sockets are closed."""
        self._users -= 1
        if self._users:
            return
        self._clients.get(asyncio.get_running_loop(), {}).pop(self._credentials, None)
        if self._engine is not None and self._engine.transport_dispatcher is not None:
            self._engine.transport_dispatcher.close_dispatcher()

    async def target(self, address: str, port: int) -> str:
        """Resolve a device's address now, and name it for `request`; starts the engine. Raises OSError: it has no address."""
        family, host = await _resolve(address, port)
        where = (host, port)
        async with self._lock:
            if self._engine is None:
                # A thread, since it takes 0.1 to 0.4 s: it compiles MIB modules, and hashes a megabyte for each key.
                self._engine = await asyncio.shield(asyncio.to_thread(_engine, self._credentials))
            if family not in self._transports:
                await self._open(family)
        name = f"{where[0]} {port}"
        if name not in self._targets:
            domain = self._transports[family].domain
            config.add_target_address(self._engine, name, domain, where, PARAMETERS, ANSWER_SECONDS * 100, 0)
            self._targets[name] = family
        return name

    def forget_engine(self, target: str) -> None:
        """Ask for the engine's ID again with the next packet (v3): a device that was replaced has another one.

        pysnmp keeps a peer's engine ID for minutes, takes no notice of the replacement's reports, and has no call to drop it.
        """
        model = self._engine.message_processing_subsystems[3]
        for peer in self._peers(target):
            del model._SnmpV3MessageProcessingModel__engineIdCache[peer]
            for expiring in model._SnmpV3MessageProcessingModel__engineIdCacheExpQueue.values():
                expiring[:] = [other for other in expiring if other != peer]

    def knows_engine(self, target: str) -> bool:
        """Whether the next packet is a request (v3); else it asks for the engine's ID."""
        return bool(self._peers(target))

    def _peers(self, target: str) -> list[Any]:
        """The keys under which pysnmp keeps the engine ID of a target."""
        host, _, port = target.partition(" ")
        known = self._engine.message_processing_subsystems[3]._SnmpV3MessageProcessingModel__engineIdCache
        return [peer for peer in known if tuple(peer[1])[:2] == (host, int(port))]

    def reaches(self, target: str) -> bool:
        """Whether `request` has a socket for this target. If not, ask `target` again."""
        return self._targets.get(target) in self._transports

    async def _open(self, family: int) -> None:
        """Open a socket now: pysnmp queues what is sent before it is open, and nothing of ours may leave later."""
        kind = _Udp6 if family == socket.AF_INET6 else _Udp
        transport = kind(loop=asyncio.get_running_loop()).open_client_mode()
        await transport._lport
        config.add_transport(self._engine, transport.domain, transport)
        self._transports[family] = transport

    def request(
        self,
        target: str,
        variables: Sequence[tuple[Oid, int | None]],
        deadline: float,
        take: Callable[[Answer], None],
    ) -> None:
        """Send one packet, before `deadline` or not at all. `take` gets the answer, if one comes.

        A SET if the first variable has a value, else a GET. Without a session (v3, first contact) the packet asks for
        the engine's ID only, and is answered by an `UnknownEngineID` or `NotInTimeWindow`; then ask again.
        """
        setting = variables[0][1] is not None
        generator = (cmdgen.SetCommandGenerator if setting else cmdgen.GetCommandGenerator)(discoveryRetries=0)
        pairs = [
            (v2c.ObjectIdentifier(oid), v2c.Null("") if value is None else v2c.Integer32(value))
            for oid, value in variables
        ]

        def answered(_engine: Any, _handle: Any, indication: Any, status: Any, _i: Any, got: Any, _c: Any) -> None:
            if indication:
                take(Answer(indication=type(indication).__name__))
            else:
                take(Answer(status=int(status), values=tuple(_plain(value) for _oid, value in got)))

        transport = self._transports[self._targets[target]]
        transport.deadline = deadline
        try:
            generator.send_varbinds(self._engine, target, None, b"", pairs, answered)
        except PySnmpError as error:
            take(Answer(indication=_indication(error)))
        transport.deadline = 0.0
        if transport.holds_back:
            transport.transport.abort()
            config.delete_transport(self._engine, transport.domain)
            del self._transports[self._targets[target]]


async def _resolve(address: str, port: int) -> tuple[int, str]:
    """Family and IP address. A literal needs no resolver; a name is resolved each time, so that no answer is kept."""
    try:
        literal = ipaddress.ip_address(address)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(address, port, type=socket.SOCK_DGRAM)
        return found[0][0], str(found[0][4][0])
    return (socket.AF_INET if literal.version == 4 else socket.AF_INET6), str(literal)


def _engine(credentials: Credentials) -> Any:
    engine = SnmpEngine()
    if credentials.version == "v2c":
        config.add_v1_system(engine, "community", credentials.community, securityName="community")
        config.add_target_parameters(engine, PARAMETERS, "community", "noAuthNoPriv", 1)
        return engine
    config.add_v3_user(
        engine,
        credentials.username,
        config.USM_AUTH_HMAC192_SHA256,
        credentials.auth_password,
        config.USM_PRIV_CFB128_AES,
        credentials.priv_password,
    )
    config.add_target_parameters(engine, PARAMETERS, credentials.username, "authPriv", 3)
    return engine


def _plain(value: Any) -> Value:
    """Give a value's Python form; None for NoSuchObject, NoSuchInstance and endOfMibView, which are values in SNMP."""
    if isinstance(value, v2c.Null):
        return None
    if isinstance(value, v2c.ObjectIdentifier):
        return tuple(value)
    if isinstance(value, v2c.OctetString) and not isinstance(value, v2c.IpAddress):
        return bytes(value)
    try:
        return int(value)
    except (TypeError, ValueError):
        return str(value)


def _indication(error: Exception) -> str:
    inner = error.get("errorIndication") if hasattr(error, "get") else None
    return type(inner or error).__name__
