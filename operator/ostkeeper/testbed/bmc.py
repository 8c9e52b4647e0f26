"""A simulated BMC: one `ipmi_sim` (OpenIPMI), real IPMI 2.0 over RMCP+, cipher suite 3 (`ipmitool -I lanplus -C 3`).

Here: its configuration, and what its chassis does. Not here: the process around it (`simulator`), the power (`power`).
The formats of lan.conf and bmc.emu: ipmi_lan(5), ipmi_sim_cmd(5) of OpenIPMI 2.0.33.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from ostkeeper.testbed.relay import PlaneClient, PlaneGone, Relay
from ostkeeper.testbed.simulator import SimulatedDevice
from ostkeeper.testbed.udpproxy import Address

GET_CHANNEL_AUTH_CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
"""IPMI 2.0, 22.13: answered before any session."""
EMULATION = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
SCRIPT = """\
#!/bin/sh
# ipmi_sim runs this as: 0x20 get|set WHAT [VALUE]. A fault is no answer, and ends with 1: the BMC then reports an error.
shift
printf '%s\\n' "$*" >{ask}
status=1
while read -r line; do
    [ "$line" = . ] && exit "$status"
    status=0
    [ "$line" = error ] && status=1 || printf '%s\\n' "$line"
done <{reply}
exit 1
"""


@dataclass(frozen=True, slots=True)
class BmcSpec:
    """One BMC of a world."""

    name: str
    host: str
    """Whose chassis relay it is: the power plane's feed `bmc:HOST`."""
    address: str
    guid: str
    """The board's system GUID: 32 hexadecimal digits, as `Get System GUID` returns the bytes."""
    username: str
    password: str
    port: int = 623
    """0: any free one."""
    boot_seconds: float = 1.0
    """From current to the first answer. Real ones take 30 to 90."""


class Bmc(SimulatedDevice):
    """One BMC. It reads and switches the chassis relay of its server, and falls silent without current."""

    def __init__(self, spec: BmcSpec, directory: Path, plane: PlaneClient) -> None:
        super().__init__(spec.name, (spec.address, spec.port), directory, spec.boot_seconds)
        self._spec = spec
        self._guid = spec.guid
        self._plane = plane
        self.relays[""] = Relay(plane, f"bmc:{spec.host}")

    def identify_as(self, *, another: bool) -> bool:
        """Change the system GUID."""
        before, self._guid = self._guid, secrets.token_hex(16) if another else self._spec.guid
        return before != self._guid

    async def become(self, host: str, guid: str) -> None:
        """Be the BMC of another server, at this address and with these credentials: its cable leads there now."""
        self._spec = replace(self._spec, host=host, guid=guid)
        self._guid = guid
        self.relays[""] = Relay(self._plane, f"bmc:{host}")
        await self.restart()

    @property
    def hello(self) -> bytes:
        """Get Channel Authentication Capabilities."""
        return GET_CHANNEL_AUTH_CAPABILITIES

    def command(self, backend: Address) -> list[str]:
        """Write lan.conf, bmc.emu and the chassis script."""
        directory = self.directory.absolute()
        script = directory / "chassis.sh"
        script.write_text(SCRIPT.format(ask=self._pipe.ask.absolute(), reply=self._pipe.reply.absolute()))
        script.chmod(0o700)
        (directory / "bmc.emu").write_text(EMULATION)
        (directory / "lan.conf").write_text(self._lan_conf(backend, script))
        (directory / "state").mkdir(exist_ok=True)
        return [
            "ipmi_sim",
            "-c",
            str(directory / "lan.conf"),
            "-f",
            str(directory / "bmc.emu"),
            "-s",
            str(directory / "state"),
            "-n",
        ]

    def _lan_conf(self, backend: Address, script: Path) -> str:
        password = self._spec.password[::-1] + "x" if self.wrong_password else self._spec.password
        levels = "\n".join(
            f"    allowed_auths_{level} none md2 md5 straight" for level in ("callback", "user", "operator", "admin")
        )
        return (
            f'name "{self.name}"\nset_working_mc 0x20\n  startlan 1\n    addr {backend[0]} {backend[1]}\n'
            f"    priv_limit admin\n{levels}\n    guid {self._guid}\n  endlan\n"
            f'  chassis_control "{script} 0x20"\n'
            f'  user 2 true "{self._spec.username}" "{password[:20]}" admin 10 none md2 md5 straight\n'
        )

    async def answer(self, question: str) -> str:
        """Answer the chassis script: `get power`, `get boot`, `set power 0|1`, `set reset 1`, `set shutdown 1`."""
        relay = self.relays[""]
        words = question.split()
        try:
            match words:
                case ["get", *what]:
                    values = {"power": "power:0", "boot": "boot:none"}
                    if "power" in what:
                        values["power"] = f"power:{int((await relay.get()).on)}"
                    return "\n".join(values[name] for name in what if name in values)
                case ["set", "power", value]:
                    await relay.set(value == "1")
                case ["set", "reset", *_]:
                    await relay.reset()
        except PlaneGone:
            return "error"
        return "ok"
