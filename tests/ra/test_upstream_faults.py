"""Upstreams that fail, through the whole RA: clients come again, and nothing is refused for it (security 5.2, RA-24).

What needs sockets and time (a listener that never reads, one octet a second) is shown in ``tests/upstream``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.web.client import PotentialDataLoss, RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived

from scepra.errors import KeyUnavailable
from scepra.http.connection import Ended, NotConnected
from scepra.lab import Behaviour, Fault
from scepra.scep import der, oid
from scepra.scep.certificate import Certificate
from scepra.scep.identity import FixedIdentities
from scepra.scep.message import MessageType, PKIStatus
from scepra.transaction import State
from tests import csrs
from tests.rig.denial import Denials, denials, masked
from tests.rig.device import CountingKey, ask, granted, pki_status, post, rebuilt, request, sound
from tests.rig.forge import own_certificate
from tests.rig.house import House, run
from tests.rig.upstream import Asked, Line, Reply, behind, connected

KEYS = [csrs.rsa_key(which=number) for number in (0, 6, 7, 8, 9)]


@pytest.fixture
def line(either: House) -> Iterator[Line]:
    """The way to the CA."""
    return Line(either.ca)


@pytest.fixture
def house(either: House, line: Line) -> House:
    """The usual house behind that way, which it has looked along already."""
    made = connected(either, line)
    run(made.upstream.discover())
    return made


@pytest.fixture
def deny(house: House, line: Line) -> Iterator[Denials]:
    """Refusals by that house, and the way mended before the control."""
    made = Denials(house)
    yield made
    line.error = None
    house.reconcile(60)
    made.control()


NOTHING_LEFT = [
    "no connection: Connection was refused by other side",
    "its host name is unknown",
    "no connection within 5 s",
    "no TLS: certificate verify failed",
]


@pytest.mark.proves("FT-01", "FT-02", "FT-19", "RA-24", "DR-10", "DR-15", "I3", "I4")
@pytest.mark.parametrize("why", NOTHING_LEFT)
def test_no_connection(house: House, line: Line, deny: Denials, why: str) -> None:
    """While the CA cannot be reached clients are told to come again; all of them enrol when it can, each once."""
    line.error, line.early = NotConnected(why), True
    clients = [sound(house, key=device, transaction_id=f"{why[:9]}{number}") for number, device in enumerate(KEYS)]
    deny.unavailable(clients[0], why, reached=0)
    assert house.transaction(house.records[-1]["enrolment"]).state is State.QUEUED
    for client in clients[1:]:
        deny.unavailable(client, reached=0)
    assert house.stored["transactions"] == (len(clients) if house.authority.profile.polling else 1)
    house.reconcile(5)
    for client in clients:
        deny.unavailable(client, reached=0)
    line.error = None
    house.reconcile(60)
    forwarded = len(house.forwarded)
    for client, device in zip(clients, KEYS, strict=True):
        granted(house, client, device)
    assert len(house.forwarded) == forwarded + (0 if house.authority.profile.polling else len(clients) - 1)


LOST = [
    ResponseFailed([Failure(ConnectionLost())]),
    ResponseFailed([Failure(ConnectionDone()), Failure(PotentialDataLoss())]),
    ResponseNeverReceived([Failure(ConnectionLost())]),
    RequestTransmissionFailed([Failure(ConnectionLost())]),
    ResponseFailed([Failure(Ended("no whole answer within 20 s"))]),
    RuntimeError("canary-in-an-exception"),
]


@pytest.mark.proves("FT-13", "FT-03", "FT-05", "FT-06", "RA-16", "RA-20", "RA-24", "MSG-25", "I4", "DR-10")
@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_carried_out_and_lost(house: House, line: Line, error: Exception) -> None:
    """The CA issued and its answer was lost: it is asked about that transaction until it tells, and the same request
    gets the one certificate, under another transactionID as well."""
    with denials(house, "canary-in-an-exception") as deny:
        forge = sound(house, transaction_id=f"lost {LOST.index(error)}")
        issued, forwarded = len(house.state.authority.issued), len(house.forwarded)
        line.error = error
        deny.unavailable(forge)
        deny.unavailable(forge, reached=0)
        assert house.transaction(house.records[-1]["enrolment"]).state is State.UNKNOWN
        house.reconcile(3)
        deny.unavailable(forge, reached=0)
        line.error = None
        house.reconcile(60)
        first, *polls = [item for item in house.ca.received if item.message][forwarded - len(house.forwarded) :]
        assert first.message_type is MessageType.PKCS_REQ
        assert {item.message_type for item in polls} == {MessageType.CERT_POLL}
        assert {item.transaction_id for item in polls} == {first.transaction_id}
        assert len(polls) >= 2
        assert len({item.request.sender_nonce for item in (first, *polls)}) == 1 + len(polls)
        assert len(house.state.authority.issued) == issued + 1
        answer = granted(house, forge)
        assert Certificate.parse(answer.certificates()[0]).serial in house.state.authority.issued
        for again in (forge, replace(forge, transaction_id="another")):
            assert granted(house, again).certificates() == answer.certificates()


@pytest.mark.proves("FT-13", "RA-24", "I3", "I4")
def test_carried_out_lost_and_refused_again(either: House) -> None:
    """A CA that refuses what it has carried out may only know it already: the client is not refused, somebody has to
    look at it, and when the CA tells what it issued that is delivered."""
    house, middle = behind(either, lambda asked: Reply(502, asked.pass_on()[:100]))
    with denials(house) as deny:
        forge, issued = sound(house, transaction_id="carried out"), len(house.state.authority.issued)
        deny.unavailable(forge)
        middle.script = lambda asked: asked.failure("2")
        house.reconcile(3)
        deny.unavailable(forge, "refused by upstream", reached=0)
        stored = house.transaction(house.records[-1]["enrolment"])
        assert stored.state is State.UNKNOWN
        assert "may have been issued already" in stored.attention
        middle.script = Asked.pass_on
        house.reconcile(60)
        granted(house, forge)
        assert len(house.state.authority.issued) == issued + 1


@pytest.fixture
def ca(either: House) -> Iterator[House]:
    """The usual house, whose CA may be told to misbehave."""
    yield either
    either.ca.behaviour = Behaviour()


@pytest.mark.proves("FT-06", "FT-07", "RA-24", "MSG-60")
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.TRUNCATED, Fault.HTML])
def test_faults_of_the_answer(ca: House, fault: Fault) -> None:
    """Half an answer, none, and a page of HTML are not read: the client is told to come again."""
    house, _ = behind(ca)
    with denials(house) as deny:
        house.ca.behaviour = Behaviour(fault=fault)
        forge, issued = sound(house, transaction_id=fault.name), len(house.state.authority.issued)
        deny.unavailable(forge)
        house.ca.behaviour = Behaviour()
        house.reconcile(5)
        granted(house, forge)
        assert len(house.state.authority.issued) == issued + 1


@pytest.mark.proves("FT-09", "HTTP-26", "RA-24")
@pytest.mark.parametrize("code", [301, 302, 400, 401, 403, 404, 405, 429, 500, 502, 503, 504, 204])
def test_http_errors(either: House, outside: list[str], code: int) -> None:
    """An HTTP error is no answer and no refusal; no redirect is followed, and no demand for a password answered."""
    headers = {
        "location": "http://127.0.0.9/evil",
        "www-authenticate": "Negotiate",
        "retry-after": "86400",
    }
    house, middle = behind(either, lambda asked: Reply(code, b"no", headers))
    overloaded = code in (429, 503)
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, f"status {code}", after=600 if overloaded else None)
        middle.script = Asked.pass_on
        house.reconcile(750 if overloaded else 5)
        granted(house, forge)
    assert not any(name.lower() == b"authorization" for sent in middle.headers for name in sent)
    assert outside == []


def _seconds_from_now(house: House) -> str:
    return "120"


def _date_from_now(house: House) -> str:
    return format_datetime(house.authority.now() + timedelta(seconds=120.9), usegmt=True)


@pytest.mark.proves("FT-09", "DR-15", "RA-24", "I3", "I4")
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", [_seconds_from_now, _date_from_now], ids=["seconds", "date"])
def test_a_ca_that_says_when_to_come_again_is_left_alone_until_then(
    either: House, code: int, form: Callable[[House], str]
) -> None:
    """Neither the request that it turned away nor any other is sent before that, a look at its certificates changes
    nothing, and clients who cannot poll are told to stay away for as long. Then one tries, and all go on.
    """
    house, middle = behind(either)
    with denials(house) as deny:
        middle.script = lambda asked: Reply(code, b"", {"retry-after": form(house)})
        first, *others = [
            sound(house, key=key, transaction_id=f"{code} {form.__name__} {number}") for number, key in enumerate(KEYS)
        ]
        deny.unavailable(first, f"status {code}", after=120)
        middle.script = Asked.pass_on
        asked = len(middle.targets)
        for other in others:
            deny.unavailable(other, f"status {code}", reached=0, after=120)
        run(house.upstream.discover())
        house.reconcile(118, step=1)
        assert not [target for target in middle.targets[asked:] if b"PKIOperation" in target]
        house.reconcile(60)
        for forge, key in zip((first, *others), KEYS, strict=True):
            granted(house, forge, key)


@pytest.mark.proves("FT-09", "I13")
def test_what_the_ca_asks_for_is_capped_and_must_make_sense(shared: House) -> None:
    """A day is ten minutes; what cannot be read, or is said with another status, changes nothing."""
    for said, code, seconds in (
        ("86400", 503, 750),
        ("9" * 30, 503, 5),
        ("soon", 503, 5),
        ("-1", 429, 5),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 503, 5),
        ("86400", 500, 5),
    ):
        house, middle = behind(shared, lambda asked, said=said, code=code: Reply(code, b"", {"retry-after": said}))
        with denials(house) as deny:
            forge = sound(house)
            deny.unavailable(forge, f"status {code}")
            middle.script = Asked.pass_on
            house.reconcile(seconds)
            granted(house, forge)


@pytest.mark.proves("FT-09", "DR-15", "RA-24", "I3", "I4")
@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_ca_that_does_not_want_us_is_an_alarm(either: House, code: int) -> None:
    """An error is logged that names CA and status, somebody is told to look at the transaction, and the CA is tried by
    one at a time, although it shows its certificates. When it is configured rightly all go on, and nobody has to look
    any more.
    """
    house, middle = behind(either, lambda asked: Reply(code, b"<html>"))
    with denials(house) as deny:
        first, *others = [sound(house, key=key, transaction_id=f"{code} {number}") for number, key in enumerate(KEYS)]
        events = len(house.events)
        deny.unavailable(first, f"status {code}")
        alarms = [event for event in house.events[events:] if event["log_level"] is LogLevel.error]
        assert any(f"upstream ca answers with status {code}: " in formatEvent(event) for event in alarms)
        held = house.transaction(house.records[-1]["enrolment"])
        assert held.state is State.UNKNOWN
        assert f"upstream ca answers with status {code}: " in held.attention
        run(house.upstream.discover())
        for other in others:
            deny.unavailable(other, f"status {code}", reached=0)
        tried = len(middle.targets)
        house.reconcile(20)
        # After 1, 2, 4 and 8 seconds, a poll each.
        assert 1 <= len(middle.targets) - tried <= 5
        middle.script = Asked.pass_on
        house.reconcile(120)
        for forge, key in zip((first, *others), KEYS, strict=True):
            granted(house, forge, key)
        assert house.transaction(held.id).attention == ""


@pytest.mark.proves("FT-09", "MSG-60")
def test_a_body_that_is_not_believed_leaves_the_status(shared: House) -> None:
    """A CertRep that nobody signed whom we know is none: what counts is that the CA is overloaded."""
    house, middle = behind(
        shared,
        lambda asked: Reply(
            503,
            asked.failure("2", key=KEYS[0], signer=own_certificate(KEYS[0])).message(),
            {"retry-after": "300"},
        ),
    )
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, "status 503")
        assert 299 <= house.upstream.breaker.remaining <= 300
        middle.script = Asked.pass_on
        house.reconcile(400, step=1)
        granted(house, forge)


@pytest.mark.proves("FT-09", "FT-10", "CERT-14")
def test_answers_under_other_labels(shared: House) -> None:
    """A signed answer counts whatever type it is labelled with, and with status 500 as well; a redirect's does not."""
    for headers in ({"content-type": "text/html"}, {"content-type": "application/octet-stream"}, {}):
        house, _ = behind(shared, lambda asked, headers=headers: Reply(200, asked.pass_on(), headers))
        granted(house, sound(house))
    house, middle = behind(shared, lambda asked: Reply(302, asked.pass_on(), {"location": "/scep"}))
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, "status 302")
        middle.script = lambda asked: Reply(500, asked.failure("2").message())
        deny(sound(house), because="refused by upstream", reached=1)
        middle.script = Asked.pass_on
        house.reconcile(5)
        granted(house, forge)


@pytest.mark.proves("FT-08", "FT-10", "MSG-60", "SEC-15")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"0\x80",
        b"\x30\x82\xff\xff",
        b"\x30" * 5000,
        b"<html>",
        own_certificate(KEYS[0]).der,
        der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence())),
        der.sequence(der.oid(oid.ENVELOPED_DATA), der.explicit(0, der.sequence())),
        bytes(2_000_000),
    ],
    ids=["none", "nul", "open", "cut", "deep", "page", "certificate", "empty", "envelope", "2 MB"],
)
def test_bodies_that_are_no_answer(either: House, body: bytes) -> None:
    """What is no CMS, or hardly, under the right type is no answer."""
    house, middle = behind(either, lambda asked: Reply(200, body))
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, reached=1 if body else 2)
        middle.script = Asked.pass_on
        house.reconcile(5)
        granted(house, forge)


@pytest.mark.proves("AC-113", "FT-08", "SEC-12")
def test_long_answers(either: House) -> None:
    """What exceeds the configured size is not read to its end, whatever stands at its beginning."""
    house, middle = behind(either)
    middle.script = lambda asked: asked.pass_on() + b" " * house.config.upstreams["ca"].answer
    with denials(house) as deny:
        forge = sound(house)
        deny.unavailable(forge, "octets")
        middle.script = Asked.pass_on
        house.reconcile(5)
        granted(house, forge)


@pytest.mark.proves("FT-11", "CAPS-10", "RA-16", "I4")
def test_nothing_in_answer_to_post(ca: House) -> None:
    """A CA that answers POST with nothing gets the very same message by GET, and issues once."""
    house, middle = behind(ca)
    methods = []

    def mute(asked: Asked) -> bytes:
        methods.append((asked.request.method, asked.octets))
        answer = asked.pass_on()
        return b"" if asked.request.method == b"POST" else answer

    middle.script = mute
    issued = len(house.state.authority.issued)
    granted(house, sound(house, transaction_id="mute"))
    (first, message), (second, again) = methods
    assert (first, second, message) == (b"POST", b"GET", again)
    assert len(house.state.authority.issued) == issued + 1


@pytest.mark.proves("FT-14", "DR-13", "I4")
def test_one_request_is_one_message(house: House, line: Line, deny: Denials) -> None:
    """Whatever goes wrong, a client's request is one message at the CA: nothing is sent again while it waits."""
    for error in LOST:
        line.error = error
        deny.unavailable(sound(house), reached=1)
        house.clock.advance(600)
    line.error = None
    before = len(house.forwarded)
    granted(house, sound(house))
    assert len(house.forwarded) == before + 1


@pytest.mark.proves("FT-01", "FT-13", "RA-24", "DR-15")
def test_a_ca_that_loses_every_answer(house: House, line: Line, deny: Denials) -> None:
    """After several answers in a row that were lost the CA is left alone: clients are told to come again."""
    line.error = LOST[0]
    for _ in range(3):
        deny.unavailable(sound(house), reached=1)
    forge = sound(house)
    deny.unavailable(forge, reached=0)
    line.error = None
    house.reconcile(60)
    granted(house, forge)


@pytest.mark.proves("FT-01", "RA-24", "HTTP-26", "DR-15", "SEC-13")
def test_before_the_first_look(either: House) -> None:
    """An RA whose CA was never reached serves what it can from memory, and the rest as soon as the CA is there."""
    line = Line(either.ca)
    line.error, line.early, line.everything = NotConnected("no connection within 5 s"), True, True
    house = connected(either, line)
    assert ask(house, "GET", "/scep?operation=GetCACaps").status == 200
    absent = ask(house, "GET", "/scep?operation=GetCACert")
    assert (absent.status, absent.body) == (502, b"")
    assert int(absent.headers["retry-after"]) > 0
    forge = sound(house)
    response = post(house, forge.message())
    if house.authority.profile.polling:
        assert pki_status(house, response) is PKIStatus.PENDING
    else:
        assert (response.status, response.body) == (503, b"")
        assert house.stored["transactions"] == 0
    line.error = None
    house.reconcile(5)
    with denials(house):
        granted(house, forge)
        assert ask(house, "GET", "/scep?operation=GetCACert").status == 200


# --- Faults of our own -----------------------------------------------------------------------------------------------


class Broken:
    """Stands for any part of the RA, and fails when it is used."""

    name = "broken"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def check(self, request: Any) -> Any:
        raise self.error

    async def identity(self, subject_der: bytes, now: Any) -> Any:
        raise self.error

    async def again(self, key_id: Any, certificate: Any) -> Any:
        raise self.error

    def violations(self, *arguments: Any) -> Any:
        raise self.error


@pytest.mark.proves("FT-59", "DR-6", "I3", "I4", "I7", "I9", "I10", "HTTP-26", "AC-103")
@pytest.mark.parametrize(("part", "reached"), [("provider", 0), ("signer", 0), ("issuance", 1)])
def test_errors_of_our_own(shared: House, part: str, reached: int) -> None:
    """A part that fails refuses: an empty 500, one record that says so, no text of the exception, nothing more sent.
    The same request is answered when the part works, and what had been sent is not issued twice."""
    sane, _ = behind(shared)
    house = rebuilt(sane, **{part: Broken(RuntimeError(f"canary {shared.challenge}"))})
    events, forwarded, issued = len(house.events), len(house.forwarded), len(house.state.authority.issued)
    forge = sound(house, transaction_id=part)
    response = post(house, forge.message())
    assert (response.status, response.body) == (500, b"")
    assert len(house.forwarded) == forwarded + reached
    assert house.stored["transactions"] == reached
    ours = [event for event in house.events[events:] if not event["log_namespace"].startswith("scepra.lab")]
    (record,) = house.records[-1:]
    assert (record["outcome"], record["transaction"]) == ("error", part)
    assert len([event for event in ours if event["log_namespace"] == "scepra.audit"]) == 1
    assert shared.challenge not in repr(ours)
    with denials(sane):
        sane.reconcile(120)
        granted(sane, forge)
        assert len(house.state.authority.issued) == issued + 1


class FailingKey(CountingKey):
    """A key in a device that fails, instead of giving octets of no use."""

    def __init__(self, of: Any, error: Exception) -> None:
        super().__init__(of)
        self.error = error

    def decrypt(self, ciphertext: bytes, transport: Any) -> bytes:
        raise self.error


@pytest.mark.proves("I8", "AC-036", "SEC-02", "DR-12")
@pytest.mark.parametrize("error", [ValueError("padding"), RuntimeError("CKR_ENCRYPTED_DATA_INVALID"), OSError("gone")])
def test_keys_that_fail(shared: House, error: Exception) -> None:
    """A key that says why it did not open is not heard: its failure has the one answer of every fault inside."""
    wrong = masked(post(shared, sound(shared, csr=request(shared, challenge="wrong")).message()).body)
    generation = shared.authority.keyring.current
    identity = replace(generation.encryption, key=FailingKey(generation.encryption.key, error))
    keyring = type(shared.authority.keyring)([replace(generation, encryption=identity)])
    house = rebuilt(shared, identities=FixedIdentities(keyring))
    forge = sound(house)
    assert masked(post(house, forge.message()).body) == wrong
    Denials(house)(forge)


@pytest.mark.proves("FT-56", "I3", "DR-15")
def test_a_key_that_has_gone(shared: House) -> None:
    """A key that cannot be reached is no fault of the message: its client is told to come again, and has lost
    nothing."""
    generation = shared.authority.keyring.current
    gone = KeyUnavailable("hsm", "is not there")
    identity = replace(generation.encryption, key=FailingKey(generation.encryption.key, gone))
    keyring = type(shared.authority.keyring)([replace(generation, encryption=identity)])
    house = rebuilt(shared, identities=FixedIdentities(keyring))
    forge = sound(house)
    before = house.stored
    answer = post(house, forge.message())
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert house.stored == before
    granted(shared, forge)
