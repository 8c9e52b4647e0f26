"""From the models to `crds/`: `python -m ostkeeper.api.crdgen [DIR] [--check]`.

Here: how a pydantic model becomes a structural OpenAPI v3 schema that kube-apiserver accepts without a warning. Not
here: what the rules say (`rules`), fields and their words (the models).

Defaults are written where the API server can fill them in unseen by GitOps: in `spec`, outside of lists. One inside a
list item would make every client-side apply of a manifest that leaves it out "configured", for ever; pydantic fills
those in when it reads. `status` gets none: who writes it knows what it writes. An object's default is always given in
full, since the API server refuses `{}` where a rule reads a field of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ostkeeper.api import OSS, OST, Failover, FenceDevice, OSSPair
from ostkeeper.api.common import GROUP, VERSION, Column, Model, Resource

Json = dict[str, Any]
KINDS: tuple[type[Resource], ...] = (FenceDevice, OSSPair, OST, OSS, Failover)
HEADER = "# Generated from operator/ostkeeper/api/ by `make crds` (python -m ostkeeper.api.crdgen). Edit it there.\n"
CATEGORY = "ostkeeper"
"""`kubectl get ostkeeper` shows all kinds."""
_KEPT = ("type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def crd(kind: type[Resource]) -> Json:
    """Return the CustomResourceDefinition of one kind, as a tree ready for YAML."""
    singular = kind.kind.lower()
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": singular,
        "shortNames": [name for name in (kind.short, *kind.aliases) if name != singular],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {key: value for key, value in names.items() if value != []},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind)],
        },
    }


def _version(kind: type[Resource]) -> Json:
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    version["schema"] = {"openAPIV3Schema": _root(kind)}
    return version


def _column(column: Column) -> Json:
    written: Json = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        written["description"] = column.description
    if column.priority:
        written["priority"] = column.priority
    return written


def _root(kind: type[Resource]) -> Json:
    schemas = _Schemas(kind.model_json_schema(by_alias=True))
    root = schemas.convert(schemas.document, with_defaults=True)
    properties = root["properties"]
    properties["status"] = schemas.convert(schemas.document["properties"]["status"], with_defaults=False)
    preamble = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    root["properties"] = preamble | {name: schema for name, schema in properties.items() if name not in preamble}
    root["required"] = ["spec"]
    return root


class _Schemas:
    """One JSON schema document of pydantic's, and the models behind its definitions."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._definitions: Mapping[str, Json] = document.get("$defs", {})
        self._models = {model.__name__: model for model in _subclasses(Model)}

    def convert(self, schema: Json, with_defaults: bool) -> Json:
        """Return `schema` as a structural one. Raises ValueError for what the API server would not take."""
        schema = self._resolved(schema)
        written: Json = {}
        if "description" in schema:
            written["description"] = " ".join(schema["description"].split())
        written |= {key: schema[key] for key in _KEPT if key in schema}
        if "const" in schema:
            written["enum"] = [schema["const"]]
        if schema.get("type") == "integer":
            written["format"] = "int32" if schema.get("maximum", 1 << 40) < 1 << 31 else "int64"
        written |= {key: value for key, value in schema.items() if key.startswith("x-kubernetes-")}
        if with_defaults and _is_worth_writing(schema.get("default")):
            written["default"] = _without_none(schema["default"])
        self._add_children(schema, written, with_defaults)
        self._add_rules(schema, written)
        if "type" not in written:
            raise ValueError(f"no structural schema for {schema}")
        return written

    def _resolved(self, schema: Json) -> Json:
        """Follow a reference and drop the `null` of an optional field; what stands beside them (its words) wins."""
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        if "$ref" in schema:
            return self._definitions[schema["$ref"].rpartition("/")[2]] | beside
        if "anyOf" in schema:
            (only,) = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
            return self._resolved(only | beside)
        return schema

    def _add_children(self, schema: Json, written: Json, with_defaults: bool) -> None:
        if "items" in schema:
            written["items"] = self.convert(schema["items"], with_defaults=False)
        if "properties" in schema:
            children = schema["properties"].items()
            written["properties"] = {name: self.convert(child, with_defaults) for name, child in children}
            if schema.get("required"):
                written["required"] = list(schema["required"])

    def _add_rules(self, schema: Json, written: Json) -> None:
        model = self._models.get(schema.get("title", ""))
        if model is not None and "properties" in schema and model.rules:
            written["x-kubernetes-validations"] = [rule.wire() for rule in model.rules]


def _subclasses(model: type[Model]) -> Iterator[type[Model]]:
    for child in model.__subclasses__():
        yield child
        yield from _subclasses(child)


def _is_worth_writing(default: object) -> bool:
    return default is not None and default != "" and default != []


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(child) for key, child in value.items() if _is_worth_writing(child)}
    return value


def rendered() -> dict[str, str]:
    """Return the text of every file by its name, the same in every process."""
    return {
        f"{GROUP}_{kind.plural}.yaml": HEADER
        + yaml.safe_dump(crd(kind), sort_keys=False, width=118, allow_unicode=True, default_flow_style=False)
        for kind in KINDS
    }


def differences(directory: Path) -> list[str]:
    """Return a line for every file in `directory` that is missing, stale or not ours to have."""
    wanted = rendered()
    found = {path.name: path.read_text() for path in directory.glob("*.yaml")}
    lines = [f"{directory / name}: missing" for name in wanted if name not in found]
    lines += [f"{directory / name}: differs" for name in wanted if name in found and found[name] != wanted[name]]
    return lines + [f"{directory / name}: of no kind" for name in sorted(found) if name not in wanted]


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check only compare; return 1 if they differ."""
    parser = argparse.ArgumentParser(
        prog="python -m ostkeeper.api.crdgen", description="Generate crds/ from the models."
    )
    parser.add_argument("directory", nargs="?", type=Path, default=Path("crds"), help="default: crds")
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    options = parser.parse_args(arguments)
    if options.check:
        lines = differences(options.directory)
        sys.stderr.writelines(f"{line}; run `make crds`\n" for line in lines)
        return 1 if lines else 0
    options.directory.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (options.directory / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
