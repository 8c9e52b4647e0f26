"""The operator as deploy/operator starts it: its arguments, environment, user, read-only root and rights, at a real API server.

Here: everything that a kubelet takes from the Deployment, but for the image: the command is this checkout's.
"""

import contextlib
import os
import pwd
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.parts import LEADER_LEASE
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiError
from waiting import wait_for_async

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(os.geteuid() != 0, reason="takes root: a mount namespace and another user"),
]
ROOT = Path(__file__).parents[2]
ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod has its service account's token; /var/run is /run."""
FIELDS = {"metadata.name": "ostkeeper-operator-7d9c-x2x4z", "metadata.namespace": identities.OPERATOR_NAMESPACE}
START_SECONDS = 40


def pod() -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "operator" / "operator.yaml").read_text())
    (deployment,) = [d for d in documents if d["kind"] == "Deployment"]
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def environment(container: dict[str, Any], plane: ControlPlane) -> dict[str, str]:
    """What the kubelet sets: the container's variables, and the way to the API server. What is not declared is not there."""
    declared = {
        one["name"]: one["value"] if "value" in one else FIELDS[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for one in container["env"]
    }
    host, _, port = plane.url.removeprefix("https://").rpartition(":")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return declared | {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "PATH": path}


def arguments(container: dict[str, Any], variables: dict[str, str]) -> list[str]:
    """The command with each $(NAME) replaced, as the kubelet does."""
    return [
        re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], word) for word in container["command"] + container["args"]
    ]


def confined(pod_spec: dict[str, Any], container: dict[str, Any], account: Path, command: list[str]) -> str:
    """The shell script that makes the container's world inside a mount namespace, and then becomes the operator."""
    user, security = pod_spec["securityContext"], container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    (writable,) = [mount["mountPath"] for mount in container["volumeMounts"]]
    drop = f"--reuid {user['runAsUser']} --regid {user['runAsGroup']} --clear-groups --no-new-privs --bounding-set=-all"
    return "\n".join(
        (
            "set -eu",
            "mount -t tmpfs tmpfs /run",
            f"mkdir -p {ACCOUNT} && cp {account}/* {ACCOUNT} && chmod 644 {ACCOUNT}/*",
            "mount -o remount,bind,ro / && ! touch /ostkeeper-was-here 2>/dev/null",
            f"mount -t tmpfs -o mode=1777 tmpfs {writable} && cd /",
            f"exec setpriv {drop} --inh-caps=-all -- {shlex.join(command)}",
        )
    )


@contextlib.contextmanager
def started(plane: ControlPlane, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    spec = pod()
    (container,) = spec["containers"]
    assert spec["serviceAccountName"] == identities.OPERATOR.user.rpartition(":")[2]
    with pytest.raises(KeyError):
        pwd.getpwuid(spec["securityContext"]["runAsUser"])
    account = directory / "account"
    account.mkdir()
    (account / "token").write_text(plane.token(identities.OPERATOR.user))
    (account / "ca.crt").write_bytes(plane.ca)
    (account / "namespace").write_text(identities.OPERATOR_NAMESPACE)
    variables = environment(container, plane)
    script = confined(spec, container, account, arguments(container, variables))
    log = directory / "operator.log"
    words = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
    with log.open("wb") as output:
        process = subprocess.Popen(words, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(20)


async def test_operator_starts_and_leads_as_the_deployment_has_it(plane: ControlPlane, tmp_path: Path) -> None:
    with started(plane, tmp_path) as (process, log):

        async def leads() -> bool:
            assert process.poll() is None or pytest.fail(log.read_text())
            async with plane.client() as admin:
                try:
                    record = await admin.get(LEADER_LEASE)
                except ApiError:
                    return False
            return str(record["spec"].get("holderIdentity") or "").startswith(FIELDS["metadata.name"])

        await wait_for_async(leads, START_SECONDS, "the operator of the Deployment leads")

        async def hears() -> bool:
            return "Traceback" not in log.read_text() and bool(await _canary(plane))

        await wait_for_async(hears, START_SECONDS, "its watches have begun: it renews its canary")
        said = log.read_text()
        assert "KeyError" not in said
        assert "start afresh" not in said
    assert process.returncode == 0


async def _canary(plane: ControlPlane) -> list[str]:
    path = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases"
    async with plane.client() as admin:
        names = [item["metadata"]["name"] for item in (await admin.get(path))["items"]]
    return [name for name in names if FIELDS["metadata.name"] in name]
