"""Identity belongs to the session: a device that is replaced under the same address is not switched, and its readings say so.

On the real protocols, compared with what ipmitool and snmpget read.
"""

import asyncio
import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fencing.bench import GUID, Bench, MonotonicClock, bench, driver, soon, world
from ostkeeper.api.fencedevice import FenceDeviceSpec
from ostkeeper.core.identity import matches
from ostkeeper.core.power import PowerState
from ostkeeper.fencing.registry import open_device
from ostkeeper.ports import WrongIdentity
from ostkeeper.testbed.devices import bmc_spec, pdu_spec

pytestmark = pytest.mark.contract
SERIAL_NUMBER = "1.3.6.1.4.1.318.1.1.26.2.1.9.1"
ENGINE_ID = "1.3.6.1.6.3.10.2.1.1.0"
CASES = [("ipmi", True), ("snmp-v2c", True), ("snmp-v3", True), ("snmp-v2c", False), ("snmp-v3", False)]
every_kind = pytest.mark.parametrize(
    ("kind", "serial"), CASES, ids=["ipmi", "v2c-serial", "v3-serial", "v2c-engine", "v3-engine"]
)


async def _run(*command: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"], **environment}
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def _snmpget(one: Bench, oid: str, output: str) -> str:
    pdu = one.devices.pdus["dev"]
    access = ["-v2c", "-c", pdu.community]
    if pdu.version == "v3":
        access = ["-v3", "-l", "authPriv", "-u", pdu.username, "-a", "SHA-256", "-A", pdu.auth_password]
        access += ["-x", "AES", "-X", pdu.priv_password]
    with tempfile.TemporaryDirectory() as state:
        (Path(state) / "cert_indexes").mkdir()
        where = f"{pdu.address}:{one.devices.ports['dev']}"
        return await _run("snmpget", *access, output, "-m", "", where, oid, SNMP_PERSISTENT_DIR=state)


async def told_to_an_admin(one: Bench, serial: bool) -> str:
    """The identity as ipmitool or snmpget reads it."""
    if one.kind == "ipmi":
        bmc = one.devices.bmcs["dev"]
        where = ["-I", "lanplus", "-C", "3", "-H", bmc.address, "-p", str(one.devices.ports["dev"]), "-U", bmc.username]
        answer = await _run("ipmitool", *where, "-E", "raw", "0x06", "0x37", IPMI_PASSWORD=bmc.password)
        return "guid:" + "".join(answer.split())
    if serial:
        return "serial:" + (await _snmpget(one, SERIAL_NUMBER, "-Oqv")).strip('"')
    answer = await _snmpget(one, ENGINE_ID, "-OqvU")
    return "engine:" + "".join(answer.strip('"').split()).lower()


@every_kind
async def test_reading_carries_the_identity_that_an_admin_reads(kind: str, serial: bool) -> None:
    async with bench(kind, serial) as one:
        reading = await one.device.read(one.outlet, soon())
        assert reading.identity == await told_to_an_admin(one, serial)
        assert (await one.device.identify(soon())).identity == reading.identity


@every_kind
async def test_replaced_device_is_not_switched_and_reads_as_another(kind: str, serial: bool) -> None:
    """The session is open when the device is replaced: the driver has to notice by itself."""
    async with bench(kind, serial) as one:
        expected = (await one.device.read(one.outlet, soon())).identity
        await one.devices.fault("dev", kind="replaced")
        for order in (one.device.off, one.device.on):
            with pytest.raises(WrongIdentity, match=f"NOT sent.*instead of {expected}"):
                await order(one.outlet, soon(20), expected)
        assert one.plane.history == []
        reading = await one.device.read(one.outlet, soon(20))
        assert reading.state is PowerState.ON
        assert not matches(expected, reading.identity)
        assert reading.identity == await told_to_an_admin(one, serial)
        await one.device.off(one.outlet, soon(20), reading.identity)
        assert not one.live


@every_kind
async def test_device_that_is_put_back_is_switched_again(kind: str, serial: bool) -> None:
    async with bench(kind, serial) as one:
        expected = (await one.device.read(one.outlet, soon())).identity
        await one.devices.fault("dev", kind="replaced")
        with pytest.raises(WrongIdentity):
            await one.device.off(one.outlet, soon(20), expected)
        await one.devices.fault("dev", kind="normal")
        await one.device.off(one.outlet, soon(20), expected)
        assert not one.live


@every_kind
async def test_order_whose_session_is_lost_is_not_repeated_to_the_device_that_answers_then(
    kind: str, serial: bool
) -> None:
    """1. The device falls silent as an off begins. 2. Another device comes up there. 3. The off does not reach that one."""
    async with bench(kind, serial) as one:
        expected = (await one.device.read(one.outlet, soon())).identity
        await one.devices.fault("dev", kind="silent")
        before = await one.packets()
        shot = asyncio.create_task(one.device.off(one.outlet, soon(30), expected))
        while await one.packets() == before:
            await asyncio.wait([shot], timeout=0.01)
        await one.devices.fault("dev", kind="replaced")
        await one.devices.fault("dev", kind="slow", argument=0)  # the link is up again
        with pytest.raises(WrongIdentity, match=f"NOT sent.*instead of {expected}"):
            await shot
        assert one.plane.history == []


@pytest.mark.parametrize("kind", ["snmp-v2c", "snmp-v3"])
async def test_pdu_that_reports_no_serial_number_any_more_reads_unknown(kind: str) -> None:
    async with bench(kind) as one:
        known = await one.device.read(one.outlet, soon())
        assert known.identity.startswith("serial:")
        await one.devices.fault("dev", kind="no-serial")
        reading = await one.device.read(one.outlet, soon(20))
        assert (reading.state, reading.reason, reading.identity) == (PowerState.UNKNOWN, "WrongIdentity", "")
        with pytest.raises(WrongIdentity, match=f"engine:.*instead of {known.identity}"):
            await one.device.off(one.outlet, soon(20), known.identity)
        assert one.live


async def test_guid_is_recognised_in_the_spelling_of_the_board() -> None:
    """The agent reads the SMBIOS spelling; the BMC sends the bytes in another order."""
    smbios = f"guid:{GUID[6:8]}{GUID[4:6]}{GUID[2:4]}{GUID[0:2]}{GUID[10:12]}{GUID[8:10]}{GUID[14:16]}{GUID[12:14]}{GUID[16:]}"
    async with bench("ipmi") as one:
        await one.device.off("", soon(), smbios)
        assert not one.live


async def test_swapped_cables_of_two_bmcs_switch_neither_server() -> None:
    other = "f" * 31 + "1"
    bmcs = [
        bmc_spec("bmc-oss1", "oss1", "127.0.0.1", GUID, port=0),
        bmc_spec("bmc-oss2", "oss2", "127.0.0.1", other, port=0),
    ]
    async with world(bmcs, []) as it:
        device = driver(it.devices, "bmc-oss1")
        try:
            expected = (await device.read("", soon(20))).identity
            assert expected == f"guid:{GUID}"
            await it.devices.swap_bmcs("oss1", "oss2")
            with pytest.raises(WrongIdentity, match=f"guid:{other} answers there instead of {expected}"):
                await device.off("", soon(20), expected)
            assert it.plane.history == []
            await device.off("", soon(20))  # nothing is pinned: the wrong server goes dark, and its reading says whose
            assert it.plane.history == [("bmc:oss2", False)]
            assert (await device.read("", soon())).identity == f"guid:{other}"
        finally:
            await device.close()


async def test_name_that_leads_to_another_pdu_is_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two PDUs have one set of credentials and one port, as at a site where a name was moved from one to the other."""
    resolved = ["127.0.0.1"]
    found = socket.getaddrinfo

    def look_up(host: str, *words: Any, **options: Any) -> Any:
        return found(resolved[-1] if host == "pdu.example" else host, *words, **options)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first = replace(pdu_spec("first", "127.0.0.1", 2, port=port), serial="ZA1")
    second = replace(first, name="second", address="127.0.0.2", serial="ZA2")
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with world([], [first, second]) as it:
        raw = it.devices.fence_device("first", "secret")
        raw["snmpPDU"]["address"] = "pdu.example"
        spec = FenceDeviceSpec.model_validate(raw)
        device = open_device(spec, it.devices.secret("first"), MonotonicClock(), "dev")
        try:
            assert (await device.read("1", soon(20))).identity == "serial:ZA1"
            resolved.append("127.0.0.2")
            assert (await device.read("1", soon(20))).identity == "serial:ZA2"
            with pytest.raises(WrongIdentity, match="serial:ZA2 answers there instead of serial:ZA1"):
                await device.off("1", soon(20), "serial:ZA1")
            assert it.plane.history == []
        finally:
            await device.close()
