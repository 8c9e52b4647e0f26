"""What every simulated device consists of: one process that speaks the real protocol, a proxy before it, a pipe behind.

Here: starting, readiness, killing, restarting; the pair of FIFOs by which the process's script asks us; the faults that
all devices share. Not here: one kind's configuration and answers (`bmc`, `pdu`).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path

from ostkeeper.testbed.relay import Relay
from ostkeeper.testbed.udpproxy import Address, UdpProxy

PR_SET_PDEATHSIG = 1
START_SECONDS = 15.0
"""How long a simulator may take to answer its first packet. Some 30 ms are usual; a loaded machine needs longer."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class SimulatorFailed(Exception):
    """A simulator did not start, or a fault makes no sense for it. The text says which and where its log is."""


def die_with_parent() -> None:
    """For `preexec_fn`: have the kernel kill this process when the one that started it dies, however that dies."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class SimulatedDevice(ABC):
    """One device: process, proxy, relays. Methods that restart the process are serialised by a lock."""

    def __init__(self, name: str, listen: Address, directory: Path, boot_seconds: float) -> None:
        """`boot_seconds`: how long the device itself needs from current to its first answer, beside its process's start."""
        self.name = name
        self.directory = directory
        self.boot_seconds = boot_seconds
        self.proxy = UdpProxy(listen, ("127.0.0.1", 0), name)
        self.relays: dict[str, Relay] = {}
        self.wrong_password = False
        self._process: asyncio.subprocess.Process | None = None
        self._current = True
        self._lock = asyncio.Lock()
        self._pipe = ScriptPipe(directory, self.answer)

    @abstractmethod
    def command(self, backend: Address) -> list[str]:
        """Write the configuration, and return the command line. `backend` is where the process is to listen."""

    @abstractmethod
    async def answer(self, question: str) -> str:
        """Answer one line of the process's script by one or more lines."""

    @abstractmethod
    def identify_as(self, *, another: bool) -> bool:
        """Make up another identity, as of the next start, or return to the first one. Whether that is a change."""

    @property
    @abstractmethod
    def hello(self) -> bytes:
        """A packet that a device which is up answers, without any credentials."""

    def environment(self) -> dict[str, str]:
        """Give the process's environment."""
        return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}

    async def start(self) -> None:
        """Start proxy and process; return when it answers. Raises SimulatorFailed."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            await self.proxy.start()
        except OSError as error:
            raise SimulatorFailed(f"{self.name}: cannot listen on {self.proxy.listen}: {error}") from error
        self._pipe.open()
        async with self._lock:
            await self._boot()

    async def stop(self) -> None:
        """End it. Nothing of it is left, and nothing answers."""
        async with self._lock:
            await self._kill()
        self.proxy.stop()
        self._pipe.close()

    async def ac(self, current: bool) -> None:
        """Lose all current (silent at once, all state lost), or get it back (answers after `boot_seconds`)."""
        self._current = current
        async with self._lock:
            if not self._current:
                await self._kill()
            elif self._process is None:
                await asyncio.sleep(self.boot_seconds)
                if self._current:
                    await self._boot()

    async def fault(self, outlet: str, kind: str, argument: float) -> None:
        """Make one fault, or end all by `normal`. Raises SimulatorFailed for one that this device cannot have."""
        if kind in ("stuck", "lie"):
            for relay in self._chosen(outlet):
                relay.disobey("stuck" if kind == "stuck" else "lie")
        elif kind in ("silent", "slow", "lossy"):
            self.proxy.link("silent" if kind == "silent" else "slow" if kind == "slow" else "lossy", argument)
        elif kind == "reboot":
            await self.reboot()
        elif kind == "wrong-password":
            await self._set_password(wrong=True)
        elif kind == "replaced":
            self.identify_as(another=True)
            await self.restart()
        elif kind == "normal":
            for relay in self._chosen(outlet):
                relay.disobey("normal")
            if not outlet:
                self.proxy.link("normal")
                if self.identify_as(another=False):
                    await self.restart()
                await self._set_password(wrong=False)
        else:
            raise SimulatorFailed(
                f"{self.name}: no fault {kind!r}; there are normal, silent, slow, lossy, stuck, lie, "
                "wrong-password, reboot, replaced and no-serial (PDU)"
            )

    async def reboot(self) -> None:
        """Restart the device itself: silent for `boot_seconds`, sessions lost. What its relays do is the kind's part."""
        async with self._lock:
            await self._kill()
            await asyncio.sleep(self.boot_seconds)
            if self._current:
                await self._boot()

    async def restart(self) -> None:
        """Start the process again, with the configuration as it is now. Sessions are lost, relays stay as they are."""
        async with self._lock:
            await self._kill()
            if self._current:
                await self._boot()

    async def _set_password(self, *, wrong: bool) -> None:
        if wrong != self.wrong_password:
            self.wrong_password = wrong
            await self.restart()

    def _chosen(self, outlet: str) -> list[Relay]:
        if not outlet:
            return list(self.relays.values())
        if outlet not in self.relays:
            raise SimulatorFailed(f"{self.name}: no outlet {outlet!r}; there are {', '.join(self.relays) or 'none'}")
        return [self.relays[outlet]]

    async def _boot(self) -> None:
        for attempt in (1, 2, 3):
            backend = ("127.0.0.1", _free_port())
            await self._spawn(self.command(backend))
            self.proxy.redirect(backend)
            if await self._answers(backend):
                return
            await self._kill()
            if attempt == 3:
                raise SimulatorFailed(f"{self.name} did not start: see {self.directory / 'log'}")

    async def _spawn(self, command: list[str]) -> None:
        if shutil.which(command[0], path=self.environment()["PATH"]) is None:
            raise SimulatorFailed(f"{self.name}: {command[0]} is not installed (Debian: openipmi, snmpd)")
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def _kill(self) -> None:
        """Kill process and script, without a chance to save anything: its mind is gone with its power."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        self._pipe.drain()

    async def _answers(self, backend: Address) -> bool:
        """Whether the process answers `hello` in time; ends early when it dies (an address taken, a bad option)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect(backend)
            while loop.time() < deadline and self._process is not None and self._process.returncode is None:
                try:
                    probe.send(self.hello)
                    await asyncio.wait_for(loop.sock_recv(probe, 2048), 0.05)
                    return True
                except TimeoutError:
                    continue
                except OSError:
                    await asyncio.sleep(0.01)  # refused: nobody listens there yet
        return False


class ScriptPipe:
    """Two FIFOs by which a shell script, in 2 ms and without another interpreter, asks this process a line at a time.

    An answer ends with a line that holds a dot. When this process dies the script reads the end of the file, and ends.
    """

    def __init__(self, directory: Path, answer: Callable[[str], Awaitable[str]]) -> None:
        self.ask = directory / "ask"
        self.reply = directory / "reply"
        self._answer = answer
        self._ask_fd = self._reply_fd = -1
        self._buffer = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Make and open the FIFOs, both ways, so that a script never waits in `open`."""
        for path in (self.ask, self.reply):
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        self._ask_fd = os.open(self.ask, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._reply_fd = os.open(self.reply, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._ask_fd, self._readable)

    def close(self) -> None:
        """Close and remove them."""
        if self._ask_fd < 0:
            return
        asyncio.get_running_loop().remove_reader(self._ask_fd)
        for task in self._tasks:
            task.cancel()
        os.close(self._ask_fd)
        os.close(self._reply_fd)
        self._ask_fd = self._reply_fd = -1

    def drain(self) -> None:
        """Forget what a killed script asked, and what it was answered."""
        for task in self._tasks:
            task.cancel()
        self._buffer = b""
        for fd in (self._ask_fd, self._reply_fd):
            try:
                while os.read(fd, 4096):
                    pass
            except OSError:
                pass

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self._ask_fd, 4096)
        except BlockingIOError:
            return
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            task = asyncio.get_running_loop().create_task(self._serve(line.decode(errors="replace")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, question: str) -> None:
        text = await self._answer(question)
        if self._reply_fd >= 0:
            os.write(self._reply_fd, f"{text}\n.\n".encode())


def _free_port() -> int:
    """Give a UDP port of this network namespace's loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
