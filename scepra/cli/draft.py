"""A proposed policy as YAML with comments, for a person to edit; nothing that a client wrote ends a line of it or acts
upon a terminal (AC-121)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from scepra.cli.asn1_text import printable

Path = tuple[str | int, ...]
Remarks = Mapping[Path, tuple[str, ...]]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def draft(rules: list[dict[str, Any]], remarks: Remarks, head: Iterable[str]) -> Iterator[str]:
    """The lines of a policy file.

    Args:
        rules: as in the file.
        remarks: sentences before what is at their path, which begins with the place of a rule.
        head: sentences before everything.
    """
    yield from _comments(head, "")
    yield "policy:"
    for place, rule in enumerate(rules):
        yield from _comments(remarks.get((place,), ()), "  ")
        for kind, spec in rule.items():
            yield from _entry(f"  - {kind}:", spec, (place, kind), remarks, "      ")
    yield from _comments(remarks.get((len(rules),), ()), "  ")


def scalar(value: Any) -> str:
    """A value on one line, in quotes where it could be taken for something else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    written: str = yaml.safe_dump(text, default_style='"', allow_unicode=False, width=2**31)
    return written.strip()


def _entry(start: str, value: Any, path: Path, remarks: Remarks, indent: str) -> Iterator[str]:
    """A key and its value; what has remarks of its own stands on lines of its own."""
    if isinstance(value, Mapping) and value and any(key[: len(path)] == path and key != path for key in remarks):
        yield start
        for key, inner in value.items():
            yield from _comments(remarks.get((*path, key), ()), indent)
            yield from _entry(f"{indent}{scalar(key)}:", inner, (*path, key), remarks, indent + "  ")
    else:
        yield f"{start} {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return scalar(value)


def _comments(sentences: Iterable[str], indent: str) -> Iterator[str]:
    for sentence in sentences:
        yield f"{indent}# {printable(sentence)}"
