"""README.md, taken apart: its code blocks, its inline code, its tables.

Here: parsing. Not here: what any of it is held against; each test file says so.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_WRAPPERS = ("sudo",)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and its lines, without the indentation of a list around it."""

    language: str
    text: str


def text() -> str:
    return README.read_text("utf-8")


def blocks(language: str, part: str = "") -> list[Block]:
    """Return the fenced blocks of one language, of the whole file or of a part of it."""
    return [
        Block(word, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))
        for indent, word, body in _FENCE.findall(part or text())
        if word == language
    ]


def section(title: str) -> str:
    """Return what stands under a heading, up to the next one of its rank or above. Raises ValueError if there is none."""
    found = re.search(rf"^(##+) {re.escape(title)}$\n(.*?)(?=^##? |\Z)", text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no section {title!r}")
    return found[2]


def prose() -> str:
    """Everything outside of fenced blocks."""
    return _FENCE.sub("", text())


def inline_codes(part: str = "") -> list[str]:
    return _INLINE.findall(part or prose())


def first_cells(part: str) -> list[str]:
    """Return the first cell of each row of the tables in a part, without the header's."""
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows]


def commands(program: str) -> list[list[str]]:
    """Return the words of every command of this program in shell blocks and inline code, comments taken off."""
    lines = [line for block in blocks("sh") for line in block.text.splitlines()] + inline_codes()
    found = []
    for line in lines:
        for part in re.split(r"&&|\|\|", line):
            words = shlex.split(part, comments=True) if part.count("'") % 2 == 0 and part.count('"') % 2 == 0 else []
            while words and (words[0] in _WRAPPERS or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words = words[1:]
            if words and words[0] == program:
                found.append(words)
    return found
