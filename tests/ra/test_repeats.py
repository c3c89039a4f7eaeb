"""Requests that are nearly, or again, another one: neither the CA nor a poll may take them for each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scepra.scep.transport import OperationKind
from tests.rig.device import (
    NEW,
    OLD,
    device_certificate,
    granted,
    renewal,
    request_without_challenge,
    sound,
)
from tests.rig.house import House, run
from tests.rig.upstream import Reply, behind


@pytest.mark.proves("RA-16", "I4")
def test_one_csr_that_renews_two_certificates_is_two_transactions_at_the_ca(shared: House) -> None:
    """Who asks is part of what the transactionID at the CA is made of, as it is of what makes a request the same."""
    csr = request_without_challenge(key=NEW)
    for _ in range(2):
        granted(shared, renewal(shared, device_certificate(shared), csr=csr, transaction_id="T"), OLD)
    one, other = list(shared.ca.received)[-2:]
    assert one.transaction_id != other.transaction_id


@pytest.mark.proves("MSG-25", "MSG-42")
def test_polls_lead_to_what_was_asked_for_last(shared: House) -> None:
    """Two requests under one transactionID and key; a poll is for the one that was sent last, also if again."""
    one, two = sound(shared, transaction_id="R"), sound(shared, transaction_id="R")
    first = granted(shared, one).certificates()
    granted(shared, two)
    granted(shared, one)
    poll = replace(one, csr=None, content=b"x", message_type="20")
    assert granted(shared, poll).certificates() == first


@pytest.mark.proves("CERT-13")
def test_a_look_that_fails_delays_nobody_while_the_last_view_is_good(shared: House) -> None:
    """Whoever can spoil GetCACert cannot keep requests from the CA by it."""
    house, middle = behind(shared)
    middle.others[OperationKind.GET_CA_CERT] = Reply(404)
    house.clock.advance(3600)
    run(house.upstream.refresh())
    granted(house, sound(house))
