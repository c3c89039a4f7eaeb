"""One CA follows another, before clients that notice it and clients that do not (conformance 3.3; RA-31)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel

from scepra.lab import Authority, Behaviour, CertificationService, Client, Discovery, Faces, Fault, RAUsage, Word
from scepra.scep.algorithm import Floor
from scepra.scep.capabilities import GET_NEXT_CA_CERT, Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates
from scepra.scep.identity import Generation, Keyring
from scepra.scep.message import MessageType, PKIStatus
from scepra.scep.rollover import parse_next_ca_cert
from scepra.scep.transport import OperationKind
from scepra.store import tables
from scepra.transaction import State, Transaction
from tests import csrs
from tests.rig.device import rebuilt
from tests.rig.house import Day, House, house, lab_state, run

BEGINS = timedelta(days=30)


@dataclass(slots=True)
class Changing:
    """Identities that a test exchanges."""

    keyring: Keyring
    upcoming: Generation | None = None


@dataclass(slots=True)
class Scene:
    """A house whose CA will be followed by another in thirty days, and the RA's next certificates by that CA."""

    house: House
    day: Day
    service: CertificationService
    former: Authority
    following: Authority
    identities: Changing
    next: Generation

    def announce(self) -> None:
        """The CA tells of its successor; the RA hears of it, and has certificates by it."""
        self.service.announce(self.following)
        self.look()
        self.identities.upcoming = self.next
        self.identities.keyring = Keyring([*self.identities.keyring.generations, self.next])

    def roll_over(self) -> None:
        """The successor takes over at its time, and the RA's certificates by it are the ones that it shows."""
        self.day.advance((BEGINS + timedelta(days=1)).total_seconds())
        self.service.roll_over()
        self.look()
        self.identities.upcoming = None
        self.identities.keyring = Keyring([self.next, *self.identities.keyring.generations[:1]])

    def look(self) -> None:
        """The RA asks the CA what it offers."""
        run(self.house.upstream.discover())

    def client(self) -> Client:
        """A client that talks to the RA as it shows itself now."""
        client = self.house.client(clock=self.day.now)
        run(client.discover())
        return client

    def client_of_next(self) -> Client:
        """A client that has learned of the RA's next certificates, and uses them already."""
        client = self.house.client(clock=self.day.now)
        certificates = (self.next.encryption.certificate, self.following.certificate)
        client._discovery = Discovery(Capabilities.parse(self.house.authority.ca_caps()), certificates)
        return client

    def enrol(self, client: Client, name: str, **more: Any) -> Any:
        """What an enrolment comes to."""
        return run(client.enrol(name, challenge=self.house.challenge, key=csrs.rsa_key(), **more))

    @property
    def transactions(self) -> list[Transaction]:
        """What is stored."""
        names = [row.id for row in self.house.rows(tables.transactions)]
        return [self.house.transaction(name) for name in names]

    def next_ca_cert(self) -> tuple[int, bytes]:
        """Status and body of GetNextCACert."""
        return self.house.get("/scep?operation=GetNextCACert")


@cache
def next_key() -> Any:
    """The key of the next CA."""
    return csrs.rsa_key(which=15)


@contextmanager
def scene(lab: Path, behaviour: Behaviour = Behaviour(), **upstream: Any) -> Iterator[Scene]:  # noqa: B008 - frozen
    """Set one."""
    day = Day()
    former = Authority(lab_state(lab).authority.identity, day.now)
    service = CertificationService(former, behaviour=behaviour)
    following = Authority.create("scepra lab CA", next_key(), day.now, begins=day.now() + BEGINS)
    both = following.issue_ra("scepra lab RA", key=csrs.rsa_key(which=16))
    with house(lab, {}, upstream, now=day.now, clock=day, ca=service) as made:
        identities = Changing(made.authority.keyring)
        changed = rebuilt(made, identities=identities)
        yield Scene(changed, day, service, former, following, identities, Generation(both, both))


def by(enrolment: Any) -> Certificate:
    """What an enrolment brought."""
    assert enrolment.status is PKIStatus.SUCCESS
    certificate: Certificate = enrolment.certificate
    return certificate


# What clients are told


@pytest.mark.proves("CERT-34", "CAPS-04")
def test_the_capability_comes_and_goes_with_what_is_announced(lab: Path) -> None:
    """Without a next CA there is no capability, and 501 with nothing; both change together, and back."""
    with scene(lab) as told:
        for announced in (False, True, False):
            told.service.following = told.following if announced else None
            told.look()
            status, body = told.next_ca_cert()
            listed = GET_NEXT_CA_CERT in Capabilities.parse(told.house.authority.ca_caps())
            assert (status, bool(body), listed) == ((200, True, True) if announced else (501, False, False))


@pytest.mark.proves("CERT-30", "CERT-31")
def test_the_ca_s_own_word_is_passed_on_as_it_is(lab: Path) -> None:
    """What the pinned CA's key has signed reaches clients octet by octet, and verifies under that CA."""
    with scene(lab) as told:
        told.announce()
        status, body = told.next_ca_cert()
        assert status == 200
        assert body == told.service._next_ca_cert()
        read = parse_next_ca_cert(body, (told.former.certificate,), Floor())
        assert read.signed and read.certificates == (told.following.certificate,)


@pytest.mark.proves("CERT-31", "CERT-32", "CERT-33")
@pytest.mark.parametrize("word", [Word.RA, Word.FIELD])
def test_other_words_are_said_anew_by_the_ra(word: Word, lab: Path) -> None:
    """What another signed, or no signature covers, the RA signs itself, and tells of its own next certificates too,
    which the next CA issued."""
    pins = ["file:ca.crt"]
    with scene(lab, Behaviour(faces=Faces.RA, word=word), rollover="ra") as told:
        if word is Word.FIELD:
            pinned = f"sha256:{told.following.certificate.fingerprint()}"
            with scene(lab, Behaviour(faces=Faces.RA, word=word), **{"ca-fingerprint": [*pins, pinned]}) as other:
                other.following, other.next = told.following, told.next
                check_said_anew(other)
        else:
            check_said_anew(told)


def check_said_anew(told: Scene) -> None:
    """The RA's own answer."""
    told.announce()
    body = told.next_ca_cert()[1]
    assert body != told.service._next_ca_cert()
    signing = told.identities.keyring.current.signing.certificate
    read = parse_next_ca_cert(body, (signing,), Floor())
    assert read.signed
    assert read.certificates == (told.following.certificate, told.next.encryption.certificate)
    assert read.certificates[1].signed_by(read.certificates[0].public_key)


@pytest.mark.proves("CERT-32")
def test_only_the_next_ca_s_certificates_of_the_ra_are_told_of(lab: Path) -> None:
    """Next certificates of the RA that the CA of today issued belong in no GetNextCACert."""
    with scene(lab, Behaviour(faces=Faces.RA, word=Word.RA), rollover="ra") as told:
        of_today = told.former.issue_ra("scepra lab RA", RAUsage.DUAL, csrs.rsa_key(which=16))
        told.next = Generation(of_today, of_today)
        told.announce()
        signing = told.identities.keyring.current.signing.certificate
        read = parse_next_ca_cert(told.next_ca_cert()[1], (signing,), Floor())
        assert read.certificates == (told.following.certificate,)


@pytest.mark.proves("CERT-34", "AC-106")
@pytest.mark.parametrize("word", [Word.STRANGER, Word.UNSIGNED, Word.MESSAGE, Word.FIELD])
def test_forged_announcements_reach_no_client(word: Word, lab: Path) -> None:
    """What the RA does not believe it does not pass on."""
    with scene(lab, Behaviour(word=word)) as told:
        told.service.announce(told.following)
        told.look()
        assert told.next_ca_cert() == (501, b"")


# Who is asked


@pytest.mark.proves("CERT-35", "RA-31")
@pytest.mark.parametrize("faces", list(Faces))
def test_two_enrolments_at_once_reach_a_generation_each(faces: Faces, lab: Path) -> None:
    """The envelope says which generation is meant: one client gets a certificate by the CA of today, the other one by
    the next CA, valid from its time on; each is answered by the RA generation that it used."""
    with scene(lab, Behaviour(faces=faces)) as told:
        told.announce()
        now, ahead = (by(told.enrol(each(), f"{name}.example")) for each, name in (
            (told.client, "now"), (told.client_of_next, "ahead"),
        ))  # fmt: skip
        assert now.signed_by(told.former.certificate.public_key) and now.valid_at(told.day.now())
        assert ahead.signed_by(told.following.certificate.public_key)
        assert not ahead.valid_at(told.day.now()) and ahead.not_before == told.following.certificate.not_before
        assert {each.authority for each in told.transactions} == {
            bytes.fromhex(each.certificate.fingerprint()) for each in (told.former, told.following)
        }


@pytest.mark.proves("CERT-35")
@pytest.mark.parametrize("ahead", [False, True])
def test_the_other_generation_s_certificate_is_not_believed(ahead: bool, lab: Path) -> None:
    """A request for one generation is not answered by the other: what comes of it is kept, and not delivered."""
    with scene(lab) as told:
        told.announce()
        client = told.client_of_next() if ahead else told.client()
        chosen = told.former if ahead else told.following
        told.service._asked = lambda generation: chosen  # type: ignore[method-assign]
        assert told.enrol(client, "dev.example").status is PKIStatus.FAILURE
        assert "is not the pinned CA" in str(told.house.records[-1]["reasons"])


@pytest.mark.proves("AC-110")
def test_a_certificate_that_begins_after_the_next_ca_is_not_believed(lab: Path) -> None:
    """A shadow certificate may be valid from the next CA's time on, and no later."""
    with scene(lab) as told:
        told.announce()
        told.following._begins = told.day.now() + BEGINS + timedelta(days=1)
        assert told.enrol(told.client_of_next(), "dev.example").status is PKIStatus.FAILURE
        assert "does not include now" in str(told.house.records[-1]["reasons"])


# All the way


@pytest.mark.proves("RA-31", "CERT-12", "CERT-13", "CERT-35")
def test_a_rollover_from_its_announcement_to_a_restart_with_the_old_pin(lab: Path) -> None:
    """Old clients poll for what they asked the old CA, new ones and renewals have the new one; the pin stays."""
    with scene(lab) as told:
        told.service.behaviour = replace(told.service.behaviour, status=PKIStatus.PENDING)
        old, slow = told.client(), told.client()
        waiting, unseen = told.enrol(old, "waits.example"), told.enrol(slow, "late.example")
        told.service.behaviour = replace(told.service.behaviour, status=PKIStatus.SUCCESS)
        mine = told.enrol(told.client(), "mine.example")
        assert by(mine).signed_by(told.former.certificate.public_key)
        told.announce()
        early = told.enrol(told.client_of_next(), "early.example")
        told.service.approve(next(iter(told.service.transactions)))
        told.roll_over()
        assert told.next_ca_cert() == (501, b"")
        shown = parse_ca_certificates(told.house.authority.ca_cert()[1])
        assert shown == (told.next.encryption.certificate, told.following.certificate)
        # What the old CA has issued meanwhile is fetched from the new one; what it had not is issued by the new one.
        told.service.approve(list(told.service.transactions)[1])
        told.house.reconcile(7200, step=60)
        fetched, late = by(run(old.poll(waiting))), by(run(slow.poll(unseen)))
        assert fetched.signed_by(told.former.certificate.public_key)
        assert late.signed_by(told.following.certificate.public_key)
        # Certificates of both generations renew at the new CA.
        for each, which in ((mine, 2), (early, 4)):
            again = run(told.client().renew(each, key=csrs.rsa_key(which=which)))
            assert by(again).signed_by(told.following.certificate.public_key)
        with house(lab, now=told.day.now, clock=told.day, ca=told.service, database=told.house.database) as restarted:
            assert restarted.upstream.view is not None
            assert restarted.upstream.view.pinned == told.following.certificate
            pins = restarted.config.upstreams["ca"].ca_fingerprint
            assert [pin.matches(told.former.certificate) for pin in pins] == [True]


@pytest.mark.proves("CERT-35", "FT-17")
@pytest.mark.parametrize("faces", list(Faces))
def test_a_request_on_the_day_itself_is_granted_before_the_ra_has_looked(faces: Faces, lab: Path) -> None:
    """The CA has changed since the RA looked at it last: what the new one issues is delivered, also to one client after
    another, and the RA has looked again."""
    with scene(lab, Behaviour(faces=faces)) as told:
        told.announce()
        client = told.client()
        told.day.advance((BEGINS + timedelta(days=1)).total_seconds())
        told.look()
        told.service.roll_over()
        for name in ("first", "second"):
            assert by(told.enrol(client, f"{name}.example")).signed_by(told.following.certificate.public_key)
        view = told.house.upstream.view
        assert view is not None
        assert view.pinned == told.following.certificate


@pytest.mark.proves("CERT-35", "FT-17")
def test_what_the_next_ca_has_issued_waits_until_the_ca_can_be_looked_at(lab: Path) -> None:
    """As long as GetCACert says nothing, what the next CA issued is neither delivered nor given up."""
    with scene(lab) as told:
        told.announce()
        client = told.client()
        told.day.advance((BEGINS + timedelta(days=1)).total_seconds())
        told.look()
        told.service.roll_over()
        usual = told.service.behaviour
        faulty = frozenset((OperationKind.GET_CA_CERT,))
        told.service.behaviour = replace(usual, fault=Fault.HTML, faulty=faulty)
        waiting = told.enrol(client, "dev.example")
        assert waiting.status is PKIStatus.PENDING
        assert [each.state for each in told.transactions] == [State.UNKNOWN]
        told.service.behaviour = usual
        told.house.reconcile(300, step=10)
        assert by(run(client.poll(waiting))).signed_by(told.following.certificate.public_key)


@pytest.mark.proves("CERT-34", "CAPS-11")
def test_a_rollover_is_no_loss_of_capabilities(lab: Path) -> None:
    """A CA that has taken over has no next one to tell of: that is no error."""
    with scene(lab) as told:
        told.announce()
        told.roll_over()
        errors = [event for event in told.house.events if event["log_level"] >= LogLevel.error]
        assert errors == []


@pytest.mark.proves("CERT-35", "FT-43")
def test_another_process_that_knows_less_asks_first(lab: Path) -> None:
    """A transaction for a CA that this process has not heard of makes it look again, before it sends anything."""
    with scene(lab) as told:
        told.announce()
        told.service.behaviour = replace(told.service.behaviour, status=PKIStatus.PENDING)
        enrolment = told.enrol(told.client_of_next(), "dev.example")
        assert enrolment.status is PKIStatus.PENDING
        told.service.approve(next(iter(told.service.transactions)))
        view = told.house.upstream.view
        assert view is not None
        told.house.upstream.view = replace(view, next=None, announcement=None, lineage=())
        told.house.reconcile(120, step=1)
        assert [each.state for each in told.transactions] == [State.ISSUED]
        assert MessageType.CERT_POLL in [each.message_type for each in told.service.received]
        assert by(run(told.client_of_next().poll(enrolment))).signed_by(told.following.certificate.public_key)
