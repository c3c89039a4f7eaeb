"""What requests stand for, counted: never more than there may be, whoever is recorded at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from scepra.config.store import Retention
from scepra.enrolment import Hold, Reservation, Violation
from scepra.lab.authority import Authority
from scepra.policy.claim import Bound, Claim
from scepra.store import approvals, claims, housekeeping, intents, listing
from scepra.store.claims import Claimant
from scepra.store.holding import Room
from scepra.store.intents import Exceeded, Full, Intent, Recorded
from scepra.transaction import Event, State, Transaction
from tests.rig.material import authority, ec_key, request
from tests.store.sample import DAY, HOUR, MINUTE, NOW, Bench, certificate, digest, intent, just_before, together

WHY = Violation("limit", "limit[0].subject", "is beyond 1 valid or under way")
ONE = Bound(WHY, "subject")
KEYS = Bound(Violation("unique", "unique.keys", "is certified"), "key", unique=True)
NAMES = Bound(Violation("unique", "unique.names", "is another's"), "name", unique=True)


def asked(
    name: str,
    *bounds: Bound,
    subject: str = "cn=dev",
    key: str = "",
    device: str = "",
    names: tuple[str, ...] = (),
    renews: bytes | None = None,
    **changes: Any,
) -> Intent:
    """An intent that stands for a subject, its key and more."""
    key = key or f"key of {name}"
    stands = [Claim("subject", digest(subject)), Claim("key", digest(key)), Claim("profile", digest("wifi"))]
    stands += [Claim("device", digest(device))] if device else []
    stands += [Claim("name", digest(each)) for each in names]
    return replace(
        intent(name, key=key, routes=(f"route of {name}",), **changes), claimant=Claimant(tuple(stands), bounds, renews)
    )


def become(bench: Bench, what: Intent, now: datetime = NOW) -> Recorded | Exceeded:
    """What becomes of an intent."""
    result = bench(intents.record, what, now)
    assert isinstance(result, Recorded | Exceeded)
    return result


def begun(bench: Bench, what: Intent, now: datetime = NOW) -> Transaction:
    """The transaction of an intent that nothing is in the way of."""
    result = become(bench, what, now)
    assert isinstance(result, Recorded) and result.new
    return result.transaction


def issue(bench: Bench, held: Transaction, now: datetime = NOW, lifetime: timedelta = 300 * DAY) -> bytes:
    """Issue its certificate; the fingerprint."""
    ca = Authority(authority().identity, lambda: now)
    made = ca.issue(request(f"{held.id}.example", private_key=ec_key()), lifetime)
    bench.happen(held, Event.GRANTED, now, certificate=made)
    return bytes.fromhex(made.fingerprint())


def left(bench: Bench) -> list[dict[str, Any]]:
    """The rows of claims."""
    return bench.rows("claims")


@pytest.mark.proves("DR-7")
def test_no_more_than_may_be(bench: Bench) -> None:
    """The second of a subject is refused whole: no transaction, no claim, no reservation, no gate is left of it."""
    begun(bench, asked("first", ONE))
    before = {name: bench.rows(name) for name in ("transactions", "claims", "reservations", "gates", "audit")}
    second = asked("second", ONE, reserve=(Reservation("code"),))
    assert become(bench, second) == Exceeded((WHY,), ())
    assert {name: bench.rows(name) for name in before} == before
    assert before["gates"] == []
    begun(bench, asked("another", ONE, subject="cn=other"))


def test_each_kind_and_number(bench: Bench) -> None:
    """As many as may be are recorded, by whatever they are counted, and every bound that is exceeded is named."""
    two = Bound(replace(WHY, path="limit[0].profile"), "profile", 2)
    device = Bound(replace(WHY, path="limit[1].device"), "device", 1)
    for number in range(2):
        begun(bench, asked(f"r{number}", two, device, subject=f"s{number}", device=f"d{number}"))
    result = become(bench, asked("r2", two, device, subject="s2", device="d0"))
    assert result == Exceeded((two.violation, device.violation), ())
    # A device that is not known is not counted, and another profile is counted by itself.
    begun(bench, asked("r3", device, subject="s3"))
    begun(bench, asked("r4", two, subject="s4", profile="lan"))


def ended(name: str) -> Callable[[Bench, Transaction], object]:
    """A way in which a transaction ends without a certificate."""
    ways: dict[str, Callable[[Bench, Transaction], object]] = {
        "refused": lambda bench, held: bench.happen(held, Event.REFUSED),
        "misissued": lambda bench, held: bench.happen(held, Event.MISISSUED, certificate=certificate(held.id)),
        "expired": lambda bench, held: bench(housekeeping.expire, NOW + 8 * DAY),
        "closed": lambda bench, held: bench(listing.close, held.id, person="ann", why="so", now=NOW),
        "denied": _deny,
    }
    return ways[name]


def _deny(bench: Bench, held: Transaction) -> object:
    shown = approvals.digest(approvals.shown(held))
    return bench(approvals.say, held.id, approve=False, person="ann", why="so", shown_digest=shown, now=NOW)


@pytest.mark.parametrize("way", ["refused", "misissued", "expired", "closed", "denied"])
def test_what_is_refused_claims_nothing(bench: Bench, way: str) -> None:
    """Whichever way it ends, the next one may be recorded; until then even what is held counts."""
    state = {"denied": State.HELD, "expired": State.HELD, "closed": State.QUEUED}.get(way, State.SENDING)
    held = begun(bench, asked("first", ONE, state=state))
    assert isinstance(become(bench, asked("second", ONE)), Exceeded)
    ended(way)(bench, held)
    assert left(bench) == []
    begun(bench, asked("second", ONE))


def test_a_certificate_counts_until_it_ends(bench: Bench) -> None:
    """What is issued counts as long as it is valid, and is swept later than any limit looks back."""
    issue(bench, begun(bench, asked("first", ONE)), lifetime=DAY)
    assert isinstance(become(bench, asked("second", ONE), NOW + 23 * HOUR), Exceeded)
    begun(bench, asked("second", ONE), NOW + 25 * HOUR)
    bench(housekeeping.sweep, Retention(), NOW + 31 * DAY)
    assert len({each["transaction"] for each in left(bench)}) == 2
    bench(housekeeping.sweep, Retention(), NOW + 33 * DAY)
    assert len({each["transaction"] for each in left(bench)}) == 1


def test_new_ones_within_a_time(bench: Bench) -> None:
    """New ones count from when they were recorded, however short their certificates; older ones do not."""
    hourly = Bound(WHY, "profile", 2, within=3600.0)
    issue(bench, begun(bench, asked("r0", hourly, subject="s0")), lifetime=MINUTE)
    begun(bench, asked("r1", hourly, subject="s1"), NOW + 30 * MINUTE)
    assert isinstance(become(bench, asked("r2", hourly, subject="s2"), NOW + 59 * MINUTE), Exceeded)
    begun(bench, asked("r2", hourly, subject="s2"), NOW + 61 * MINUTE)


def test_the_same_request_again_is_counted_once(bench: Bench) -> None:
    """A request that is repeated gets its own transaction, whatever it would exceed; refused and made anew, too."""
    what = asked("first", ONE)
    held = begun(bench, what)
    again = become(bench, replace(what, values=what.values | {"id": intents.new_id()}))
    assert isinstance(again, Recorded) and not again.new and again.transaction.id == held.id
    bench.happen(held, Event.REFUSED)
    changed = {"id": intents.new_id(), "message": digest("another message")}
    begun(bench, replace(what, values=what.values | changed))
    assert len({each["transaction"] for each in left(bench)}) == 1


@pytest.mark.proves("I2")
def test_the_same_request_at_the_same_moment(bench: Bench) -> None:
    """Two processes that record one request come to one transaction, though there may be one only."""
    what = asked("first", ONE)
    twice = [replace(what, values=what.values | {"id": intents.new_id()}) for _ in range(6)]
    results = together(*(partial(become, bench, each) for each in twice))
    assert all(isinstance(each, Recorded) for each in results), results
    assert len({each.transaction.id for each in results if isinstance(each, Recorded)}) == 1
    assert len({each["transaction"] for each in left(bench)}) == 1


@pytest.mark.proves("DR-7", "AC-092")
@pytest.mark.parametrize("most", [1, 3])
def test_many_at_the_same_moment(bench: Bench, most: int) -> None:
    """Of a dozen requests that come together exactly as many are recorded as there may be."""
    bound, names = Bound(WHY, "subject", most), NAMES
    results = together(*(partial(become, bench, asked(f"r{number}", bound, names)) for number in range(12)))
    assert sum(isinstance(each, Recorded) for each in results) == most, results
    assert sum(isinstance(each, Exceeded) for each in results) == 12 - most
    assert bench.rows("gates") == []


@pytest.mark.proves("DR-7")
def test_names_in_any_order_at_the_same_moment(bench: Bench) -> None:
    """Requests for the same names in other orders neither both get them nor wait for each other for ever."""
    names = ("a", "b", "c", "d")
    orders = [names[shift:] + names[:shift] for shift in range(4)] * 2
    results = together(
        *(partial(become, bench, asked(f"r{number}", NAMES, names=order)) for number, order in enumerate(orders))
    )
    assert sum(isinstance(each, Recorded) for each in results) == 1, results
    assert sum(isinstance(each, Exceeded) for each in results) == 7


@pytest.mark.parametrize("product", ["postgresql"])
def test_recorded_by_another_just_before(bench: Bench) -> None:
    """What another process records between our look and our attempt leaves no claim of ours."""
    what = asked("first")
    other = replace(what, values=what.values | {"id": intents.new_id()})
    with just_before(bench.engine, "INSERT INTO transactions", lambda: become(bench, other)):
        result = become(bench, what)
    assert isinstance(result, Recorded) and not result.new
    assert {each["transaction"] for each in left(bench)} == {other.values["id"]}


# --- Renewals --------------------------------------------------------------------------------------------------------


def test_a_renewal_takes_the_place_of_what_it_renews(bench: Bench) -> None:
    """It is not refused; while it is under way, and afterwards, there is one; and its device stays the same."""
    two = (Bound(WHY, "subject", 2), Bound(WHY, "device", 2))
    old = issue(bench, begun(bench, asked("old", *two, device="d")))
    renewed = begun(bench, asked("new", ONE, Bound(WHY, "device"), renews=old))
    # Under way: the old one and one more are two.
    second = begun(bench, asked("second", *two, device="d"))
    assert isinstance(become(bench, asked("third", *two, device="d")), Exceeded)
    bench.happen(second, Event.REFUSED)
    issue(bench, renewed, NOW + DAY)
    # Afterwards: the new one and one more.
    begun(bench, asked("fourth", *two, device="d"), NOW + DAY)
    assert isinstance(become(bench, asked("third", *two, device="d"), NOW + DAY), Exceeded)


def test_a_renewal_is_nothing_new(bench: Bench) -> None:
    """Within a time only first certificates count; that one is renewed at once makes room for no other."""
    hourly = Bound(WHY, "profile", 1, within=3600.0)
    old = issue(bench, begun(bench, asked("old", hourly)))
    issue(bench, begun(bench, asked("new", hourly, renews=old)))
    assert isinstance(become(bench, asked("other", hourly, subject="s")), Exceeded)
    begun(bench, asked("other", hourly, subject="s"), NOW + 2 * HOUR)


def test_a_renewal_of_what_is_not_known(bench: Bench) -> None:
    """A certificate from before this RA is renewed all the same, and counts from then on."""
    renewed = begun(bench, asked("new", ONE, KEYS, renews=digest("unknown")))
    assert {each["replaces"] for each in left(bench)} == {""}
    issue(bench, renewed)
    assert isinstance(become(bench, asked("second", ONE)), Exceeded)


def test_a_renewal_that_is_refused(bench: Bench) -> None:
    """The old certificate goes on counting."""
    old = issue(bench, begun(bench, asked("old", ONE)))
    bench.happen(begun(bench, asked("new", ONE, renews=old)), Event.REFUSED)
    assert isinstance(become(bench, asked("second", ONE)), Exceeded)


# --- What there is one of only ---------------------------------------------------------------------------------------


def test_unique_keys(bench: Bench) -> None:
    """A key is certified once; by a renewal that keeps it, again; by a renewal of another certificate, not."""
    old = issue(bench, begun(bench, asked("first", KEYS, key="k")))
    assert become(bench, asked("second", KEYS, key="k", subject="s")) == Exceeded((KEYS.violation,), ())
    assert isinstance(become(bench, asked("other profile", KEYS, key="k", profile="lan")), Recorded)
    everywhere = replace(KEYS, everywhere=True)
    assert isinstance(become(bench, asked("all profiles", everywhere, key="k", profile="vpn")), Exceeded)
    other = issue(bench, begun(bench, asked("another", KEYS, key="l", subject="t")))
    assert isinstance(become(bench, asked("stolen", KEYS, key="k", subject="t", renews=other)), Exceeded)
    renewed = begun(bench, asked("renewed", KEYS, key="k", renews=old))
    newest = issue(bench, renewed, NOW + DAY)
    begun(bench, asked("renewed again", KEYS, key="k", renews=newest), NOW + DAY)


def test_unique_names(bench: Bench) -> None:
    """A name belongs to the key, or to the device, that has it first; a renewal takes nobody's."""
    old = issue(bench, begun(bench, asked("first", NAMES, key="k", device="d", names=("a", "b"))))
    for wanted in (("a",), ("b", "c")):
        assert become(bench, asked("thief", NAMES, names=wanted)) == Exceeded((NAMES.violation,), ())
        assert isinstance(become(bench, asked("thief", NAMES, names=wanted, device="e")), Exceeded)
    begun(bench, asked("elsewhere", NAMES, names=("a",), profile="lan"))
    begun(bench, asked("others", NAMES, names=("c",)))
    begun(bench, asked("same key", NAMES, key="k", names=("a", "d")))
    begun(bench, asked("same device", NAMES, device="d", names=("b",)))
    begun(bench, asked("renewal", NAMES, names=("a", "b"), renews=old))
    everywhere = replace(NAMES, everywhere=True)
    assert isinstance(become(bench, asked("far thief", everywhere, names=("c",), profile="vpn")), Exceeded)


# --- Waiting and reporting -------------------------------------------------------------------------------------------


def test_what_is_put_before_people(bench: Bench) -> None:
    """Beyond such a limit a request is held, as one that counts; a refusal by another bound outweighs that."""
    hold = replace(ONE, hold=Hold(1, 3600.0, "beyond"))
    begun(bench, asked("first", hold))
    result = become(bench, asked("second", hold))
    assert isinstance(result, Recorded)
    held = result.transaction
    assert (held.state, held.reason, held.approvals) == (State.HELD, "beyond", 1)
    assert (held.next_at, held.expires) == (None, NOW + HOUR)
    row = next(each for each in bench.rows("transactions") if each["id"] == held.id)
    assert (row["owner"], row["lease_ends"]) == (None, None)
    noted = bench.rows("audit")[-1]
    assert (noted["event"], noted["record"]["outcome"]) == ("held", "held")
    already = become(bench, asked("third", hold, state=State.HELD, reason="a server", approvals=2))
    assert isinstance(already, Recorded)
    assert (already.transaction.reason, already.transaction.approvals) == ("a server; beyond", 2)
    full = Bound(replace(WHY, path="limit[1].profile"), "profile", 2)
    assert become(bench, asked("fourth", hold, full)) == Exceeded((full.violation,), ())


@pytest.mark.proves("AC-061")
def test_there_must_be_room_for_it_before_people(bench: Bench) -> None:
    """Where as much waits for people as may, what counting would put before them is turned away, and claims nothing."""
    hold = replace(ONE, hold=Hold(1, 3600.0, "beyond"))
    begun(bench, asked("first", hold))
    before = left(bench)
    full = replace(asked("second", hold), room=Room(0, 0, 0, "192.0.2.1"))
    assert isinstance(bench(intents.record, full, NOW), Full)
    assert left(bench) == before
    begun(bench, replace(asked("third", hold, subject="s"), room=Room(0, 0, 0, "192.0.2.1")))


def test_what_is_only_reported(bench: Bench) -> None:
    """It is told, and stands in the stored record beside what was reported before; nothing is refused by it."""
    reported = replace(ONE, reported=True)
    begun(bench, asked("first", reported))
    what = asked("second", reported)
    result = become(bench, replace(what, record={"profile": "wifi", "reported": ("san: x",)}))
    assert isinstance(result, Recorded) and result.new
    assert result.reported == (WHY,)
    assert bench.rows("audit")[-1]["record"]["reported"] == ["san: x", str(WHY)]
    assert become(bench, asked("third", reported, Bound(WHY, "profile"))) == Exceeded((WHY,), (WHY,))


def test_claims_without_bounds_are_made_too(bench: Bench) -> None:
    """A limit that is introduced later counts what was there before."""
    begun(bench, asked("first"))
    assert isinstance(become(bench, asked("second", ONE)), Exceeded)
    assert bench(lambda connection: claims.drop(connection, "nobody's")) is None
    assert bench(lambda connection: connection.execute(sa.text("select count(*) from claims")).scalar()) == 3
