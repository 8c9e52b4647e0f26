"""Where the binaries come from: given, cached, or built once, by one builder, whole or not at all.

The compiler itself is stood in for: five minutes of Go are not a test. Everything around it is real.
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from ostkeeper.testbed import build, build_go
from ostkeeper.testbed.build_go import BuildError, Progress

pytestmark = pytest.mark.contract


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("OSTKEEPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def executables(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    return directory


def pretend_to_compile(work: Path, say: Callable[[str], None]) -> Path:
    """As `compile_tools`: its layout, its names, and a module cache as read-only as Go leaves it."""
    modules = executables(work / "modules" / "k8s.io", "file")
    modules.chmod(0o555)
    return executables(work / "bin", "server", "kube-apiserver", "kubectl")


def test_given_directory_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = executables(tmp_path / "given", "etcd", "kube-apiserver", "kubectl")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(given))
    assert build.assets() == given


def test_given_directory_that_lacks_a_server_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(executables(tmp_path / "given", "etcd", "kubectl")))
    with pytest.raises(BuildError, match=r"given: no executable kube-apiserver there\. Point it at"):
        build.assets()


def test_built_once_it_is_found_and_nothing_else_is_left(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_go, "compile_tools", pretend_to_compile)
    said: list[str] = []
    home = build.assets(said.append)
    assert {file.name for file in home.iterdir()} == {"etcd", "kube-apiserver", "kubectl"}
    assert {file.name for file in cache.iterdir()} == {home.name, f"{home.name}.lock"}
    assert said == [f"control plane: built into {home}"]
    monkeypatch.delattr(build_go, "compile_tools")
    assert build.assets(said.append) == home


def test_interrupted_build_leaves_nothing_that_looks_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(work: Path, say: Callable[[str], None]) -> Path:
        pretend_to_compile(work, say)
        raise KeyboardInterrupt

    monkeypatch.setattr(build_go, "compile_tools", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.assets(lambda line: None)
    assert [file.name for file in cache.iterdir()] == [f"{build.cached().name}.lock"]


def test_what_a_killed_builder_left_behind_is_cleared_away(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_go, "compile_tools", pretend_to_compile)
    pretend_to_compile(cache / f".{build.cached().name}.building-4711", print)
    home = build.assets(lambda line: None)
    assert {file.name for file in cache.iterdir()} == {home.name, f"{home.name}.lock"}


def test_second_builder_waits_for_the_first_and_takes_its_work(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork = multiprocessing.get_context("fork")
    compiling, may_finish = fork.Event(), fork.Event()

    def compile_slowly(work: Path, say: Callable[[str], None]) -> Path:
        compiling.set()
        assert may_finish.wait(30)
        return pretend_to_compile(work, say)

    monkeypatch.setattr(build_go, "compile_tools", compile_slowly)
    first = fork.Process(target=build.assets, args=(print,))
    first.start()
    assert compiling.wait(30)
    monkeypatch.delattr(build_go, "compile_tools")  # were the second to build as well, it would fail
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        may_finish.set()

    home = build.assets(say)
    first.join(30)
    assert (home / "etcd").exists()
    assert len(said) == 1
    assert "another process is building it" in said[0]


def test_progress_tells_modules_packages_and_an_estimate() -> None:
    progress = Progress(started=100.0)
    for line in ["go: downloading k8s.io/api v0.37.2", *["k8s.io/api/core/v1"] * (build_go.PACKAGES // 2)]:
        assert progress.take(line, now=150.0)
    assert not progress.take("go: finding module: no such host", now=150.0)
    half = build_go.PACKAGES // 2
    assert progress.sentence(now=210.0) == (
        f"control plane: 1 modules fetched, {half} of {build_go.PACKAGES} packages compiled, 1:50 elapsed, "
        "about 1:00 to go"
    )
