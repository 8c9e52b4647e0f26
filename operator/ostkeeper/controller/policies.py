"""Are the admission policies in force? The operator tries what they must refuse, dry, and expects to be refused.

A policy with a typo is rejected while its binding is accepted, and then everything is admitted in silence, so their
presence says nothing. What is tried is the creation of a Failover with a label that the approval policy refuses, which is
all or nothing. An approval cannot be tried in general: the schema's own rules come before the policies and refuse it
first, unless a Failover just waits for an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ostkeeper.api import Failover
from ostkeeper.api.common import GROUP
from ostkeeper.api.failover import Evidence, FailoverSpec, PolicySnapshot
from ostkeeper.api.osspair import Confirm
from ostkeeper.controller import objects
from ostkeeper.controller.client import Api, ApiError
from ostkeeper.core.events import PoliciesTried

logger = logging.getLogger(__name__)
EVERY = 300.0
"""Seconds between two tries."""
AGAIN = 5.0
"""Seconds until the next try when the API server did not answer."""
PAIR = "policy-probe"
LABEL = f"{GROUP}/policy-probe"
"""A Failover with this label is refused to everybody; see deploy/policies/approval.yaml."""
IN_FORCE = "ostkeeper-approval is in force"
"""In the text of that refusal. RBAC's 403 and the schema's 422 do not say so."""


async def try_policies(api: Api, namespace: str) -> bool:
    """Try once. Raises ApiError when the API server did not say anything about it."""
    spec = FailoverSpec(
        pair_name=PAIR,
        epoch=1,
        type="Failover",
        node="node-a",
        partner="node-b",
        evidence=Evidence(verdict="Unknown", sentence="A dry run: are the admission policies in force?"),
        policy=PolicySnapshot(
            mode="Observe",
            armed=False,
            levels=(),
            confirm=Confirm(),
            clear_mmp=False,
            valid_for="2m",
            boot_timeout="15m",
            release_timeout="5m",
        ),
    )
    body = objects.body(Failover, f"{namespace}/{PAIR}-1", spec=spec.wire())
    body["metadata"]["labels"] = {LABEL: "1"}
    try:
        await api.post(objects.collection(Failover, namespace), body, query={"dryRun": "All"})
    except ApiError as error:
        if error.status not in (403, 422):
            raise
        refused = IN_FORCE in error.message
        if not refused:
            logger.warning("the admission policies could not be tried, and count as not in force: %s", error)
        return refused
    logger.warning("the admission policies are NOT in force: apply deploy/; no pair is armed until then")
    return False


async def keep_trying(api: Api, namespace: str, tried: Callable[[PoliciesTried], None]) -> None:
    """Try at start and every five minutes, until cancelled. Silence of the API server is no result."""
    while True:
        try:
            tried(PoliciesTried(await try_policies(api, namespace)))
            pause = EVERY
        except ApiError as error:
            logger.info("the admission policies were not tried: %s", error)
            pause = AGAIN
        await asyncio.sleep(pause)
