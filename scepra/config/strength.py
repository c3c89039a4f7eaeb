"""How hard a password is to guess, at most (AC-094)."""

from __future__ import annotations

import math

GUESSABLE, WEAK = 32, 64
"""A challenge worth fewer bits than the first is refused, fewer than the second warned about."""


def strength(text: str) -> int:
    """How many bits a password is worth at most: its length times the logarithm of how many characters it uses."""
    return int(len(text) * math.log2(len(set(text)))) if text else 0
