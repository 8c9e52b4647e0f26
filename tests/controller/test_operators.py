"""Whole operators as processes: one leader whatever happens to it, and a clear word to who starts one wrongly."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api import objects as good
from controller.parts import LEADER_LEASE, OperatorProcess
from ostkeeper.testbed import identities
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiError
from waiting import wait_for_async

pytestmark = pytest.mark.contract
START_SECONDS = 30
"""How long an operator may take from its start to leading, on a machine that is busy with tests."""


async def holder(plane: ControlPlane) -> str:
    async with plane.client() as admin:
        try:
            record = await admin.get(LEADER_LEASE)
        except ApiError:
            return ""
    return str(record["spec"].get("holderIdentity") or "").partition("_")[0]


async def leader_is(plane: ControlPlane, name: str, within: float) -> None:
    async def leads() -> bool:
        return await holder(plane) == name

    await wait_for_async(leads, within, f"{name} leads")


def operator(plane: ControlPlane, name: str, directory: Path) -> OperatorProcess:
    return OperatorProcess(plane.kubeconfig(identities.OPERATOR.user), name, directory / f"{name}.log")


async def test_leader_is_replaced_when_it_stops_hangs_or_dies(plane: ControlPlane, tmp_path: Path) -> None:
    with operator(plane, "op-1", tmp_path) as one:
        await leader_is(plane, "op-1", START_SECONDS)
        with operator(plane, "op-2", tmp_path) as two:
            await wait_for_async(lambda: _hears(plane, "op-2"), START_SECONDS, "the second runs, too")
            assert await holder(plane) == "op-1"

            stopped = time.monotonic()
            one.send(signal.SIGSTOP)
            await leader_is(plane, "op-2", 15)
            assert time.monotonic() - stopped > 1.0, "it has to wait for the lease"
            one.send(signal.SIGCONT)
            await wait_for_async(
                lambda: "no longer leading" in one.log.read_text(), 10, "one that wakes up knows that it does not lead"
            )
            assert await holder(plane) == "op-2"

            two.send(signal.SIGTERM)
            assert two.process.wait(15) == 0
            assert await holder(plane) != "op-2", "who ends in order lets go of the lease: nobody has to wait for it"
            await leader_is(plane, "op-1", 10)
        with operator(plane, "op-3", tmp_path) as three:
            await wait_for_async(lambda: _hears(plane, "op-3"), START_SECONDS, "the third runs")
            one.send(signal.SIGKILL)
            await leader_is(plane, "op-3", 15)
            assert three.process.poll() is None


async def _hears(plane: ControlPlane, name: str) -> bool:
    path = f"/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases/ostkeeper-canary-{name}"
    async with plane.client() as admin:
        try:
            await admin.get(path)
        except ApiError:
            return False
    return True


async def test_sound_pair_gets_its_status_its_servers_and_its_reasons(plane: ControlPlane, tmp_path: Path) -> None:
    name = good.fresh("whole-")
    servers = (f"{name}-1", f"{name}-2")
    manifest = good.changed(good.pair(name), {"spec.nodes[0].name": servers[0], "spec.nodes[1].name": servers[1]})
    orphan = good.changed(good.ost(f"{name}-orphan"), {"spec.pairName": "nobody", "spec.index": 77})
    async with good.api(plane) as admin:
        await admin.create(manifest)
        await admin.create(good.bmc(f"{name}-bmc"))
        await admin.create(orphan)
        with operator(plane, "op-4", tmp_path) as running:

            async def settled() -> bool:
                pair = (await admin.get("OSSPair", name)).get("status", {})
                device = (await admin.get("FenceDevice", f"{name}-bmc")).get("status", {})
                alone = (await admin.get("OST", f"{name}-orphan")).get("status", {})
                assert {c["type"]: c["status"] for c in pair["conditions"]}["Ready"] == "False"
                assert device["conditions"][0]["reason"] == "SecretMissing"
                assert alone["conditions"][0]["reason"] == "PairNotFound"
                assert [(await admin.get("OSS", server))["spec"]["pair"]["name"] for server in servers] == [name, name]
                return True

            async def tried() -> bool:
                try:
                    return await settled()
                except (ApiError, KeyError) as error:
                    raise AssertionError(str(error)) from error

            await wait_for_async(tried, START_SECONDS, "everything has a status with a reason")
            assert "Traceback" not in running.log.read_text()
            assert "broke" not in running.log.read_text()


WRONG = {
    "no such kubeconfig": (["--kubeconfig", "/nowhere"], "--kubeconfig /nowhere: no such file"),
    "a duration that is none": (["--lease-duration", "4"], "--lease-duration: '4' is not a duration"),
    "durations that would let two lead": (["--renew-deadline", "9s"], "renew deadline (9s) < lease duration (4s)"),
}


@pytest.mark.parametrize(("flags", "said"), WRONG.values(), ids=WRONG)
def test_wrong_start_is_told_in_one_line(flags: list[str], said: str) -> None:
    words = [sys.executable, "-m", "ostkeeper.cli.main", "operator", *flags]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_kubeconfig_that_is_no_kubeconfig_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("just: words\n")
    words = [sys.executable, "-m", "ostkeeper.cli.main", "operator", "--kubeconfig", str(tmp_path / "config")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{tmp_path / 'config'}: cannot be used" in done.stderr


def test_agents_command_line_does_not_bring_kopf_or_the_kubernetes_client() -> None:
    program = (
        "import sys; sys.argv = ['ostkeeper', 'agent', '--no-such-flag']\n"
        "try: import ostkeeper.cli.main as m; m.main()\nexcept SystemExit: pass\n"
        "sys.exit(sorted({name.partition('.')[0] for name in sys.modules} & {'kopf', 'kubernetes', 'pyghmi'}).__repr__())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "[]"
