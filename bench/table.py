"""Tables in reStructuredText."""

from __future__ import annotations

from collections.abc import Sequence

NOT_MEASURED = "not measured"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A simple table: the head, a rule, the lines; each has as many cells."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)

    def row(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    return "\n".join((rule, row(head), rule, *map(row, lines), rule))


def spread(value: float, ends: tuple[float, float], digits: int) -> str:
    """A median, with the smallest and the largest behind it."""
    return f"{value:.{digits}f} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"
