"""Which generation serves and which opens: a function of what is installed and of the time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.generation import Installed, Terms, arrange
from tests.keys.material import NOW, certificate, generation

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TERMS = Terms(settle=HOUR, overlap=14 * DAY)


def made(number: int, installed: int, start: int = -1, end: int = 365) -> Installed:
    """A generation by the days, from NOW, of its installation, its begin and its end."""
    encoded = certificate(start=NOW + start * DAY, end=NOW + end * DAY)
    return Installed(number, generation(encoded), NOW + installed * DAY)


FIRST, SECOND = made(1, 0), made(2, 10)


@pytest.mark.proves("RA-31", "FT-50")
@pytest.mark.parametrize(
    ("after", "current", "opening", "upcoming", "retired"),
    [
        (timedelta(0), 1, [1, 2], 2, []),
        (10 * DAY + HOUR - timedelta(seconds=1), 1, [1, 2], 2, []),
        (10 * DAY + HOUR, 2, [2, 1], None, []),
        (24 * DAY + HOUR - timedelta(seconds=1), 2, [2, 1], None, []),
        (24 * DAY + HOUR, 2, [2], None, [1]),
    ],
)
def test_one_follows_another(
    after: timedelta, current: int, opening: list[int], upcoming: int | None, retired: list[int]
) -> None:
    """A generation opens from its installation on, is served when it has settled, and retires after the overlap."""
    found = arrange((FIRST, SECOND), TERMS, NOW + after)
    assert found.current.number == current
    assert [each.number for each in found.opening] == opening
    assert (found.upcoming.number if found.upcoming else None) == upcoming
    assert [each.number for each in found.retired] == retired


@pytest.mark.proves("RA-31")
def test_one_that_is_valid_later() -> None:
    """A certificate that is valid only later is served when it is."""
    shadow = made(2, 1, start=30)
    assert arrange((FIRST, shadow), TERMS, NOW + 29 * DAY).current is FIRST
    found = arrange((FIRST, shadow), TERMS, NOW + 30 * DAY)
    assert found.current is shadow
    assert found.opening == (shadow, FIRST)


@pytest.mark.proves("FT-49")
def test_what_has_expired() -> None:
    """An expired generation gives way to one that is valid; where none is, the newest stays."""
    short = made(2, 1, end=20)
    assert arrange((FIRST, short), TERMS, NOW + 21 * DAY).current is FIRST
    found = arrange((FIRST, short), TERMS, NOW + 400 * DAY)
    assert found.current is short
    assert not found.keyring.valid_at(NOW + 400 * DAY)


def test_the_first_waits_for_nobody() -> None:
    """A generation that nothing comes before is served at once; there is always one."""
    assert arrange((made(1, 0),), TERMS, NOW).current.number == 1
    assert arrange((made(1, 0, start=5),), TERMS, NOW).current.number == 1
    with pytest.raises(ValueError, match="no generation"):
        arrange((), TERMS, NOW)


def test_terms_without_end() -> None:
    """An overlap longer than time lasts is no mistake."""
    found = arrange((FIRST, SECOND), Terms(HOUR, timedelta.max), NOW + 300 * DAY)
    assert [each.number for each in found.opening] == [2, 1]


_POSSIBLE = [
    [made(number, installed, start, end) for installed in (0, 3, 20) for start in (-1, 10) for end in (15, 365)]
    for number in (1, 2, 3)
]


@given(
    st.tuples(*map(st.sampled_from, _POSSIBLE)),
    st.sets(st.integers(0, 60), min_size=2),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([0, 2, 14]),
)
def test_life(several: tuple[Installed, ...], days: set[int], settle: int, overlap: int) -> None:
    """At every moment one generation is served and opens; nothing is both; nothing changes before it is said to; what
    was served opens for the overlap after the next one is, and what is upcoming opens already."""
    terms = Terms(settle * DAY, overlap * DAY)
    moments = [NOW + day * DAY for day in sorted(days)]
    before = None
    for moment in moments:
        found = arrange(several, terms, moment)
        assert found.opening[0] is found.current
        assert {*found.opening, *found.retired} == set(several)
        assert not set(found.opening) & set(found.retired)
        assert found.upcoming is None or found.upcoming in found.opening
        assert found.changes > moment
        if before is not None:
            if moment < before.changes:
                assert (found.current, set(found.opening)) == (before.current, set(before.opening))
            if moment - moments[moments.index(moment) - 1] < overlap * DAY and before.current.valid_at(moment):
                assert before.current in found.opening
        before = found
