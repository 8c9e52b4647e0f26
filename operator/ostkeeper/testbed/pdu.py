"""A simulated PDU: one `snmpd` (net-snmp) that plays an APC rack PDU of the second generation (rPDU2).

Here: its configuration, and the outlets behind PowerNet-MIB's rPDU2OutletSwitched* and rPDU2OutletMetered* objects.
Not here: the process around it (`simulator`), the power (`power`). pass_persist: snmpd.conf(5) of net-snmp 5.9.3.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ostkeeper.testbed.relay import PlaneClient, PlaneGone, Relay
from ostkeeper.testbed.simulator import SimulatedDevice
from ostkeeper.testbed.udpproxy import Address

RPDU2 = ".1.3.6.1.4.1.318.1.1.26"
STATUS_STATE = (9, 2, 3, 1, 5)
"""rPDU2OutletSwitchedStatusState: outletStatusOff(1), outletStatusOn(2)."""
STATUS_PENDING = (9, 2, 3, 1, 6)
"""rPDU2OutletSwitchedStatusCommandPending: yes(1), no(2), unknown(3)."""
CONTROL_COMMAND = (9, 2, 4, 1, 5)
"""rPDU2OutletSwitchedControlCommand: immediateOn(1), immediateOff(2), immediateReboot(3); others are refused here."""
METERED_POWER = (9, 4, 3, 1, 7)
"""rPDU2OutletMeteredStatusPower: watts."""
SERIAL_NUMBER = f"{RPDU2}.2.1.9.1"
"""rPDU2IdentSerialNumber.1."""
MASTER_SWITCH_RPDU2 = ".1.3.6.1.4.1.318.1.3.4.6"
"""masterSwitchrPDU2, the sysObjectID of this family."""
DESCRIPTION = "APC Web/SNMP Management Card (simulated; MN:AP8959)"
V3_DISCOVERY = bytes.fromhex(
    "303e020103301102047b7b7b7b020300ffe3040104020103"
    "0410300e0400020100020100040004000400"
    "3014 0400 0400 a00e 02047b7b7b7b 020100 020100 3000".replace(" ", "")
)
"""RFC 3414, 4: a request without an engine ID, which every SNMPv3 engine answers with a report."""
SCRIPT = """\
#!/bin/sh
# pass_persist: snmpd keeps this running. Reads of the reply end when the testbed dies, and so does this.
exec 3<{reply} 4>{ask}
while read -r verb; do
    case $verb in
        PING) echo PONG; continue ;;
        get | getnext) read -r oid; printf '%s %s\\n' "$verb" "$oid" >&4 ;;
        set) read -r oid; read -r value; read -r _blank; printf 'set %s %s\\n' "$oid" "$value" >&4 ;;
        *) exit 0 ;;
    esac
    answered=
    while read -r line <&3; do
        [ "$line" = . ] && answered=1 && break
        printf '%s\\n' "$line"
    done
    [ "$answered" ] || exit 1
done
"""
MODULES = (
    "pass,pass_persist,system_mib,sysORTable,snmpEngine,snmpEngineStats,usmStats,usmUser,usmConf,"
    "vacm_conf,vacm_context,vacm_vars"
)
"""What of net-snmp is loaded: starting all of it takes longer, and would show this machine's disks and processes."""


@dataclass(frozen=True, slots=True)
class PduSpec:
    """One PDU of a world. Its outlets are the power plane's feeds `NAME/1` to `NAME/N`."""

    name: str
    address: str
    outlets: int
    version: Literal["v2c", "v3"]
    community: str = ""
    """v2c."""
    username: str = ""
    """v3: authPriv with SHA-256 and AES-128."""
    auth_password: str = ""
    priv_password: str = ""
    port: int = 161
    """0: any free one."""
    serial: str = ""
    """Empty: it reports none, as some PDUs do; it is identified by its engine ID then."""
    boot_seconds: float = 0.5
    """How long a reboot of its management card takes. Real ones take 10 to 60."""


class Pdu(SimulatedDevice):
    """One PDU. It has current for ever; `reboot` restarts its card and leaves every outlet on."""

    def __init__(self, spec: PduSpec, directory: Path, plane: PlaneClient) -> None:
        super().__init__(spec.name, (spec.address, spec.port), directory, spec.boot_seconds)
        self._spec = spec
        self._engine_boots = 0
        self._serial, self._engine_id = spec.serial, self._first_engine_id
        self.relays.update({str(n): Relay(plane, f"{spec.name}/{n}") for n in range(1, spec.outlets + 1)})
        self._columns: dict[tuple[int, ...], Callable[[Relay], Awaitable[int]]] = {
            STATUS_STATE: _state,
            STATUS_PENDING: _pending,
            CONTROL_COMMAND: _last_command,
            METERED_POWER: _watts,
        }

    @property
    def _first_engine_id(self) -> str:
        return "80001f8804" + self._spec.name.encode()[:20].hex()

    def identify_as(self, *, another: bool) -> bool:
        """Change serial number (where it reports one) and engine ID."""
        before = self._engine_id
        if another:
            self._serial = made_up_serial() if self._spec.serial else ""
            self._engine_id = "80001f8804" + secrets.token_hex(8)
        else:
            self._serial, self._engine_id = self._spec.serial, self._first_engine_id
        return before != self._engine_id

    @property
    def hello(self) -> bytes:
        """An SNMPv3 discovery: answered whichever version the clients use."""
        return V3_DISCOVERY

    def environment(self) -> dict[str, str]:
        """Keep net-snmp off this machine's own configuration and state."""
        directory = str(self.directory.absolute())
        return super().environment() | {
            "SNMPCONFPATH": f"{directory}/state",  # where it finds the boots and the engine ID that we "saved"
            "SNMP_PERSISTENT_DIR": f"{directory}/state",
            "MIBS": "",
            "MIBDIRS": f"{directory}/state",
        }

    def command(self, backend: Address) -> list[str]:
        """Write the daemon's configuration and the script. Each start is a boot: snmpEngineBoots grows by one."""
        directory = self.directory.absolute()
        script = directory / "outlets.sh"
        script.write_text(SCRIPT.format(ask=self._pipe.ask.absolute(), reply=self._pipe.reply.absolute()))
        script.chmod(0o700)
        self._engine_boots += 1
        state = directory / "state"
        state.mkdir(exist_ok=True)
        # The daemon saves its boots and users when it is stopped, which a power cut does not allow: we write them.
        saved = f"oldEngineID 0x{self._engine_id}\nengineBoots {self._engine_boots - 1}\n"
        (state / "snmpd.conf").write_text(saved)
        (directory / "testbed.conf").write_text(self._conf(backend, script))
        options = ["-f", "-Lo", "-r", "-I", MODULES, "-c", str(directory / "testbed.conf")]
        return ["snmpd", *options, f"udp:{backend[0]}:{backend[1]}"]

    def _conf(self, backend: Address, script: Path) -> str:
        secret = "-not-this-one" if self.wrong_password else ""
        if self._spec.version == "v2c":
            access = f"rwcommunity {self._spec.community}{secret}\n"
        else:
            access = (
                f"createUser {self._spec.username} SHA-256 {self._spec.auth_password}{secret} "
                f"AES {self._spec.priv_password}\nrwuser {self._spec.username} priv\n"
            )
        return (
            f"{access}exactEngineID 0x{self._engine_id}\nsysDescr {DESCRIPTION}\nsysObjectID {MASTER_SWITCH_RPDU2}\n"
            f"dontLogTCPWrappersConnects yes\npass_persist {RPDU2} {script}\n"
        )

    async def fault(self, outlet: str, kind: str, argument: float) -> None:
        """Make one fault of all devices, or report no serial number. Raises SimulatorFailed."""
        if kind == "no-serial":
            self._serial = ""
            return
        if kind == "normal" and not outlet:
            self._serial = self._spec.serial
        await super().fault(outlet, kind, argument)

    async def reboot(self) -> None:
        """Reboot the card as APC's outlets do by default after a power failure: all of them come back on."""
        await asyncio.gather(*(relay.set(True) for relay in self.relays.values()))
        await super().reboot()

    async def answer(self, question: str) -> str:
        """Answer snmpd: `get OID`, `getnext OID`, `set OID TYPE VALUE`."""
        verb, oid, *value = question.split()
        if oid == SERIAL_NUMBER and verb == "get":
            return f"{oid}\nstring\n{self._serial}" if self._serial else "NONE"
        try:
            column, outlet = _split(oid)
            if verb == "getnext":
                return await self._next(column, outlet)
            if outlet not in self.relays or column not in self._columns:
                return "NONE" if verb == "get" else "not-writable"
            if verb == "get":
                return await self._value(column, outlet)
            return await self._set(column, outlet, value)
        except (PlaneGone, ValueError):
            return "NONE" if verb != "set" else "inconsistent-value"

    async def _value(self, column: tuple[int, ...], outlet: str) -> str:
        number = await self._columns[column](self.relays[outlet])
        return f"{RPDU2}.{'.'.join(map(str, column))}.{outlet}\ninteger\n{number}"

    async def _next(self, column: tuple[int, ...], outlet: str) -> str:
        asked = (*column, *([int(outlet)] if outlet else []))
        for known in sorted(self._columns):
            for name in self.relays:
                if (*known, int(name)) > asked:
                    return await self._value(known, name)
        return "NONE"

    async def _set(self, column: tuple[int, ...], outlet: str, value: list[str]) -> str:
        if column != CONTROL_COMMAND:
            return "not-writable"
        if len(value) != 2 or value[0] != "integer":
            return "wrong-type"
        relay = self.relays[outlet]
        match value[1]:
            case "1":
                await relay.set(True)
            case "2":
                await relay.set(False)
            case "3":
                await relay.set(False)
                await relay.set(True)
            case _:
                return "wrong-value"
        return "DONE"


def made_up_serial() -> str:
    """A serial number of the form that the vendor uses."""
    return f"ZA{secrets.randbelow(10**10):010}"


def _split(oid: str) -> tuple[tuple[int, ...], str]:
    """Split an object identifier of this tree into column and outlet; a shorter one has no outlet."""
    inside = tuple(int(part) for part in oid.removeprefix(RPDU2).split(".") if part)
    return inside[:5], str(inside[5]) if len(inside) > 5 else ""


async def _state(relay: Relay) -> int:
    return 2 if (await relay.get()).on else 1


async def _pending(_relay: Relay) -> int:
    return 2


async def _last_command(relay: Relay) -> int:
    return 1 if (await relay.get()).on else 2


async def _watts(relay: Relay) -> int:
    return round((await relay.get()).watts)
