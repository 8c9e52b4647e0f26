"""The Kubernetes objects that describe a world, as its people would have written them to Git.

Here: Namespace, Secrets, FenceDevices, OSSPairs, OSTs, as plain dictionaries and as YAML. Not here: their schema (`api`),
RBAC and policies (`deploy/`), the world itself (`layout`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

from ostkeeper.testbed.devices import Devices
from ostkeeper.testbed.disks import Image
from ostkeeper.testbed.layout import PDUS, Layout, PairLayout, Target

API_VERSION = "ostkeeper.dev/v1alpha1"
Manifest = dict[str, Any]

PAIR_DEFAULTS: Manifest = {
    "heartbeat": {"interval": "1s", "timeout": "3s"},
    "failover": {
        "mode": "Manual",
        "confirm": {"rounds": 3, "interval": "500ms", "settle": "2s"},
        "bootTimeout": "1m",
        "partnerSoak": "0s",
        "releaseTimeout": "30s",
    },
    "failback": {"mode": "Manual", "soak": "0s", "maxParallel": 8},
}
"""The pair's spec where a world says nothing else: the issue's times, and no soaking, which is for real floors."""
PROBE: Manifest = {"interval": "1s", "sampleCount": 20}
"""How the testbed's fence devices are probed: ten samples, which make a device trustworthy, take ten seconds."""


def world_manifests(layout: Layout, images: Mapping[str, Image], devices: Devices) -> list[Manifest]:
    """Every object of a world, in an order that may be applied. `images`: target → its disk."""
    names = [*PDUS, *(layout.bmc(host) for host in layout.hosts)]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": layout.namespace}},
        *(_secret(layout, name, devices) for name in names),
        *(_fence_device(layout, name, devices) for name in names),
        *(_pair(layout, pair) for pair in layout.pairs),
        *(_ost(layout, target, images[target.name]) for target in layout.targets),
    ]


def to_yaml(manifests: list[Manifest]) -> str:
    """As one file, documents apart."""
    return yaml.safe_dump_all(manifests, sort_keys=False)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it; maps are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def _object(layout: Layout, kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    metadata = {"name": name, "namespace": layout.namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _secret(layout: Layout, device: str, devices: Devices) -> Manifest:
    data = {key: base64.b64encode(value).decode() for key, value in devices.secret(device).items()}
    metadata = {"name": device, "namespace": layout.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def _fence_device(layout: Layout, device: str, devices: Devices) -> Manifest:
    spec = devices.fence_device(device, secret_name=device)
    return _object(layout, "FenceDevice", device, spec | {"requestTimeout": "1s", "probe": dict(PROBE)})


def _pair(layout: Layout, pair: PairLayout) -> Manifest:
    nodes = []
    for host in pair.hosts:
        outlets = [{"deviceName": pdu, "outlet": layout.outlet(host)} for pdu in PDUS]
        levels = [{"name": "pdus", "feeds": outlets}, {"name": "bmc", "feeds": [{"deviceName": layout.bmc(host)}]}]
        nodes.append({"name": host, "fencing": levels})
    return _object(layout, "OSSPair", pair.name, merged({"nodes": nodes} | PAIR_DEFAULTS, pair.spec))


def _ost(layout: Layout, target: Target, image: Image) -> Manifest:
    spec = {
        "fileSystem": layout.file_system,
        "index": target.index,
        "pairName": target.pair,
        "homeNode": target.home,
        "backend": {"ext4": {"device": image.device}},
        "mountPoint": image.mount_point,
    }
    return _object(layout, "OST", target.name.lower(), spec)
