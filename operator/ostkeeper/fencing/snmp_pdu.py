"""PDUs over SNMP v2c and v3: one outlet is one feed.

Here: asking again until answered or late, what an answer means, by what a reboot of the PDU shows. Not here: packets
(`snmp_client`), object identifiers (`pdu_families`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ostkeeper.core.identity import ENGINE, SERIAL, matches
from ostkeeper.core.power import PowerReading, PowerState
from ostkeeper.fencing.device import Device
from ostkeeper.fencing.pdu_families import Oid, PduFamily
from ostkeeper.fencing.snmp_client import Answer, Credentials, SnmpClient, Value
from ostkeeper.ports import (
    BadAnswer,
    Clock,
    DeviceIdentity,
    DeviceSilent,
    FenceError,
    NoSuchOutlet,
    WrongCredentials,
)

SYS_DESCR: Oid = (1, 3, 6, 1, 2, 1, 1, 1, 0)
SYS_OBJECT_ID: Oid = (1, 3, 6, 1, 2, 1, 1, 2, 0)
SYS_UP_TIME: Oid = (1, 3, 6, 1, 2, 1, 1, 3, 0)
"""RFC 3418: hundredths of a second since the management part was re-initialised; wraps after 497 days."""
SNMP_ENGINE_BOOTS: Oid = (1, 3, 6, 1, 6, 3, 10, 2, 1, 2, 0)
"""RFC 3411: times the SNMP engine was re-initialised. Not every agent serves it."""
SNMP_ENGINE_ID: Oid = (1, 3, 6, 1, 6, 3, 10, 2, 1, 1, 0)
"""RFC 3411: names the SNMP engine, world-wide. Not every agent serves it over v2c."""
NO_SERIAL = frozenset({"", "N/A", "NA", "NONE", "UNKNOWN"})
"""What PDUs answer that have no serial number; zeros alone are none, too."""
PATIENCE_SECONDS = 0.15
"""How long the first packet waits for its answer before another is sent; each waits half as long again, 1 s at most."""
MOST_PATIENCE_SECONDS = 1.0
UNANSWERED_BEFORE_DISCOVERY = 2
"""After so many unanswered packets the next one asks for the engine's ID again (v3): the PDU may have been replaced."""
ASK_AGAIN = frozenset({"NotInTimeWindow", "UnknownEngineID", "RequestTimedOut"})
"""Reports by which the engines find each other (RFC 3414, 3.2): the next packet goes through."""
MOST_REPORTS = 6
CREDENTIALS = frozenset(
    {
        "WrongDigest",
        "UnknownUserName",
        "UnknownSecurityName",
        "UnsupportedSecurityLevel",
        "DecryptionError",
        "AuthenticationFailure",
        "AuthenticationError",
        "UnknownCommunityName",
    }
)
NO_RIGHT = {2: "noSuchName", 6: "noAccess", 11: "noCreation", 16: "authorizationError", 17: "notWritable"}
"""error-status of a SET (RFC 3416, 4.2.5) that mean: no such outlet, or no right to switch it."""


class SnmpPduDevice(Device):
    """One PDU. `read` is one GET of all that is known of an outlet, the PDU's identity included.

    `off` and `on` are one SET each. With an expected identity, a GET of the identity precedes each SET packet: a SET cannot
    carry a condition. Over v3 the SET is also bound to the engine ID by its authentication key (RFC 3414, 2.6).
    """

    def __init__(
        self, family: PduFamily, address: str, port: int, credentials: Credentials, clock: Clock, name: str = ""
    ) -> None:
        super().__init__(f"{name or 'PDU'} (snmp {credentials.version}, {address}:{port})", clock)
        self._family = family
        self._where = (address, port)
        self._credentials = credentials
        self._client: SnmpClient | None = None
        self._target = ""
        self._boot = BootSign()

    async def prepare(self, deadline: float) -> None:
        """Open the socket and, for v3, learn the engine's ID and time: a later `off` is one packet. Raises FenceError."""
        async with self._operation("first contact", deadline):
            await self._ask("first contact", [(SYS_UP_TIME, None)], deadline)

    async def read(self, outlet: str, deadline: float) -> PowerReading:
        """Status, pending command, boot sign and load, in one GET, asked again until answered or late."""
        began = self.clock.monotonic()
        try:
            index = self._index(outlet)
            async with self._operation(f"reading outlet {outlet}", deadline):
                began = self.clock.monotonic()
                return await self._read(outlet, index, began, deadline)
        except FenceError as error:
            return self.unknown(began, error)

    async def off(self, outlet: str, deadline: float, identity: str = "") -> None:
        """Immediate off, sent again until acknowledged or late. Raises FenceError."""
        await self._control(outlet, "off", self._family.control_off, deadline, identity)

    async def on(self, outlet: str, deadline: float, identity: str = "") -> None:
        """Immediate on, sent again until acknowledged or late. Raises FenceError."""
        await self._control(outlet, "on", self._family.control_on, deadline, identity)

    async def identify(self, deadline: float) -> DeviceIdentity:
        """Return sysDescr, if sysObjectID is one of this family's. Raises FenceError, BadAnswer for another family."""
        what = "asking what it is"
        async with self._operation(what, deadline):
            began = self.clock.monotonic()
            known = (SYS_DESCR, SYS_OBJECT_ID, SYS_UP_TIME, SNMP_ENGINE_BOOTS, *self._identity_oids())
            answer = await self._ask(what, [(oid, None) for oid in known], deadline)
            description, object_id, uptime, boots, *own = self._values(what, answer, len(known))
            boot = self._boot.see(boots, uptime, began, self.clock.monotonic())
        if not isinstance(object_id, tuple) or object_id[: len(self._family.vendor)] != self._family.vendor:
            said = ".".join(map(str, object_id)) if isinstance(object_id, tuple) else repr(object_id)
            raise BadAnswer(
                f"{self.label}: sysObjectID is {said}, which is not of the family {self._family.name}: "
                "correct spec.snmpPDU.family, or the address"
            )
        return DeviceIdentity(model=_text(description)[:128], boot=boot, identity=self.identified(_identity(own)))

    async def close(self) -> None:
        """Give the socket back. After it nothing is sent."""
        async with self._lock:
            client, self._client, self._target = self._client, None, ""
            if client is not None:
                client.release()

    async def _read(self, outlet: str, index: Oid, began: float, deadline: float) -> PowerReading:
        family, what, own = self._family, f"reading outlet {outlet}", self._identity_oids()
        wanted = [*own, (*family.status, *index), SYS_UP_TIME, SNMP_ENGINE_BOOTS]
        wanted += [(*column, *index) for column in (family.pending, family.watts) if column is not None]
        answer = await self._ask(what, [(oid, None) for oid in wanted], deadline)
        ended = self.clock.monotonic()
        values = self._values(what, answer, len(wanted))
        identity = self.identified(_identity(values[: len(own)]))
        status, uptime, boots, *rest = values[len(own) :]
        if status is None:
            raise NoSuchOutlet(self._no_outlet(outlet))
        pending = rest.pop(0) if family.pending is not None else family.pending_none
        load = rest.pop(0) if family.watts is not None else None
        boot = self._boot.see(boots, uptime, began, ended)
        state = family.judge(status, pending)
        watts = float(load) if isinstance(load, int) and load >= 0 else None
        return PowerReading(state, began, ended, boot, watts, self._explain(outlet, status, pending, state), identity)

    def _explain(self, outlet: str, status: object, pending: object, state: PowerState) -> str:
        family = self._family
        if state is not PowerState.UNKNOWN:
            return f"outlet {outlet} is {'off' if state is PowerState.OFF else 'on'}"
        if pending != family.pending_none:
            return f"{self.label}: outlet {outlet} has a command pending ({pending}): read it again"
        return (
            f"{self.label}: outlet {outlet} has status {status!r}, which is neither off ({family.status_off}) nor on "
            f"({family.status_on}) in {family.name}. Look at the PDU"
        )

    async def _control(self, outlet: str, verb: str, value: int, deadline: float, identity: str) -> None:
        what, index = f"power {verb} of outlet {outlet}", self._index(outlet)
        command = (*self._family.control, *index)
        async with self._operation(what, deadline):
            answer = await self._ask(what, [(command, value)], deadline, identity)
            if answer.status in NO_RIGHT:
                await self._explain_refusal(outlet, what, NO_RIGHT[answer.status], command, deadline)
        (returned,) = self._values(what, answer, 1)
        if returned != value:
            raise BadAnswer(
                f"{self.label}: {what}: it answered {returned!r} instead of {value}: the power may or may not have "
                "changed. Read it"
            )

    async def _explain_refusal(self, outlet: str, what: str, status: str, command: Oid, deadline: float) -> None:
        """Tell an outlet that is not there from a right that is not there: SNMP answers both alike. Raises."""
        look = await self._ask(what, [(command, None)], deadline)
        if look.status == 0 and look.values == (None,):
            raise NoSuchOutlet(self._no_outlet(outlet))
        raise WrongCredentials(
            f"{self.label}: {what} was refused ({status}): these credentials may read, but not switch. "
            "Give the community or user the right to write"
        )

    @asynccontextmanager
    async def _operation(self, what: str, deadline: float) -> AsyncIterator[None]:
        """Our turn, with the address resolved anew: a name may lead to another device than in the last operation."""
        async with self.turn(what, deadline):
            self._target = ""
            yield

    def _identity_oids(self) -> tuple[Oid, ...]:
        return (SNMP_ENGINE_ID, *([self._family.serial] if self._family.serial else []))

    async def _verify(self, what: str, expected: str, sent: int, deadline: float) -> None:
        """Read the identity right before a SET packet. Raises WrongIdentity, or DeviceSilent if a SET packet left before."""
        oids = self._identity_oids()
        answer = await self._ask(what, [(oid, None) for oid in oids], deadline)
        reported = _identity(self._values(what, answer, len(oids)))
        if matches(expected, reported):
            return
        if sent:
            raise self._silent(what, f"sent and not acknowledged, and {reported or 'another device'} answers there now")
        raise self.mismatch(what, expected, reported)

    async def _ask(
        self, what: str, variables: Sequence[tuple[Oid, int | None]], deadline: float, expected: str = ""
    ) -> Answer:
        """Send until one answer comes. Raises FenceError. Each packet leaves at once and before the deadline, or never.

        `expected`: the identity that is verified before each packet; empty: none is.
        """
        answers: asyncio.Queue[Answer] = asyncio.Queue()
        patience, reports, sent, unanswered = PATIENCE_SECONDS, 0, 0, 0
        while self.clock.monotonic() < deadline:
            if expected:
                await self._verify(what, expected, sent, deadline)
            client = await self._reach(what, deadline)
            known = client.knows_engine(self._target)
            if answers.empty():  # an earlier packet may have been answered meanwhile
                client.request(self._target, variables, deadline, answers.put_nowait)
                sent += 1
            try:
                async with asyncio.timeout_at(min(deadline, self.clock.monotonic() + patience)):
                    answer = await answers.get()
            except TimeoutError:
                patience = min(patience * 1.5, MOST_PATIENCE_SECONDS)
                unanswered += 1
                if unanswered == UNANSWERED_BEFORE_DISCOVERY and self._credentials.version == "v3":
                    client.forget_engine(self._target)
                continue
            if answer.indication in ASK_AGAIN and reports < MOST_REPORTS:
                reports += 1
                if known and answer.indication == "UnknownEngineID":  # it was no discovery: the device has another ID
                    client.forget_engine(self._target)
                continue
            self._raise_for(what, answer)
            return answer
        raise self._silent(what, "no answer before the deadline")

    async def _reach(self, what: str, deadline: float) -> SnmpClient:
        if self._client is None:
            self._client = SnmpClient.acquire(self._credentials)
        if not self._client.reaches(self._target):
            try:
                async with asyncio.timeout_at(deadline):
                    self._target = await self._client.target(*self._where)
            except (OSError, TimeoutError) as error:
                raise self._silent(what, f"its address could not be used: {error!r}; nothing was sent") from error
        return self._client

    def _silent(self, what: str, why: str) -> DeviceSilent:
        return DeviceSilent(
            f"{self.label}: {what}: {why}; whether a command arrived is not known. Read the power next; check the PDU's "
            "network, that SNMP is enabled, and the community (v2c) or the privacy password (v3), which look like this, too"
        )

    def _raise_for(self, what: str, answer: Answer) -> None:
        if answer.indication in CREDENTIALS:
            raise WrongCredentials(
                f"{self.label}: {what} was refused: {answer.indication}. Compare the Secret with the PDU's SNMP user "
                "(authPriv, SHA-256, AES-128)"
            )
        if answer.indication:
            raise BadAnswer(
                f"{self.label}: {what}: the answer could not be used: {answer.indication}. Try snmpget by hand"
            )

    def _values(self, what: str, answer: Answer, count: int) -> tuple[Value, ...]:
        if answer.status != 0 or len(answer.values) != count:
            raise BadAnswer(
                f"{self.label}: {what}: it answered error-status {answer.status} (RFC 3416, 3) and "
                f"{len(answer.values)} values for {count}: that says nothing about the power. Try snmpget by hand"
            )
        return answer.values

    def _index(self, outlet: str) -> Oid:
        index = self._family.index(outlet)
        if index is None:
            raise NoSuchOutlet(self._no_outlet(outlet))
        return index

    def _no_outlet(self, outlet: str) -> str:
        return f"{self.label}: there is no outlet {outlet!r}. Correct the feed's outlet; its numbers stand on the PDU"


def _identity(values: Sequence[Value]) -> str:
    """The identity in the values of `_identity_oids`: the serial number, else the engine ID, else empty."""
    engine, *serials = values
    serial = _text(serials[0]).strip() if serials else ""
    if serial.upper() not in NO_SERIAL and serial.strip("0"):
        return f"{SERIAL}{serial[:64]}"
    return f"{ENGINE}{engine.hex()}" if isinstance(engine, bytes) and engine else ""


def _text(value: Value) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


class BootSign:
    """Names the current boot of one PDU: readings with the same sign have no reboot between them.

    From snmpEngineBoots, where it is served, and the moment at which sysUpTime was zero, on our monotonic clock. That
    moment is known to the length of a request only, so it is kept until a reading contradicts it: an uptime that went
    back, or one that moves the moment by more than a second (and a thousandth of the time between: clocks drift). A wrap
    of sysUpTime after 497 days counts as a reboot. Signs of two BootSigns, thus of two driver objects, do not compare.
    """

    SLACK_SECONDS = 1.0
    DRIFT = 0.001

    def __init__(self) -> None:
        self._boots: object = None
        self._uptime = -1.0
        self._zero = 0.0
        self._seen = 0.0
        self._sign = ""

    def see(self, boots: object, ticks: object, began: float, ended: float) -> str:
        """Take in one answer, asked at `began` and answered at `ended`; return the sign, empty if it has none."""
        boots = boots if isinstance(boots, int) else None
        if not isinstance(ticks, int):
            self._sign, self._boots, self._uptime = "" if boots is None else f"boots {boots}", boots, -1.0
            return self._sign
        uptime = ticks / 100
        earliest, latest = began - uptime, ended - uptime
        slack = self.SLACK_SECONDS + self.DRIFT * (ended - self._seen)
        same = (
            self._uptime >= 0
            and boots == self._boots
            and uptime >= self._uptime
            and earliest - slack <= self._zero <= latest + slack
        )
        self._zero = min(max(self._zero, earliest), latest) if same else latest
        self._boots, self._uptime, self._seen = boots, uptime, ended
        if not same:
            self._sign = f"boots {'-' if boots is None else boots}, up since {latest:.2f}"
        return self._sign
