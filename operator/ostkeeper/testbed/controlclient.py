"""The client of a testbed's control socket: how a verb typed in another shell gets there. Blocking, and light to import.

Here: asking, and whether there is anybody to ask. Not here: the server (`control`), how a verb is typed (`verbparser`).
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from ostkeeper.testbed.verbparser import Answer

SOCKET = "control.sock"


class NoTestbed(RuntimeError):
    """No testbed answers there. The text says where, and how to start one."""


def ask(directory: Path, typed: dict[str, Any]) -> Answer:
    """Have the testbed in this directory do a verb; blocks until it is done. Raises `NoTestbed`."""
    path = directory / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            raise NoTestbed(
                f"no testbed at {path} ({error.strerror}); start one in another shell: ostkeeper testbed up --dir {directory}"
            ) from None
        connection.sendall(json.dumps(typed).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise NoTestbed(f"the testbed at {path} ended before it answered")
    return Answer(**json.loads(line))


def answers(directory: Path) -> bool:
    """Whether a testbed is up in this directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(directory / SOCKET)) == 0
