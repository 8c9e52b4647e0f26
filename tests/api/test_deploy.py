"""The manifests in `deploy/`: what they start is what the command line takes, and they name what the code names."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from ostkeeper.api import OST, FenceDevice, OSSPair
from ostkeeper.api.common import HEARTBEAT_NAMESPACE
from ostkeeper.cli.main import parser
from ostkeeper.testbed.identities import OPERATOR, OPERATOR_NAMESPACE, agent

pytestmark = pytest.mark.scenario

DEPLOY = Path(__file__).parents[2] / "deploy"
KINDS = {"FenceDevice": FenceDevice, "OSSPair": OSSPair, "OST": OST}


def documents(*names: str) -> list[dict[str, Any]]:
    return [document for name in names for document in yaml.safe_load_all((DEPLOY / name).read_text())]


def container(file: str, kind: str) -> dict[str, Any]:
    (workload,) = [document for document in documents(file) if document["kind"] == kind]
    found: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize(
    ("file", "kind"), [("operator/operator.yaml", "Deployment"), ("agent/daemonset.yaml", "DaemonSet")]
)
def test_container_is_started_with_arguments_that_the_command_line_takes(file: str, kind: str) -> None:
    started = container(file, kind)
    assert started["command"] == ["ostkeeper"]
    parser().parse_args(started["args"])


def test_systemd_starts_the_agent_with_arguments_that_the_command_line_takes() -> None:
    unit = (DEPLOY / "agent" / "ostkeeper-agent.service").read_text()
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    program, *arguments = shlex.split(line.removeprefix("ExecStart="))
    assert program == "/usr/bin/ostkeeper"
    chosen = parser().parse_args(arguments)
    directory = {
        "StateDirectory": f"/var/lib/{chosen.state_dir.name}",
        "RuntimeDirectory": f"/run/{chosen.lock_dir.name}",
    }
    assert directory == {"StateDirectory": str(chosen.state_dir), "RuntimeDirectory": str(chosen.lock_dir)}
    assert "StateDirectory=ostkeeper\n" in unit
    assert "RuntimeDirectory=ostkeeper\n" in unit


def test_systemd_stops_the_agent_and_leaves_a_mount_under_way_alone() -> None:
    assert "KillMode=process\n" in (DEPLOY / "agent" / "ostkeeper-agent.service").read_text()


def test_operator_is_kept_off_the_servers_that_it_shoots() -> None:
    (deployment,) = [d for d in documents("operator/operator.yaml") if d["kind"] == "Deployment"]
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "ostkeeper.dev/oss", "operator": "DoesNotExist"}]


def test_samples_are_read_by_the_models() -> None:
    found = documents("samples/fencedevices.yaml", "samples/pair.yaml", "samples/osts.yaml")
    parsed = [KINDS[document["kind"]].parse(document) for document in found]
    pair = next(p for p in parsed if isinstance(p, OSSPair))
    devices = {p.name for p in parsed if isinstance(p, FenceDevice)}
    osts = [p for p in parsed if isinstance(p, OST)]
    assert {f.device_name for node in pair.spec.nodes for level in node.fencing for f in level.feeds} == devices
    assert {ost.spec.home_node for ost in osts} == set(pair.servers)
    assert len({ost.target for ost in osts}) == len({ost.spec.backend.source for ost in osts}) == 4


def test_policies_and_roles_name_the_users_and_namespaces_of_the_code() -> None:
    policies = "".join(path.read_text() for path in sorted((DEPLOY / "policies").glob("*.yaml")))
    assert OPERATOR.user in policies
    assert agent("oss1").groups[0] in policies
    assert f"'{HEARTBEAT_NAMESPACE}'" in policies
    namespaces = {document["metadata"]["name"] for document in documents("namespaces/namespaces.yaml")}
    assert namespaces == {HEARTBEAT_NAMESPACE, OPERATOR_NAMESPACE}


def test_every_policy_is_bound_and_denies() -> None:
    found = documents(*(f"policies/{path.name}" for path in (DEPLOY / "policies").glob("[!k]*.yaml")))
    policies = {d["metadata"]["name"]: d for d in found if d["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [d["spec"] for d in found if d["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert sorted(policies) == sorted(binding["policyName"] for binding in bindings)
    assert all("Deny" in binding["validationActions"] for binding in bindings)
    assert {policy["spec"]["failurePolicy"] for policy in policies.values()} == {"Fail"}
    assert {v["reason"] for policy in policies.values() for v in policy["spec"]["validations"]} == {"Forbidden"}
