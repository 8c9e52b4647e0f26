"""The simulated devices speak the real protocols: also with the tools an admin uses. And they break as told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from fencing.bench import GUID, World, driver, soon, world
from fencing.processes import alive, descendants
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.ports import PowerDevice
from ostkeeper.testbed.devices import DeviceError, Devices, bmc_spec, pdu_spec
from ostkeeper.testbed.power import PowerPlane
from ostkeeper.testbed.powersocket import PowerSocket
from waiting import wait_for, wait_for_async

pytestmark = pytest.mark.contract
SWITCHED = "1.3.6.1.4.1.318.1.1.26.9.2"
BOOTS = "1.3.6.1.6.3.10.2.1.2.0"


async def _run(*command: str, **environment: str) -> str:
    """Run a tool; return what it prints, or the error it ends with."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], **environment},
    )
    output, _ = await process.communicate()
    return output.decode().strip()


@asynccontextmanager
async def _both(version: str = "v3", netns_pid: int | None = None) -> AsyncIterator[World]:
    bmc = bmc_spec("bmc", "oss1", "127.0.0.1", GUID, port=0, boot_seconds=0.1)
    async with world([bmc], [pdu_spec("pdu", "127.0.0.1", 4, version=version, port=0)], netns_pid) as it:
        yield it


def _ipmitool(it: World, *words: str, prefix: tuple[str, ...] = ()) -> list[str]:
    bmc = it.devices.bmcs["bmc"]
    where = ["-I", "lanplus", "-C", "3", "-H", bmc.address, "-p", str(it.devices.ports["bmc"]), "-U", bmc.username]
    return [*prefix, "ipmitool", *where, "-E", *words]


async def _snmp(it: World, tool: str, *words: str) -> str:
    pdu = it.devices.pdus["pdu"]
    if pdu.version == "v2c":
        access = ["-v2c", "-c", pdu.community]
    else:
        access = ["-v3", "-l", "authPriv", "-u", pdu.username, "-a", "SHA-256", "-A", pdu.auth_password]
        access += ["-x", "AES", "-X", pdu.priv_password]
    with tempfile.TemporaryDirectory() as state:
        (Path(state) / "cert_indexes").mkdir()  # or the tool tells that it made it
        where = f"{pdu.address}:{it.devices.ports['pdu']}"
        return await _run(tool, *access, "-Oqv", "-m", "", where, *words, SNMP_PERSISTENT_DIR=state)


async def test_ipmitool_reads_and_switches_the_chassis() -> None:
    async with _both() as it:
        password = {"IPMI_PASSWORD": it.devices.bmcs["bmc"].password}
        assert await _run(*_ipmitool(it, "power", "status"), **password) == "Chassis Power is on"
        assert await _run(*_ipmitool(it, "power", "off"), **password) == "Chassis Power Control: Down/Off"
        assert not it.plane.on("bmc:oss1")
        assert await _run(*_ipmitool(it, "power", "status"), **password) == "Chassis Power is off"
        assert await _run(*_ipmitool(it, "power", "on"), **password) == "Chassis Power Control: Up/On"
        assert it.plane.on("bmc:oss1")


@pytest.mark.parametrize("version", ["v2c", "v3"])
async def test_snmpset_switches_one_outlet_and_snmpget_reads_it(version: str) -> None:
    async with _both(version) as it:
        assert await _snmp(it, "snmpget", f"{SWITCHED}.3.1.5.2") == "2"
        assert await _snmp(it, "snmpset", f"{SWITCHED}.4.1.5.2", "i", "2") == "2"
        assert it.plane.feeds == {"pdu/2": False}
        assert await _snmp(it, "snmpget", f"{SWITCHED}.3.1.5.2", f"{SWITCHED}.3.1.5.1") == "1\n2"
        assert "wrongValue" in await _snmp(it, "snmpset", f"{SWITCHED}.4.1.5.2", "i", "5")
        assert "notWritable" in await _snmp(it, "snmpset", f"{SWITCHED}.4.1.5.9", "i", "2")
        assert "No Such Instance" in await _snmp(it, "snmpget", f"{SWITCHED}.3.1.5.9")
        assert len((await _snmp(it, "snmpwalk", f"{SWITCHED}.3")).splitlines()) == 8


async def test_rebooting_pdu_counts_its_boot_and_leaves_outlets_on() -> None:
    async with _both() as it:
        await _snmp(it, "snmpset", f"{SWITCHED}.4.1.5.2", "i", "2")
        assert await _snmp(it, "snmpget", BOOTS) == "1"
        await it.devices.verb(["pdu", "reboot"])
        assert it.plane.on("pdu/2")
        assert await _snmp(it, "snmpget", BOOTS, f"{SWITCHED}.3.1.5.2") == "2\n2"


async def test_fault_of_one_outlet_leaves_the_others_alone() -> None:
    async with _both() as it:
        await it.devices.verb(["pdu/1", "stuck"])
        for outlet in ("1", "2"):
            assert await _snmp(it, "snmpset", f"{SWITCHED}.4.1.5.{outlet}", "i", "2") == "2"
        assert (it.plane.on("pdu/1"), it.plane.on("pdu/2")) == (True, False)


async def test_bmc_without_current_is_silent_and_boots_when_it_is_back() -> None:
    async with _both() as it:
        device = driver(it.devices, "bmc")
        assert (await device.read("", soon(20))).state is PowerState.ON
        await it.devices.ac_lost("oss1")
        assert (await device.read("", soon(0.5))).state is PowerState.UNKNOWN
        await it.devices.ac_back("oss1")
        assert (await device.read("", soon(20))).state is PowerState.ON
        await device.close()


class _Board:
    """A server that does nothing but run."""

    def __init__(self) -> None:
        self.up = False

    async def power_on(self) -> None:
        self.up = True

    async def power_off(self) -> None:
        self.up = False


async def test_server_on_the_power_plane_dies_by_bmc_or_by_both_outlets_and_takes_its_bmc_along() -> None:
    plane = PowerPlane({"oss1": [Feed("left", "1"), Feed("right", "1")]}, boot_delay=0.05)
    board = _Board()
    plane.connect("oss1", board)
    with tempfile.TemporaryDirectory(prefix="ostkeeper-fd-") as directory:
        server = PowerSocket(plane, Path(directory) / "plane.sock")
        bmc = bmc_spec("bmc", "oss1", "127.0.0.1", GUID, port=0, boot_seconds=0.1)
        pdus = [pdu_spec(name, "127.0.0.1", 1, port=0) for name in ("left", "right")]
        it = Devices(Path(directory) / "d", Path(directory) / "plane.sock", [bmc], pdus)
        plane.on_ac_change(it.ac)
        await server.start()
        await plane.start()
        await it.start()
        devices = {name: driver(it, name) for name in ("bmc", "left", "right")}
        try:
            await _off_and_on(devices, board)
        finally:
            for device in devices.values():
                await device.close()
            await it.stop()
            await server.stop()
        assert plane.errors == []


async def _off_and_on(devices: dict[str, PowerDevice], board: _Board) -> None:
    await devices["bmc"].off("", soon(20))
    assert not board.up
    await devices["bmc"].on("", soon())
    await wait_for_async(lambda: board.up, 5, "it boots")
    await devices["left"].off("1", soon())
    assert board.up, "the other outlet carries it"
    await devices["right"].off("1", soon())
    assert not board.up
    assert (await devices["bmc"].read("", soon(0.5))).state is PowerState.UNKNOWN, "a BMC without current answered"
    await devices["left"].on("1", soon())
    await wait_for_async(lambda: board.up, 5, "it boots")
    assert (await devices["bmc"].read("", soon(20))).state is PowerState.ON


async def test_faults_that_make_no_sense_are_refused_by_name() -> None:
    async with _both() as it:
        for words, expected in (
            (["nobody", "silent"], "no device 'nobody'"),
            (["pdu/9", "stuck"], "no outlet '9'"),
            (["pdu", "sulk"], "write NAME"),
            (["pdu", "slow"], "slow takes milliseconds"),
            (["pdu", "lossy", "much"], "'much' is not a number"),
        ):
            with pytest.raises(DeviceError, match=expected):
                await it.devices.verb(words)


@contextmanager
def _network_namespace() -> Iterator[int]:
    """A namespace with its loopback up, named by the process that holds it."""
    script = "ip link set lo up && echo up && exec sleep 600"
    with subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"up\n"
            yield holder.pid
        finally:
            holder.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
async def test_devices_in_a_network_namespace_answer_there_only() -> None:
    with _network_namespace() as pid:
        async with _both(netns_pid=pid) as it:
            password = {"IPMI_PASSWORD": it.devices.bmcs["bmc"].password}
            inside = _ipmitool(it, "power", "status", prefix=("nsenter", "-t", str(pid), "-n"))
            assert await _run(*inside, **password) == "Chassis Power is on"
            device = driver(it.devices, "bmc")
            assert (await device.read("", soon(1))).state is PowerState.UNKNOWN, "it answered out here, too"
            await device.close()


START_AND_WAIT = """
import asyncio, json, sys
from pathlib import Path
from ostkeeper.testbed.devices import Devices, bmc_spec, pdu_spec
async def main():
    directory = Path(sys.argv[1])
    bmc = bmc_spec("bmc", "oss1", "127.0.0.1", "0" * 32, port=0)
    devices = Devices(directory / "d", directory / "plane.sock", [bmc], [pdu_spec("pdu", "127.0.0.1", 2, port=0)])
    await devices.start()
    print(json.dumps(devices.ports), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_devices_die_with_the_process_that_made_them() -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", START_AND_WAIT, directory]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as maker:
            assert maker.stdout is not None
            assert set(json.loads(maker.stdout.readline())) == {"bmc", "pdu"}
            below = descendants(maker.pid)
            assert len(below) >= 3
            os.kill(maker.pid, signal.SIGKILL)
        wait_for(lambda: not [pid for pid in below if alive(pid)], 10, "every simulator dies with its maker")


async def test_stop_leaves_no_process() -> None:
    before = set(descendants())
    async with _both() as it:
        made = set(descendants()) - before
        assert len(made) >= 3
        await it.devices.stop()
        await wait_for_async(lambda: not [pid for pid in made if alive(pid)], 10, "all simulators end")
