"""The story that `make demo` tells, act by act, on a world that is already up.

Here: what is done, what has to be seen before it goes on, and what is shown. Everything is done by the world's verbs, by
kubectl and by `ostkeeper fence-test`. Not here: showing (`stage`), timing (`stopwatch`), the world's life (`demo`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostkeeper.api.rules import overtaken
from ostkeeper.testbed import identities, manifests
from ostkeeper.testbed.layout import Layout, layout
from ostkeeper.testbed.processes import CommandFailed
from ostkeeper.testbed.scene import Scene
from ostkeeper.testbed.stage import Stage
from ostkeeper.testbed.stopwatch import Seconds, Stopwatch
from ostkeeper.testbed.world import World

NAMESPACE = "scratch"
ALICE = identities.ONCALL.user
AUTOMATIC, MANUAL = "pair-a", "pair-b"
CRASHES, HANGS, LIES = "oss1", "oss3", "oss4"
HOLD_STILL = 5.0
"""Seconds for which the audience watches that nothing moves unasked."""
SPECS = {
    AUTOMATIC: {
        "failover": {"mode": "Automatic", "wiring": "Drilled"},
        "failback": {"mode": "Automatic", "soak": "3s"},
    },
    MANUAL: {"failover": {"mode": "Manual", "wiring": "Drilled"}, "failback": {"mode": "Manual"}},
}
CERTIFICATE = "sed -n '/^  certificate:/,/^  conditions:/p'"
QUESTION = 'jsonpath=\'{.status.message}{"\\n"}evidence {.status.evidence}{"\\n"}\''
MISSING = "jsonpath='{range .status.missing[*]}{@}{\"\\n\"}{end}'"
ANSWERS = 5
"""How often alice answers when the evidence changes under her hands."""
LAPSED = "The evidence has changed meanwhile, so this answer is worth nothing. She looks again:"


class DemoFailedError(RuntimeError):
    """The demo did not show what it promises. The text says what was wrong."""


@dataclass(slots=True)
class Told:
    """One failover, as it goes into demo.json."""

    pair: str
    mode: str
    cause: str
    phase: str
    seconds: Seconds


@dataclass(slots=True)
class Story:
    """The acts, in order. `failovers` and `steps` grow as it is told."""

    world: World
    stage: Stage
    failovers: list[Told] = field(default_factory=list)
    steps: list[tuple[str, float]] = field(default_factory=list)
    """Heading of each act → seconds that it took."""

    async def tell(self) -> None:
        """From bare servers to everything home again. Raises `DemoFailedError`, `WaitedInVainError`."""
        acts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("Declare two pairs and how they are fenced; drill every feed", self.drills),
            ("Declare eight OSTs; all get mounted at home", self.osts),
            (f"{CRASHES} crashes. Its pair is Automatic", self.crash),
            (f"{HANGS} hangs. Its pair is Manual", self.hang),
            (f"{LIES} is cut off from the network, and everything that could cut its power lies", self.lie),
            ("Home again", self.home),
        ]
        for number, (title, act) in enumerate(acts, start=1):
            began = time.monotonic()
            self.stage.step(f"{number}. {title}")
            await act()
            self.steps.append((title, time.monotonic() - began))

    # 1, 2 --------------------------------------------------------------------------------------------------------------

    async def drills(self) -> None:
        """Pairs and devices, and a real drill of each server while it holds no target."""
        documents = self._manifests()
        await self._apply("pairs.yaml", [doc for doc in documents if doc["kind"] != "OST"])
        await self._until("all servers are seen Healthy", lambda scene: healthy(scene, self.world.layout.hosts), 40)
        self.stage.say(
            "Nothing is mounted yet: the time to prove the wiring. Each outlet is cut alone (the server must live on), then "
            "both (it must die, its partner must not). Both pairs at once, asked for by alice, who is on call."
        )
        drill = "ostkeeper fence-test {}/{} --level pdus --really"
        pairs = self.world.layout.pairs
        await asyncio.gather(*(self.stage.shell(drill.format(NAMESPACE, pair.name), ALICE) for pair in pairs))

    async def osts(self) -> None:
        """Eight OSTs, mounted at home; the pairs are armed."""
        await self._apply("osts.yaml", [doc for doc in self._manifests() if doc["kind"] == "OST"])
        pairs = [pair.name for pair in self.world.layout.pairs]
        await self._until("all OSTs are mounted at home", lambda scene: scene.at_home(pairs), 40)
        await self._until("both pairs are armed", lambda scene: all(scene.condition(p, "Armed")[0] for p in pairs), 40)
        await self.stage.shell("kubectl get ost,pairs -A")
        self.stage.say(
            "A writer on every OST appends numbered records with fsync from now on; all are looked for at the end."
        )

    # 3 -----------------------------------------------------------------------------------------------------------------

    async def crash(self) -> None:
        """Crash, fenced through both PDUs, certificate, mounted on the partner, data there."""
        watch = Stopwatch(self.world, CRASHES)
        known = self.stage.observer.scene.names()
        async with watch.running():
            watch.moments.fault = await self.world.verbs.crash(CRASHES)
            self.stage.say(
                f"{CRASHES} is dead, but its power is on: nobody but a power reading can tell it from a hang."
            )
            name = await self._opened(known, "Failover", AUTOMATIC)
            await self._until(f"{name} is Complete", lambda scene: scene.phase(name) == "Complete", 60)
            await self._until("all OSTs are mounted", lambda scene: scene.serving([AUTOMATIC]) and watch.mounted, 20)
        self._told(watch, name, AUTOMATIC, "crash")
        self.stage.say("Its death certificate:")
        await self.stage.shell(f"kubectl get fo {name} -n {NAMESPACE} -o yaml | {CERTIFICATE}")
        await self.stage.shell(f"kubectl get ost -n {NAMESPACE} --field-selector spec.pairName={AUTOMATIC}")
        await self._records()

    # 4 -----------------------------------------------------------------------------------------------------------------

    async def hang(self) -> None:
        """Hang, nothing moves, one answer, failover; the thaw finds nobody."""
        watch = Stopwatch(self.world, HANGS)
        async with watch.running():
            watch.moments.fault = await self.world.verbs.hang(HANGS)
            self.stage.say(
                f"Every process of {HANGS} stands still, its disks and its link, too. It could go on at any moment."
            )
            await self._nothing_moves(await self._asked("Failover", MANUAL))
            self.stage.say(
                f"Alice is asked. {HOLD_STILL:g} s later nothing has moved and nothing was cut. She looks, and answers:"
            )
            name = await self._approve("Failover", MANUAL)
            await self._until(f"{name} is Complete", lambda scene: scene.phase(name) == "Complete", 60)
            await self._until("all OSTs are mounted", lambda scene: scene.serving([MANUAL]) and watch.mounted, 20)
        self._told(watch, name, MANUAL, "hang")
        await self.world.verbs.thaw(HANGS)
        self.stage.say(
            f"{HANGS} is thawed now. Nothing goes on there: it was made sure that it is dead before anything moved."
        )
        await self.stage.shell(f"kubectl get fo {name} -n {NAMESPACE}")

    async def _nothing_moves(self, name: str) -> None:
        before = self.stage.observer.scene
        await asyncio.sleep(HOLD_STILL)
        after = self.stage.observer.scene
        moved = [t.name for t, old in zip(after.targets, before.targets, strict=True) if t.mounted_on != old.mounted_on]
        cut = [s.name for s in after.servers if s.pair == MANUAL and not s.powered]
        if moved or cut or after.phase(name) != "AwaitingApproval":
            raise DemoFailedError(f"something moved before alice answered: {moved}, {cut}, {after.phase(name)}")

    # 5 -----------------------------------------------------------------------------------------------------------------

    async def lie(self) -> None:
        """A server that only its disk still betrays, and power devices that lie: Blocked, nothing mounted twice."""
        await self.world.verbs.power_on(HANGS)
        self.stage.say(
            f"First {HANGS} gets its power back: a standby, which mounts nothing. {LIES} serves all four OSTs of {MANUAL}."
        )
        await self._until(f"{HANGS} is Healthy", lambda scene: scene.server(HANGS).verdict == "Healthy", 60)
        devices = [*(f"{feed}" for feed in self.world.layout.wiring[LIES]), self.world.layout.bmc(LIES)]
        for device in devices:
            await self.world.verbs.device(device, "lie")
        watch = Stopwatch(self.world, LIES)
        async with watch.running():
            watch.moments.fault = await self.world.verbs.partition(LIES, "all")
            self.stage.say(
                f"Neither operator nor partner reaches {LIES}, but it lives and writes. {', '.join(devices)} say yes to "
                f"an off, do nothing, and read OFF from then on."
            )
            await self._asked("Failover", MANUAL)
            self.stage.say("Alice makes a mistake, as people do at night:")
            name = await self._approve("Failover", MANUAL)
            await self._until(f"{name} is Blocked", lambda scene: scene.phase(name) == "Blocked", 90)
            self._told(watch, name, MANUAL, "cut off, its power devices lie")
        self.stage.say("Every feed reads OFF, and still no certificate: the disks move. What is missing:")
        await self.stage.shell(f"kubectl get fo {name} -n {NAMESPACE} -o {MISSING}")
        self._nothing_twice()
        await self._mend(name, devices)

    async def _mend(self, name: str, devices: list[str]) -> None:
        for device in devices:
            await self.world.verbs.device(device, "normal")
        await self.world.verbs.heal(LIES)
        self.stage.say(f"Network and devices are mended. {LIES} never stopped serving; alice ends it:")
        while not await self._answer(name, "Dismiss", "Blocked") and self.stage.observer.scene.phase(name) != "Aborted":
            self.stage.say(LAPSED)
        await self._until(f"{name} is Aborted", lambda scene: scene.phase(name) == "Aborted", 40)
        await self._until(f"{LIES} serves", lambda scene: scene.serving([MANUAL]), 40)

    # 6 -----------------------------------------------------------------------------------------------------------------

    async def home(self) -> None:
        """Power back, failback: by itself where that is declared, by one answer where not."""
        await self.world.verbs.power_on(CRASHES)
        self.stage.say(f"{CRASHES} gets its power back. {AUTOMATIC} goes home by itself; for {MANUAL} alice is asked.")
        await self._approve("Failback", MANUAL)
        pairs = [pair.name for pair in self.world.layout.pairs]
        await self._until("all OSTs are home again", lambda scene: scene.at_home(pairs), 60)
        await self._until(
            "both pairs are armed again", lambda scene: all(scene.condition(p, "Armed")[0] for p in pairs), 40
        )
        await self._records()

    # What several acts do ----------------------------------------------------------------------------------------------

    def _manifests(self) -> list[manifests.Manifest]:
        return manifests.world_manifests(self.world.layout, self.world.images, self.world.devices)

    async def _apply(self, name: str, documents: list[manifests.Manifest]) -> None:
        path = Path(self.world.directory, name)
        path.touch(mode=0o600)  # it holds the devices' credentials
        path.write_text(manifests.to_yaml(documents))
        await self.stage.shell(f"kubectl apply -f {name}")

    async def _until(self, why: str, condition: Callable[[Scene], object], seconds: float) -> Scene:
        scene = await self.stage.observer.until(why, condition, seconds)
        self._nothing_twice()
        return scene

    async def _opened(self, known: frozenset[str], type_: str, pair: str) -> str:
        scene = await self._until(f"a {type_} of {pair} is opened", lambda scene: scene.opened(known, type_, pair), 60)
        return scene.opened(known, type_, pair)

    async def _asked(self, type_: str, pair: str) -> str:
        scene = await self._until(
            f"alice is asked about a {type_} of {pair}", lambda scene: scene.asking(type_, pair), 60
        )
        return scene.asking(type_, pair)

    async def _approve(self, type_: str, pair: str) -> str:
        """Alice says yes to what waits for an answer; again when the evidence changes under her hands. Gives its name."""
        for _ in range(ANSWERS):
            name = await self._asked(type_, pair)
            if await self._answer(name, type_, "AwaitingApproval"):
                return name
            self.stage.say(LAPSED)
        raise DemoFailedError(f"{pair}: the evidence changed {ANSWERS} times in a row, alice could not answer it")

    async def _answer(self, name: str, answer: str, question: str) -> bool:
        """Alice looks at the question, and answers it by one command. False: it was another question meanwhile."""
        await self.stage.shell(f"kubectl get fo {name} -n {NAMESPACE} -o {QUESTION}", ALICE)
        evidence = evidence_of(await self.stage.observer.look(), name)
        patch = {"spec": {"approval": {"answer": answer, "by": ALICE, "evidence": evidence}}}
        try:
            await self.stage.shell(
                f"kubectl patch fo {name} -n {NAMESPACE} --type=merge -p '{json.dumps(patch)}'", ALICE
            )
        except CommandFailed as refused:
            if not overtaken(str(refused)):
                raise
            return False

        def taken_up(scene: Scene) -> bool:
            return scene.phase(name) != question or evidence_of(scene, name) != evidence

        scene = await self._until("the answer is taken up, or its evidence has changed", taken_up, 30)
        gone = answer != "Dismiss" and scene.phase(name) == "Aborted"
        return scene.phase(name) != question and not gone

    def _told(self, watch: Stopwatch, name: str, pair: str, cause: str) -> None:
        failover = self.stage.observer.scene.failover(name)
        mode = failover["spec"]["policy"]["mode"]
        self.failovers.append(Told(pair, mode, cause, failover["status"]["phase"], watch.seconds(failover)))

    def _nothing_twice(self) -> None:
        if overlaps := self.stage.observer.scene.overlaps:
            raise DemoFailedError(f"{overlaps} times one disk could be written by two servers: see overlaps.jsonl")

    async def _records(self) -> None:
        records = (await self.world.verbs.truth())["records"]
        if records["lost"]:
            raise DemoFailedError(f"{records['lost']} acknowledged records are lost: {records['missing']}")
        self.stage.say(
            f"Data: {records['acknowledged']} records were acknowledged so far, every one of them was found again."
        )


def healthy(scene: Scene, hosts: tuple[str, ...]) -> bool:
    """Whether the operator calls all of these servers Healthy."""
    return all(scene.server(host).verdict == "Healthy" for host in hosts)


def evidence_of(scene: Scene, name: str) -> str:
    """The digest that an answer to this Failover must name."""
    return str(scene.failover(name)["status"].get("evidence", ""))


def demo_layout() -> Layout:
    """Two pairs, four servers, eight OSTs."""
    return layout(pairs=2, specs=SPECS)


def summary(story: Story, truth: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """What goes into demo.json."""
    return {
        "failovers": [
            {"pair": t.pair, "mode": t.mode, "cause": t.cause, "phase": t.phase, "seconds": t.seconds}
            for t in story.failovers
        ],
        "overlaps": truth["overlaps"],
        "monitor_samples": truth["monitor"]["samples"],
        "records": {key: truth["records"][key] for key in ("acknowledged", "lost")},
        "osts": [
            {"name": t.name, "home": t.home, "node": t.mounted_on[0] if len(t.mounted_on) == 1 else ""}
            for t in scene.targets
        ],
    }
