"""The words that the product can show a person, collected from its source: reasons, phases, states, sentences of Blocked.

Here: reading the syntax trees. Not here: what README.md makes of them. A reason is found where it is written: as the
class attribute or variable `reason`, as the first word of a returned (reason, message), as the first argument of an error
or a Problem, as a reason of a pair's condition.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ostkeeper.api.crdgen import KINDS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "operator" / "ostkeeper"
_CAMEL = re.compile(r"[A-Z][A-Za-z]+")
_SAY_REASONS = (
    "core/claims.py",
    "core/permission.py",
    "core/mirror.py",
    "core/stalled.py",
    "core/target_status.py",
    "core/trust.py",
    "core/host.py",
)
_NAMING_CALLS = re.compile(r"\w*Error|Problem|_of_ost|_fail|Failure|_drop_wishes|condition")


def files() -> list[Path]:
    """All source files of what runs on a real floor: not the testbed, not the simulator."""
    return [
        path for path in sorted(SOURCE.rglob("*.py")) if path.relative_to(SOURCE).parts[0] not in ("testbed", "sim")
    ]


def constants() -> set[str]:
    """Every string that is written in the source as a whole."""
    found = {node.value for path in files() for node in ast.walk(_tree(path)) if isinstance(node, ast.Constant)}
    return {value for value in found if isinstance(value, str)}


def reasons() -> dict[str, str]:
    """Reason → file where it is given."""
    names = {kind.kind for kind in KINDS} | {"Ready", "Reconciling", "Stalled", "Armed", "Degraded"}
    return {
        reason: str(path.relative_to(SOURCE))
        for path in files()
        for node in ast.walk(_tree(path))
        for reason in _reasons_at(node, str(path.relative_to(SOURCE)))
        if reason not in names
    }


def sentences(file: str, *functions: str) -> list[str]:
    """The longest fixed part of each text that stands in these functions of a file, f-strings and plain ones.

    Raises ValueError for a function that is not there: it was renamed, and what it says has to be looked for anew.
    """
    defined = {node.name: node for node in ast.walk(_tree(SOURCE / file)) if isinstance(node, ast.FunctionDef)}
    missing = set(functions) - set(defined)
    if missing:
        raise ValueError(
            f"{file} has no function {', '.join(sorted(missing))} any more: what does it say in Blocked now?"
        )
    return [said for name in functions for said in _texts(defined[name])]


def _texts(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            longest = max((str(part).strip(" ,;:()") for part in parts), key=len, default="")
            if " " in longest:
                yield longest


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def _reasons_at(node: ast.AST, file: str) -> Iterator[str]:
    if isinstance(node, ast.Assign):
        yield from _assigned(node)
    elif isinstance(node, ast.Return) and node.value and file in _SAY_REASONS:
        pairs = [part for part in _branches(node.value) if isinstance(part, ast.Tuple)]
        yield from (word for pair in pairs for element in pair.elts[:2] if (word := _word(element)))
    elif isinstance(node, ast.Call) and _NAMING_CALLS.fullmatch(_name(node.func)):
        yield from (word for argument in node.args for part in _branches(argument) if (word := _word(part)))


def _assigned(node: ast.Assign) -> Iterator[str]:
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=False))
    else:
        pairs = [(target, value)]
    for name, given in pairs:
        if isinstance(name, ast.Name) and name.id == "reason":
            yield from (word for part in _branches(given) if (word := _word(part)))


def _branches(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield from (*_branches(node.body), *_branches(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (part for value in node.values for part in _branches(value))
    else:
        yield node


def _word(node: ast.expr) -> str:
    said = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return said if _CAMEL.fullmatch(said) else ""


def _name(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


if __name__ == "__main__":
    for reason, where in sorted(reasons().items(), key=lambda item: item[1]):
        print(f"{where:32} {reason}")
