"""PID 1 of a server of the testbed. Run as a script by `host`, never imported; nothing but the standard library.

Here: the server's own namespaces and file systems, its services (restarted as systemd would), commands given from
outside, reaping. Everything that runs in a server is a child of this process, so that killing it kills the server at
once. Not here: power, disks, network, hanging: `host` does these from outside, as the world does to a real server.

Messages are JSON, one a packet, over the SEQPACKET socket whose descriptor is argv[1]:
boot → `namespaces`; start → `booted`; exec (with two descriptors) → `exit`; signal; enable; `service` events; and
`stop-machine`, when the agent stopped its machine: everything else is dead by then, and we are about to be.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

NEWNS, NEWTIME, NEWUTS, NEWIPC, NEWNET = 0x00020000, 0x80, 0x04000000, 0x08000000, 0x40000000
MS_NOSUID, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 2, 4096, 8192, 16384, 1 << 18
RESTART_SECONDS = 0.3
"""As systemd's Restart=always with RestartSec=300ms."""
RUN = Path("/run/testbed")
SYSFS_KEPT = ("fs", "block", "dev", "devices", "kernel", "module", "bus", "class/block")

_libc = ctypes.CDLL(None, use_errno=True)

WRAPPER = """#!/bin/sh
# Stands before the real {command} in this server's PATH, so that the testbed can have it fail or hang.
for token in {run}/{command}.fail.*; do
  if [ -e "$token" ] && rm "$token" 2>/dev/null; then
    echo "{command}: input/output error (the testbed was told to let it fail)" >&2
    exit 32
  fi
done
for token in {run}/{command}.hang.*; do
  # A gate is a FIFO: reading from it hangs until the testbed opens its other end. Inherited descriptors stay open.
  if [ -e "$token" ] && rm "$token" 2>/dev/null; then read -r _ < {run}/{command}.gate; break; fi
done
if [ -p {run}/stalled.gate ]; then read -r _ < {run}/stalled.gate; fi
{exec}
"""
EXEC_MOUNT = 'exec {real} "$@"'
EXEC_UMOUNT = """for last in "$@"; do :; done
lock={run}/load/"${{last##*/}}".lock
# The load writes with this lock held; taking it keeps the writer from making the target busy, and no longer than that.
if [ -e "$lock" ]; then exec flock -F "$lock" {real} "$@"; fi
exec {real} "$@"
"""
GATED_CHILD = """{source}
if __name__ == "__main__":
    # The agent's child of a Release passes the same gate as the command umount, in this server's mount namespace alone.
    os.execv("{run}/release", ["release", *sys.argv[1:]])
"""
STOP_MACHINE = """#!/bin/sh
# What the agent may order: this machine loses its power without a sync, then boots again, as sysrq b does.
kill -USR1 1
exec sleep infinity
"""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises `OSError`."""
    encoded = (source.encode(), target.encode(), kind.encode() or None)
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), options.encode() or None), f"mount {source} on {target}")


def tmpfs(target: str) -> None:
    """An empty file system in memory, mode 755."""
    mount("testbed", target, "tmpfs", MS_NOSUID, "mode=755")


def enter_namespaces() -> int:
    """Leave the world behind; gives the PID by which the world knows us."""
    outer = int(os.readlink("/proc/self"))
    _check(_libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWNET | NEWTIME), "unshare")
    # Our children's uptime starts now; CLOCK_MONOTONIC stays everybody's.
    Path("/proc/self/timens_offsets").write_text(f"boottime -{int(time.clock_gettime(time.CLOCK_BOOTTIME))} 0\n")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    return outer


def build_file_systems(config: dict[str, Any]) -> None:
    """Everything that makes this look like a server of its own."""
    socket.sethostname(config["hostname"])
    state = os.open(config["state_dir"], os.O_PATH)  # taken before anything covers it
    mount("proc", "/proc", "proc", MS_NOSUID)
    tmpfs("/run")
    (RUN / "bin").mkdir(parents=True)
    (RUN / "load").mkdir()
    (RUN / "boot_id").write_text(config["boot_id"] + "\n")
    mount(f"{RUN}/boot_id", "/proc/sys/kernel/random/boot_id", "", MS_BIND)
    build_etc(config["hosts"])
    build_sys(config["product_uuid"])
    build_dev(config["disks"])
    tmpfs("/var/lib")
    Path("/var/lib/ostkeeper").mkdir()
    mount(f"/proc/self/fd/{state}", "/var/lib/ostkeeper", "", MS_BIND)
    os.close(state)
    tmpfs("/mnt")
    for point in config["mount_points"]:
        Path(point).mkdir(parents=True)
    write_commands(config["commands"])


def build_etc(hosts: str) -> None:
    """Names of all servers, an fstab of its own, and no way to reboot the real machine under the testbed by sysrq."""
    (RUN / "etc").mkdir()
    files = {"/etc/hosts": hosts, "/etc/fstab": "", "/proc/sysrq-trigger": ""}
    for path, text in files.items():
        own = RUN / "etc" / Path(path).name
        own.write_text(text)
        if Path(path).exists():
            mount(str(own), path, "", MS_BIND)


def build_sys(product_uuid: str) -> None:
    """A /sys with a board of our own in class/dmi, which the machines under the testbed may lack altogether."""
    stage = RUN / "sys"
    stage.mkdir()
    tmpfs(str(stage))
    for name in SYSFS_KEPT:
        if (source := Path("/sys", name)).is_dir():
            (stage / name).mkdir(parents=True)
            mount(str(source), str(stage / name), "", MS_BIND | MS_REC)
    board = stage / "class/dmi/id"
    board.mkdir(parents=True)
    (board / "product_uuid").write_text(product_uuid + "\n")
    (board / "product_name").write_text("ostkeeper testbed\n")
    mount(str(stage), "/sys", "", MS_MOVE)


def build_dev(disks: list[dict[str, Any]]) -> None:
    """A /dev with this server's disks, at the same paths as on its partner, and no others."""
    tmpfs("/dev")
    for name, major, minor in (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)):
        os.mknod(f"/dev/{name}", 0o020666, os.makedev(major, minor))
        Path(f"/dev/{name}").chmod(0o666)
    os.mknod("/dev/tty", 0o020666, os.makedev(5, 0))
    for name in ("shm", "pts"):
        Path("/dev", name).mkdir()
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID, "newinstance,ptmxmode=0666")
    tmpfs("/dev/shm")
    for link, to in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        Path("/dev", link).symlink_to(to)
    Path("/dev/stderr").symlink_to("fd/2")
    for disk in disks:
        for path in (Path(disk["device"]), Path(f"/dev/loop{disk['number']}")):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(path, 0o060660, os.makedev(7, disk["number"]))


def write_commands(real: dict[str, str]) -> None:
    """`mount`, `umount` and the agent's own unmount that can be told to fail or hang; the command that stops the machine."""
    tails = {"mount": EXEC_MOUNT, "umount": EXEC_UMOUNT}
    scripts = {RUN / "stop-machine": STOP_MACHINE}
    for command, tail in tails.items():
        os.mkfifo(RUN / f"{command}.gate")
        filled = tail.format(run=RUN, real=real[command])
        scripts[RUN / "bin" / command] = WRAPPER.format(run=RUN, command=command, exec=filled)
    child, kept, gated = Path(real["unmount_child"]), RUN / "unmount_child_real.py", RUN / "unmount_child.py"
    source = child.read_text("utf-8")
    kept.write_text(source)
    gated.write_text(GATED_CHILD.format(source=source.partition('if __name__ == "__main__":')[0], run=RUN))
    release = EXEC_UMOUNT.format(run=RUN, real=f"{sys.executable} -I -S {kept}")
    scripts[RUN / "release"] = WRAPPER.format(run=RUN, command="umount", exec=release)
    for path, text in scripts.items():
        path.write_text(text)
        path.chmod(0o755)
    mount(str(gated), str(child), "", MS_BIND)


class Service:
    """One service: what to run, and whether it runs."""

    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        self.name = name
        self.argv: list[str] = spec["argv"]
        self.env: dict[str, str] = spec["env"]
        self.log: str = spec["log"]
        self.enabled = bool(spec.get("enabled", True))
        self.pid = 0
        self.due = 0.0


class Init:
    """The loop of PID 1: messages, deaths, restarts."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._services: dict[str, Service] = {}
        self._commands: dict[int, int] = {}
        """PID → the id of the exec that asked for it."""
        self._stopping = False
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGUSR1, lambda _number, _frame: self._stop_machine())

    def tell(self, event: str, **fields: Any) -> None:
        """Report to the world."""
        self._control.send(json.dumps({"event": event, **fields}).encode())

    def boot(self) -> None:
        """Take the first message, and become the server it describes."""
        config = json.loads(self._control.recv(1 << 20))
        pid = enter_namespaces()
        self.tell("namespaces", pid=pid)
        build_file_systems(config)
        os.environ["PATH"] = f"{RUN}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._services = {name: Service(name, spec) for name, spec in config["services"].items()}

    def run(self) -> None:
        """Until the world hangs up."""
        while True:
            due = [s.due for s in self._services.values() if s.due and not s.pid and s.enabled]
            timeout = max(0.0, min(due) - time.monotonic()) if due else None
            ready, _, _ = select.select([self._control.fileno(), self._wake], [], [], timeout)
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            self._reap()
            if self._control.fileno() in ready and not self._take_message():
                return
            self._start_due()

    def _take_message(self) -> bool:
        raw, fds, _flags, _address = socket.recv_fds(self._control, 1 << 20, 4)
        if not raw:
            return False
        message = json.loads(raw)
        try:
            getattr(self, f"_do_{message.pop('op')}")(fds=fds, **message)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _do_start(self, fds: list[int]) -> None:
        for service in self._services.values():
            self._start(service)
        self.tell("booted")

    def _do_exec(self, fds: list[int], id: int, argv: list[str]) -> None:
        try:
            pid = self._spawn(argv, dict(os.environ), *fds)
        except OSError as error:
            os.write(fds[1], f"{argv[0]}: {error.strerror}\n".encode())
            self.tell("exit", id=id, code=127)
        else:
            self._commands[pid] = id

    def _do_kill(self, fds: list[int], id: int) -> None:
        for pid, one in self._commands.items():
            if one == id:
                os.kill(pid, signal.SIGKILL)

    def _do_signal(self, fds: list[int], service: str, number: int) -> None:
        if pid := self._services[service].pid:
            os.kill(pid, number)

    def _do_enable(self, fds: list[int], service: str, on: bool) -> None:
        one = self._services[service]
        one.enabled = on
        if on and not one.pid:
            self._start(one)
        elif not on and one.pid:
            os.kill(one.pid, signal.SIGKILL)

    def _start_due(self) -> None:
        for service in self._services.values():
            if service.due and service.due <= time.monotonic() and not service.pid:
                self._start(service)

    def _start(self, service: Service) -> None:
        service.due = 0.0
        if not service.enabled or self._stopping:
            return
        log = os.open(service.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            service.pid = self._spawn(service.argv, {**os.environ, **service.env}, log, log)
        except OSError as error:
            os.write(log, f"{service.argv[0]}: {error.strerror}\n".encode())
            service.due = time.monotonic() + RESTART_SECONDS
        finally:
            os.close(log)
        self.tell("service", name=service.name, state="started" if service.pid else "failed", pid=service.pid)

    @staticmethod
    def _spawn(argv: list[str], env: dict[str, str], out: int, err: int) -> int:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, err, 2),
        ]
        defaults = [signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE]
        return os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsid=True, setsigdef=defaults)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if (id_ := self._commands.pop(pid, None)) is not None:
                self.tell("exit", id=id_, code=code)
            for service in self._services.values():
                if service.pid == pid:
                    service.pid, service.due = 0, time.monotonic() + RESTART_SECONDS
                    self.tell("service", name=service.name, state="exited", code=code)

    def _stop_machine(self) -> None:
        """A real sysrq `b` leaves nobody time for anything: kill all the rest here, then have the power cut."""
        self._stopping = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        self.tell("stop-machine")


def main() -> None:
    """Boot, and run until the world hangs up or kills us."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    init = Init(control)
    init.boot()
    init.run()


if __name__ == "__main__":
    main()
