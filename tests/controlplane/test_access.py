"""Ways in: kubectl, kubeconfigs, identities, and a control plane in a network namespace of its own."""

import contextlib
import json
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane, ControlPlaneError
from ostkeeper.testbed.controlplane_client import ApiError
from ostkeeper.testbed.net import SWITCH_ADDRESS, Switch
from waiting import wait_for_async

pytestmark = pytest.mark.contract
CRD = """
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: lamps.testbed.ostkeeper.dev}
    spec:
      group: testbed.ostkeeper.dev
      scope: Namespaced
      names: {kind: Lamp, plural: lamps, singular: lamp}
      versions:
      - name: v1
        served: true
        storage: true
        schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
LAMP = """
    apiVersion: testbed.ostkeeper.dev/v1
    kind: Lamp
    metadata: {name: desk, namespace: default}
"""
POLICY = """
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicy
    metadata: {name: no-red}
    spec:
      matchConstraints:
        resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
      validations: [{expression: "object.metadata.name != 'red'", message: red is not wanted here}]
    ---
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicyBinding
    metadata: {name: no-red}
    spec: {policyName: no-red, validationActions: [Deny]}
"""


@contextlib.asynccontextmanager
async def running_switch() -> AsyncIterator[Switch]:
    switch = Switch()
    await switch.start()
    try:
        yield switch
    finally:
        await switch.stop()


def written(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


async def test_applied_resource_is_served_as_soon_as_its_definition_is(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    await control_plane.apply([written(tmp_path / "crd.yaml", CRD), written(tmp_path / "lamp.yaml", LAMP)])
    assert "lamp.testbed.ostkeeper.dev/desk" in await control_plane.kubectl("get", "lamps", "-o", "name")


async def test_directory_with_a_kustomization_is_applied_as_one(control_plane: ControlPlane, tmp_path: Path) -> None:
    written(tmp_path / "one.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: default}}")
    written(tmp_path / "kustomization.yaml", "resources: [one.yaml]\nnamePrefix: number-\n")
    await control_plane.apply([tmp_path])
    assert "configmap/number-one" in await control_plane.kubectl("get", "configmaps", "-o", "name")


async def test_stranger_is_denied_by_rbac(control_plane: ControlPlane) -> None:
    async with control_plane.client(identities.STRANGER.user) as stranger:
        with pytest.raises(ApiError) as denied:
            await stranger.get("/api/v1/namespaces/default/configmaps")
    assert (denied.value.status, denied.value.reason) == (403, "Forbidden")
    assert 'User "mallory" cannot list resource "configmaps"' in denied.value.message


async def test_admission_policy_refuses_even_the_admin_in_its_own_words(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    await control_plane.apply([written(tmp_path / "policy.yaml", POLICY)])
    red = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "red", "namespace": "default"}})

    async def refusal() -> str:
        try:
            await control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=red)
        except ControlPlaneError as refused:
            return str(refused)
        return ""

    said = await wait_for_async(refusal, 30, "a policy is in force a moment after its binding is stored")
    assert "red is not wanted here" in said


async def test_users_carry_their_names_and_groups(control_plane: ControlPlane) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with control_plane.client(identities.OPERATOR.user) as operator:
        answer = await operator.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    who = answer["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:ostkeeper-system:ostkeeper-operator"
    assert set(who["groups"]) == {*identities.OPERATOR.groups, "system:authenticated"}


async def test_behind_a_switch_it_is_reached_by_relay_from_ours_and_by_its_address_from_there(tmp_path: Path) -> None:
    async with running_switch() as switch:
        plane = ControlPlane(tmp_path / "plane", switch.pid, SWITCH_ADDRESS, identities.everyone(["oss1"]))
        async with plane:
            assert plane.inside_url == "https://10.77.0.1:6443"
            assert plane.url.startswith("https://127.0.0.1:")
            assert "default" in await plane.kubectl("get", "namespaces")
            inside = plane.kubeconfig(identities.agent("oss1").user, inside=True)
            words = ("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", "--kubeconfig", str(inside))
            assert await switch.run(str(plane.kubectl_path), *words) == "ostkeeper:agent:oss1"


async def test_relay_outlives_a_restart_of_the_api_server(tmp_path: Path) -> None:
    async with running_switch() as switch:
        plane = ControlPlane(tmp_path / "plane", switch.pid, SWITCH_ADDRESS)
        async with plane, plane.client() as client:
            relay = plane.pids["relay"]
            await plane.stop_apiserver()
            await plane.start_apiserver()
            assert await client.text("/readyz") == "ok"
            assert plane.pids["relay"] == relay
