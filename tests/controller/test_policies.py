"""Whether the admission policies are in force is found by trying, and a cluster without them is found out."""

from pathlib import Path

import pytest

from controller.parts import ROOT, made_ready, operators_api
from ostkeeper.controller.client import Api, ApiError, connect
from ostkeeper.controller.policies import try_policies
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from waiting import wait_for_async

pytestmark = pytest.mark.contract
NAMESPACE = identities.OPERATOR_NAMESPACE


async def test_policies_are_in_force_until_their_binding_is_gone(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "plane") as plane:
        await made_ready(plane)
        async with operators_api(plane) as api:

            async def are(in_force: bool) -> bool:
                try:
                    return await try_policies(api, NAMESPACE) == in_force
                except ApiError as silence:  # a machine that is busy with tests
                    raise AssertionError(str(silence)) from silence

            await wait_for_async(lambda: are(True), 30, "policies come into force a moment after they were applied")
            await plane.kubectl("delete", "validatingadmissionpolicybinding", "ostkeeper-approval")
            await wait_for_async(lambda: are(False), 30, "a policy that is bound to nothing refuses nothing")
            await plane.apply([ROOT / "deploy" / "testbed"])
            await wait_for_async(lambda: are(True), 30, "applied again")
            assert "policy-probe" not in await plane.kubectl("get", "failovers", "-A", "-o", "name")


async def test_refusal_by_rbac_is_not_taken_for_the_policies(plane: ControlPlane) -> None:
    api: Api = await connect(str(plane.kubeconfig(identities.STRANGER.user)))
    try:
        assert not await try_policies(api, NAMESPACE)
    finally:
        await api.close()


async def test_silence_is_no_result(plane: ControlPlane) -> None:
    async with operators_api(plane) as api:
        api.configuration.host = "https://127.0.0.1:1"
        with pytest.raises(ApiError):
            await try_policies(api, NAMESPACE)
