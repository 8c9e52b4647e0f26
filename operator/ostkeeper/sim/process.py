"""One life of one simulated operator: what `controller` does around the real machines, on virtual time.

Here: election, routing of what its watches show, one `PairMachine` a pair, restart of a machine that broke. Not here: how
effects are carried out (`effects`), canary and probes (`canary`, `probes`), who starts and ends it (`operators`), any
decision.

A standby's watches sleep: it would absorb what it sees and do nothing. It is shown what it missed at the moment it leads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ostkeeper.api.common import Resource
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core import events as e
from ostkeeper.core.election import Answer, Election, Record, Request, Terms
from ostkeeper.core.fuse import servers_of
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.pair import PairMachine
from ostkeeper.sim.canary import Canaries
from ostkeeper.sim.effects import Line, Performer, told
from ostkeeper.sim.kernel import Actor
from ostkeeper.sim.network import Client
from ostkeeper.sim.opindex import Index
from ostkeeper.sim.probes import Prober
from ostkeeper.sim.store import KINDS, LEASE, NODE, Canary
from ostkeeper.sim.surroundings import World

SIM_TERMS = Terms(lease_duration=6.0, renew_deadline=4.0, retry=1.5)
"""Slower than by default, which saves two thousand events an hour and changes no order of things."""
CANARY_EVERY = 1.4
"""Seconds between two canaries; a real operator takes 1.0. Two in a row that are lost are an amnesty all the same."""
CALL_SHARE = 0.6
"""Part of the renew deadline that one call of the election may take."""
LEAST_WAIT = 0.001
"""Seconds between two Ticks in a row."""
RESTART_FIRST, RESTART_MOST = 1.0, 60.0
"""Seconds until a machine that broke is replaced: at first, and at most (doubling)."""
Broken = Callable[[str, Exception], None]


def raised(_who: str, error: Exception) -> None:
    """Raise it: what is done about a broken machine unless the world does something better."""
    raise error


@dataclass(slots=True)
class Habits:
    """How an operator was set up. Read anew at each use."""

    terms: Terms = SIM_TERMS
    """Of the election."""
    canary: float = CANARY_EVERY
    policies: bool = True
    """Whether the admission policies are in force."""
    broken: Broken = raised
    """Told that a machine broke: which operator's and pair's, and by what. By default it is raised."""


class Seat:
    """One pair's machine, and what wakes it."""

    __slots__ = ("began", "claims", "due", "footing", "key", "machine", "performer", "rest")

    def __init__(self, key: str) -> None:
        self.key = key
        self.machine: PairMachine | None = None
        """None: it broke, and a fresh one starts soon."""
        self.performer: Performer | None = None
        self.due = math.inf
        """The true second at which its next Tick is looked at."""
        self.claims: tuple[e.Problem, ...] = ()
        self.footing: tuple[object, ...] = ()
        self.rest = RESTART_FIRST
        self.began = 0.0


class Process:
    """One life of one operator."""

    def __init__(self, world: World, actor: Actor, token: str, habits: Habits) -> None:
        """`token` names it in the leader lease; never used twice. `actor` runs it, and has its clock."""
        self.world, self.name, self.token = world, actor.name, token
        self.actor = actor
        self._kernel = world.kernel
        self._habits = habits
        self.client = Client(self._kernel, self.world.network, self.world.store, self.name, self.actor)
        self.heartbeats = Heartbeats()
        self.index = Index()
        self.canary = Canaries(self, habits.canary)
        self.prober = Prober(self)
        self.seats: dict[str, Seat] = {}
        self._lines: dict[str, Line] = {}
        self._nodes: dict[str, e.NodeState] = {}
        self._terms = self._begun = 0
        self._awaking: list[tuple[list[str], e.Event]] | None = None
        """While a standby wakes: what it is shown, to be told after the claims."""
        self.election = Election(token, habits.terms, self._name_term, self._led, self._deposed)
        self._subscription = self.world.watches.subscribe(self.name, self.actor, self._show, prompt=False)
        for kind in (*KINDS, NODE, LEASE):
            self._subscription.watch(kind)
        self._subscription.sleep()
        self._kernel.after(0.3 * self._kernel.random.random(), self.actor, self._attempt)

    def now(self) -> float:
        """What its monotonic clock shows."""
        actor = self.actor
        return actor.offset + self._kernel.now * actor.rate

    def leading(self) -> bool:
        """Whether it leads at this moment, by its own clock alone."""
        return self.election.leading(self.now())

    def line(self, key: str) -> Line:
        """Its way to one fence device."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        return line

    def end(self) -> None:
        """It is gone; what it sent is on its way."""
        self._kernel.kill(self.actor)
        self._subscription.close()

    # --- the election

    def _name_term(self) -> str:
        self._terms += 1
        return f"{self.token}-{self._terms}"

    def _attempt(self) -> None:
        began = self.now()
        self._ask(self.election.attempt(began), began)

    def _ask(self, request: Request, began: float) -> None:
        terms, store = self.election.terms, self.world.store
        self.client.call_at_once(
            lambda: store.elect(request, self.token, terms.lease_duration),
            lambda got: self._elected(request, got, began),
            terms.renew_deadline * CALL_SHARE,
        )

    def _elected(self, request: Request, got: tuple[Answer, Record | None] | None, began: float) -> None:
        answer, record = got or (Answer.FAILED, None)
        following = self.election.answered(request, answer, record, self.now())
        if following is not None:
            self._ask(following, began)
            return
        retry = self.election.terms.retry
        wait = retry if self.election.term or answer is Answer.FAILED else 2 * retry
        self._kernel.after(max(0.0, wait - (self.now() - began)), self.actor, self._attempt)

    def _led(self, term: str) -> None:
        if self.world.trace:
            self.world.trace(self.name, f"leads, term {term}")
        self._awaking = []
        self._subscription.wake()
        awoken, self._awaking = self._awaking, None
        self._look(awoken)
        self._begin_term()
        self.canary.start()
        self.prober.attend()

    def _begin_term(self) -> None:
        self.heartbeats.restart(self.now())
        self._broadcast(e.Led(self._begin()))

    def _begin(self) -> str:
        """What a machine is to call the term: never the same twice, since a machine that begins anew counts its nonces anew."""
        self._begun += 1
        return f"{self.election.term}.{self._begun}"

    def _deposed(self, why: str) -> None:
        if self.world.trace:
            self.world.trace(self.name, f"leads no longer: {why}")
        self.canary.stop()
        self.prober.stop()
        self._broadcast(e.Deposed())
        self._subscription.sleep()

    # --- what the canary says

    def proven(self, written: float) -> None:
        """The lease watch lives: it has shown all that was committed before `written`."""
        self.heartbeats.proven(written, self.now())
        self._broadcast(e.Proven())

    def deaf(self) -> None:
        """The lease watch brings news, but not all."""
        self._subscription.relist(LEASE)

    def went_back(self) -> None:
        """etcd was restored: what was seen may be newer than what is. Forget the leases, begin a new term, list anew."""
        self.heartbeats.pulses.clear()
        if self.election.term:
            self._begin_term()
        self._subscription.relist()

    # --- what the watches say

    def _show(self, kind: str, key: str, found: Any) -> None:
        if kind == LEASE:
            if isinstance(found, Canary):
                if found.name == self.token:
                    self.canary.heard(found)
            elif found is not None:
                self.heartbeats.seen(found, self.now())
                self._deliver(self.index.pairs_of_server.get(found.node, ()), e.Beaten(found))
        elif kind == NODE:
            if found is not None:
                self._nodes[key] = found
                self._deliver(self.index.pairs_of_server.get(key, ()), e.NodeSeen(found))
        elif found is None:
            self._lost(kind, key)
        else:
            self._found(kind, key, found)

    def _found(self, kind: str, key: str, found: Resource) -> None:
        spec_changed = self.index.put(kind, key, found)
        if self._awaking is not None:
            self._awaking.append((self.index.concerned(kind, key, found), e.Seen(found)))
        elif spec_changed:
            self._look([(self.index.concerned(kind, key, found), e.Seen(found))])
        else:
            if isinstance(found, OSSPair):
                self._count(found)
            self._deliver(self.index.concerned(kind, key, found), e.Seen(found))

    def _lost(self, kind: str, key: str) -> None:
        gone = self.index.drop(kind, key)
        concerned = self.index.concerned(kind, key, gone)
        if isinstance(gone, OSSPair):
            self._end(key, gone.servers)
        told: tuple[list[str], e.Event] = (concerned, e.Gone(kind, key))
        if self._awaking is not None:
            self._awaking.append(told)
        else:
            self._look([told])

    def _look(self, late: list[tuple[list[str], e.Event]]) -> None:
        """Look for problems between objects; then show the objects, and start the machines of new pairs."""
        self.index.look()
        self.heartbeats.declared({server for pair in self.index.pairs.values() for server in pair.servers})
        for seat in self.seats.values():
            problems = self.index.claims.get(seat.key, ())
            if problems != seat.claims:
                seat.claims = problems
                self._tell(seat, e.Claims(problems))
        for keys, event in late:
            self._deliver(keys, event)
        for pair in list(self.index.pairs.values()):
            self._settle(pair)
        if self.election.term:
            self.prober.attend()

    def _settle(self, pair: OSSPair) -> None:
        """Start a new pair's machine; show everything again to one that stands on other objects than before."""
        self._count(pair)
        footing = self.index.footing(pair)
        seat = self.seats.get(pair.key)
        if seat is None:
            seat = self.seats[pair.key] = Seat(pair.key)
            seat.footing = footing
            self._start(seat)
        elif seat.footing != footing:
            seat.footing = footing
            for event in self._facts(pair):
                self._tell(seat, event)

    def _end(self, key: str, servers: tuple[str, ...]) -> None:
        seat = self.seats.pop(key, None)
        if seat is not None:
            seat.machine = None
            if seat.performer:
                seat.performer.close()
        for server in servers:
            self.heartbeats.servers.pop(server, None)
            self.heartbeats.out.pop(server, None)

    def _count(self, pair: OSSPair) -> None:
        """Tell the fuse about the servers of a pair."""
        self.heartbeats.servers.update(servers_of(pair, self.index.osts_of(pair), self.index.devices))

    # --- the machines

    def _deliver(self, keys: list[str] | tuple[str, ...], event: e.Event) -> None:
        for key in keys:
            seat = self.seats.get(key)
            if seat is not None:
                self._tell(seat, event)

    def _broadcast(self, event: e.Event) -> None:
        for seat in list(self.seats.values()):
            self._tell(seat, event)

    def _start(self, seat: Seat) -> None:
        """A fresh machine, told all that it has to know: its claims and the objects first, the leadership last."""
        if self.seats.get(seat.key) is not seat:
            return
        seat.began, seat.due = self.now(), math.inf
        seat.machine = PairMachine(seat.key, self.heartbeats)
        seat.performer = Performer(self, seat.key, lambda event: self._tell(seat, event))
        seat.claims = self.index.claims.get(seat.key, ())
        self._tell(seat, e.Claims(seat.claims))
        if pair := self.index.pairs.get(seat.key):
            for event in self._facts(pair):
                self._tell(seat, event)
        self._tell(seat, e.PoliciesTried(self._habits.policies))
        if self.election.term:
            self._tell(seat, e.Led(self._begin()))

    def _facts(self, pair: OSSPair) -> list[e.Event]:
        beats = [self.heartbeats.pulses[name].beat for name in pair.servers if self.heartbeats.known(name)]
        return [
            *(e.Seen(found) for found in self.index.related(pair)),
            *(e.NodeSeen(self._nodes[name]) for name in pair.servers if name in self._nodes),
            *(e.Beaten(beat) for beat in beats),
        ]

    def _tell(self, seat: Seat, event: e.Event) -> None:
        """Step a machine, carry out what it asks for, and see that it is woken in time."""
        machine, performer = seat.machine, seat.performer
        if machine is None or performer is None:
            return
        try:
            effects = machine.step(event, self.now())
        except Exception as error:  # as the supervisor does: a bug of ours, told, and a fresh machine
            self._break(seat, error)
            return
        for effect in effects:
            if self.world.trace:
                self._say(effect)
            performer.perform(effect)
        wake = machine.wake_at
        if wake < math.inf:
            self._wake(seat, wake)

    def _wake(self, seat: Seat, wake: float) -> None:
        """An earlier Tick than the one that is due is one more event; a later one is seen to when that one comes."""
        actor = self.actor
        at = max((wake - actor.offset) / actor.rate + 1e-6, self._kernel.now + LEAST_WAIT)
        if at < seat.due:
            seat.due = at
            self._kernel.at(at, actor, self._tick, seat, seat.machine, at)

    def _tick(self, seat: Seat, machine: PairMachine, at: float) -> None:
        if seat.machine is not machine or seat.due != at:
            return
        seat.due = math.inf
        if machine.wake_at <= self.now():
            self._tell(seat, e.Tick())
        elif machine.wake_at < math.inf:
            self._wake(seat, machine.wake_at)

    def _break(self, seat: Seat, error: Exception) -> None:
        self._habits.broken(f"{self.name}, pair {seat.key}", error)
        self._replace(seat)

    def fall_over(self, key: str) -> None:
        """A bug of ours breaks a pair's machine, if there is one now: nobody knows what it knew, and a fresh one starts soon."""
        seat = self.seats.get(key)
        if seat is not None and seat.machine is not None:
            self._replace(seat)

    def _replace(self, seat: Seat) -> None:
        if seat.performer:
            seat.performer.close()
        seat.machine = None
        if self.now() - seat.began > RESTART_MOST:
            seat.rest = RESTART_FIRST
        self._kernel.after(seat.rest, self.actor, self._start, seat)
        seat.rest = min(RESTART_MOST, seat.rest * 2)

    def _say(self, effect: e.Effect) -> None:
        said = told(effect)
        if said and self.world.trace:
            self.world.trace(self.name, said)
