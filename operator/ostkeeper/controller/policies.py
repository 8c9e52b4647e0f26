"""Are the admission policies in force? The operator tries what they must refuse, dry, and expects to be refused.

A policy with a typo is rejected while its binding is accepted, and then everything is admitted in silence, so their
presence says nothing. What is tried is the creation of a Failover of a name that is set aside: the approval policy
refuses it to the operator. An approval on a real one cannot be tried in general: the schema's own rules come before the
policies, and refuse it first unless that Failover waits for an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ostkeeper.api import Failover
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
PAIR = "ostkeeper-policy-canary"
"""The pair name that is set aside: the approval policy refuses to admit a Failover of it to the operator."""
SAID_BY_A_POLICY = "ValidatingAdmissionPolicy"
"""In the text of each refusal by a policy; RBAC's 403 and the schema's 422 do not say so."""


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
    try:
        await api.post(objects.collection(Failover, namespace), body, query={"dryRun": "All"})
    except ApiError as error:
        if error.status not in (403, 422):
            raise
        refused = SAID_BY_A_POLICY in error.message
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
