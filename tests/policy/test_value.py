"""Durations, as rules and the rest of the configuration write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.policy.value import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("0s", 0.0, "0s"),
        ("0d", 0.0, "0s"),
        ("500ms", 0.5, "500ms"),
        ("1500ms", 1.5, "1500ms"),
        ("30s", 30.0, "30s"),
        ("60s", 60.0, "1m"),
        ("5m", 300.0, "5m"),
        ("36h", 129600.0, "36h"),
        ("24h", 86400.0, "1d"),
        ("36500d", LONGEST, "36500d"),
    ],
)
def test_durations(text: str, seconds: float, shown: str) -> None:
    """A duration is a whole number and a unit; it is shown in the largest unit that fits."""
    assert parse_duration(text) == seconds
    assert format_duration(seconds) == shown
    assert parse_duration(shown) == seconds


@pytest.mark.parametrize("value", ["", "5", "s", "-5s", "1.5s", "5 s", "05s", "1h30m", "5S", "5w", "٣s", 5, None, []])
def test_what_is_no_duration(value: object) -> None:
    """Anything else is refused; a bare number has no unit."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(value)


@given(st.integers(0, 10**8), st.sampled_from(["ms", "s", "m", "h"]))
def test_durations_are_shown_exactly(number: int, unit: str) -> None:
    """What is shown is read as the same duration."""
    seconds = parse_duration(f"{number}{unit}") if number < 876_000 else 1.0
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


def test_seconds_are_a_duration_too() -> None:
    """In Python a number is taken as seconds, as defaults are."""
    assert parse_duration(1.5) == 1.5


def test_the_longest_duration() -> None:
    """Beyond a century a duration is refused, since no date could be reckoned with it."""
    with pytest.raises(ValueError, match="longer than 36500d"):
        parse_duration("36501d")
