"""Who reaches whom, how long a packet takes, and calls to the API server over it.

Endpoints are names: "api", operators ("op1"), servers ("oss1"), fence devices ("pdu-left"). Here: links, and what a caller
gets of a call: the answer, or nothing in time. Not here: what the API server does with a request (`store`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ostkeeper.sim.kernel import Actor, Kernel

if TYPE_CHECKING:
    from ostkeeper.sim.store import Store

API = "api"
EVERYONE = "all"
"""As one end of a cut: all there are."""
LEAST, SPREAD = 0.001, 0.008
"""Seconds that a packet takes: at least, and at most so much more. One in fifty takes ten times as long."""
REFUSED = 0.05
"""Seconds until a caller knows that nobody listens where a machine is up."""
T = TypeVar("T")


class Network:
    """Directed links; all are whole unless cut. Cuts count: a link is whole again when each of its cuts was healed."""

    __slots__ = ("_cuts", "_kernel", "slow")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._cuts: dict[tuple[str, str], int] = {}
        self.slow: dict[str, float] = {}
        """By endpoint: at most so many seconds more for whatever comes from it or goes to it."""

    def cut(self, one: str, other: str, one_way: bool = False) -> None:
        """Let nothing pass from `one` to `other` (either may be EVERYONE), nor back unless `one_way`."""
        for link in ((one, other),) if one_way else ((one, other), (other, one)):
            self._cuts[link] = self._cuts.get(link, 0) + 1

    def heal(self, one: str, other: str, one_way: bool = False) -> None:
        """Undo one such cut. Raises KeyError when there is none."""
        for link in ((one, other),) if one_way else ((one, other), (other, one)):
            self._cuts[link] -= 1
            if not self._cuts[link]:
                del self._cuts[link]

    def reaches(self, one: str, other: str) -> bool:
        """Whether a packet that leaves now arrives. An endpoint always reaches itself."""
        cuts = self._cuts
        if not cuts or one == other:
            return True
        return not ((one, other) in cuts or (one, EVERYONE) in cuts or (EVERYONE, other) in cuts)

    def delay(self, one: str, other: str) -> float:
        """Seconds that a packet takes that leaves now."""
        chance = self._kernel.random.random
        wait = LEAST + SPREAD * chance()
        if chance() < 0.02:
            wait *= 10.0
        if self.slow:
            wait += chance() * max(self.slow.get(one, 0.0), self.slow.get(other, 0.0))
        return wait


class Client:
    """The calls of one process to the API server. What it sent arrives, whatever becomes of it."""

    __slots__ = ("_actor", "_kernel", "_name", "_network", "_store")

    def __init__(self, kernel: Kernel, network: Network, store: Store, name: str, actor: Actor) -> None:
        """`name` is its endpoint; answers are run as `actor`."""
        self._kernel, self._network, self._store = kernel, network, store
        self._name, self._actor = name, actor

    def call(self, request: Callable[[], T], answered: Callable[[T | None], None], within: float) -> None:
        """Have the API server run `request` when it arrives there; `answered` gets the result, or None: no answer in time.

        Without an answer it may or may not have been run, or may yet be. `within`: seconds from now.
        """
        kernel, network = self._kernel, self._network
        if not network.reaches(self._name, API):
            kernel.after(within, self._actor, answered, None)
            return
        wait = network.delay(self._name, API) + self._store.hesitates()
        kernel.after(wait, kernel.net, self._arrive, request, answered, kernel.now + within)

    def call_at_once(self, request: Callable[[], T], answered: Callable[[T | None], None], within: float) -> None:
        """As `call`, but while nothing is wrong it is carried out and answered at this very moment: no event at all.

        For what is sent again and again, such as the renewal of a lease. `answered` may be called before this returns.
        """
        store, network = self._store, self._network
        calm = store.up and not store.slow and not store.lossy and not network.slow
        if calm and network.reaches(self._name, API) and network.reaches(API, self._name):
            answered(request())
        else:
            self.call(request, answered, within)

    def _arrive(self, request: Callable[[], T], answered: Callable[[T | None], None], until: float) -> None:
        kernel, store = self._kernel, self._store
        back = self._network.reaches(API, self._name)
        if not store.up:
            kernel.at(min(until, kernel.now + REFUSED) if back else until, self._actor, answered, None)
            return
        result = request()
        at = kernel.now + self._network.delay(API, self._name) + (store.hesitates() if store.slow else 0.0)
        if not back or at > until or store.loses_answer():
            kernel.at(until, self._actor, answered, None)
        else:
            kernel.at(at, self._actor, answered, result)
