"""JSON objects from outside, read in one way only (design rule 5)."""

from __future__ import annotations

import json
from typing import Any


class NoObject(ValueError):
    """Octets that are not exactly one JSON object; the text repeats nothing of them."""


def parse_object(octets: bytes, longest: int) -> dict[str, Any]:
    """The object that octets are.

    Args:
        longest: the most octets that are looked at.

    Raises:
        NoObject: they are more, no UTF-8, no JSON, no object, say a key twice, or hold numbers that JSON has not.
    """
    if len(octets) > longest:
        raise NoObject(f"more than {longest} octets")
    try:
        value = json.loads(octets.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except NoObject:
        raise
    except (ValueError, RecursionError):
        raise NoObject("no JSON") from None
    if not isinstance(value, dict):
        raise NoObject("JSON that is no object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NoObject("JSON with a key twice")
    return found


def _constant(name: str) -> Any:
    raise NoObject("JSON with a number that is none")
