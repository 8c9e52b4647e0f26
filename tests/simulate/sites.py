"""Manifests of a site of any size: pairs that act by themselves, eight to two PDUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "scratch"}
    return {"apiVersion": "ostkeeper.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def _device(name: str, kind: str) -> dict[str, Any]:
    return _object("FenceDevice", name, {kind: {"address": f"{name}.example", "credentialsSecretName": "power"}})


def _node(name: str, rack: int, outlet: int) -> dict[str, Any]:
    pdus = [{"deviceName": f"pdu-{side}-{rack}", "outlet": str(outlet)} for side in ("left", "right")]
    levels = [{"name": "pdus", "feeds": pdus}, {"name": "bmc", "feeds": [{"deviceName": f"bmc-{name}"}]}]
    return {"name": name, "fencing": levels}


def write_site(folder: Path, pairs: int, targets: int = 2) -> str:
    """Write the manifests, with so many targets a pair, and return the folder."""
    found: list[dict[str, Any]] = []
    for place in range(pairs):
        rack, first = place // 8, 2 * (place % 8) + 1
        servers = (f"oss{2 * place + 1}", f"oss{2 * place + 2}")
        if place % 8 == 0:
            found += [_device(f"pdu-{side}-{rack}", "snmpPDU") for side in ("left", "right")]
        found += [_device(f"bmc-{server}", "ipmi") for server in servers]
        nodes = [_node(server, rack, first + number) for number, server in enumerate(servers)]
        found.append(_object("OSSPair", f"pair-{place}", {"nodes": nodes, "failover": {"mode": "Automatic"}}))
        for index in range(targets * place, targets * place + targets):
            name = f"scratch-ost{index:04x}"
            spec = {
                "fileSystem": "scratch",
                "index": index,
                "pairName": f"pair-{place}",
                "homeNode": servers[index % 2],
                "backend": {"ldiskfs": {"device": f"/dev/disk/by-id/{name}"}},
                "mountPoint": f"/mnt/ost{index:04x}",
            }
            found.append(_object("OST", name, spec))
    (folder / "site.yaml").write_text(yaml.safe_dump_all(found))
    return str(folder)
