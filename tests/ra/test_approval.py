"""Requests that wait for people: held, shown, approved or denied, and sent once (security 4.7; CP13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scepra.errors import FailInfo
from scepra.scep import oid
from scepra.scep.message import PKIStatus
from scepra.store import approvals, intents, tables
from scepra.store.approvals import NotPossible
from scepra.transaction import State, Transaction
from tests import csrs
from tests.rig.device import NEW, rebuilt, request, sound
from tests.rig.durable import (
    Durable,
    OneTime,
    certificate,
    durable,
    events,
    only,
    poll,
    reached,
    status,
    told,
    transactions,
)
from tests.rig.forge import Forge, ReadAnswer
from tests.rig.house import PROFILE


def holding(**hold: Any) -> dict[str, Any]:
    """A profile that holds what is for a server."""
    when = {"subject": {"CN": "server-.*"}}
    return {"policy": [*PROFILE["policy"], {"hold": {"when": when, **hold}}]}


@pytest.fixture
def house(lab: Path) -> Iterator[Durable]:
    """A house in which one person has to approve, within a day."""
    with durable(lab, holding(expires="1d")) as made:
        yield made


@pytest.fixture
def strict(lab: Path) -> Iterator[Durable]:
    """A house in which two people have to approve."""
    with durable(lab, holding(approvals=2)) as made:
        yield made


def server(house: Durable, name: str = "server-1.example") -> Forge:
    """A message that is held."""
    return sound(house, csr=request(house, subject=csrs.subject(name)))


def say(house: Durable, approve: bool, person: str = "ann", shown: Transaction | None = None) -> Transaction:
    """What one person says about the one transaction, having been shown it or another."""
    found = shown or only(house)
    return house.database.call(
        approvals.say,
        only(house).id,
        approve=approve,
        person=person,
        why="as agreed",
        shown_digest=approvals.digest(approvals.shown(found)),
        now=house.now(),
    )


def refused(answer: ReadAnswer) -> bool:
    """Whether it is a FAILURE with badRequest."""
    return status(answer) is PKIStatus.FAILURE and answer.text(oid.FAIL_INFO) == str(int(FailInfo.BAD_REQUEST))


@pytest.mark.proves("I1", "I6", "MSG-43", "I4")
def test_what_is_held_is_pending_and_not_sent(house: Durable) -> None:
    """However often it is asked for, and however long the reconciler looks."""
    forge = server(house)
    assert status(told(house, forge)) is PKIStatus.PENDING
    house.reconcile(30)
    for each in (forge, poll(house, forge), replace(forge, envelope=None, transaction_id="another")):
        assert status(told(house, each)) is PKIStatus.PENDING
    assert only(house).state is State.HELD
    assert reached(house) == []
    assert events(house) == ["held"]
    assert {record["outcome"] for record in house.records} == {"held"}


@pytest.mark.proves("I1")
def test_what_meets_no_condition_is_not_held(house: Durable) -> None:
    """The rule is about servers."""
    assert status(told(house, sound(house))) is PKIStatus.SUCCESS


@pytest.mark.proves("I1", "I4", "I7", "RA-20")
def test_what_is_approved_is_sent_once(house: Durable) -> None:
    """At the next look; the client's poll gets the certificate."""
    forge = server(house)
    told(house, forge)
    house.reconcile(10)
    assert say(house, True).state is State.QUEUED
    assert status(told(house, poll(house, forge))) is PKIStatus.PENDING
    house.reconcile(3)
    assert certificate(told(house, poll(house, forge))) == certificate(told(house, forge)) == only(house).certificate
    assert len(reached(house)) == 1
    assert events(house) == ["held", "approved", "granted"]
    (given,) = house.rows(tables.approvals)
    assert (given.person, given.approved, given.why) == ("ann", True, "as agreed")


@pytest.mark.proves("I7", "MSG-43")
def test_what_is_denied_is_refused(house: Durable) -> None:
    """For good, and the CA never hears of it; the client hears no reason."""
    forge = server(house)
    told(house, forge)
    assert say(house, False).state is State.REFUSED
    house.reconcile(10)
    forge = replace(forge, envelope=forge.enveloped())
    assert refused(told(house, poll(house, forge)))
    assert house.records[-1]["reasons"] == ["denied by ann: as agreed"]
    assert "agreed" not in told(house, poll(house, forge)).text(oid.FAIL_INFO_TEXT)
    assert reached(house) == []
    assert events(house) == ["held", "denied"]


@pytest.mark.proves("FT-15", "I7")
def test_what_nobody_decides_is_refused_when_its_time_is_over(house: Durable) -> None:
    """Not before."""
    forge = server(house)
    told(house, forge)
    house.clock.advance(86000)
    house.keep()
    assert only(house).state is State.HELD
    house.clock.advance(500)
    house.keep()
    assert refused(told(house, poll(house, forge)))
    with pytest.raises(NotPossible, match="is not held any more"):
        say(house, True)
    house.reconcile(10)
    assert reached(house) == []
    assert events(house) == ["held", "expired"]


@pytest.mark.proves("I1", "I7")
def test_two_approvals_are_of_two_people(strict: Durable) -> None:
    """The first changes nothing for the client; the same person again is not the second."""
    forge = server(strict)
    told(strict, forge)
    assert say(strict, True).state is State.HELD
    with pytest.raises(NotPossible, match="somebody else"):
        say(strict, True)
    strict.reconcile(10)
    assert status(told(strict, poll(strict, forge))) is PKIStatus.PENDING
    assert reached(strict) == []
    assert say(strict, True, "bob").state is State.QUEUED
    strict.reconcile(3)
    assert status(told(strict, poll(strict, forge))) is PKIStatus.SUCCESS
    assert events(strict) == ["held", "approval", "approved", "granted"]


@pytest.mark.proves("I1")
def test_one_of_two_people_can_deny(strict: Durable) -> None:
    """Whatever the other said before."""
    forge = server(strict)
    told(strict, forge)
    say(strict, True)
    assert say(strict, False, "bob").state is State.REFUSED
    assert refused(told(strict, poll(strict, forge)))
    assert events(strict) == ["held", "approval", "denied"]


@pytest.mark.proves("I1")
def test_an_approval_of_something_else_counts_for_nothing(house: Durable) -> None:
    """What somebody approves is what they were shown."""
    told(house, server(house))
    with pytest.raises(NotPossible, match="not what was shown"):
        say(house, True, shown=replace(only(house), subject="CN=another.example"))
    house.reconcile(5)
    assert only(house).state is State.HELD
    assert reached(house) == []
    assert house.rows(tables.approvals) == []


@pytest.mark.proves("I2", "I3", "DR-8")
def test_the_challenge_of_what_is_held_is_reserved(house: Durable) -> None:
    """For its key, from the beginning, whatever people say."""
    made = rebuilt(house, provider=OneTime())
    told(made, server(made))
    assert refused(told(made, sound(made, key=NEW), NEW))
    say(made, False)
    assert refused(told(made, sound(made, key=NEW), NEW))
    assert status(told(made, sound(made))) is PKIStatus.SUCCESS


@pytest.mark.proves("I1", "I4", "MSG-25")
def test_a_client_that_was_denied_may_ask_anew_and_is_held_again(house: Durable) -> None:
    """A new message is a new attempt, with approvals of its own."""
    forge = server(house)
    told(house, forge)
    say(house, False)
    assert status(told(house, replace(forge, envelope=None))) is PKIStatus.PENDING
    first, second = sorted(transactions(house), key=lambda each: each.attempt)
    assert (first.state, second.state) == (State.REFUSED, State.HELD)
    assert first.upstream_transaction != second.upstream_transaction


@pytest.mark.proves("FT-01", "I4")
def test_what_is_approved_while_the_ca_is_away_waits_for_it(house: Durable) -> None:
    """And is sent once, when the CA is back."""
    forge = server(house)
    told(house, forge)
    house.way.cut()
    say(house, True)
    house.reconcile(20)
    assert status(told(house, poll(house, forge))) is PKIStatus.PENDING
    house.way.mend()
    house.reconcile(40)
    assert status(told(house, poll(house, forge))) is PKIStatus.SUCCESS
    assert len(reached(house)) == 1


@pytest.mark.proves("I13", "FT-43")
def test_another_process_sends_what_was_approved(lab: Path, house: Durable) -> None:
    """Who approves, who sends and who answers need not be one process."""
    forge = server(house)
    told(house, forge)
    with durable(lab, holding(expires="1d"), like=house) as other:
        say(house, True)
        other.reconcile(3)
        issued = house.database.call(intents.get, only(house).id)
        assert issued is not None and issued.state is State.ISSUED
        assert certificate(told(other, poll(other, forge))) == issued.certificate
    assert len(house.way.sent) == 0


@pytest.mark.proves("RA-20", "RA-14")
def test_what_waited_long_is_sent_under_a_certificate_that_is_valid(lab: Path) -> None:
    """The certificate that signs to the CA lasts as long as people and the CA may take."""
    with durable(lab, holding(expires="20d")) as house:
        told(house, server(house))
        house.clock.advance(10 * 86400)
        say(house, True)
        house.reconcile(3)
        (sent,) = reached(house)
        assert sent.signer is not None
        assert sent.signer.valid_at(house.now())
