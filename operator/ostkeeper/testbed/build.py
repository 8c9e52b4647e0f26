"""Where etcd, kube-apiserver and kubectl come from: given, cached, or built once from Go modules.

Here: the search order, the cache and its lock. Not here: how Go is found and run (`build_go`), how the servers are
started (`controlplane`). `python -m ostkeeper.testbed.build` prints the directory, building first where it has to.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ostkeeper.testbed import build_go
from ostkeeper.testbed.build_go import BuildError

BINARIES = ("etcd", "kube-apiserver", "kubectl")
RECIPE = "1"
"""Raised by hand when the way of building changes, so that an old cache is not mistaken for a new one."""
LOCK_NOTICE_SECONDS = 10.0

Say = Callable[[str], None]


def assets(say: Say | None = None) -> Path:
    """Return a directory with `etcd`, `kube-apiserver` and `kubectl`; build them first if there is none.

    In this order: $KUBEBUILDER_ASSETS, the cache, a build into the cache (some 5 minutes on 2 cores, 4 GB of disk that
    are given back at the end). `say` gets a line of progress every few seconds, default: standard error. Two builders
    at once: the second waits for the first. Raises BuildError.
    """
    tell = say or _say_on_stderr
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        return _checked(Path(given))
    home = cached()
    if _missing(home):
        with _locked(home.with_suffix(".lock"), tell):
            if _missing(home):
                _build(home, tell)
    return home


def cached() -> Path:
    """Where this version of the control plane stands in the cache, whether or not it has been built."""
    return cache_dir() / f"control-plane-{_recipe_hash()}"


def cache_dir() -> Path:
    """Return $OSTKEEPER_CACHE, else $XDG_CACHE_HOME/ostkeeper, else ~/.cache/ostkeeper. It may not exist yet."""
    own = os.environ.get("OSTKEEPER_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ostkeeper"


def _recipe_hash() -> str:
    digest = hashlib.sha256(RECIPE.encode())
    for name in ("go.mod", "go.sum"):
        digest.update((build_go.MODULES / name).read_bytes())
    return digest.hexdigest()[:12]


def _missing(home: Path) -> list[str]:
    return [name for name in BINARIES if not os.access(home / name, os.X_OK)]


def _checked(given: Path) -> Path:
    missing = _missing(given)
    if missing:
        raise BuildError(
            f"KUBEBUILDER_ASSETS={given}: no executable {', '.join(missing)} there. "
            "Point it at a directory that has all of etcd, kube-apiserver and kubectl, or unset it to use the cache."
        )
    return given


def _build(home: Path, say: Say) -> None:
    """Build beside `home` and rename at the end: whatever interrupts it, `home` is whole or absent."""
    for left_behind in home.parent.glob(f".{home.name}.building-*"):  # a builder that was killed; we hold its lock
        build_go.remove_tree(left_behind)
    work = home.parent / f".{home.name}.building-{os.getpid()}"
    work.mkdir()
    try:
        binaries = build_go.compile_tools(work, say)
        (binaries / "server").rename(binaries / "etcd")  # Go names it after the last part of its module path
        missing = _missing(binaries)
        if missing:
            raise BuildError(f"go build succeeded, yet left no {', '.join(missing)} in {binaries}: see gomod/go.mod")
        if home.exists():
            shutil.rmtree(home)
        binaries.rename(home)
    finally:
        build_go.remove_tree(work)
    say(f"control plane: built into {home}")


@contextmanager
def _locked(lock: Path, say: Say) -> Iterator[None]:
    """Hold `lock` (flock: gone with its process). Says every ten seconds that somebody else is building."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    next_notice = started
    with lock.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                now = time.monotonic()
                if now >= next_notice:
                    say(f"control plane: another process is building it ({lock}); waited {now - started:.0f}s")
                    next_notice = now + LOCK_NOTICE_SECONDS
                time.sleep(0.2)
        yield


def _say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Print the assets' directory; 1 and the reason on standard error if there can be none."""
    try:
        print(assets())
    except BuildError as error:
        print(f"control plane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("control plane: interrupted; nothing half-built was left behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
