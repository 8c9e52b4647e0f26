"""What a simulated operator needs of the world around it, as protocols. Here: signatures and promises, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ostkeeper.core.power import Feed, PowerState
from ostkeeper.sim.kernel import Actor, Kernel
from ostkeeper.sim.network import Network
from ostkeeper.sim.store import Store
from ostkeeper.sim.watches import Watches


class Devices(Protocol):
    """The fence devices, as an operator's drivers reach them. Answers come as `actor`, by the deadline at the latest."""

    def order(
        self,
        sender: str,
        feed: Feed,
        on: bool,
        deadline: float,
        answered: Callable[[bool, bool, str], None],
        actor: Actor | None = None,
        identity: str = "",
    ) -> None:
        """Order one feed on or off, not one packet at or after `deadline` (true seconds): acknowledged, sent, why not.

        `identity`: a device that reports another one is sent nothing.
        """
        ...

    def read(
        self,
        sender: str,
        feed: Feed,
        deadline: float,
        answered: Callable[[PowerState, str, float | None, str, str], None],
        actor: Actor | None = None,
    ) -> None:
        """Read one feed: state, sign of reboots, watts, identity, why it is unknown."""
        ...

    def identify(
        self,
        sender: str,
        name: str,
        deadline: float,
        answered: Callable[[str, str, str], None],
        actor: Actor | None = None,
    ) -> None:
        """Ask a device who it is: system UUID, identity, sign of reboots; all empty where nobody answers."""
        ...


class World(Protocol):
    """What of the world is needed here."""

    @property
    def kernel(self) -> Kernel:
        """Virtual time."""
        ...

    @property
    def network(self) -> Network:
        """Who reaches whom."""
        ...

    @property
    def store(self) -> Store:
        """The API server."""
        ...

    @property
    def watches(self) -> Watches:
        """Its watches."""
        ...

    @property
    def devices(self) -> Devices:
        """The fence devices."""
        ...

    @property
    def trace(self) -> Callable[[str, str], None] | None:
        """Told who does what, in words; None: nobody asks."""
        ...
