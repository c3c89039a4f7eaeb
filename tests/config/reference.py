"""The tables of docs/configuration.rst, made from the models, and that of docs/upstreams.rst, made from the kinds.

``python -m tests.config.reference`` writes them between the page's markers; a test fails when a table has drifted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scepra.config.kind import KINDS
from scepra.config.schema import json_schema

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.rst"
UPSTREAMS = ROOT / "docs" / "upstreams.rst"
_BEGIN, _END = ".. keys of ", ".. end of keys"
SCHEMA = json_schema()


def sections() -> dict[str, dict[str, Any]]:
    """Every section that has keys, by the name of its model."""
    found = {"Config": SCHEMA}
    for name, definition in SCHEMA["$defs"].items():
        for part in (definition, *definition.get("anyOf", ())):
            if "properties" in part:
                found[name] = part
    return found


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What is said of a key, completed by the definition that it refers to."""
    reference = value.get("$ref", "").rpartition("/")[2]
    return {**SCHEMA["$defs"][reference], **value} if reference else value


def choices(value: dict[str, Any]) -> list[str]:
    """The values that a key, or each item of its list, may have, where they are a closed list."""
    value = resolved(value)
    if "const" in value:
        return [str(value["const"]).lower() if isinstance(value["const"], bool) else str(value["const"])]
    if "enum" in value:
        return [str(choice) for choice in value["enum"]]
    return choices(value["items"]) if "items" in value else []


def default(value: dict[str, Any], *, required: bool) -> str:
    """The column about the default."""
    if required:
        return "required"
    said = value.get("default", "")
    if isinstance(said, list):
        said = ", ".join(map(str, said))
    said = str(said).lower() if isinstance(said, bool) else str(said)
    return f"``{said}``" if said and said != "{}" else "none"


def table(section: dict[str, Any]) -> Iterator[str]:
    """The table of a section's keys."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 24 16 60", "")
    yield from ("   * - key", "     - default", "     - meaning")
    for key, said in section["properties"].items():
        value = resolved(said)
        meaning = value["description"].replace("*", "\\*")
        for part in (value, *value.get("anyOf", ())):
            if choices(part):
                meaning += f" {' or '.join(f'``{choice}``' for choice in choices(part))}."
                break
        yield f"   * - ``{key}``"
        yield f"     - {default(value, required=key in section.get('required', ()))}"
        yield f"     - {meaning}"


def written(page: str) -> str:
    """The page with its tables made anew."""

    def fresh(match: re.Match[str]) -> str:
        lines = "\n".join(table(sections()[match[1]]))
        return f"{_BEGIN}{match[1]}\n\n{lines}\n\n{_END}"

    return re.sub(rf"{re.escape(_BEGIN)}(\w+)\n.*?{re.escape(_END)}", fresh, page, flags=re.DOTALL)


def kinds() -> Iterator[str]:
    """The table of the kinds of CA."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 14 26 60", "")
    yield from ("   * - kind", "     - what it is", "     - what it says")
    for name, kind in KINDS.items():
        said = [f"``{key}: {shown(value)}``" for key, value in kind.values.items()]
        needs = [f"It answers in {' and '.join(kind.answers)} as set up at first."] if kind.answers else []
        yield f"   * - ``{name}``"
        yield f"     - {kind.title}"
        yield f"     - {' '.join((', '.join(said) or 'the defaults', *needs, kind.advice)).strip()}"


def shown(value: Any) -> str:
    """A value as a file has it."""
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)


def written_kinds(page: str) -> str:
    """The page about upstreams with its table made anew."""
    lines = "\n".join(kinds())
    return re.sub(r"\.\. kinds\n.*?\.\. end of kinds", f".. kinds\n\n{lines}\n\n.. end of kinds", page, flags=re.DOTALL)


if __name__ == "__main__":
    UPSTREAMS.write_text(written_kinds(UPSTREAMS.read_text("utf-8")), "utf-8")
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
