"""Challenges in the store: found by digest, limited in number, redeemed for as many keys as they are good for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import pytest

from scepra.enrolment import Reservation
from scepra.store import challenges, intents, tokens
from scepra.store.challenges import MOST_MISUSES, Challenge
from scepra.store.intents import Recorded, Taken
from scepra.store.tokens import Role, Token
from scepra.transaction import Event
from tests.store.sample import HOUR, NOW, SECOND, Bench, digest, intent, together

KEPT = Challenge("00000000000000aa", "wifi", {"common_name": "a"}, 1, "minted", "ann", NOW, NOW + HOUR, None, 0, None)
REACH = frozenset({"wifi"})


def add(bench: Bench, text: str = "code", most: int = 100, **changes: object) -> Challenge:
    """Keep a challenge."""
    kept = replace(KEPT, id=digest(text).hex()[:16], **changes)  # type: ignore[arg-type]
    assert bench(challenges.add, digest(text), kept, most)
    return kept


def reservation(kept: Challenge) -> Reservation:
    """What is taken of a challenge."""
    return Reservation(f"minted {kept.id}", kept.uses, kept.id)


def redeem(bench: Bench, kept: Challenge, key: str, now: datetime = NOW) -> Recorded | Taken:
    """Record a request of a key with a challenge."""
    wanted = intent(f"request {key}", key=key, reserve=(reservation(kept),), routes=[f"route {key}"])
    return bench(intents.record, wanted, now)


@pytest.mark.proves("DR-17")
def test_what_is_kept_is_found_by_its_digest(bench: Bench) -> None:
    """As it was kept, and with how many keys have used it where it is listed; nothing else is found."""
    kept = add(bench, uses=2)
    assert bench(challenges.find, digest("code")) == kept
    assert bench(challenges.find, digest("another")) is None
    assert isinstance(redeem(bench, kept, "first"), Recorded)
    assert bench(challenges.listing, REACH, NOW, 10) == [replace(kept, used=1)]
    (noted, *_) = bench.rows("audit")
    assert (noted["event"], noted["transaction"]) == ("minted", kept.id)
    assert noted["record"]["binding"] == {"common_name": "a"}


@pytest.mark.proves("AC-104")
def test_only_so_many_are_good_at_once(bench: Bench) -> None:
    """Those that have expired, were revoked or suspended, and those of other profiles do not count."""
    add(bench, "other", profile="vpn")
    add(bench, "old", made=NOW - 2 * HOUR, expires=NOW)
    first, second = add(bench, "1", 2), add(bench, "2", 2)
    full = replace(KEPT, id="00000000000000ff")
    assert not bench(challenges.add, digest("3"), full, 2)
    bench(challenges.revoke, first.id, None, "ann", "", NOW)
    assert bench(challenges.add, digest("3"), full, 2)
    for _ in range(MOST_MISUSES):
        bench(challenges.misused, second.id, NOW)
    add(bench, "4", 2)
    assert {each.profile for each in bench(challenges.listing, None, NOW, 10)} == {"wifi", "vpn"}
    assert len(bench(challenges.listing, REACH, None, 10)) == 5
    assert len(bench(challenges.listing, REACH, None, 3)) == 3


@pytest.mark.proves("AC-092", "SEC-06", "I2", "DR-7", "DR-8")
@pytest.mark.parametrize("uses", [1, 3])
def test_many_keys_and_one_challenge(bench: Bench, uses: int) -> None:
    """Thirty keys at once: as many win as the challenge is good for, and the others leave nothing."""
    kept = add(bench, uses=uses)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: redeem(bench, kept, f"key {number}"), range(30)))
    won = [each for each in made if isinstance(each, Recorded)]
    assert len(won) == uses
    assert len(bench.rows("reservations")) == len(bench.rows("transactions")) == len(bench.rows("routes")) == uses
    assert {row["public_key"] for row in bench.rows("reservations")} == {each.transaction.public_key for each in won}


@pytest.mark.proves("AC-098", "DR-7")
def test_a_challenge_is_judged_when_it_is_redeemed(bench: Bench) -> None:
    """Up to its end and until it is revoked; the key that has used it goes on."""
    kept = add(bench, uses=2)
    assert isinstance(redeem(bench, kept, "a", NOW + HOUR - SECOND), Recorded)
    late = redeem(bench, kept, "b", NOW + HOUR)
    assert late == Taken(f"minted {kept.id}", "expired")
    bench(challenges.revoke, kept.id, REACH, "ann", "lost", NOW)
    assert redeem(bench, kept, "b") == Taken(f"minted {kept.id}", "revoked")
    again = intent("something else", key="a", reserve=(reservation(kept),))
    assert isinstance(bench(intents.record, again, NOW + 2 * HOUR), Recorded)
    gone = replace(kept, id="00000000000000ee")
    assert redeem(bench, gone, "b") == Taken(f"minted {gone.id}", "not kept any more")


@pytest.mark.proves("AC-098", "I2")
def test_revoking_and_redeeming_at_once(bench: Bench) -> None:
    """Whichever is first is first: never is a challenge redeemed that was revoked before."""
    for number in range(10):
        kept = add(bench, f"code {number}")
        revoked, redeemed = together(
            lambda kept=kept: bench(challenges.revoke, kept.id, None, "ann", "", NOW),
            lambda kept=kept, number=number: redeem(bench, kept, f"key {number}"),
        )
        assert revoked is True
        noted = [row["event"] for row in sorted(bench.rows("audit"), key=lambda row: row["sequence"])]
        order = [event for event in noted if event in ("revoked", "authorised")][-2:]
        assert isinstance(redeemed, Recorded) or order[-1] == "revoked"


@pytest.mark.proves("I2", "I3")
def test_all_reservations_or_none(bench: Bench) -> None:
    """Where one of several credentials is not to be had, the others are as they were."""
    mine, theirs = add(bench, "mine"), add(bench, "theirs")
    assert isinstance(redeem(bench, theirs, "them"), Recorded)
    both = intent("both", key="me", reserve=(reservation(mine), reservation(theirs)), routes=["both"])
    before = bench.content()
    assert bench(intents.record, both, NOW) == Taken(f"minted {theirs.id}", "used by another key before")
    assert bench.content() == before
    assert isinstance(redeem(bench, mine, "somebody else"), Recorded)


@pytest.mark.proves("AC-091")
def test_misuse_is_counted_and_suspends(bench: Bench) -> None:
    """The last of several misuses suspends a challenge, once, with a record; misuses of nothing are none."""
    kept = add(bench)
    said = [bench(challenges.misused, kept.id, NOW) for _ in range(MOST_MISUSES + 1)]
    assert said == [False] * (MOST_MISUSES - 1) + [True, False]
    assert redeem(bench, kept, "a").reason.startswith("suspended")  # type: ignore[union-attr]
    assert [row["event"] for row in bench.rows("audit")].count("suspended") == 1
    assert not bench(challenges.misused, "nothing", NOW)


@pytest.mark.proves("AC-125")
def test_only_the_profiles_that_somebody_reaches(bench: Bench) -> None:
    """Revoking names the profiles: what belongs to another stays as it is."""
    kept = add(bench)
    assert not bench(challenges.revoke, kept.id, frozenset({"vpn"}), "ann", "", NOW)
    assert bench(challenges.find, digest("code")) == kept
    assert bench(challenges.revoke, kept.id, REACH, "ann", "", NOW)


@pytest.mark.proves("DR-8", "FT-25")
def test_a_refusal_by_the_ca_does_not_free_a_challenge(bench: Bench) -> None:
    """It stays with its key, which may ask for something else with it; no other key may."""
    kept = add(bench)
    recorded = redeem(bench, kept, "a")
    assert isinstance(recorded, Recorded)
    bench.happen(recorded.transaction, Event.REFUSED)
    assert isinstance(redeem(bench, kept, "b"), Taken)


@pytest.mark.proves("AC-119", "AC-124")
def test_tokens(bench: Bench) -> None:
    """They are found by digest, good until they end or are revoked, and their names are taken for ever."""
    token = Token("00000000000000bb", "mdm", frozenset({Role.MINTER, Role.READER}), REACH, NOW, NOW + HOUR, None)
    other = replace(token, id="00000000000000cc", name="all", profiles=None, expires=None)
    assert bench(tokens.add, digest("secret"), token)
    assert bench(tokens.add, digest("other"), other)
    assert not bench(tokens.add, digest("third"), replace(token, id="00000000000000dd"))
    assert bench(tokens.find, digest("secret")) == token
    assert bench(tokens.find, digest("nothing")) is None
    assert bench(tokens.listing) == [other, token]
    assert token.good(NOW + HOUR - SECOND)
    assert not token.good(NOW + HOUR)
    assert other.good(NOW + 10_000 * HOUR)
    assert (token.reaches("wifi"), token.reaches("vpn"), other.reaches("vpn")) == (True, False, True)
    assert bench(tokens.revoke, "mdm", "ann", NOW)
    assert not bench(tokens.revoke, "mdm", "ann", NOW)
    found = bench(tokens.find, digest("secret"))
    assert found is not None
    assert not found.good(NOW)
    assert all(role.meaning for role in Role)
