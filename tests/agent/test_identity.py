"""Who this server is, or a refusal to guess."""

import os
from pathlib import Path

import pytest

from ostkeeper.agent.identity import BOOT_ID, Identity, IdentityError, read_identity

pytestmark = pytest.mark.scenario

BOARD = "67452301-ab89-efcd-0123-456789abcdef"


def board(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "product_uuid"
    path.write_text(text)
    return path


def test_board_is_read_in_lower_case_and_the_boot_from_the_kernel(tmp_path: Path) -> None:
    found = read_identity("oss1", system_uuid=board(tmp_path, BOARD.upper() + "\n"))
    assert found == Identity("oss1", BOOT_ID.read_text().strip(), BOARD)


def test_node_name_defaults_to_the_hosts(tmp_path: Path) -> None:
    assert read_identity(system_uuid=board(tmp_path, BOARD)).node == os.uname().nodename


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no UUID"),
        ("Not Settable", "no UUID"),
        ("00000000-0000-0000-0000-000000000000", "identifies no board"),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "identifies no board"),
    ],
)
def test_board_that_does_not_say_who_it_is_is_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=why):
        read_identity("oss1", system_uuid=board(tmp_path, text))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="product_uuid: system UUID cannot be read"):
        read_identity("oss1", system_uuid=tmp_path / "product_uuid")
