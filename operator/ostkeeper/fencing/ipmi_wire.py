"""pyghmi's IPMI 2.0 session, driven by one thread for one BMC, with a deadline before every packet.

Here: the packets of one session. Runs in worker processes only (`ipmi_worker`). Not here: processes, what an answer
means for a feed (`ipmi`). pyghmi waits in a thread of its own and loses wake-ups (0.6 to 1.9 s); we take its place
between its sockets and its state machine, so that there is no second thread and no wake-up to lose.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Any

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.private import session as pyghmi

from ostkeeper.core.identity import GUID, matches

PATIENCE_SECONDS = 0.15
"""How long a packet waits for its answer before it is sent again, on a quick network; grows with each time."""
PATIENCE_GROWTH = 1.3
ROUND_TRIPS = 4
"""A slow BMC is given this many times its measured round trip: BMCs hash for long before they answer a login."""
MOST_PATIENCE_SECONDS = 2.0
SENDS = 3
"""How often a command is sent in one session before the session counts as lost: 0.6 s in all on a quick network."""
KEEPALIVE_ANSWER_SECONDS = 1.0
APP, GET_SYSTEM_GUID = 6, 0x37
BUSY = frozenset({0xC0, 0xC3, 0xD2})
"""Completion codes that mean "ask again" (IPMI 2.0, table 5-2): node busy, timeout, BMC initialisation in progress."""
GUID_BYTES = 16


class Late(BaseException):
    """The deadline passed. No packet was sent after it. Not an Exception: pyghmi swallows those."""


class SessionLost(Exception):
    """The BMC answers nothing in this session any more (it rebooted, or forgot it), or no session came about."""


class Refused(Exception):
    """The BMC refused the session. The text is pyghmi's, and holds no password."""


class IdentityMismatch(Exception):
    """The session's BMC does not have the identity that the command is for. The command did not leave in this session."""

    def __init__(self, reported: str) -> None:
        super().__init__(f"identity {reported or 'not reported'}")
        self.reported = reported


class Line:
    """The deadline that every packet is checked against, and who has to be alive for us to go on."""

    def __init__(self, on_readable: Callable[[], None], watched: socket.socket | None) -> None:
        """`watched`: a socket whose readability is told to `on_readable` while we wait for the BMC."""
        self.deadline = 0.0
        self.sent = 0
        self.trouble = ""
        """The last error of the network, in words."""
        self._on_readable = on_readable
        self._watched = watched

    def install(self) -> None:
        """Take the place of pyghmi's I/O thread (which waits for sockets) and of its packets' exit. Once a process."""
        pyghmi.iothread = self
        pyghmi.iothreadready = True
        pyghmi._io_wait = self.wait
        pyghmi._io_sendto = self.send

    def send(self, sock: socket.socket, packet: bytes, address: Any) -> None:
        """Send one packet, unless it is late. Raises Late. What the network refuses is a packet lost."""
        if time.monotonic() >= self.deadline:
            raise Late
        sock.setblocking(False)
        try:
            sock.sendto(packet, address)
            self.sent += 1
        except OSError as error:
            self.trouble = str(error)

    def wait(self, timeout: float, _address: Any = None, _queue: Any = None) -> None:
        """Wait for packets and sort them to their session. Raises Late."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Late
        watched = [self._watched] if self._watched is not None else []
        ready, _, _ = select.select([*pyghmi.iosockets, *watched], [], [], max(0.0, min(timeout, left)))
        if self._watched in ready:
            self._on_readable()
        pyghmi._io_graball(pyghmi.iosockets, {})


class _Session(pyghmi.Session):  # type: ignore[misc]
    """A session that sends again after a fraction of a second: shots have two seconds in all.

    A packet sent again too soon makes pyghmi start the login over, and refuse the answer to the first: so it measures.
    """

    patience = PATIENCE_SECONDS
    """Of this process's one BMC; outlives the session."""
    _transmitted = 0.0

    def _xmit_packet(self, retry: bool = True, delay_xmit: Any = None, timeout: float | None = None) -> None:
        self._transmitted = time.monotonic()
        super()._xmit_packet(retry, delay_xmit, self.patience if timeout is None else timeout)

    def _got_channel_auth_cap(self, response: dict[str, Any]) -> None:
        self.be_patient(ROUND_TRIPS * (time.monotonic() - self._transmitted))
        super()._got_channel_auth_cap(response)

    def _timedout(self) -> None:
        self.be_patient(self.patience * PATIENCE_GROWTH)
        super()._timedout()

    @classmethod
    def be_patient(cls, seconds: float) -> None:
        cls.patience = min(max(seconds, PATIENCE_SECONDS), MOST_PATIENCE_SECONDS)


class Bmc:
    """One BMC: at most one session, opened when it is needed or lost."""

    def __init__(self, line: Line, address: str, port: int, username: bytes, password: bytes) -> None:
        self._line = line
        self._where = (address, port)
        self._credentials = (username, password)  # bytes: with str pyghmi fails on a second session
        self._session: Any = None
        self.identity = ""
        """Identity of the session's BMC (`core.identity`), read in this session; empty: it reports none."""
        self.commands_sent = 0
        """Packets of the current command that left, in all sessions. The caller sets it to 0 before each command."""
        self._keepalive: list[dict[str, Any]] | None = None
        self._keepalive_sent = 0.0

    @property
    def connected(self) -> bool:
        """Whether there is a session, as far as we know."""
        return self._session is not None

    def ask(self, netfn: int, command: int, data: tuple[int, ...] = (), expected: str = "") -> tuple[int, bytes, float]:
        """Ask until answered; return completion code, data and when the question first left.

        The command leaves only in a session whose BMC has the identity `expected` (empty: any). The identity is read right
        before the command, so that a lost session is noticed before the command leaves in it. No BMC takes a packet of
        another one's session (RMCP+ integrity key). Raises Late, Refused, IdentityMismatch.
        """
        while True:
            try:
                self._drop_if_deaf()
                session = self._session or self._login()
                if expected or not self.identity:
                    self.identity = self._read_identity(session)
                if not matches(expected, self.identity):
                    raise IdentityMismatch(self.identity)
                return self._command(session, netfn, command, data)
            except SessionLost:
                self.drop()
            except IdentityMismatch:
                raise  # the session is sound: it stays open for readings
            except BaseException:
                self.drop()  # an answer may be under way that must never be taken for that of another question
                raise

    def send_keepalive(self) -> None:
        """Ask for the device ID without waiting, or give the session up if the last keepalive was not answered."""
        self._line.deadline = time.monotonic() + 0.1
        try:
            self._drop_if_deaf()
            if self._session is not None:
                self._keepalive, self._keepalive_sent = [], time.monotonic()
                self._transmit(self._session, 6, 1, (), self._keepalive)
        except (Late, SessionLost, IpmiException):
            self.drop()

    def log_out(self) -> None:
        """Give the BMC its session slot back, without waiting for its word. Raises nothing."""
        session, self._session = self._session, None
        if session is None:
            return
        self._line.deadline = time.monotonic() + 0.1
        try:
            number = tuple(int(session.sessionid).to_bytes(4, "little"))
            self._transmit(session, 6, 0x3C, number, [])  # Close Session, IPMI 2.0 22.19
        except (Late, SessionLost, IpmiException):
            pass

    def drop(self) -> None:
        """Forget the session and everything pyghmi keeps of it: its sockets, its timers, its questions."""
        self._session = self._keepalive = None
        self.identity = ""
        for sock in pyghmi.iosockets:
            sock.close()
        for kept in (
            pyghmi.iosockets,
            pyghmi.sessionqueue,
            pyghmi.ioqueue,
            pyghmi.Session.socketpool,
            pyghmi.Session.bmc_handlers,
            pyghmi.Session.waiting_sessions,
            pyghmi.Session.initting_sessions,
            pyghmi.Session.keepalive_sessions,
        ):
            kept.clear()

    def _login(self) -> Any:
        self.drop()
        address, port = self._where
        username, password = self._credentials
        try:
            self._session = _Session(address, username, password, port)
        except IpmiException as error:
            reason = str(error)
            if reason in ("None", "", "timeout", "Session no longer connected") or "nsufficient resources" in reason:
                self._line.trouble = self._line.trouble or reason.replace("None", "")
                raise SessionLost(reason) from None
            raise Refused(reason) from None
        return self._session

    def _read_identity(self, session: Any) -> str:
        """Get System GUID (IPMI 2.0, 22.14). Empty where the BMC has none; asked again while the BMC is busy."""
        for _ in range(SENDS):
            code, guid, _began = self._ask_once(session, APP, GET_SYSTEM_GUID, ())
            if code not in BUSY:
                return GUID + guid.hex() if code == 0 and len(guid) == GUID_BYTES else ""
        return ""

    def _command(self, session: Any, netfn: int, command: int, data: tuple[int, ...]) -> tuple[int, bytes, float]:
        before = self._line.sent
        try:
            return self._ask_once(session, netfn, command, data)
        finally:
            self.commands_sent += self._line.sent - before

    def _ask_once(self, session: Any, netfn: int, command: int, data: tuple[int, ...]) -> tuple[int, bytes, float]:
        answers: list[dict[str, Any]] = []
        began, patience = time.monotonic(), _Session.patience
        for _ in range(SENDS):
            self._transmit(session, netfn, command, data, answers)
            until = time.monotonic() + patience
            while not answers and (left := until - time.monotonic()) > 0:
                self._line.wait(left)
                self._process(session)
            if answers:
                return int(answers[0]["code"]), bytes(answers[0]["data"]), began
            patience *= PATIENCE_GROWTH
        raise SessionLost("no answer")

    def _transmit(
        self, session: Any, netfn: int, command: int, data: tuple[int, ...], answers: list[dict[str, Any]]
    ) -> None:
        """Send one request. Sent again it bears the same sequence number, so that one answer is taken, once."""

        def take(response: dict[str, Any]) -> None:
            if response.get("command") == command and response.get("netfn") == netfn + 1:
                answers.append(response)

        session.incommand = False
        try:
            session.raw_command(netfn=netfn, command=command, data=data, retry=False, callback=take)
        except IpmiException as error:
            raise SessionLost(str(error)) from error

    def _drop_if_deaf(self) -> None:
        """Take in what came since; a keepalive that was not answered in time ends the session."""
        if self._session is None:
            return
        pyghmi._io_graball(pyghmi.iosockets, {})
        self._process(self._session)
        if self._keepalive is None:
            return
        if self._keepalive or time.monotonic() - self._keepalive_sent < KEEPALIVE_ANSWER_SECONDS:
            self._keepalive = None
        else:
            self.drop()

    @staticmethod
    def _process(session: Any) -> None:
        pyghmi.sessionqueue.clear()
        session.process_pktqueue()
