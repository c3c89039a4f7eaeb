"""A remark about a policy."""

from __future__ import annotations

from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """One remark: the place in the policy (keys as in the file, list positions from 0), a sentence, and whether it is
    an "error" or a "warning"."""

    path: Path
    sentence: str
    severity: str = "warning"
