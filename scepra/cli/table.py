"""Tables and lists of facts for people, in which no text acts upon the terminal (AC-028, AC-121); JSON for scripts."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from scepra.cli.asn1_text import printable

_GAP = "  "
_CUT = "..."
_LEAST = 8


def terminal_width() -> int | None:
    """How many characters a line of the terminal has; None where there is no terminal: nothing is cut then."""
    return shutil.get_terminal_size((0, 0)).columns or None


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> Iterator[str]:
    """Aligned columns under their headings; the widest are cut until a line has no more than *width* characters.

    The first column is never cut, and none to less than eight characters.
    """
    lines = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(_columns, column)) for column in zip(*lines, strict=True)]
    while width is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(range(1, len(widths)), key=lambda place: widths[place])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    for line in lines:
        cells = (_fitted(cell, size) for cell, size in zip(line, widths, strict=True))
        yield _GAP.join(cells).rstrip()


def facts(values: Mapping[str, str], indent: str = "  ") -> Iterator[str]:
    """One fact a line, aligned after its name; those without a value are left out."""
    known = {name: value for name, value in values.items() if value}
    width = max(map(len, known), default=0)
    for name, value in known.items():
        yield f"{indent}{name:{width}}  {printable(value)}"


def moment(time: datetime | None) -> str:
    """A point in time for people, in UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time is not None else ""


def minute(time: datetime | None) -> str:
    """The same in a column whose heading says that it is UTC."""
    return f"{time:%Y-%m-%d %H:%M}" if time is not None else ""


def to_json(what: Any) -> str:
    """What scripts read: times in ISO 8601 with milliseconds, octets in hexadecimal."""
    return json.dumps(what, indent=2, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value))


def _fitted(text: str, size: int) -> str:
    """Text in exactly so many columns."""
    if _columns(text) > size:
        while _columns(text) > size - len(_CUT):
            text = text[:-1]
        text += _CUT
    return text + " " * (size - _columns(text))


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(each) in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(each) in ("W", "F"))
        for each in text
    )
