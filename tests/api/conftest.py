"""One control plane for all tests here, with our CRDs, roles and policies on it; made ready once, in seconds."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.objects import CAROL, NAMESPACE, api, failover
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiError
from waiting import wait_for_async

QUESTION = "question-7"
ROOT = Path(__file__).parents[2]
CAROLS_ROLE = (
    "--verb=get,list,watch,create,update,patch,delete",
    "--resource=failovers.ostkeeper.dev,osspairs.ostkeeper.dev",
)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    control_plane = ControlPlane(
        tmp_path_factory.mktemp("api"), identities=(*identities.everyone(("oss1", "oss2")), CAROL)
    )
    asyncio.run(_make_ready(control_plane))
    yield control_plane
    asyncio.run(control_plane.stop())


async def _make_ready(plane: ControlPlane) -> None:
    await plane.start()
    await plane.apply([ROOT / "crds", ROOT / "deploy" / "testbed"])
    await plane.kubectl("create", "namespace", NAMESPACE)
    await plane.kubectl("create", "clusterrole", "patches", *CAROLS_ROLE)
    await plane.kubectl("create", "clusterrolebinding", "patches", "--clusterrole=patches", f"--user={CAROL.user}")
    await wait_for_async(
        lambda: _probe_is_refused(plane), 30, "admission policies come into force a moment after apply"
    )
    await _create_question(plane)
    await wait_for_async(
        lambda: _name_is_filled_in(plane), 30, "the mutating policy learns of the CRD a moment later than the others"
    )


async def _probe_is_refused(plane: ControlPlane) -> bool:
    """Ask as the operator does whether the policies are in force: a dry run that only they refuse."""
    probe = failover(name="probe-7")
    probe["metadata"]["labels"] = {"ostkeeper.dev/policy-probe": "1"}
    async with plane.client(identities.OPERATOR.user) as client:
        try:
            await client.create(f"/apis/ostkeeper.dev/v1alpha1/namespaces/{NAMESPACE}/failovers?dryRun=All", probe)
        except ApiError as refusal:
            return refusal.status == 403 and "ostkeeper-approval is in force" in refusal.message
    return False


async def _create_question(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        await admin.create(failover(QUESTION))
        await admin.status("Failover", QUESTION, {"phase": "AwaitingApproval", "evidence": "e1"})


async def _name_is_filled_in(plane: ControlPlane) -> bool:
    """Answer without a name, dry: the schema asks for one, unless the mutating policy has filled it in."""
    async with api(plane, identities.ONCALL.user) as alice:
        try:
            nameless = {"spec": {"approval": {"answer": "Failover", "evidence": "e1"}}}
            await alice.patch("Failover", QUESTION, nameless, dry_run=True)
        except ApiError:
            return False
    return True
