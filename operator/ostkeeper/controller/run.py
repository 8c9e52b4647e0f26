"""The operator's process: puts all parts together, and takes them apart at SIGTERM.

Here: wiring, nothing else. Not here: arguments (`cli`), any of the parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import uuid
from collections.abc import Callable

from ostkeeper.controller.client import Api, ConfigError, connect
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.cluster import LEASES, KubeCluster
from ostkeeper.controller.ears import Ears
from ostkeeper.controller.elector import Elector, KubeLease
from ostkeeper.controller.index import Index
from ostkeeper.controller.leases import Leases
from ostkeeper.controller.nodes import Nodes
from ostkeeper.controller.objects import Parser
from ostkeeper.controller.options import Options
from ostkeeper.controller.orphans import Orphans
from ostkeeper.controller.perform import Performer
from ostkeeper.controller.policies import keep_trying
from ostkeeper.controller.power import Devices, KubeSecrets, Power
from ostkeeper.controller.prober import Prober
from ostkeeper.controller.supervisor import Supervisor
from ostkeeper.core.events import Event
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.core.pair import PairMachine
from ostkeeper.fencing.registry import open_device
from ostkeeper.ports import Cluster

logger = logging.getLogger(__name__)
LEASE_NAME = "ostkeeper-operator"
CALL_SHARE = 0.6
"""Part of the renew deadline that one call of the election may take: so that a second try fits in."""
GOODBYE = 1.5
"""Seconds for letting go of the lease and the devices at SIGTERM."""


class Operator:
    """All parts of one operator, wired. `wrap` may stand between the pairs and the cluster (the testbed's entry)."""

    def __init__(self, api: Api, options: Options, wrap: Callable[[Cluster], Cluster]) -> None:
        self._api, self._options, self._clock = api, options, SystemClock()
        token = f"{options.id}_{uuid.uuid4().hex[:8]}"
        path = f"{LEASES.format(options.namespace)}/{LEASE_NAME}"
        call = options.terms.renew_deadline * CALL_SHARE
        self.elector = Elector(
            KubeLease(api, path, call), token, self._clock, self._on_led, self._on_deposed, options.terms
        )
        self.heartbeats = Heartbeats()
        self._index = Index(Parser())
        self._kube = KubeCluster(api, self._index.parser, self._clock, path, token)
        self._cluster = wrap(self._kube)
        self._devices = Devices(KubeSecrets(api), open_device, self._clock)
        self._power = Power(self._devices, self.elector.leads_until, self._clock)
        self.supervisor = Supervisor(
            self._index, self.heartbeats, self._clock, self._cluster, PairMachine, self._performer
        )
        self.leases = Leases(
            api,
            self._clock,
            self.heartbeats,
            re.sub(r"[^a-z0-9.-]", "-", options.id.lower()),
            token,
            self.supervisor.beaten,
            self.supervisor.proven,
            self._on_history_went_back,
        )
        self._prober = Prober(
            self._devices,
            self._cluster,
            self._clock,
            self.supervisor.device,
            self.supervisor.problem_of,
            self.elector.leading,
        )
        self._orphans = Orphans(self._cluster)
        self.supervisor.changed = self._on_specs_changed
        self.ears = Ears(api, self.supervisor.show, self.supervisor.gone, lambda kind: list(self._index.shelf(kind)))
        self.nodes = Nodes(api, self._clock, self.supervisor.node, self.supervisor.node_gone)
        api.reconnected = self._on_reconnected

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        stopped = asyncio.Event()
        self._catch_signals(stopped)
        self.ears.started = lambda: self._catch_signals(stopped)
        await self._until(stopped, self.ears.hear_all())
        parts = (
            self.elector.run(),
            self.leases.run(),
            self.nodes.run(),
            self.ears.run(),
            keep_trying(self._api, self._options.namespace, self.supervisor.policies),
        )
        try:
            await self._until(stopped, *parts)
        finally:
            await self._say_goodbye()

    async def _until(self, stopped: asyncio.Event, *parts: object) -> None:
        """Run these until the first ends or a signal comes. A part that breaks ends the process: its restart mends it."""
        stop = asyncio.create_task(stopped.wait())
        tasks = {asyncio.ensure_future(part) for part in parts}  # type: ignore[call-overload]
        try:
            done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop}:
                task.result()
        finally:
            for task in (stop, *tasks):
                task.cancel()

    async def _say_goodbye(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self.elector.release()
                await self._devices.close()

    def _catch_signals(self, stopped: asyncio.Event) -> None:
        """kopf takes the signals whenever it starts: take them back."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    def _performer(self, key: str, inbox: asyncio.Queue[Event]) -> Performer:
        return Performer(
            key,
            inbox,
            self._cluster,
            self._power,
            self._clock,
            self.elector.leading,
            self.leases.prove,
            self.supervisor.device,
        )

    # --- what happens

    def _on_led(self, term: str) -> None:
        self.supervisor.led(term)
        self._prober.lead(True)
        self._on_specs_changed()

    def _on_deposed(self) -> None:
        self._power.stop_orders()
        self.supervisor.deposed()
        self._prober.lead(False)

    def _on_specs_changed(self) -> None:
        self._prober.attend(self._index.devices, self._index.pairs)
        if self.elector.leading(self._clock.monotonic()):
            self._orphans.tell(self.supervisor.problems, self._index.osts)

    def _on_reconnected(self) -> None:
        """Old connections to the API server were dead: the watches' are, too, and would notice it in a minute only."""
        self.nodes.relist()
        self.ears.connections_died()

    def _on_history_went_back(self) -> None:
        self._index.parser.clear()
        self.supervisor.went_back()
        self.ears.start_afresh()
        self.nodes.relist()


async def operate(options: Options, wrap: Callable[[Cluster], Cluster] = lambda cluster: cluster) -> None:
    """Run one operator until it is asked to stop. Raises ConfigError for a kubeconfig that cannot be used."""
    api = await connect(options.kubeconfig)
    await Operator(api, options, wrap).run()


def main(options: Options, wrap: Callable[[Cluster], Cluster] = lambda cluster: cluster) -> None:
    """Run until asked to stop, and exit the process at once then: kopf's watches are nothing to wait for.

    Raises ConfigError. A bug of ours ends the process with code 1 and a traceback: its restart is an amnesty.
    """
    with asyncio.Runner() as runner:
        code = 0
        try:
            runner.run(operate(options, wrap))
        except ConfigError:
            raise
        except Exception:
            logger.exception("the operator broke")
            code = 1
        logging.shutdown()
        os._exit(code)
