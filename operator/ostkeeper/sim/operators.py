"""Simulated operators: each starts, stops, pauses and loses processes under one name, as a pod that is restarted does.

Here: the life of an operator from outside. Not here: what a process does (`process`).
"""

from __future__ import annotations

from ostkeeper.core.election import Terms
from ostkeeper.sim.kernel import Actor
from ostkeeper.sim.process import SIM_TERMS, Broken, Habits, Process, raised
from ostkeeper.sim.surroundings import World


class OperatorShell:
    """One operator: a pod that is restarted under the same name. It is running once it is made."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        terms: Terms = SIM_TERMS,
        policies: bool = True,
        rate: float = 1.0,
        offset: float = 0.0,
        broken: Broken = raised,
    ) -> None:
        """`rate` and `offset` are of its clock, see `Actor`; the rest is kept in `habits`."""
        self.world, self.name = world, name
        self.habits = Habits(terms=terms, policies=policies, broken=broken)
        self.rate, self.offset = rate, offset
        self._lives = 0
        self.process: Process | None = None
        """None: it does not run."""
        self.start()

    @property
    def leads(self) -> bool:
        """Whether it would act as the leader now; a paused one that believes it is one does not act."""
        return self.process is not None and not self.process.actor.paused and self.process.leading()

    @property
    def token(self) -> str:
        """Its name in the leader lease; empty: it does not run."""
        return self.process.token if self.process else ""

    def start(self) -> None:
        """Start a process, which knows nothing. Nothing, if one runs."""
        if self.process is None:
            self._lives += 1
            actor = Actor(self.name, self.rate, self.offset)
            self.process = Process(self.world, actor, f"{self.name}_{self._lives}", self.habits)

    def kill(self) -> None:
        """End its process; packets that it sent are on their way."""
        if self.process is not None:
            self.process.end()
            self.process = None

    def pause(self) -> None:
        """Its process stops, and believes whatever it believed once it goes on."""
        if self.process is not None:
            self.world.kernel.pause(self.process.actor)

    def resume(self) -> None:
        """It goes on where it was."""
        if self.process is not None:
            self.world.kernel.resume(self.process.actor)
