"""Turns: how many there are, who waits for one and for how long, and in which order they come."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scepra.errors import UpstreamError
from scepra.upstream.turns import Turns


class Bench:
    """Turns, and who has one."""

    def __init__(self, concurrency: int = 1, waiting: int = 10, patience: float = 3.0) -> None:
        self.clock = Clock()
        self.turns = Turns("ca", concurrency, waiting, patience, self.clock)
        self.having: list[str] = []
        self.away: list[str] = []

    def ask(self, profile: str, name: str = "") -> None:
        """Ask for a turn."""
        name = name or profile

        def failed(failure: object) -> None:
            self.away.append(name)

        taken = Deferred.fromCoroutine(self.turns.take(profile))
        taken.addCallbacks(lambda _: self.having.append(name), failed)


@pytest.mark.proves("DR-15")
def test_no_more_than_so_many_have_a_turn_at_once() -> None:
    """The first have theirs at once; each that ends one lets in one."""
    bench = Bench(concurrency=2)
    for name in "abcd":
        bench.ask("dev", name)
    assert (bench.having, bench.turns.busy) == (["a", "b"], True)
    bench.turns.end()
    assert bench.having == ["a", "b", "c"]
    bench.turns.end()
    bench.turns.end()
    bench.turns.end()
    assert (bench.having, bench.turns.busy) == (["a", "b", "c", "d"], False)
    assert not bench.clock.getDelayedCalls()


@pytest.mark.proves("DR-15", "FT-26", "FT-54")
def test_profiles_have_their_turns_one_after_the_other() -> None:
    """However many of one profile wait, the next of another has the next turn but one."""
    bench = Bench()
    bench.ask("dev", "first")
    for number in range(5):
        bench.ask("fleet", f"fleet {number}")
    bench.ask("dev", "dev 0")
    bench.ask("dev", "dev 1")
    for _ in range(8):
        bench.turns.end()
    assert bench.having == [
        "first",
        *("fleet 0", "dev 0", "fleet 1", "dev 1"),
        *("fleet 2", "fleet 3", "fleet 4"),
    ]


@pytest.mark.proves("DR-15")
def test_who_has_waited_too_long_is_told_so() -> None:
    """After its patience a request waits no more, and keeps no turn from others."""
    bench = Bench()
    bench.ask("dev", "a")
    bench.ask("dev", "b")
    bench.clock.advance(1)
    bench.ask("dev", "c")
    bench.clock.advance(2)
    assert (bench.having, bench.away) == (["a"], ["b"])
    bench.turns.end()
    assert bench.having == ["a", "c"]
    bench.clock.advance(10)
    assert bench.away == ["b"]


@pytest.mark.proves("DR-15")
def test_a_full_queue_sends_away_whose_profile_has_most_of_it() -> None:
    """Who comes when as many wait as may be is told so at once, unless another profile has more places: then the last
    of that profile is."""
    bench = Bench(waiting=3)
    for name in "abcde":
        bench.ask("fleet", name)
    assert bench.away == ["e"]
    assert (bench.turns.full("fleet"), bench.turns.full("dev")) == (True, False)
    bench.ask("dev", "f")
    assert bench.away == ["e", "d"]
    bench.ask("dev", "g")
    assert bench.away == ["e", "d", "g"]
    for _ in range(4):
        bench.turns.end()
    assert bench.having == ["a", "b", "f", "c"]


def test_the_backlog_waits_for_nobody_and_is_counted() -> None:
    """Its turns are taken beside those of new requests, which wait as long as there are too many in all."""
    bench = Bench(concurrency=2)
    for _ in range(3):
        bench.turns.take_beside()
    bench.ask("dev", "a")
    bench.turns.end()
    assert bench.having == []
    bench.turns.end()
    assert bench.having == ["a"]


def test_what_waits_in_vain_was_certainly_not_sent() -> None:
    """The error says that no octet left."""
    turns = Turns("ca", 1, 1, 1.0, Clock())
    turns.take_beside()
    errors: list[UpstreamError] = []
    for _ in range(2):
        Deferred.fromCoroutine(turns.take("dev")).addErrback(lambda failure: errors.append(failure.value))
    assert [(error.upstream, error.sent) for error in errors] == [("ca", False)]


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(("ask", "ask", "end", "wait"))), max_size=80))
def test_nobody_is_lost(steps: list[tuple[str, str]]) -> None:
    """Whatever comes and goes: everybody has a turn or is sent away, no more have one at once than may, no more wait
    than may, and nobody waits while there is room."""
    bench = Bench(concurrency=2, waiting=4)
    asked, ended = Counter[str](), 0
    for number, (profile, step) in enumerate(steps):
        if step == "ask":
            bench.ask(profile, f"{profile}{number}")
            asked[profile] += 1
        elif step == "wait":
            bench.clock.advance(1)
        elif len(bench.having) > ended:
            bench.turns.end()
            ended += 1
        running, waiting = len(bench.having) - ended, asked.total() - len(bench.having) - len(bench.away)
        assert running <= 2
        assert 0 <= waiting <= 4
        assert not waiting or running == 2
    bench.clock.advance(10)
    assert asked.total() == len(bench.having) + len(bench.away)
    assert not bench.clock.getDelayedCalls()
