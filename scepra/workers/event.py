"""Log events as lines, from a worker to its master."""

from __future__ import annotations

import copy
from typing import Any

from twisted.logger import LogEvent, eventAsJSON, eventAsText, eventFromJSON
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

LONGEST = 65536
"""The longest line, in octets."""
SIGN_OF_LIFE = b"\n"
"""A line that says no more than that its writer runs."""

_SHORTENED = 1500  # Characters; as JSON, and thrice, still a line.
_OBJECTS = frozenset(("log_logger", "log_source"))
_KEPT = ("log_time", "log_level", "log_namespace")


def encode(event: LogEvent) -> bytes:
    """An event as one line of JSON; one that is too long, or cannot be JSON, keeps the beginning of its text."""
    said = {key: value for key, value in event.items() if key not in _OBJECTS}
    if isinstance(failure := said.get("log_failure"), Failure):
        said["log_failure"] = _portable(failure)
    try:
        line = eventAsJSON(said)
    except Exception:
        # What writes a field as text can raise anything.
        line = ""
    if not 0 < len(line) < LONGEST:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        shortened = text if len(text) <= _SHORTENED else text[:_SHORTENED] + " ..."
        kept = {key: event[key] for key in _KEPT if key in event}
        line = eventAsJSON({**kept, "log_format": "{text}", "text": shortened})
    return line.encode("ascii") + b"\n"


def decode(line: bytes, worker: int) -> LogEvent:
    """The event in a line; it is printed as if it were the master's own, and its field ``worker`` says whose it is.

    Raises:
        ValueError: there is none.
    """
    try:
        return {**eventFromJSON(line.decode("ascii")), "worker": worker}
    except (LookupError, TypeError) as error:
        raise ValueError("no event") from error


def _portable(failure: Failure) -> Failure:
    """A failure whose exception is its text, which JSON keeps."""
    portable: Any = copy.copy(failure)
    portable.value = safe_str(failure.value)
    result: Failure = portable
    return result
