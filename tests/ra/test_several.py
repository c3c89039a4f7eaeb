"""Several CAs for one profile: where a request goes, where it stays, and what clients are shown of them (FT-01, I4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from scepra.lab.behaviour import Behaviour
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates
from scepra.scep.message import MessageType, PKIStatus
from scepra.store import approvals
from scepra.transaction import State
from tests import csrs
from tests.rig.device import NEW, ask, granted, post, request, sound
from tests.rig.durable import certificate, only, status, told, transactions
from tests.rig.forge import Forge
from tests.rig.house import PROFILE
from tests.rig.pair import Pair, pair

LOST = ResponseFailed([Failure(ConnectionLost())])
REQUEST, POLL = MessageType.PKCS_REQ, MessageType.CERT_POLL
HOLD: dict[str, Any] = {"hold": {"when": {"subject": {"CN": "server.*"}}, "approvals": 1}}


@pytest.fixture
def house(lab: Path) -> Iterator[Pair]:
    """A house with two CAs that are equal."""
    with pair(lab) as made:
        yield made


def again(house: Pair, forge: Forge) -> PKIStatus:
    """What the device is told that asks once more."""
    return status(told(house, forge))


def issuer(house: Pair, forge: Forge) -> str:
    """The CA whose certificate a device gets."""
    found = Certificate.parse(certificate(told(house, forge)))
    return next(name for name, ca in house.cas.items() if ca.authority.has_issued(found))


def where(house: Pair) -> list[str]:
    """The CA of each transaction, in their order."""
    return [each.upstream for each in transactions(house)]


def cut(house: Pair) -> None:
    """Let neither CA be reached, and let the RA know."""
    for name, line in house.lines.items():
        line.cut()
        house.forwardings[name].upstream.breaker.failed(sent=False)


# --- Where a request goes --------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-01")
def test_the_first_that_can_be_asked_is_asked(house: Pair) -> None:
    """In order of preference: as long as the first CA answers, the second is asked for nothing."""
    for _ in range(3):
        granted(house, sound(house))
    assert where(house) == ["first"] * 3
    assert house.kinds("second") == []


def test_evenly_is_in_turns(lab: Path) -> None:
    """Where requests are spread evenly, each CA is the first in turn; one that cannot be reached is passed over."""
    with pair(lab, {"balance": "evenly"}) as house:
        for _ in range(4):
            granted(house, sound(house))
        assert where(house) == ["first", "second", "first", "second"]
        house.lines["first"].cut()
        for _ in range(4):
            granted(house, sound(house))
        assert where(house)[4:] == ["second"] * 4


@pytest.mark.proves("FT-01", "I3", "I4")
@pytest.mark.parametrize("polling", [True, False], ids=["polling", "not-polling"])
def test_a_ca_that_is_down_costs_nothing_where_there_is_another(lab: Path, polling: bool) -> None:
    """The request that finds out is sent to the equal CA at once, and so are those after it: each gets its certificate
    in its first answer, also where clients cannot poll, and the first CA never hears of them.
    """
    with pair(lab, {"polling": polling}) as house:
        house.lines["first"].cut()
        for _ in range(3):
            forge = sound(house)
            granted(house, forge)
            assert issuer(house, forge) == "second"
        assert where(house) == ["second"] * 3
        assert house.kinds("first") == []
        assert len(set(house.kinds("second"))) == 1


@pytest.mark.proves("FT-01", "FT-19")
def test_a_ca_that_was_never_seen_is_passed_over(lab: Path) -> None:
    """One that shows no certificate that is pinned is asked for nothing; who asks goes to the other."""
    with pair(lab, look=False) as house:
        house.lines["first"].cut()
        forge = sound(house)
        assert issuer(house, forge) == "second"


@pytest.mark.proves("DR-15", "FT-26")
def test_nobody_waits_at_one_as_long_as_another_is_free(lab: Path) -> None:
    """A CA with as much under way as may be is passed over for an equal one that is free."""
    with pair(lab, upstream={"concurrency": 1, "queue": {"concurrency": 1}}) as house:
        house.forwardings["first"].upstream.turns.take_beside()
        granted(house, sound(house))
        assert where(house) == ["second"]


@pytest.mark.proves("FT-01", "DR-15")
def test_where_none_can_be_asked_it_waits_for_the_first(lab: Path, house: Pair) -> None:
    """It is PENDING, at the CA that is preferred; who cannot poll gets a 503, and nothing is consumed."""
    cut(house)
    assert again(house, sound(house)) is PKIStatus.PENDING
    assert (only(house).state, only(house).upstream) == (State.QUEUED, "first")
    with pair(lab, {"polling": False}, like=house) as impatient:
        cut(impatient)
        response = post(impatient, sound(impatient).message())
        assert (response.status, response.body) == (503, b"")
        assert len(transactions(house)) == 1


def test_conditions_lead_to_another_ca(lab: Path) -> None:
    """What meets the conditions of a route goes there, the first route that fits counts, all else goes as usual."""
    routes = [
        {"when": {"subject": {"CN": "server-.*"}}, "upstream": "second"},
        {"when": {"subject": {"CN": "server-1\\.example"}}, "upstream": "first"},
        {"when": {"source": "203.0.113.0/24"}, "upstream": "second"},
    ]
    with pair(lab, {"upstream": "first", "routes": routes}) as house:
        for name, expected in (("server-1", "second"), ("SERVER-2", "second"), ("plain", "first")):
            csr = request(house, subject=csrs.subject(f"{name.lower()}.example"))
            granted(house, sound(house, csr=csr))
            assert where(house)[-1] == expected
        house.lines["second"].cut()
        forge = sound(house, csr=request(house, subject=csrs.subject("server-3.example")))
        assert again(house, forge) is PKIStatus.PENDING
        assert where(house)[-1] == "second"
        house.drive(5)
        assert transactions(house)[-1].upstream == "second"


# --- Where it stays --------------------------------------------------------------------------------------------------


@pytest.mark.proves("I4", "FT-13", "FT-01")
def test_what_may_have_reached_a_ca_stays_there(house: Pair) -> None:
    """The answer of the first CA is lost: it is asked for there alone, even while it is down and the other is not."""
    house.lines["first"].lose(LOST)
    forge = sound(house)
    assert again(house, forge) is PKIStatus.PENDING
    house.lines["first"].cut()
    house.drive(30)
    assert (only(house).state, only(house).upstream) == (State.UNKNOWN, "first")
    assert house.kinds("second") == []
    house.lines["first"].mend()
    house.drive(120)
    assert issuer(house, forge) == "first"
    assert set(house.kinds("first")) == {REQUEST, POLL}
    assert house.kinds("second") == []


@pytest.mark.proves("I4", "RA-21", "MSG-44")
def test_what_a_ca_holds_back_is_polled_there(house: Pair) -> None:
    """A request that is pending at the second CA is polled there, whichever the first is by then."""
    house.lines["first"].cut()
    house.cas["second"].behaviour = Behaviour(status=PKIStatus.PENDING, polls=1)
    forge = sound(house)
    assert again(house, forge) is PKIStatus.PENDING
    assert only(house).upstream == "second"
    house.lines["first"].mend()
    house.drive(400)
    assert issuer(house, forge) == "second"
    assert house.kinds("first") == []
    assert house.kinds("second") == [REQUEST, POLL, POLL]


@pytest.mark.proves("I4", "FT-01", "FT-17")
def test_what_was_never_sent_goes_to_the_one_that_is_back(house: Pair) -> None:
    """Both were down, and the request waits for the first; the second comes back, is found well, and gets it, once."""
    cut(house)
    forges = [sound(house) for _ in range(3)]
    assert [again(house, forge) for forge in forges] == [PKIStatus.PENDING] * 3
    house.drive(10)
    assert where(house) == ["first"] * 3
    house.lines["second"].mend()
    house.drive(60)
    assert where(house) == ["second"] * 3
    assert {issuer(house, forge) for forge in forges} == {"second"}
    assert house.kinds("second") == [REQUEST] * 3
    house.lines["first"].mend()
    house.drive(60)
    assert house.kinds("first") == []


@pytest.mark.proves("I4", "DR-18")
def test_what_people_approved_for_a_ca_stays_there(lab: Path) -> None:
    """An approval is for what was shown, the CA among it: nothing else may carry it out."""
    with pair(lab, {"policy": [*PROFILE["policy"], HOLD]}) as house:
        forge = sound(house, csr=request(house, subject=csrs.subject("server.example")))
        assert again(house, forge) is PKIStatus.PENDING
        house.lines["first"].cut()
        shown = house.database.call(approvals.case, only(house).id).digest
        house.database.call(
            lambda connection: approvals.say(
                connection,
                only(house).id,
                approve=True,
                person="alice",
                why="agreed",
                shown_digest=shown,
                now=house.now(),
            )
        )
        house.drive(30)
        assert (only(house).state, only(house).upstream) == (State.QUEUED, "first")
        house.lines["first"].mend()
        house.drive(60)
        assert issuer(house, forge) == "first"
        assert house.kinds("second") == []


# --- What clients are shown ------------------------------------------------------------------------------------------


@pytest.mark.proves("CERT-05", "CERT-07", "CERT-02")
def test_get_ca_cert_holds_every_issuing_ca(house: Pair) -> None:
    """The RA's certificate, the CA that issued it, and then the other; each once."""
    served = parse_ca_certificates(ask(house, "GET", "/scep?operation=GetCACert").body)
    ra = house.authority.keyring.current.encryption.certificate
    first, second = (house.cas[name].authority.certificate for name in ("first", "second"))
    assert served == (ra, first, second)


@pytest.mark.proves("CERT-05", "CERT-07")
def test_the_ra_s_own_ca_stands_first_whatever_the_order(lab: Path) -> None:
    """Also where it is the second in order of preference; and while one CA is not known, the others are served."""
    with pair(lab, {"upstream": ["second", "first"]}, look=False) as house:
        assert ask(house, "GET", "/scep?operation=GetCACert").status == 502
        granted(house, sound(house))
        assert where(house) == ["second"]
        ra = house.authority.keyring.current.encryption.certificate
        first, second = (house.cas[name].authority.certificate for name in ("first", "second"))
        assert parse_ca_certificates(ask(house, "GET", "/scep?operation=GetCACert").body) == (ra, second)
        house.lines["second"].cut()
        granted(house, sound(house, key=NEW, csr=request(house, key=NEW)), NEW)
        assert parse_ca_certificates(ask(house, "GET", "/scep?operation=GetCACert").body) == (ra, first, second)


@pytest.mark.proves("CMS-48")
def test_the_chain_of_an_answer_is_that_of_its_ca(lab: Path) -> None:
    """What comes with a certificate is the CA that issued it, also when that is the second."""
    with pair(lab, {"reply": {"certificates": "chain"}}) as house:
        house.lines["first"].cut()
        answer = told(house, sound(house))
        assert answer.certificates()[1:] == [house.cas["second"].authority.certificate.der]
