"""`ostkeeper agent` on the command line: one-line errors, exit codes, what it imports, how the API server is found."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ostkeeper.agent import kubeconfig
from ostkeeper.agent.kubeconfig import ConfigError
from ostkeeper.agent.locks import Locks
from ostkeeper.agent.stop import stop_machine
from waiting import wait_for

pytestmark = pytest.mark.contract

CONFIG = {
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
}


def agent(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ostkeeper.cli.main", "agent", "--lock-dir", str(directory / "run")]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_agent_imports_neither_kopf_nor_kubernetes_nor_fencing() -> None:
    heavy = "('kopf', 'kubernetes', 'pysnmp', 'pyghmi', 'rich')"
    code = f"import sys, ostkeeper.cli.agent, ostkeeper.agent.run; print([m for m in sys.modules if m.split('.')[0] in {heavy}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bad_arguments_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = agent(tmp_path, "--node", "oss1", "--kubeconfig", str(tmp_path / "none"))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("ostkeeper agent: ")


def test_second_agent_of_a_host_ends_and_names_the_first(tmp_path: Path) -> None:
    with Locks(tmp_path / "run" / "locks").take_agent():
        done = agent(tmp_path, "--node", "oss1", "--kubeconfig", str(tmp_path / "none"))
    assert done.returncode == 2
    assert f"pid {os.getpid()}" in done.stderr


def test_node_is_required(tmp_path: Path) -> None:
    done = agent(tmp_path)
    assert done.returncode == 2
    assert "--node" in done.stderr


@pytest.mark.parametrize("as_yaml", [False, True], ids=["json", "yaml"])
def test_kubeconfig_is_read(tmp_path: Path, as_yaml: bool) -> None:
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(CONFIG) if as_yaml else json.dumps(CONFIG))
    access = kubeconfig.from_kubeconfig(path)
    assert (access.server, access.token, access.tls) == ("http://127.0.0.1:1", "secret", None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"current-context": "there"}, "contexts: there"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "aws"}}}]}, "exec plugins"),
        ({"clusters": []}, "clusters: c"),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority": "gone.pem"}}]},
            "gone.pem",
        ),
        (
            {
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {
                            "server": "https://x",
                            "certificate-authority-data": base64.b64encode(b"nonsense").decode(),
                        },
                    }
                ]
            },
            "not a PEM certificate",
        ),
    ],
)
def test_unusable_kubeconfig_says_what_is_wrong(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(CONFIG | change))
    with pytest.raises(ConfigError, match=says):
        kubeconfig.from_kubeconfig(path)


def test_server_without_a_token_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="--token-file"):
        kubeconfig.from_flags("https://127.0.0.1:6443", None, None)


def test_pods_service_account_is_used_outside_of_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert kubeconfig.from_pod() is None
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("t")
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        kubeconfig.from_pod()


def test_stop_command_is_run(tmp_path: Path) -> None:
    assert stop_machine(f"touch {tmp_path / 'stopped'}") == ""
    wait_for((tmp_path / "stopped").exists, 5.0, "the stop command runs")


def test_stop_command_that_does_not_exist_asks_for_the_power(tmp_path: Path) -> None:
    assert "CUT ITS POWER" in stop_machine(str(tmp_path / "none"))
