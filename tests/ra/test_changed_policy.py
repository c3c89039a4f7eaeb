"""Requests that were authorised by a policy which is not the one of now: judged once more before they are sent
(FT-51, DR-19)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from scepra.scep.message import PKIStatus
from scepra.transaction import State
from tests.rig.device import sound
from tests.rig.durable import Durable, durable, events, only, poll, reached, status, told
from tests.rig.house import PROFILE

NARROW: dict[str, Any] = {
    "policy": [rule if "subject" not in rule else {"subject": {"match": {"CN": "other"}}} for rule in PROFILE["policy"]]
}
"""A profile that certifies another name alone."""


@pytest.fixture
def house(lab: Path) -> Iterator[Durable]:
    """A house with a request that could not be sent yet."""
    with durable(lab) as made:
        made.way.cut()
        yield made


def queued(house: Durable) -> Any:
    """A request that waits for the CA to come back."""
    forge = sound(house)
    assert status(told(house, forge)) is PKIStatus.PENDING
    assert only(house).state is State.QUEUED
    return forge


@pytest.mark.proves("FT-51", "DR-19", "I1", "I7")
def test_what_a_stricter_policy_forbids_is_not_sent(house: Durable, lab: Path) -> None:
    """It is refused with the reason in its record; the CA never hears of it, and its client is told badRequest."""
    forge = queued(house)
    with durable(lab, NARROW, like=house) as changed:
        changed.reconcile(5)
        assert reached(changed) == []
        after = only(changed)
        assert (after.state, after.attention) == (State.REFUSED, "")
        assert after.reason.startswith("not sent: the policy has changed since it was authorised: subject: ")
        assert events(changed)[-1] == "refused"
        assert [record["outcome"] for record in changed.records][-1] == "refused"
        assert status(told(changed, poll(changed, forge))) is PKIStatus.FAILURE


@pytest.mark.proves("FT-51", "DR-19")
def test_what_another_policy_allows_too_is_sent(house: Durable, lab: Path) -> None:
    """A policy that has changed in another respect changes nothing for it."""
    forge = queued(house)
    everywhere = {"source": {"networks": ["0.0.0.0/0", "::/0"]}}
    with durable(lab, {"policy": [*PROFILE["policy"], everywhere]}, like=house) as changed:
        changed.reconcile(5)
        assert status(told(changed, poll(changed, forge))) is PKIStatus.SUCCESS


@pytest.mark.proves("FT-51", "DR-19")
def test_a_policy_that_only_observes_sends_what_it_objects_to(house: Durable, lab: Path) -> None:
    """As it would if the request came now."""
    queued(house)
    with durable(lab, {**NARROW, "observe": True}, like=house) as changed:
        changed.reconcile(5)
        assert len(reached(changed)) == 1


@pytest.mark.proves("FT-51", "DR-19")
def test_people_whom_a_new_rule_asks_have_to_be_asked(house: Durable, lab: Path) -> None:
    """What nobody has approved is not sent where somebody has to from now on: who asks anew, asks them too."""
    queued(house)
    with durable(lab, {"policy": [*PROFILE["policy"], {"hold": {"approvals": 2}}]}, like=house) as changed:
        changed.reconcile(5)
        assert (reached(changed), only(changed).state) == ([], State.REFUSED)
        assert "hold: " in only(changed).reason


@pytest.mark.proves("FT-51", "DR-19", "I12")
def test_what_a_profile_that_has_gone_let_in_is_not_sent(house: Durable) -> None:
    """Nobody could be given what came of it."""
    queued(house)
    house.change(profile="gone")
    house.reconcile(5)
    assert (reached(house), only(house).state) == ([], State.REFUSED)
    assert "no such profile" in only(house).reason


@pytest.mark.proves("FT-51", "DR-19", "FT-13")
def test_what_may_have_been_sent_is_not_sent_again(house: Durable, lab: Path) -> None:
    """It is still asked for, since the CA may have it; where it has not, nothing more leaves, and somebody is told."""
    house.way.mend()
    house.way.lose(ResponseFailed([Failure(ConnectionLost())]))
    assert status(told(house, sound(house))) is PKIStatus.PENDING
    assert only(house).state is State.UNKNOWN
    # The CA knows it under no such name.
    house.change(upstream_transaction="F" * 32)
    house.way.mend()
    before = len(house.ca.received)
    with durable(lab, NARROW, like=house) as changed:
        changed.reconcile(10)
        kinds = [each.message_type.name for each in list(changed.ca.received)[before:] if each.message_type]
        assert set(kinds) == {"CERT_POLL"}
        after = only(changed)
        assert after.state is State.UNKNOWN
        assert after.attention.startswith("it may have been issued already, and now it is not sent: the policy")
