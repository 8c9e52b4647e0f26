"""The network witness over real TCP, and what else on a server could mount a target."""

import asyncio
import socket
from pathlib import Path

import pytest

from ostkeeper.agent import hazards, peer
from ostkeeper.core.hostevents import DiskRef
from waiting import wait_for_async

pytestmark = pytest.mark.contract
DISK = DiskRef("scratch-OST0000", "ext4", "/dev/disk/by-id/wwn-1", "/mnt/ost0")


def port_of(server: asyncio.Server) -> int:
    """Give the port on IPv4: for port 0 the kernel picks another one for each family, and they come in any order."""
    return next(int(each.getsockname()[1]) for each in server.sockets if each.family == socket.AF_INET)


async def test_server_answers_its_name_and_boot() -> None:
    async with await peer.serve("oss2/boot-7", 0) as server:
        assert await peer.ask("127.0.0.1", port_of(server), "oss2", 2.0) == "boot-7"


async def test_answer_under_another_name_is_none() -> None:
    async with await peer.serve("oss3/boot-7", 0) as server:
        assert await peer.ask("127.0.0.1", port_of(server), "oss2", 2.0) == ""


async def test_closed_port_is_no_answer() -> None:
    async with await peer.serve("oss2/boot-7", 0) as server:
        port = port_of(server)
    assert await peer.ask("127.0.0.1", port, "oss2", 2.0) == ""


@pytest.mark.parametrize("said", [b"", b"oss2/boot-7" * 1000])
async def test_server_that_says_nothing_or_too_much_is_no_answer(said: bytes) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(odd, "127.0.0.1", 0) as server:
        assert await peer.ask("127.0.0.1", port_of(server), "oss2", 0.3) == ""


async def test_partner_is_asked_again_and_again() -> None:
    heard: list[str] = []
    async with await peer.serve("oss2/boot-7", 0) as server:
        watch = peer.PeerWatch(port_of(server), {"oss2": "127.0.0.1"}, heard.append)
        watch.set("oss2", 0.1)
        await wait_for_async(lambda: heard.count("boot-7") >= 3, 5.0, "three answers")
    await wait_for_async(lambda: "" in heard, 5.0, "no answer once it is gone")
    watch.close()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/dev/disk/by-id/wwn-1 /somewhere lustre defaults 0 0", True),
        ("/dev/sdz /mnt/ost0/ lustre defaults 0 0", True),
        ("LABEL=scratch-OST0000 /x ext4 noauto 0 0", True),
        ("UUID=ABCD-1 /x ext4 defaults 0 2", True),
        ("# /dev/disk/by-id/wwn-1 /mnt/ost0 lustre", False),
        ("/dev/sdz /mnt/ost00 ext4 defaults 0 0", False),
        ("UUID=other / ext4 defaults 0 1", False),
    ],
)
def test_fstab_entry_for_a_target_is_a_hazard(tmp_path: Path, line: str, found: bool) -> None:
    (tmp_path / "fstab").write_text(f"{line}\n")
    said = hazards.find([DISK], {DISK.target: "abcd-1"}, tmp_path / "fstab", tmp_path / "proc")
    assert bool(said) == found
    assert not found or ("fstab:1" in said[0] and DISK.target in said[0])


def test_boot_time_fsck_is_told(tmp_path: Path) -> None:
    (tmp_path / "fstab").write_text("LABEL=scratch-OST0000 /x ext4 defaults 0 2\n")
    assert "checked at boot" in hazards.find([DISK], {}, tmp_path / "fstab", tmp_path / "proc")[0]


def test_running_pacemaker_is_a_hazard(tmp_path: Path) -> None:
    for pid, name in (("1", "systemd"), ("7", "pacemakerd")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    said = hazards.find([DISK], {}, tmp_path / "fstab", tmp_path)
    assert len(said) == 1
    assert said[0].startswith("pacemakerd is running")
