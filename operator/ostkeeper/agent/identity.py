"""Who this server is: boot, board, name. Here: reading the three. Not here: comparing them with what is pinned (`core`)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYSTEM_UUID = Path("/sys/class/dmi/id/product_uuid")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UNSET = frozenset({"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"})
"""What a board answers whose maker never set a UUID (SMBIOS specification, type 1): identifies nothing."""


class IdentityError(Exception):
    """This server cannot say who it is, so it must not serve. The text says what was read where, and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One boot of one board under one name."""

    node: str
    """The Kubernetes node name, as given; the host's name where it was not."""
    boot_id: str
    """Linux boot ID, new with each boot."""
    system_uuid: str
    """SMBIOS system UUID, lower case, as the kernel spells it (first three groups little endian)."""


def read_identity(node: str = "", boot_id: Path = BOOT_ID, system_uuid: Path = SYSTEM_UUID) -> Identity:
    """Read all three. `node` defaults to the host's name. Raises `IdentityError`; needs root for the system UUID."""
    board = _read_uuid(system_uuid, "system UUID")
    if board in _UNSET:
        raise IdentityError(f"{system_uuid}: system UUID {board} identifies no board; set one with the maker's tool")
    return Identity(node or os.uname().nodename, _read_uuid(boot_id, "boot ID"), board)


def _read_uuid(path: Path, what: str) -> str:
    try:
        text = path.read_text("ascii").strip().lower()
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(
            f"{path}: {what} cannot be read: {error}; the agent needs root and the host's /sys"
        ) from error
    if not _UUID.fullmatch(text):
        raise IdentityError(f"{path}: {what} reads {text[:64]!r}, which is no UUID")
    return text
