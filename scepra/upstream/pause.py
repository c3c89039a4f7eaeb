"""When an upstream wants to be asked again: what its Retry-After says (FT-09; RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from datetime import datetime

from twisted.web.http import stringToDatetime

LONGEST = 600.0
"""The longest pause that an upstream is given, whatever it asks for, in seconds."""

_SECONDS = re.compile("[0-9]{1,9}")
_LONGEST_DATE = 64  # Characters.


def read_pause(value: str, now: datetime) -> float | None:
    """For how many seconds to leave an upstream alone.

    Args:
        value: of the header: seconds, or a date in one of HTTP's three forms.
        now: the time of day, UTC.

    Returns:
        At most :data:`LONGEST`, 0 for what is past; None where it says nothing that can be read.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), LONGEST)
    try:
        moment: int = stringToDatetime(value[:_LONGEST_DATE].encode("ascii"))
    except (ValueError, LookupError):
        return None
    return min(max(moment - now.timestamp(), 0.0), LONGEST)
