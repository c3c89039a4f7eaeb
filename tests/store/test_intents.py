"""What is recorded before anything is sent: each request once, each credential for one key."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from scepra.enrolment import Credential
from scepra.store import intents
from scepra.store.database import Database
from scepra.store.intents import Recorded, Taken
from scepra.store.tables import metadata
from scepra.transaction import Event, State, upstream_transaction_id
from tests.rig.material import DAY
from tests.rig.material import NOW as MADE
from tests.store.sample import HOUR, NOW, Bench, again, certificate, digest, intent, just_before, together

USED = Taken("code", "used by another key before")


@pytest.mark.proves("RA-25")
def test_what_is_recorded_is_read_as_it_was(bench: Bench) -> None:
    """Every value of an intent comes back as it was written, with its audit record beside it."""
    what = intent(
        names=["dns:ä", "ip:#01"],
        signer_certificate=b"\0\xff",
        challenge="c" * 128,
        source="s" * 64,
        device="d" * 128,
        notify=["webhook", "intune"],
    )
    recorded = bench(intents.record, what, NOW)
    assert isinstance(recorded, Recorded)
    assert recorded.new
    stored = bench.get(recorded.transaction)
    assert stored == recorded.transaction
    for name, value in what.values.items():
        read = getattr(stored, name)
        as_written = {
            "state": stored.state.value,
            "credential": stored.credential.value,
            "names": list(stored.names),
            "notify": list(stored.notify),
        }
        assert as_written.get(name, read) == value
    assert (stored.state, stored.credential) == (State.SENDING, Credential.INITIAL)
    assert (stored.certificate, stored.certificate_ends, stored.fail_info) == (None, None, None)
    (row,) = bench.rows("transactions")
    assert (row["owner"], row["lease_ends"], row["quarantine"]) == ("process", what.lease_ends, None)
    (noted,) = bench.rows("audit")
    assert noted == {
        "sequence": recorded.sequence,
        "at": NOW,
        "transaction": stored.id,
        "event": "authorised",
        "record": {"profile": "wifi"},
    }


def test_the_longest_of_everything_fits(bench: Bench) -> None:
    """What the RA lets in at its longest is stored whole, on a database that keeps to its lengths too."""
    subject, names = "\\00" * 170, ["dns:" + "ä" * 508] * 16
    stored = bench.record(
        client_transaction="t" * 255, subject=subject, names=names, profile="p" * 64, upstream="u" * 64, source="f" * 45
    )
    assert bench.get(stored).names == tuple(names)
    assert len(bench.get(stored).client_transaction) == 255


@pytest.mark.proves("I7")
def test_what_is_held_is_audited_as_held(bench: Bench) -> None:
    """A request that people have to approve is nobody's to send, and its record says that it is held."""
    held = bench.record(state=State.HELD)
    assert (held.state, held.approvals, held.next_at) == (State.HELD, 1, None)
    assert bench.events(held) == ["held"]


@pytest.mark.proves("FT-23", "MSG-25", "I4", "I7")
def test_the_same_request_again_is_the_same_transaction(bench: Bench) -> None:
    """A request that is repeated under whatever transactionID is one row, one audit record and nobody's new work."""
    first = bench.record()
    second = bench(intents.record, again(intent(), client_transaction="another"), NOW + HOUR)
    assert second == Recorded(first, new=False)
    assert len(bench.rows("transactions")) == len(bench.rows("audit")) == 1
    assert bench(intents.recall, intent().request) == first
    assert bench(intents.recall, digest("nothing")) is None
    assert bench(intents.get, "nothing") is None


@pytest.mark.proves("FT-22", "DR-9", "I4")
def test_ten_copies_at_once_are_one_transaction(bench: Bench) -> None:
    """Ten identical requests that are recorded at the same moment become one row that one of them began."""
    made = together(*[partial(bench, intents.record, again(intent(once="code")), NOW) for _ in range(10)])
    recorded = [each for each in made if isinstance(each, Recorded)]
    assert len(recorded) == 10, made
    assert len({each.transaction.id for each in recorded}) == 1
    assert [each.new for each in recorded].count(True) == 1
    assert len(bench.rows("transactions")) == len(bench.rows("audit")) == len(bench.rows("reservations")) == 1


@pytest.mark.proves("FT-22", "I4")
@pytest.mark.parametrize("product", ["postgresql"])
def test_who_is_second_by_a_moment_takes_what_is_there(bench: Bench, other: Callable[..., Database]) -> None:
    """Between looking and writing another process may have recorded the request: then its row is the answer."""
    meanwhile = partial(other().call, intents.record, intent(), NOW)
    with just_before(bench.engine, "INSERT INTO transactions", meanwhile):
        second = bench(intents.record, again(intent(routes=["mine"])), NOW)
    assert isinstance(second, Recorded)
    assert not second.new
    assert bench(intents.find, digest("mine")) == bench(intents.find, digest("route")) == second.transaction
    assert len(bench.rows("transactions")) == len(bench.rows("audit")) == 1


@pytest.mark.proves("MSG-03", "MSG-42", "SEC-08")
def test_a_poll_finds_the_transaction_that_its_route_leads_to(bench: Bench) -> None:
    """Routes lead to their own transaction; what nobody has recorded leads nowhere."""
    one = bench.record(routes=["a", "b"])
    two = bench.record(request="other", routes=["c"])
    assert bench(intents.find, digest("a")) == bench(intents.find, digest("b")) == one
    assert bench(intents.find, digest("c")) == two
    assert bench(intents.find, digest("d")) is None


@pytest.mark.proves("FT-23")
def test_routes_move_to_the_newest(bench: Bench) -> None:
    """A transactionID that comes again with another request leads to that one; routes of a retry are added."""
    one = bench.record(routes=["a", "b"])
    two = bench.record(request="other", routes=["b"])
    assert bench(intents.find, digest("a")) == one
    assert bench(intents.find, digest("b")) == two
    bench(intents.record, again(intent(routes=["c"])), NOW)
    assert bench(intents.find, digest("c")) == one
    assert bench(intents.leads, one.id, (digest("a"), digest("c")))
    assert not bench(intents.leads, one.id, (digest("a"), digest("b")))
    assert not bench(intents.leads, one.id, (digest("a"), digest("nowhere")))
    bench(intents.lead, two.id, (digest("a"), digest("c")))
    assert bench(intents.leads, two.id, (digest("a"), digest("b"), digest("c")))
    assert bench(intents.find, digest("a")) == bench(intents.find, digest("c")) == two


@pytest.mark.proves("RA-16")
def test_a_transaction_id_that_is_the_client_s_stays_so_when_it_comes_again(bench: Bench) -> None:
    """Where the CA gives the transactionID a meaning, the next attempt has it too."""
    what = replace(intent(upstream_transaction="device 17"), passthrough=True)
    bench.happen(bench.record(what), Event.REFUSED)
    new = bench.record(replace(again(what), passthrough=True), NOW + HOUR)
    assert (new.attempt, new.upstream_transaction) == (1, "device 17")


@pytest.mark.proves("RA-16", "I4", "MSG-25")
def test_a_new_message_after_a_refusal_is_judged_anew(bench: Bench) -> None:
    """What was refused is another transaction when it comes again, here and at the CA; the old one is kept."""
    old = bench.happen(bench.record(), Event.REFUSED)
    what = again(intent())
    new = bench.record(what, NOW + HOUR)
    assert (new.attempt, new.state) == (1, State.SENDING)
    assert new.upstream_transaction != old.upstream_transaction
    assert new.upstream_transaction == upstream_transaction_id(what.request, new.client_transaction, 1)
    assert bench(intents.recall, what.request) == bench(intents.find, digest("route")) == new
    assert bench.get(old) == old
    third = bench.record(again(what, message=digest("third")), NOW + HOUR)
    assert third == new, "it is under way"
    bench.happen(new, Event.REFUSED)
    assert bench.record(again(what, message=digest("fourth")), NOW + HOUR).attempt == 2
    assert len(bench.rows("transactions")) == 3


@pytest.mark.proves("MSG-25")
def test_the_very_same_message_is_told_its_refusal_again(bench: Bench) -> None:
    """A message that is replayed after a refusal begins nothing."""
    what = intent()
    old = bench.happen(bench.record(what), Event.REFUSED)
    assert bench(intents.record, replace(what, values={**what.values, "id": "another"}), NOW + HOUR) == Recorded(
        old, new=False
    )


@pytest.mark.proves("MSG-25")
def test_a_certificate_that_has_ended_is_not_given_again(bench: Bench) -> None:
    """Up to its end a certificate is the answer to its request; from then on the same message begins anew."""
    what, issued = intent(), certificate()
    old = bench.happen(bench.record(what), Event.GRANTED, certificate=issued)
    assert old.certificate_ends == issued.not_after == MADE + 10 * DAY
    assert bench.record(again(what), issued.not_after - HOUR) == old
    new = bench.record(again(what, message=what.values["message"]), issued.not_after)
    assert (new.attempt, new.state, new.certificate) == (1, State.SENDING, None)
    assert bench.get(old).certificate == issued.der


@pytest.mark.proves("FT-22", "I4")
def test_what_was_refused_is_begun_anew_once(bench: Bench) -> None:
    """Ten new copies of a refused request at the same moment are one second attempt."""
    bench.happen(bench.record(), Event.REFUSED)
    made = together(*[partial(bench, intents.record, again(intent()), NOW) for _ in range(10)])
    recorded = [each for each in made if isinstance(each, Recorded)]
    assert len(recorded) == 10, made
    assert {each.transaction.attempt for each in recorded} == {1}
    assert [each.new for each in recorded].count(True) == 1
    assert len(bench.rows("transactions")) == 2


@pytest.mark.proves("AC-092", "SEC-06", "I2", "DR-8")
def test_fifty_keys_and_one_credential(bench: Bench) -> None:
    """Of fifty keys that show the same credential at once one wins; the others leave nothing."""
    wanted = [intent(f"request {key}", key=f"key {key}", once="code", routes=[f"route {key}"]) for key in range(50)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda each: bench(intents.record, each, NOW), wanted))
    (won,) = [each for each in made if isinstance(each, Recorded)]
    assert [each for each in made if isinstance(each, Taken)] == [USED] * 49
    (row,) = bench.rows("reservations")
    assert (row["credential"], row["public_key"], row["transaction"]) == (
        "code",
        won.transaction.public_key,
        won.transaction.id,
    )
    assert len(bench.rows("transactions")) == len(bench.rows("routes")) == len(bench.rows("audit")) == 1


@pytest.mark.proves("DR-8", "I2", "FT-25")
def test_a_credential_stays_with_its_key(bench: Bench) -> None:
    """The key that a credential was reserved for may ask with it again, for something else too; no other ever may."""
    bench.happen(bench.record(once="code"), Event.REFUSED)
    assert bench.record(again(intent(once="code")), NOW + HOUR).attempt == 1
    assert bench.record(request="something else", once="code").attempt == 0
    before = bench.content()
    assert bench(intents.record, intent(key="another", once="code"), NOW + HOUR) == USED
    assert bench.content() == before
    assert bench.record(key="another", once="another code").state is State.SENDING


@pytest.mark.proves("I3", "DR-8")
def test_a_credential_for_any_number_of_keys_is_not_reserved(bench: Bench) -> None:
    """A static challenge leaves no reservation."""
    bench.record()
    bench.record(key="another")
    assert bench.rows("reservations") == []


@pytest.mark.proves("FT-30", "I1", "I7")
def test_nothing_is_recorded_by_halves(bench: Bench) -> None:
    """If the last of its statements fails, an intent has left no row, no route, no reservation and no audit record."""

    def fail() -> None:
        raise RuntimeError("at the audit record")

    with just_before(bench.engine, "INSERT INTO audit", fail), pytest.raises(RuntimeError):
        bench.record(once="code")
    assert not any(rows for rows in bench.content().values())
    assert set(bench.content()) == set(metadata.tables)
