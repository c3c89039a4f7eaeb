"""Token buckets: what they let through, whoever else uses the table."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.bucket import Buckets

STEPS = st.lists(
    st.tuples(st.integers(0, 8), st.floats(0, 3, allow_nan=False), st.booleans()), min_size=1, max_size=120
)


@pytest.mark.proves("DR-15", "AC-094")
@given(STEPS, st.integers(1, 5), st.sampled_from([0.1, 0.25, 1.0, 7.0]), st.integers(1, 4))
def test_a_bucket_lets_through_no_more_than_its_burst_and_its_rate(
    steps: list[tuple[int, float, bool]], burst: int, period: float, capacity: int
) -> None:
    """Within any time no key gets more than its burst and what comes back in that time, however many other keys push
    it out of a small table; and the table stays small.
    """
    buckets: Buckets[int] = Buckets(burst, period, capacity)
    taken: dict[int, list[float]] = {}
    now = 100.0
    for key, pause, drains in steps:
        now += pause
        if drains and key > 4:
            buckets.drain(key, now)
        elif buckets.take(key, now) == 0:
            moments = taken.setdefault(key, [])
            moments.append(now)
            for number, since in enumerate(reversed(moments), 1):
                assert number <= burst + (now - since) / period + 1e-3
        assert len(buckets) <= capacity


@given(STEPS, st.integers(1, 5))
def test_in_a_table_that_is_large_enough_nobody_pays_for_others(
    steps: list[tuple[int, float, bool]], burst: int
) -> None:
    """As long as all keys have a place, each is let through exactly as if it had a table of its own."""
    shared: Buckets[int] = Buckets(burst, 1.0, 9)
    own: dict[int, Buckets[int]] = {}
    now = 0.0
    for key, pause, _ in steps:
        now += pause
        assert shared.take(key, now) == own.setdefault(key, Buckets(burst, 1.0, 1)).take(key, now)


def test_a_bucket_is_full_at_first_and_fills_again() -> None:
    """The whole burst at once, then nothing; what it says about when to come again is true."""
    buckets: Buckets[str] = Buckets(3, 2.0, 10)
    assert [buckets.take("a", 50.0) for _ in range(4)] == [0, 0, 0, 2.0]
    assert buckets.take("b", 50.0) == 0
    assert buckets.take("a", 51.5) == pytest.approx(0.5)
    assert buckets.take("a", 52.0) == 0
    assert buckets.wait("a", 52.0) == pytest.approx(2.0)
    assert [buckets.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, 2.0]


@pytest.mark.proves("AC-094")
def test_who_is_pushed_out_of_the_table_comes_back_with_no_token_more() -> None:
    """Somebody who has used up his bucket sends a few requests from many other places: he stays, since the fullest are
    forgotten; and when all are as empty as his, a stranger is as empty as they are.
    """
    buckets: Buckets[str] = Buckets(3, 10.0, 4)
    for _ in range(3):
        buckets.take("thief", 0.0)
    for number in range(50):
        assert buckets.take(f"elsewhere {number}", 0.0) == 0 or number > 3
        assert buckets.wait("thief", 0.0) > 0
    for number in range(50):
        buckets.drain(f"elsewhere {number}", 0.0)
        buckets.drain(f"elsewhere {number}", 0.0)
        buckets.drain(f"elsewhere {number}", 0.0)
    assert buckets.wait("thief", 0.0) > 0
    assert buckets.wait("stranger", 1.0) > 0
    # It passes: when what was forgotten would be full again, strangers are.
    assert buckets.wait("stranger", 40.0) == 0


def test_without_a_bound_nothing_is_counted() -> None:
    """An endless burst lets everything through, and remembers nobody."""
    buckets: Buckets[str] = Buckets(math.inf, 1.0, 1)
    assert all(buckets.take("a", 0.0) == 0 for _ in range(1000))
    buckets.drain("a", 0.0)
    assert (buckets.wait("a", 0.0), len(buckets)) == (0, 0)
