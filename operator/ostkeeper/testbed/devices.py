"""The fence devices of one testbed: made, given credentials, broken and mended by the verb `device`.

Here: the API that the testbed, the demo and the tests use. Not here: the devices themselves, which live in a process of
their own (`deviceroom`) in the devices' network namespace.

    device NAME[/OUTLET] normal|silent|slow MS|lossy PCT|stuck|lie|wrong-password|reboot|replaced|no-serial
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ostkeeper.testbed.bmc import BmcSpec
from ostkeeper.testbed.pdu import PduSpec, made_up_serial
from ostkeeper.testbed.simulator import SimulatorFailed, die_with_parent

FAULTS = ("normal", "silent", "slow", "lossy", "stuck", "lie", "wrong-password", "reboot", "replaced", "no-serial")
START_SECONDS = 60.0
"""How long all devices together may take to start: 60."""


class DeviceError(Exception):
    """A device could not be started or told to fail. The text says which, and why."""


def bmc_spec(name: str, host: str, address: str, guid: str, *, port: int = 623, boot_seconds: float = 1.0) -> BmcSpec:
    """Describe a BMC with a user and a password made up now. `guid`: 32 hexadecimal digits; `port` 0: any free one."""
    return BmcSpec(name, host, address, guid, "ostkeeper", secrets.token_hex(8), port, boot_seconds)


def pdu_spec(name: str, address: str, outlets: int, *, version: str = "v3", port: int = 161) -> PduSpec:
    """Describe a PDU with credentials and a serial number made up now. Outlets count from 1; `version`: v2c or v3."""
    made = PduSpec(name, address, outlets, "v2c", port=port, serial=made_up_serial())
    if version == "v2c":
        return replace(made, community=secrets.token_hex(8))
    auth, priv = secrets.token_hex(8), secrets.token_hex(8)
    return replace(made, version="v3", username="ostkeeper", auth_password=auth, priv_password=priv)


class Devices:
    """All BMCs and PDUs of one world. Every method belongs to one event loop."""

    def __init__(self, directory: Path, plane: Path, bmcs: Sequence[BmcSpec], pdus: Sequence[PduSpec]) -> None:
        """`directory`: for configurations and logs, a short path. `plane`: the power plane's socket."""
        self.bmcs = {spec.name: spec for spec in bmcs}
        self.pdus = {spec.name: spec for spec in pdus}
        self.ports: dict[str, int] = {}
        """UDP port of each device, once started."""
        self._directory = directory
        self._plane = plane
        self._process: asyncio.subprocess.Process | None = None
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._next_id = 0

    async def start(self, netns_pid: int | None = None) -> None:
        """Start them in the network namespace of `netns_pid`, default this one. All answer then. Raises DeviceError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix = ["nsenter", "-t", str(netns_pid), "-n"] if netns_pid is not None else []
        with (self._directory / "room.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *prefix,
                sys.executable,
                "-m",
                "ostkeeper.testbed.deviceroom",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        try:
            await self._introduce(self._process)
        except BaseException:
            await self.stop()
            raise

    async def _introduce(self, process: asyncio.subprocess.Process) -> None:
        world = {
            "directory": str(self._directory.absolute()),
            "plane": str(self._plane.absolute()),
            "bmcs": [asdict(spec) for spec in self.bmcs.values()],
            "pdus": [asdict(spec) for spec in self.pdus.values()],
        }
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(world).encode() + b"\n")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        except TimeoutError as error:
            raise DeviceError(f"the devices did not start in {START_SECONDS:g}s: see {self._directory}") from error
        first = json.loads(line or b'{"error": "its process ended"}')
        if "error" in first:
            raise DeviceError(f"{first['error']}: see {self._directory / 'room.log'}")
        self.ports = first["ports"]
        self._reader = asyncio.create_task(self._read(process.stdout))

    async def stop(self) -> None:
        """End them all. No process of theirs is left. May be repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()  # its children go with it (PR_SET_PDEATHSIG)
            await process.wait()
        if self._reader is not None:
            await self._reader

    async def fault(self, name: str, outlet: str = "", kind: str = "normal", argument: float = 0.0) -> None:
        """Break or mend a device (all its outlets where `outlet` is empty). In force when it returns.

        `slow`: ms more a round trip. `lossy`: percent lost each way. `stuck`: acknowledges, does not move, reads the
        truth. `lie`: acknowledges, does not move, reads what was asked. `reboot`: returns when it answers again, a
        PDU's outlets all on. `replaced`: another device with another identity (system GUID; serial number and engine ID)
        is put in its place, with the same address, credentials and cords; sessions are lost. `no-serial`: a PDU reports no
        serial number. `normal` for the whole device
        mends link and password, too, and puts the first device back. Raises DeviceError.
        """
        await self._ask({"op": "fault", "name": name, "outlet": outlet, "kind": kind, "argument": argument})

    async def swap_bmcs(self, one: str, other: str) -> None:
        """Swap the network cables of two servers' BMCs. Each address keeps its credentials, as of one site-wide account.

        Sessions are lost. Returns when both answer again. Raises DeviceError.
        """
        names = {spec.host: name for name, spec in self.bmcs.items()}
        if one not in names or other not in names:
            raise DeviceError(f"no BMC of {one} or {other}; there are those of {', '.join(names)}")
        first, second = self.bmcs[names[one]], self.bmcs[names[other]]
        for spec, of in ((first, second), (second, first)):
            self.bmcs[spec.name] = replace(spec, host=of.host, guid=of.guid)
            await self._ask({"op": "become", "name": spec.name, "host": of.host, "guid": of.guid})

    async def verb(self, words: Sequence[str]) -> None:
        """Do `NAME[/OUTLET] FAULT [ARGUMENT]`, as typed by hand. Raises DeviceError."""
        if len(words) not in (2, 3) or words[1] not in FAULTS:
            raise DeviceError(f"device {' '.join(words)}: write NAME[/OUTLET] {'|'.join(FAULTS)} [ARGUMENT]")
        name, _, outlet = words[0].partition("/")
        if (words[1] in ("slow", "lossy")) != (len(words) == 3):
            raise DeviceError(f"device {' '.join(words)}: slow takes milliseconds, lossy percent, the others nothing")
        try:
            argument = float(words[2]) if len(words) == 3 else 0.0
        except ValueError:
            raise DeviceError(f"device {' '.join(words)}: {words[2]!r} is not a number") from None
        await self.fault(name, outlet, words[1], argument)

    async def ac(self, host: str, current: bool) -> None:
        """Tell the BMC of `host` that it lost all current (returns when it is silent) or has some (when it answers).

        For `PowerPlane.on_ac_change`. Does nothing while the devices are not running.
        """
        if self._process is None:
            return
        for name in [spec.name for spec in self.bmcs.values() if spec.host == host]:
            await self._ask({"op": "ac", "name": name, "current": current})

    async def ac_lost(self, host: str) -> None:
        """No feed of `host` has current: its BMC is dead when this returns, and remembers nothing."""
        await self.ac(host, False)

    async def ac_back(self, host: str) -> None:
        """A feed of `host` has current: its BMC boots, and answers when this returns."""
        await self.ac(host, True)

    async def packets(self, name: str) -> int:
        """How many packets clients have sent to this device, lost ones included."""
        reply = await self._ask({"op": "packets"})
        return int(reply["packets"][name])

    def secret(self, name: str) -> dict[str, bytes]:
        """Return the data of the Kubernetes Secret by which the operator uses this device."""
        if name in self.bmcs:
            bmc = self.bmcs[name]
            return {"username": bmc.username.encode(), "password": bmc.password.encode()}
        pdu = self.pdus[name]
        if pdu.version == "v2c":
            return {"community": pdu.community.encode()}
        return {
            "username": pdu.username.encode(),
            "authPassword": pdu.auth_password.encode(),
            "privPassword": pdu.priv_password.encode(),
        }

    def fence_device(self, name: str, secret_name: str) -> dict[str, Any]:
        """Return the `spec` of the FenceDevice that describes this device, its Secret named `secret_name`."""
        where: dict[str, Any] = {"credentialsSecretName": secret_name, "port": self.ports.get(name, 0)}
        if name in self.bmcs:
            bmc = self.bmcs[name]
            return {"ipmi": where | {"address": bmc.address, "port": where["port"] or bmc.port}}
        pdu = self.pdus[name]
        where |= {"address": pdu.address, "port": where["port"] or pdu.port}
        return {"snmpPDU": where | {"family": "apc-rpdu2", "version": pdu.version}}

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise DeviceError(f"the devices are not running: see {self._directory / 'room.log'}")
        self._next_id += 1
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[self._next_id] = reply
        process.stdin.write(json.dumps(request | {"id": self._next_id}).encode() + b"\n")
        answer = await reply
        if "error" in answer:
            raise DeviceError(answer["error"])
        return answer

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            answer = json.loads(line)
            waiting = self._replies.pop(answer["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._replies.values():
            if not waiting.done():
                waiting.set_result({"error": f"the devices' process ended: see {self._directory / 'room.log'}"})


__all__ = ["BmcSpec", "DeviceError", "Devices", "PduSpec", "SimulatorFailed", "bmc_spec", "pdu_spec"]
