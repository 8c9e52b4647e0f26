"""The mount table: its format, whole mount points, and hearing of a change that somebody else made."""

from pathlib import Path

import pytest

from agent.disks import run
from ostkeeper.agent.mounts import MountEntry, MountWatch, at, device_is_gone, on_device, parse, parse_line, read_mounts
from waiting import wait_for_async

LUSTRE = (
    "61 27 0:48 / /mnt/ost0 ro,relatime shared:31 - lustre_tgt /dev/vdb "
    "ro,svname=scratch-OST0000,mgsnode=10.1.0.10@tcp,osd=osd-ldiskfs"
)


@pytest.mark.scenario
def test_line_with_optional_fields_is_read_whole() -> None:
    assert parse_line(LUSTRE) == MountEntry(
        mount_id=61,
        parent_id=27,
        device_number=(0, 48),
        root="/",
        mount_point="/mnt/ost0",
        options=("ro", "relatime"),
        file_system="lustre_tgt",
        source="/dev/vdb",
        super_options=("ro", "svname=scratch-OST0000", "mgsnode=10.1.0.10@tcp", "osd=osd-ldiskfs"),
    )


@pytest.mark.scenario
@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"/mnt/a\040b", "/mnt/a b"),
        (r"/mnt/a\011b\012c", "/mnt/a\tb\nc"),
        (r"/mnt/a\134040b", "/mnt/a\\040b"),
        ("/mnt/é", "/mnt/é"),
    ],
)
def test_octal_escapes_are_undone_once(escaped: str, plain: str) -> None:
    assert parse_line(f"1 0 8:1 / {escaped} rw - ext4 /dev/sda1 rw").mount_point == plain


@pytest.mark.scenario
@pytest.mark.parametrize(
    "line", ["", "1 0 8:1 / /mnt rw ext4 /dev/sda1 rw", "1 0 8:1 / /mnt rw - ext4", "a b c d e f - g h i"]
)
def test_line_that_is_not_mountinfo_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"mountinfo|invalid literal"):
        parse_line(line)


@pytest.mark.scenario
def test_whole_mount_points_are_compared_and_the_topmost_wins() -> None:
    entries = parse(
        "1 0 8:1 / /mnt/ost10 rw - ext4 /dev/a rw\n"
        "2 0 8:2 / /mnt/ost1 rw - ext4 /dev/b rw\n"
        "3 2 8:3 / /mnt/ost1 rw - ext4 /dev/c rw\n"
    )
    top = at(entries, "/mnt/ost1/")
    assert top is not None
    assert top.source == "/dev/c"
    assert at(entries, "/mnt/ost") is None
    assert [entry.mount_id for entry in on_device(entries, (8, 2))] == [2]


@pytest.mark.scenario
def test_read_only_by_mount_point_or_by_file_system() -> None:
    def entry(own: str, of_all: str) -> MountEntry:
        return parse_line(f"1 0 8:1 / /mnt/o {own},relatime - ext4 /dev/a {of_all}")

    assert [entry(*pair).read_only for pair in (("rw", "rw"), ("ro", "rw"), ("rw", "ro,errors=remount-ro"))] == [
        False,
        True,
        True,
    ]


@pytest.mark.contract
async def test_mount_and_umount_by_somebody_else_are_heard_of_at_once(own_mounts: None, tmp_path: Path) -> None:
    place = tmp_path / "by hand"
    place.mkdir()
    heard: list[list[MountEntry]] = []
    watch = MountWatch(heard.append)
    watch.start()
    await wait_for_async(lambda: heard, 5, "the table as it stands")
    assert at(heard[-1], place) is None
    run("mount", "-t", "tmpfs", "by-hand", str(place))
    await wait_for_async(lambda: at(heard[-1], place), 2, "somebody mounted")
    assert heard[-1] == read_mounts()
    run("umount", str(place))
    await wait_for_async(lambda: at(heard[-1], place) is None, 2, "somebody unmounted")
    count = len(heard)
    watch.close()
    watch.close()
    run("mount", "-t", "tmpfs", "by-hand", str(place))
    run("umount", str(place))
    assert len(heard) == count


def _table(tmp_path: Path, *numbers: str) -> tuple[Path, Path]:
    """A mount table, and what the kernel knows: the devices 8:1 and 8:2."""
    lines = [f"{i} 1 {number} / /mnt/{i} rw - ext4 /dev/x{i} rw" for i, number in enumerate(numbers, 10)]
    table, known = tmp_path / "mountinfo", tmp_path / "block"
    table.write_text("\n".join([*lines, "5 1 0:5 / /proc rw - proc proc rw"]) + "\n")
    known.mkdir()
    for number in ("8:1", "8:2"):
        (known / number).mkdir()
    return table, known


def test_device_that_does_not_exist_is_gone(tmp_path: Path) -> None:
    assert device_is_gone(str(tmp_path / "nothing"), *_table(tmp_path, "8:1", "8:2"))


def test_device_that_exists_is_not_gone(tmp_path: Path) -> None:
    assert not device_is_gone(str(tmp_path), *_table(tmp_path, "8:1"))


def test_device_may_be_mounted_while_any_mounted_device_has_vanished(tmp_path: Path) -> None:
    assert not device_is_gone(str(tmp_path / "nothing"), *_table(tmp_path, "8:1", "8:3"))


def test_device_is_not_gone_while_the_mount_table_cannot_be_read(tmp_path: Path) -> None:
    assert not device_is_gone(str(tmp_path / "nothing"), tmp_path / "no table", tmp_path)
