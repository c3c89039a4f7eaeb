"""What a Retry-After says (FT-09)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scepra.upstream.pause import LONGEST, read_pause

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.proves("FT-09")
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120\t", 120),
        ("600", LONGEST),
        ("86400", LONGEST),
        ("999999999", LONGEST),
        ("Wed, 04 Mar 2026 05:08:07 GMT", 120),
        ("Wednesday, 04-Mar-26 05:08:07 GMT", 120),
        ("Wed Mar  4 05:08:07 2026", 120),
        ("Wed, 04 Mar 2026 05:06:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
    ],
)
def test_what_can_be_read(said: str, seconds: float) -> None:
    """Seconds, or a date in any of HTTP's forms, however far away."""
    assert read_pause(said, NOW) == seconds


@pytest.mark.proves("FT-09")
@pytest.mark.parametrize(
    "said",
    [
        "",
        " ",
        "-1",
        "+5",
        "1.5",
        "1e9",
        "9999999999",
        "\u0661",
        "soon",
        "Wed, 99 Foo 2026",
        "GMT",
        "Wed, 04 Mar",
        "x" * 9000,
    ],
)
def test_what_cannot_be_read(said: str) -> None:
    """Nothing follows from it."""
    assert read_pause(said, NOW) is None
