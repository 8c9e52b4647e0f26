"""What the audience of the demo sees: narration, commands with their real output, and the floor, live.

On a terminal the floor is drawn below the text, again and again; elsewhere every change is a dated line, so that the log
of a CI run reads well. Here: showing, and running the commands that are shown. Not here: the story (`demo`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ostkeeper.testbed import identities, livetable
from ostkeeper.testbed.observer import Observer
from ostkeeper.testbed.processes import WITH_US, CommandFailed
from ostkeeper.testbed.scene import Scene, changes
from ostkeeper.testbed.world import World

LAST_LINES = 6
"""How many happenings are shown below the table."""
LOG_WIDTH = 160
"""Characters a line where nobody knows the width: a log."""


class Stage:
    """Shows one world. `say` and `shell` may be called while it is `lit`."""

    def __init__(self, world: World, console: Console | None = None) -> None:
        self.console = console or make_console()
        self.observer = Observer(world, self._noticed)
        self._world = world
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._live: Live | None = None
        self._title = ""

    @contextlib.asynccontextmanager
    async def lit(self) -> AsyncIterator[Stage]:
        """Look and show until the block is left."""
        async with self.observer.watching():
            if not self.console.is_terminal:
                yield self
                return
            with Live(console=self.console, transient=True, auto_refresh=False) as self._live:
                self._draw()
                try:
                    yield self
                finally:
                    self._live = None

    def step(self, title: str) -> None:
        """A heading."""
        self._title = title
        self.console.print()
        self.console.rule(Text(title, style="bold cyan"), align="left", style="cyan")
        self._draw()

    def say(self, text: str) -> None:
        """A sentence for the audience."""
        self.console.print(Text(text, style="bold"))

    def _noticed(self, before: Scene, after: Scene) -> None:
        for sentence in changes(before, after):
            line = f"{datetime.now(UTC):%H:%M:%S}  {sentence}"
            self._lines.append(line)
            if not self.console.is_terminal:
                self.console.print(Text(line), soft_wrap=True)
        self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(livetable.Picture(self.observer.scene, tuple(self._lines), self._title), refresh=True)

    async def shell(self, command: str, user: str = identities.ADMIN.user) -> str:
        """Show a command, run it in a shell as this user of the API server, show each line as it comes.

        Gives what it printed. Raises `CommandFailed` when it ends with an error.
        """
        self.console.print(Text(f"{self._prompt(user)}$ {command}", style="yellow"), soft_wrap=True)
        process = await asyncio.create_subprocess_exec(
            *(*WITH_US, "sh", "-c", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment(user),
            cwd=self._world.directory,
            start_new_session=True,
        )
        assert process.stdout is not None
        lines: list[str] = []
        try:
            async for raw in process.stdout:
                lines.append(raw.decode(errors="replace").rstrip())
                self.console.print(Text(lines[-1]), soft_wrap=True)
            code = await process.wait()
        finally:
            await _end_all(process)
        if code:
            raise CommandFailed(f"{command}: exit {code}: {' '.join(lines[-3:])}")
        return "\n".join(lines)

    def _environment(self, user: str) -> dict[str, str]:
        plane = self._world.control_plane
        path = [str(plane.kubectl_path.parent), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        cache = str(plane.directory / "kubectl-cache")
        return {**os.environ, "KUBECONFIG": str(plane.kubeconfig(user)), "KUBECACHEDIR": cache, "PATH": ":".join(path)}

    def _prompt(self, user: str) -> str:
        return "" if user == identities.ADMIN.user else user


async def _end_all(process: asyncio.subprocess.Process) -> None:
    """End a shell with all that it started, which would else keep its pipe, and go on."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    if process.stdout is not None:
        await process.stdout.read()


def make_console() -> Console:
    """The terminal as it is; a log gets no colours, and a width that lets sentences stand in one line."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=LOG_WIDTH)
