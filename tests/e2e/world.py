"""A world for one end-to-end test: what a test asks of it, waits for in it, and what must hold at the end of every one.

    async with e2e_world(mode="Automatic") as w:
        await w.ready()
        await w.verbs.crash("oss1")
        await w.phase("pair-a", "Complete")
        await w.served(on="oss2")

Things are changed by `w.verbs` and by what a person would type (`kubectl`, `patch`, `answer`) only. Leaving the block
checks safety whatever the test was about: no disk was ever held by two servers, no acknowledged record is lost, nothing
in the testbed broke, and no operator or agent fell over. A test that fails prints what a person would look at, and
leaves the logs under build/e2e/. Not here: printing and checking (`aftermath`), faults (`ostkeeper.testbed.verbs`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e import aftermath
from ostkeeper.api.common import Condition
from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.api.phases import ANSWERABLE
from ostkeeper.api.rules import overtaken
from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.controlplane_client import UNHEARD, ApiClient, ApiError
from ostkeeper.testbed.identities import ADMIN, ONCALL
from ostkeeper.testbed.layout import layout
from ostkeeper.testbed.manifests import merged
from ostkeeper.testbed.verbs import Verbs
from ostkeeper.testbed.world import World, WorldOptions
from waiting import wait_for_async

Json = dict[str, Any]
NAMESPACE = "scratch"
BASE = "/apis/ostkeeper.dev/v1alpha1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-heartbeats/leases"
LEADER = "/apis/coordination.k8s.io/v1/namespaces/ostkeeper-system/leases/ostkeeper-operator"
CALM: Json = {
    "heartbeat": {"interval": "2s", "timeout": "6s"},
    "failover": {"wiring": "Declared", "soleWitness": "Accept", "bootTimeout": "60s"},
}
"""A busy machine suspects healthy servers at 1s/3s; drills are for the tests of drills."""
PATIENCE = (429, 503, 504)
"""What the API server answers while it is not ready to: a kind whose CRD is new, or too much at once."""
CALL_SECONDS = 30.0
READY_SECONDS = 60.0
ACT_SECONDS = 60.0
"""Deadlines: what takes 5 to 15 s on an idle machine, with room for one that runs other tests as well."""


@dataclass(slots=True)
class E2E:
    """One running world, as a test sees it."""

    world: World
    client: ApiClient
    verbs: Verbs = field(init=False)

    def __post_init__(self) -> None:
        self.verbs = self.world.verbs

    # What the API says -----------------------------------------------------------------------------------------------

    async def read(self, path: str) -> Json:
        """GET, again while the API server asks for patience, or is not heard."""

        async def answered() -> Json | None:
            try:
                return await self.client.get(path)
            except UNHEARD as error:
                if isinstance(error, ApiError) and error.status not in PATIENCE:
                    raise
                return None

        answer = await wait_for_async(answered, ACT_SECONDS, f"{path} should be answered")
        assert answer is not None
        return answer

    async def pair(self, name: str = "pair-a") -> OSSPair:
        return OSSPair.parse(await self.read(f"{BASE}/namespaces/{NAMESPACE}/osspairs/{name}"))

    async def osts(self) -> dict[str, OST]:
        """Target → its OST."""
        items = (await self.read(f"{BASE}/namespaces/{NAMESPACE}/osts"))["items"]
        return {ost.target: ost for ost in map(OST.parse, items)}

    async def oss(self, name: str) -> OSS:
        return OSS.parse(await self.read(f"{BASE}/osses/{name}"))

    async def device(self, name: str) -> FenceDevice:
        return FenceDevice.parse(await self.read(f"{BASE}/namespaces/{NAMESPACE}/fencedevices/{name}"))

    async def failovers(self, pair: str = "pair-a") -> list[Failover]:
        """All of a pair, oldest first."""
        items = (await self.read(f"{BASE}/namespaces/{NAMESPACE}/failovers"))["items"]
        mine = [fo for fo in map(Failover.parse, items) if fo.spec.pair_name == pair]
        return sorted(mine, key=lambda fo: fo.spec.epoch)

    async def failover(self, name: str) -> Failover:
        return Failover.parse(await self.read(f"{BASE}/namespaces/{NAMESPACE}/failovers/{name}"))

    async def condition(self, type_: str, pair: str = "pair-a") -> Condition | None:
        """One condition of a pair."""
        status = (await self.pair(pair)).status
        return next((c for c in status.conditions if c.type == type_), None) if status else None

    async def verdict(self, host: str) -> str:
        """What the operator makes of a server."""
        status = (await self.pair(self.world.layout.pair_of(host).name)).status
        return next((s.verdict for s in status.servers if s.name == host), "") if status else ""

    async def lease(self, host: str) -> Json:
        """The spec of a server's heartbeat."""
        items = (await self.read(LEASES))["items"]
        leases: dict[str, Json] = {item["metadata"]["name"]: item["spec"] for item in items}
        return leases[host]

    async def leader(self) -> str:
        """The operator that leads, as its lease says: op-1, op-2; empty: none."""
        holder = str((await self.read(LEADER))["spec"].get("holderIdentity") or "")
        return holder.partition("_")[0]

    # What a person does ----------------------------------------------------------------------------------------------

    async def kubectl(self, *words: str, user: str = ADMIN.user, stdin: str = "") -> str:
        return await self.world.control_plane.kubectl(*words, user=user, stdin=stdin)

    async def patch(self, kind: str, name: str, body: Mapping[str, Any], user: str = ADMIN.user) -> None:
        """`kubectl patch --type=merge`. Raises ControlPlaneError with the API server's words."""
        await self.kubectl(
            "patch", kind, name, "--namespace", NAMESPACE, "--type=merge", "--patch", json.dumps(body), user=user
        )

    async def answer(self, name: str, word: str, user: str = ONCALL.user, evidence: str = "", note: str = "") -> None:
        """Answer the question of a Failover once, as it stands when it is answered; or, with `evidence`, as it once stood."""
        if evidence:
            await self._say(name, word, user, evidence, note)
            return

        async def taken() -> bool:
            return await self._answered(name, word, user, note)

        await wait_for_async(taken, ACT_SECONDS, f"{user} is to answer {word} to {name} as it stands")

    async def approve(self, name: str, word: str = "Failover", user: str = ONCALL.user) -> None:
        """Answer, and answer again whenever the evidence has changed meanwhile, until the answer was taken."""

        async def taken() -> bool:
            fo = await self.failover(name)
            if fo.phase not in ANSWERABLE:
                return bool(fo.phase)
            approval = fo.spec.approval
            assert fo.status is not None
            if approval is None or (approval.evidence, approval.answer) != (fo.status.evidence, word):
                await self._answered(name, word, user)
            return False

        await wait_for_async(taken, ACT_SECONDS, f"{user} answered {word} to {name}, and it is to be carried out")

    async def _answered(self, name: str, word: str, user: str, note: str = "") -> bool:
        """Look and answer. False: it was another question, or none any more, when kubectl had got there."""
        fo = await self.failover(name)
        assert fo.status is not None, f"{name} asks nothing yet"
        try:
            await self._say(name, word, user, fo.status.evidence, note)
        except ControlPlaneError as refused:
            if not overtaken(str(refused)):
                raise
            return False
        return True

    async def _say(self, name: str, word: str, user: str, evidence: str, note: str) -> None:
        approval = {"answer": word, "evidence": evidence, "note": note or "seen on the console"}
        await self.patch("failover", name, {"spec": {"approval": approval}}, user=user)

    # What is waited for ----------------------------------------------------------------------------------------------

    async def ready(self, armed: bool | None = None, within: float = READY_SECONDS) -> None:
        """Wait until every target is served at home, and every server Healthy; and every pair Armed (if Automatic)."""
        await self.served(on={t.name: t.home for t in self.world.layout.targets}, within=within)
        for pair in self.world.layout.pairs:
            mode = (await self.pair(pair.name)).spec.failover.mode
            for host in pair.hosts:
                await self.judged(host, "Healthy", within=within)
            if mode == "Automatic" if armed is None else armed:
                await self.true("Armed", pair.name, within=within)

    async def true(
        self,
        type_: str,
        pair: str = "pair-a",
        status: str = "True",
        *,
        reason: str = "",
        words: tuple[str, ...] = (),
        within: float = ACT_SECONDS,
    ) -> Condition:
        """Wait until a condition of the pair is True (or `status`): for this reason, in these words, if they are given."""

        async def so() -> Condition:
            condition = await self.condition(type_, pair)
            assert condition is not None, f"{pair} has no condition {type_}"
            said = f"{type_} is {condition.status}, {condition.reason}: {condition.message}"
            assert condition.status == status, said
            assert reason in ("", condition.reason), said
            assert all(word in condition.message for word in words), said
            return condition

        return await wait_for_async(so, within, f"{type_} of {pair} should become {status} {reason}".rstrip(), step=0.2)

    async def judged(self, host: str, *verdicts: str, within: float = ACT_SECONDS) -> str:
        """Wait until the operator makes one of these of a server."""

        async def so() -> str:
            verdict = await self.verdict(host)
            assert verdict in verdicts, f"{host} is {verdict or 'not judged yet'}"
            return verdict

        return await wait_for_async(so, within, f"{host} should be {' or '.join(verdicts)}", step=0.2)

    async def phase(
        self, pair: str, *phases: str, after: str = "", type_: str = "", within: float = ACT_SECONDS
    ) -> Failover:
        """Wait until the pair's newest Failover (newer than `after`, of this type) stands in one of these phases."""

        async def so() -> Failover:
            found = [fo for fo in await self.failovers(pair) if not type_ or fo.spec.type == type_]
            newer = [fo for fo in found if after not in [other.name for other in found[found.index(fo) :]]]
            assert newer, f"{pair} has no new Failover"
            fo = newer[-1]
            assert fo.phase in phases, f"{fo.name} is {fo.phase}: {fo.status.message if fo.status else ''}"
            return fo

        return await wait_for_async(so, within, f"a Failover of {pair} should be {' or '.join(phases)}", step=0.1)

    async def served(self, on: str | Mapping[str, str] = "", within: float = ACT_SECONDS) -> None:
        """Wait until every target is mounted, and really so on the server that the API names.

        `on`: the one server for all, or target → server for some; the others may be anywhere.
        """
        wanted = {t.name: on for t in self.world.layout.targets} if isinstance(on, str) else dict(on)

        async def so() -> bool:
            nodes = {}
            for target, ost in (await self.osts()).items():
                assert ost.status is not None, f"{target} has no status"
                node, want = ost.status.node, wanted.get(target)
                assert not want or node == want, f"{target} is assigned to {node or 'nobody'}"
                assert ost.status.state == "Mounted", f"{target} is {ost.status.state} on {node}"
                assert self.mounts_of(target) == [node], f"{target} is {node}'s, mounted on {self.mounts_of(target)}"
                nodes[target] = node
            for target, row in (await self.verbs.truth())["targets"].items():
                assert row["held_by"] == [nodes[target]], f"{target} is {nodes[target]}'s, held by {row['held_by']}"
            return True

        await wait_for_async(so, within, f"all targets should be served {on or 'somewhere'}", step=0.2)

    def mounted_on(self, host: str) -> list[str]:
        """The targets that a server has mounted, as the kernel says; none where it is dead."""
        one = self.world.hosts[host]
        return sorted(one.mounts()) if one.running else []

    def homed_at(self, host: str) -> list[str]:
        """The targets whose home it is."""
        return [target.name for target in self.world.layout.targets if target.home == host]

    def mounts_of(self, target: str) -> list[str]:
        """The servers that have it mounted, as the kernel says."""
        hosts = self.world.hosts
        return [name for name in hosts if hosts[name].running and target in hosts[name].mounts()]

    async def while_beating(self, host: str, times: int, check: Callable[[], Any], within: float = ACT_SECONDS) -> None:
        """Show that something stays so: `check` (plain or async, asserts) at each of so many heartbeats of a server.

        A heartbeat is a change of its lease: as long as they come, API server and agents are at work, so that what
        was going to happen had its time.
        """
        seen: set[str] = set()

        async def beaten() -> bool:
            answer = check()
            if answer is not None:
                await answer
            spec = await self.lease(host)
            seen.add(str(spec.get("renewTime")))
            return len(seen) > times

        await steadily(beaten, within, f"{host} should renew its heartbeat {times} times")

    async def observed(self, pair: str = "pair-a") -> None:
        """Wait until the operator has seen the pair's spec as it is now: it hears of each kind on a watch of its own."""

        async def so() -> bool:
            now = await self.pair(pair)
            conditions = now.status.conditions if now.status else ()
            return any((c.type, c.observed_generation) == ("Ready", now.metadata.generation) for c in conditions)

        await wait_for_async(so, ACT_SECONDS, f"the operator should have seen what {pair} is to be", step=0.1)

    async def renewed(self, host: str, within: float = ACT_SECONDS) -> None:
        """Wait until a server's lease moves."""
        before = await self.lease(host)

        async def moved() -> bool:
            return await self.lease(host) != before

        await wait_for_async(moved, within, f"{host} should renew its heartbeat", step=0.1)

    async def caught(self, state: str = "stopped", but: str = "", within: float = ACT_SECONDS) -> str:
        """Wait until an operator (other than `but`) has obeyed `operator ... --when`: it is `stopped`, or `dead`."""
        operators = self.world.operators

        def found() -> str:
            return next((name for name in operators.names if name != but and operators.state(name) == state), "")

        return await wait_for_async(found, within, f"an operator should be {state} by its own hand")

    def untouched(self, host: str) -> None:
        """Assert that a server has its power: no feed of it was shot."""
        plane = self.world.plane
        feeds = {str(feed): plane.outlet(feed.device, feed.outlet) for feed in plane.feeds(host)}
        assert all(feeds.values()), f"{host} was shot: {feeds}"
        assert plane.bmc(host), f"{host} was shot by its BMC"


async def steadily(condition: Callable[[], Any], within: float, why: str, step: float = 0.1) -> None:
    """As `wait_for_async`, but an AssertionError of the condition ends it at once: that is what is to be shown."""
    broken: list[AssertionError] = []

    async def guarded() -> bool:
        try:
            return bool(await condition())
        except AssertionError as error:
            broken.append(error)
            return True

    await wait_for_async(guarded, within, why, step=step)
    if broken:
        raise broken[0]


@contextlib.asynccontextmanager
async def e2e_world(
    *,
    pairs: int = 1,
    mode: str = "Automatic",
    sectors: tuple[int, ...] = (512, 4096),
    spec: Mapping[str, Any] | None = None,
    specs: Mapping[str, Mapping[str, Any]] | None = None,
    apply: bool = True,
    operators: int = 2,
    osts_per_host: int = 2,
) -> AsyncIterator[E2E]:
    """A world with its manifests applied. `spec`: laid over every pair's; `specs`: pair → over that pair's.

    `sectors`: the disks take these sizes in turn, so that every world has both. Nothing is shared between two worlds:
    addresses and ports are in network namespaces of their own, files in a directory of their own.
    """
    names = [pair.name for pair in layout(pairs).pairs]
    common = merged(merged(CALM, {"failover": {"mode": mode}}), spec or {})
    over = {name: merged(common, (specs or {}).get(name, {})) for name in names}
    plan = layout(pairs, osts_per_host, sectors, over)
    async with (
        World(WorldOptions(plan, operators=operators)) as world,
        world.control_plane.client(timeout=CALL_SECONDS) as client,
    ):
        w = E2E(world, client)
        try:
            if apply:
                await world.apply()
            yield w
            await aftermath.check(world)
        except BaseException:
            await aftermath.tell(world)
            raise
