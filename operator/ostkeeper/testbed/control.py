"""The control socket of `ostkeeper testbed up`: verbs typed in another shell.

One JSON request a connection, {"verb": "power", "action": "cut", "host": "oss1", ...}, as `verbparser` parsed it; one
reply, {"code", "out", "err"}. Here: the server. Not here: the client (`controlclient`), what a verb does. `down` is
answered before the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ostkeeper.testbed.controlclient import SOCKET
from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.devices import DeviceError
from ostkeeper.testbed.hostcontrol import HostGone
from ostkeeper.testbed.verbparser import PERFORM, Answer
from ostkeeper.testbed.verbs import Verbs

EXPECTED = (ValueError, RuntimeError, TimeoutError, KeyError, HostGone, DeviceError, ControlPlaneError)
"""What a verb raises for good reasons: told in one line, exit code 1."""


class Control:
    """Serves the verbs of one world until `down`."""

    def __init__(self, verbs: Verbs, directory: Path) -> None:
        """The socket is `directory`/control.sock."""
        self._verbs = verbs
        self._path = directory / SOCKET
        self._server: asyncio.Server | None = None
        self.down = asyncio.Event()
        """Set when somebody asked for the end."""

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=self._path, limit=1 << 20)

    async def stop(self) -> None:
        """Stop listening. May be repeated."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            answer = await self._perform(json.loads(await reader.readline()))
            writer.write(json.dumps(asdict(answer)).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _perform(self, typed: dict[str, Any]) -> Answer:
        verb = typed["verb"]
        if verb == "down":
            self.down.set()
            return Answer()
        if verb not in PERFORM:
            return Answer(err=f"no verb {verb!r}: this testbed is of another version\n", code=2)
        try:
            return await PERFORM[verb](self._verbs, argparse.Namespace(**typed))
        except EXPECTED as error:
            return Answer(err=f"{str(error) or type(error).__name__}\n", code=1)
        except Exception:
            return Answer(err=traceback.format_exc(), code=1)
