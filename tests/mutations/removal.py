"""A security check that is taken out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Removal:
    """A check that is taken out of *file*; ``tests`` are the arguments of pytest that must fail without it."""

    name: str
    file: str
    line: str
    instead: str
    tests: tuple[str, ...]
