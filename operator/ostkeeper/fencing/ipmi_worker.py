"""The fork server for IPMI workers, and a worker: `python -m ostkeeper.fencing.ipmi_worker FD`.

Here: processes that can be killed. The server has pyghmi imported and no other state; each worker asks one BMC, one
operation at a time, with a deadline in each request. A worker ends with its channel, its server or a SIGKILL, and with it
everything that could still send. Not here: the side that asks (`workers`), the packets (`ipmi_wire`).

Messages are JSON, one a datagram (SOCK_SEQPACKET); credentials come over the channel, never on a command line.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from ostkeeper.fencing.ipmi_wire import APP, GET_SYSTEM_GUID, Bmc, IdentityMismatch, Late, Line, Refused

KEEPALIVE_SECONDS = 25.0
"""A BMC forgets a session after 60 s of silence (IPMI 2.0, 6.12.15: 60 s, plus or minus 3)."""
MESSAGE_BYTES = 65536
PR_SET_PDEATHSIG = 1
CHASSIS = 0
GET_CHASSIS_STATUS, CHASSIS_CONTROL = 1, 2
GET_DEVICE_ID = 1
POWER_DOWN, POWER_UP = 0, 1
NOT_IN_PRESENT_STATE = 0xD5


class Worker:
    """Serves one channel for one BMC."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._line = Line(self._leave_if_alone, channel)
        self._line.install()
        self._bmc: Bmc | None = None

    def run(self) -> None:
        """Obey until the channel ends."""
        while True:
            idle = KEEPALIVE_SECONDS if self._bmc is not None and self._bmc.connected else None
            ready, _, _ = select.select([self._channel], [], [], idle)
            if not ready:
                assert self._bmc is not None
                self._bmc.send_keepalive()
                continue
            message = self._channel.recv(MESSAGE_BYTES)
            if not message:
                return
            self._channel.send(json.dumps(self._answer(json.loads(message))).encode())

    def _leave_if_alone(self) -> None:
        """End at once if whoever asked is gone: nobody would learn what we did."""
        if not self._channel.recv(1, socket.MSG_PEEK):
            os._exit(0)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = request["op"]
        self._line.deadline = request.get("deadline", 0.0)
        self._line.sent, self._line.trouble = 0, ""
        if operation == "connect":
            credentials = (bytes.fromhex(request["username"]), bytes.fromhex(request["password"]))
            self._bmc = Bmc(self._line, request["address"], request["port"], *credentials)
            return {"kind": "ok"}
        assert self._bmc is not None
        self._bmc.commands_sent = 0
        try:
            return self._do(self._bmc, operation, request.get("identity", ""))
        except IdentityMismatch as mismatch:
            return {"kind": "wrong-identity", "identity": mismatch.reported, "sent": self._bmc.commands_sent}
        except Late:
            return {"kind": "silent", "text": self._line.trouble, "sent": self._line.sent}
        except Refused as refusal:
            return {"kind": "refused", "text": str(refusal)}
        except Exception as error:  # pyghmi parses what a broken BMC sends with all sorts of exceptions
            self._bmc.drop()
            return {"kind": "bad-answer", "text": f"{type(error).__name__}: {error}"}

    def _do(self, bmc: Bmc, operation: str, expected: str) -> dict[str, Any]:
        if operation == "log-out":
            bmc.log_out()
            return {"kind": "ok"}
        if operation == "identify":
            return self._identify(bmc)
        if operation in ("off", "on"):
            return self._control(bmc, POWER_DOWN if operation == "off" else POWER_UP, expected)
        return _answered(bmc, *bmc.ask(CHASSIS, GET_CHASSIS_STATUS))

    def _control(self, bmc: Bmc, what: int, expected: str) -> dict[str, Any]:
        """Chassis Control (IPMI 2.0, 28.3). Some BMCs refuse to switch off what is off: then that is what counts."""
        code, data, began = bmc.ask(CHASSIS, CHASSIS_CONTROL, (what,), expected)
        if code == NOT_IN_PRESENT_STATE:
            status, state, _ = bmc.ask(CHASSIS, GET_CHASSIS_STATUS, (), expected)
            if status == 0 and len(state) >= 3 and state[0] & 1 == what:
                code = 0
        return _answered(bmc, code, data, began)

    def _identify(self, bmc: Bmc) -> dict[str, Any]:
        code, guid, began = bmc.ask(APP, GET_SYSTEM_GUID)
        _, device, _ = bmc.ask(APP, GET_DEVICE_ID, (), bmc.identity)
        return _answered(bmc, code, guid, began) | {"device": device.hex()}


def _answered(bmc: Bmc, code: int, data: bytes, began: float) -> dict[str, Any]:
    """The reply for an answer that came in the BMC's current session."""
    return {"kind": "ok", "code": code, "data": data.hex(), "began": began, "identity": bmc.identity}


def _become_worker(channel: socket.socket, server_pid: int) -> None:
    """Serve `channel`, and never return. Dies with the server."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server_pid:
            Worker(channel).run()
            status = 0
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        status = 0  # whoever asked is gone
    finally:
        os._exit(status)


def _fork(control: socket.socket) -> tuple[int, int]:
    """Fork one worker; send its channel and its pidfd; return pid and a pidfd of our own."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        ours.close()
        _become_worker(theirs, server_pid)
    theirs.close()
    pidfd = os.pidfd_open(pid)
    socket.send_fds(control, [b"worker"], [ours.fileno(), pidfd])
    ours.close()
    return pid, pidfd


def serve(control: socket.socket) -> None:
    """Fork a worker for each message, reap those that end, until the control socket ends."""
    children: dict[int, int] = {}
    control.send(b"ready")
    while True:
        ready, _, _ = select.select([control.fileno(), *children], [], [])
        for fd in set(ready) & set(children):
            os.waitpid(children.pop(fd), 0)
            os.close(fd)
        if control.fileno() in ready:
            if not control.recv(64):
                return
            pid, pidfd = _fork(control)
            children[pidfd] = pid


def main() -> None:
    """Run the fork server on the inherited socket whose number is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the operator: it ends us by closing the socket
    control = socket.socket(fileno=int(sys.argv[1]))
    serve(control)


if __name__ == "__main__":
    main()
