"""Scenes for the tests of the demo: what the API server would have sent, and what would be mounted."""

from collections.abc import Mapping, Sequence
from typing import Any

from ostkeeper.testbed.scene import FeedSeen, Scene, ServerSeen, targets_of


def ost(index: int, home: str, node: str = "", state: str = "", pair: str = "pair-a") -> dict[str, Any]:
    spec = {"fileSystem": "scratch", "index": index, "pairName": pair, "homeNode": home}
    status = {"node": node, "state": state} if node else {}
    return {"metadata": {"name": f"scratch-ost{index:04x}"}, "spec": spec, "status": status}


def failover(name: str, phase: str, *timeline: tuple[str, str, str], type_: str = "Failover") -> dict[str, Any]:
    pair, _, epoch = name.rpartition("-")
    entries = [{"time": time, "phase": phase, "message": message} for time, phase, message in timeline]
    spec = {"type": type_, "pairName": pair, "epoch": int(epoch), "policy": {"mode": "Automatic"}}
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": phase, "timeline": entries}}


def pair(name: str, verdicts: Mapping[str, str], armed: str = "True") -> dict[str, Any]:
    servers = [{"name": server, "verdict": verdict} for server, verdict in verdicts.items()]
    conditions = [{"type": "Armed", "status": armed, "message": "" if armed == "True" else "not drilled"}]
    return {"metadata": {"name": name}, "status": {"servers": servers, "conditions": conditions}}


def server(name: str, mounts: Sequence[str] = (), **more: Any) -> ServerSeen:
    seen: dict[str, Any] = {
        "pair": "pair-a",
        "running": True,
        "powered": True,
        "feeds": (FeedSeen(f"pdu-left/{name[-1]}", True), FeedSeen(f"pdu-right/{name[-1]}", True)),
        "verdict": "Healthy",
    }
    return ServerSeen(name=name, mounts=tuple(mounts), **{**seen, **more})


def scene(
    servers: Sequence[ServerSeen] = (),
    osts: Sequence[dict[str, Any]] = (),
    failovers: Sequence[dict[str, Any]] = (),
    pairs: Sequence[dict[str, Any]] = (),
    **more: Any,
) -> Scene:
    targets = targets_of(osts, {one.name: one.mounts for one in servers})
    return Scene(tuple(servers), targets, tuple(pairs), tuple(failovers), **more)
