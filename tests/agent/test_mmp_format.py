"""The super block and the MMP block as bytes, held against what mke2fs writes and dumpe2fs reads."""

from pathlib import Path

import pytest

from agent.blocks import block_of, superblock_of, with_sequence
from agent.disks import make_image, run
from ostkeeper.agent.backends import mmp, superblock
from ostkeeper.agent.backends.crc32c import crc32c
from ostkeeper.agent.backends.mmp import MmpError
from ostkeeper.agent.backends.superblock import SuperblockError
from ostkeeper.core.diskview import MmpState, kernel_wait

pytestmark = pytest.mark.scenario


def raw_superblock(image: Path) -> bytes:
    return image.read_bytes()[superblock.OFFSET : superblock.OFFSET + superblock.SIZE]


def test_crc32c_agrees_with_the_check_value_of_its_standard() -> None:
    assert crc32c(0xFFFFFFFF, b"123456789") ^ 0xFFFFFFFF == 0xE3069283


@pytest.mark.parametrize("block_size", [1024, 2048, 4096])
@pytest.mark.parametrize("features", ["mmp", "mmp,^metadata_csum", "mmp,metadata_csum_seed", "mmp,^64bit"])
def test_superblock_reads_as_dumpe2fs_reads_it(tmp_path: Path, block_size: int, features: str) -> None:
    image = make_image(tmp_path / "a.img", block_size=block_size, features=features)
    seen = superblock_of(image)
    said = dict(line.split(":", 1) for line in run("dumpe2fs", "-h", str(image)).splitlines() if ":" in line)
    assert seen.uuid == said["Filesystem UUID"].strip()
    assert seen.label == said["Filesystem volume name"].strip() == "scratch-OST0000"
    assert seen.block_size == int(said["Block size"])
    assert seen.mmp_block == int(said["MMP block number"])
    assert seen.mmp_update_interval == int(said["MMP update interval"]) == 1
    assert seen.metadata_checksums == ("^metadata_csum" not in features)
    assert not seen.errors
    assert mmp.parse(block_of(image), seen).state is MmpState.CLEAN


def test_errors_that_the_kernel_flagged_are_seen(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.img", features="^mmp")
    run("debugfs", "-w", "-R", "set_super_value state 2", str(image))
    assert superblock_of(image).errors


@pytest.mark.parametrize("at", [0x00, 0x58, 0x166, 0x168, 0x3FF])
def test_superblock_with_one_odd_byte_is_refused(tmp_path: Path, at: int) -> None:
    raw = bytearray(raw_superblock(make_image(tmp_path / "a.img")))
    raw[at] ^= 0x40
    with pytest.raises(SuperblockError, match="checksum"):
        superblock.parse(bytes(raw))


def test_mmp_block_outside_the_file_system_is_refused(tmp_path: Path) -> None:
    raw = bytearray(raw_superblock(make_image(tmp_path / "a.img", features="mmp,^metadata_csum")))
    raw[0x168:0x170] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(SuperblockError, match="outside"):
        superblock.parse(bytes(raw))


def test_anything_but_ext4_is_refused() -> None:
    with pytest.raises(SuperblockError, match="no ext4"):
        superblock.parse(bytes(1024))


@pytest.mark.parametrize("at", [4, 8, 16, 80, 112, 500, 1023])
def test_mmp_block_with_one_odd_byte_is_refused(tmp_path: Path, at: int) -> None:
    image = make_image(tmp_path / "a.img")
    raw = bytearray(block_of(image))
    raw[at] ^= 1
    with pytest.raises(MmpError, match="checksum"):
        mmp.parse(bytes(raw), superblock_of(image))


@pytest.mark.parametrize("sequence", [mmp.SEQUENCE_FSCK + 1, mmp.SEQUENCE_CLEAN - 1, 0xFFFFFFFF])
def test_sequence_that_ext4_never_writes_is_refused(tmp_path: Path, sequence: int) -> None:
    image = make_image(tmp_path / "a.img")
    with pytest.raises(MmpError, match="none that ext4 writes"):
        mmp.parse(with_sequence(image, sequence), superblock_of(image))


@pytest.mark.parametrize(
    ("sequence", "state"),
    [(1, MmpState.SEQUENCE), (mmp.SEQUENCE_MAX, MmpState.SEQUENCE), (mmp.SEQUENCE_FSCK, MmpState.FSCK)],
)
def test_sequences_read_as_the_kernel_reads_them(tmp_path: Path, sequence: int, state: MmpState) -> None:
    image = make_image(tmp_path / "a.img")
    assert mmp.parse(with_sequence(image, sequence), superblock_of(image)).state is state


@pytest.mark.parametrize("features", ["mmp", "mmp,^metadata_csum", "mmp,metadata_csum_seed"])
def test_cleaned_block_differs_in_sequence_and_checksum_only(tmp_path: Path, features: str) -> None:
    image = make_image(tmp_path / "a.img", features=features)
    of, before = superblock_of(image), with_sequence(image, 4711)
    after = mmp.cleaned(before, of)
    assert mmp.parse(after, of).state is MmpState.CLEAN
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    assert changed <= {*range(4, 8), *(range(1020, 1024) if of.metadata_checksums else ())}


def test_name_that_fills_its_field_is_read_whole(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.img", features="mmp,^metadata_csum")
    raw = bytearray(block_of(image))
    raw[16:80] = b"n" * 64
    raw[80:112] = b"d" * 32
    mark = mmp.parse(bytes(raw), superblock_of(image)).mark
    assert (mark.node, mark.device) == ("n" * 64, "d" * 32)


@pytest.mark.parametrize(("check", "update", "wait"), [(5, 1, 22), (5, 5, 22), (10, 5, 42), (300, 5, 720)])
def test_kernel_waits_as_measured(check: float, update: float, wait: float) -> None:
    assert kernel_wait(check, update) == wait
