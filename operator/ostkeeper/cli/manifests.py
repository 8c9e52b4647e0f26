"""Reading a site's manifests from files, without a cluster: what `kubectl apply -f DIR` would send.

Here: YAML to the models, with errors that name file, object, field and reason; all of them at once. Not here: rules that only the
API server referees (CEL; `kubectl apply --dry-run=server` asks them), and what takes two objects to see (`core.claims`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ostkeeper.api.common import API_VERSION, GROUP, Resource
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST

KINDS: dict[str, type[Resource]] = {kind.kind: kind for kind in (OSSPair, OST, FenceDevice)}
"""What people declare; OSS and Failover are the operator's."""
SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "standard input"


class ManifestError(Exception):
    """The manifests cannot be used. The text has a line for each fault: file, object, field, reason."""


@dataclass(slots=True)
class Manifests:
    """What was found."""

    pairs: list[OSSPair] = field(default_factory=list)
    osts: list[OST] = field(default_factory=list)
    devices: list[FenceDevice] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Objects of other kinds, as `Kind name`: they change nothing here."""


def load(paths: list[str]) -> Manifests:
    """Read files, folders (with their sub-folders) and `-` (standard input). Raises ManifestError, naming every fault."""
    found, faults = Manifests(), list[str]()
    where: dict[tuple[str, str], str] = {}
    for place, raw, namespace in _documents(paths, faults):
        kind = raw.get("kind")
        meta = raw.get("metadata")
        name = str(meta.get("name", "")) if isinstance(meta, dict) else ""
        if str(raw.get("apiVersion", "")).partition("/")[0] != GROUP:
            found.skipped.append(f"{kind} {name}")
            continue
        obj = _parse(place, raw, namespace, faults)
        if obj is None:
            continue
        before = where.setdefault((obj.kind, obj.key), place)
        if before != place:
            faults.append(f"{place}: {obj.kind} {obj.key} is declared in {before}, too; keep one of the two")
            continue
        match obj:
            case OSSPair():
                found.pairs.append(obj)
            case OST():
                found.osts.append(obj)
            case FenceDevice():
                found.devices.append(obj)
    if faults:
        raise ManifestError("\n".join(faults))
    if not found.pairs:
        raise ManifestError(f"{', '.join(paths)}: no OSSPair of {API_VERSION} in there; there is nothing to simulate")
    return found


def _documents(paths: list[str], faults: list[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each object with its place, and the namespace that its folder's kustomization gives it; `List`s are opened."""
    for name, text in _texts(paths, faults):
        namespace = _kustomized(Path(name).parent) if name != STDIN else ""
        try:
            documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        except yaml.YAMLError as error:
            faults.append(f"{name}: not YAML: {' '.join(str(error).split())}")
            continue
        for number, document in enumerate(documents, 1):
            place = f"{name}, document {number}" if len(documents) > 1 else name
            if document is None:
                continue
            if not isinstance(document, dict):
                faults.append(f"{place}: not an object but a {type(document).__name__}")
                continue
            items = document.get("items") if str(document.get("kind", "")).endswith("List") else None
            for each in items if isinstance(items, list) else [document]:
                yield place, each, namespace


def _texts(paths: list[str], faults: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == "-":
            yield STDIN, sys.stdin.read()
            continue
        root = Path(path)
        files = sorted(f for f in root.rglob("*") if f.suffix in SUFFIXES) if root.is_dir() else [root]
        if not files:
            faults.append(f"{path}: no file in there ends in {', '.join(SUFFIXES)}")
        for file in files:
            try:
                yield str(file), file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                faults.append(f"{file}: {error}")


def _kustomized(folder: Path) -> str:
    """The namespace that a kustomization in this folder puts all its objects into; empty: there is none."""
    try:
        said = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return str(said.get("namespace") or "") if isinstance(said, dict) else ""


def _parse(place: str, raw: dict[str, Any], namespace: str, faults: list[str]) -> Resource | None:
    """One object of ours, or a line for each of its faults."""
    kind = KINDS.get(str(raw.get("kind", "")))
    said = f"{place}: {raw.get('kind')} {(raw.get('metadata') or {}).get('name', '')}"
    if kind is None:
        faults.append(f"{said}: the operator makes this kind itself; declare {', '.join(KINDS)}")
        return None
    if raw.get("apiVersion") != API_VERSION:
        faults.append(f"{said}: apiVersion: {raw.get('apiVersion')} is not served; write {API_VERSION}")
        return None
    given = {"namespace": namespace} if namespace else {}
    raw = {**raw, "metadata": {"namespace": "default", **(raw.get("metadata") or {}), **given}}
    raw.pop("status", None)
    faults += [
        f"{said}: {path}: no such field" for path in _unknown(raw.get("spec"), kind.model_fields["spec"].annotation)
    ]
    if not raw["metadata"].get("name"):
        faults.append(f"{said}: metadata.name: is missing")
        return None
    try:
        return kind.parse(raw)
    except ValidationError as error:
        for each in error.errors():
            faults.append(f"{said}: {'.'.join(str(part) for part in each['loc'])}: {each['msg']}")
        return None


def _unknown(raw: Any, model: Any, path: str = "spec") -> Iterator[str]:
    """Fields that no model has: the API server refuses them under kubectl's strict validation, as a slip of the pen."""
    for inner in _models_in(model):
        if isinstance(raw, dict):
            names = {f.alias or name: f.annotation for name, f in inner.model_fields.items()}
            for key, value in raw.items():
                if key in names:
                    yield from _unknown(value, names[key], f"{path}.{key}")
                else:
                    yield f"{path}.{key}"
        elif isinstance(raw, list):
            for place, value in enumerate(raw):
                yield from _unknown(value, inner, f"{path}[{place}]")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type names, such as those in `tuple[Level, ...]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
