"""GetCert and GetCRL: to whom they are answered, with what, and what stays the same for everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from asn1crypto import cms as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from treq.testing import StubTreq
from twisted.internet.error import ConnectError

from scepra.errors import FailInfo
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.cms import degenerate
from scepra.scep.message import MessageType, PKIStatus
from scepra.store import tables
from tests import csrs
from tests.ra.test_revocation import HOUR, URL, Place, Scene
from tests.rig.crls import crl
from tests.rig.denial import denials, masked
from tests.rig.device import (
    KEY,
    OLD,
    STRANGER,
    THIEF,
    ca_key,
    counted,
    days,
    device_certificate,
    granted,
    post,
    rebuilt,
    request,
    sound,
)
from tests.rig.forge import Forge, ReadAnswer, ca_extensions, certificate, key_identifier, read_answer
from tests.rig.house import FREELY, Day, House, house
from tests.rig.upstream import EMPTY_CONTENT, Asked, Line, Reply, behind, connected, status

BAD_CERT_ID = FailInfo.BAD_CERT_ID
OWN = {"get-cert": "own"}
LISTS = {"crl": {"trust": "ca.crt", "urls": URL}}
GET_CERT, GET_CRL = MessageType.GET_CERT, MessageType.GET_CRL


def holder(built: House, key: Any = KEY) -> Certificate:
    """A certificate that a device has through the RA."""
    csr = request(built, key=key)
    answer = granted(built, sound(built, key=key, csr=csr), key)
    return Certificate.parse(answer.certificates()[0])


def named(issuer: bytes, serial: int) -> bytes:
    """An IssuerAndSerialNumber."""
    return der.sequence(issuer, der.integer(serial))


def about(of: Certificate) -> bytes:
    """The name of a certificate."""
    return named(of.issuer_der, of.serial)


def query(
    built: House, kind: MessageType, content: bytes, signer: Certificate | None, key: Any = KEY, **more: Any
) -> Forge:
    """A GetCert or GetCRL; without a signer a certificate of the client's own making."""
    return sound(built, message_type=kind.value, content=content, key=key, signer=signer, **more)


def lists(answer: ReadAnswer) -> list[x509.CertificateRevocationList]:
    """The lists in an answer, which has nothing else in it."""
    data = asn1.ContentInfo.load(answer.payload, strict=True)["content"]
    assert not len(data["certificates"] or ())
    return [x509.load_der_x509_crl(each.chosen.dump()) for each in data["crls"]]


@contextmanager
def scene(lab: Path, queries: dict[str, Any], **profile: Any) -> Iterator[Scene]:
    """A house with queries, and the place where its CA's lists are."""
    day, place = Day(), Place()
    with house(lab, {"queries": queries, **profile}, now=day.now, clock=day, web=StubTreq(place)) as built:
        yield Scene(built, day, place)


@pytest.fixture
def owning(lab: Path) -> Iterator[House]:
    """A house whose devices may fetch their own certificates; nothing renews that the RA has not issued."""
    renewal = {"trust": "ca.crt", "window": "3650d"}
    with house(lab, {"queries": OWN, "renewal": renewal}) as built:
        yield built


# --- GetCert ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves("MSG-50", "AC-059", "I6", "I7")
@pytest.mark.parametrize("signed", ["by it", "by its key"])
def test_one_s_own_certificate(owning: House, signed: str) -> None:
    """Whoever holds its key is sent a certificate, sealed to that key; the CA hears nothing, and nothing is stored."""
    own = holder(owning)
    stored, forwarded = owning.stored, len(owning.forwarded)
    answer = granted(owning, query(owning, GET_CERT, about(own), own if signed == "by it" else None))
    assert answer.certificates() == [own.der]
    assert answer.recipients == 1
    assert (owning.stored, len(owning.forwarded)) == (stored, forwarded)
    record = owning.records[-1]
    assert (record["outcome"], record["message_type"], record["certificate"]) == (
        "answered",
        "GET_CERT",
        own.fingerprint(),
    )
    assert len(record["request"]) == 64


@pytest.mark.proves("MSG-50")
def test_older_certificates_of_one_key(owning: House) -> None:
    """A key that was certified twice may fetch either, by either."""
    first, second = holder(owning), holder(owning)
    for signer in (first, second):
        for wanted in (first, second):
            assert granted(owning, query(owning, GET_CERT, about(wanted), signer)).certificates() == [wanted.der]


@pytest.mark.proves("MSG-50")
def test_a_certificate_whose_transaction_is_forgotten(owning: House) -> None:
    """What the RA has not kept, the device brings along itself: its certificate is answered, by its key alone not."""
    own = holder(owning)
    owning.database.call(lambda connection: connection.execute(sa.delete(tables.transactions)))
    assert granted(owning, query(owning, GET_CERT, about(own), own)).certificates() == [own.der]
    with denials(owning) as deny:
        deny(query(owning, GET_CERT, about(own), None), because="no certificate here")


@pytest.mark.proves("AC-059", "MSG-50", "I8", "SEC-02")
def test_another_s_is_as_if_it_did_not_exist(owning: House) -> None:
    """Serial numbers 1 to 200, another device's, what the CA issued elsewhere, and content that is none: one answer."""
    own, other = holder(owning), holder(owning, OLD)
    elsewhere = device_certificate(owning)
    ca = owning.state.authority.certificate
    foreign = certificate(STRANGER, "Other CA", extensions=ca_extensions())
    contents = [
        *(named(ca.subject_der, serial) for serial in range(1, 201)),
        about(other),
        about(elsewhere),
        named(foreign.subject_der, own.serial),
        named(ca.subject_der, -own.serial),
        named(ca.subject_der, own.serial << 1000),
        own.der,
        request(owning),
        b"",
        b"\x30\x80",
        named(b"\x30\x03\x31\x01\x00", own.serial),
    ]
    answers = set()
    with denials(owning) as deny:
        for content in contents[200:]:
            deny(query(owning, GET_CERT, content, own), BAD_CERT_ID, "nothing that this asker may have")
        for content in contents:
            answers.add(masked(post(owning, query(owning, GET_CERT, content, own).message()).body))
        # Neither does a key that does not open the envelope say anything.
        recipients = query(owning, GET_CERT, about(own), own, encrypted_content=der.tlv(0x80, bytes(32)))
        answers.add(masked(post(owning, recipients.message()).body))
    assert len(answers) == 1
    assert len(owning.forwarded) == 3


def _strangers(built: House) -> Iterator[tuple[str, Any, Certificate | None]]:
    """Who has no certificate of the RA's, or none that is good, by what it is: its key, and what it signs with."""
    ca = built.state.authority.certificate
    yield "own making", THIEF, None
    yield "issued elsewhere", OLD, device_certificate(built)
    yield "another CA", STRANGER, certificate(STRANGER, by=(STRANGER, certificate(STRANGER, "Other CA")))
    yield "the CA's name only", STRANGER, certificate(STRANGER, by=(STRANGER, ca), serial=der.integer(77))
    # What the RA has issued, changed in one bit: its fingerprint is not known.
    own = holder(built)
    yield "a twin", KEY, certificate(KEY, by=(ca_key(built), ca), serial=own.serial_der, validity=(days(-1), days(9)))


@pytest.mark.proves("AC-059", "MSG-50", "I8", "SEC-02", "RA-32")
@pytest.mark.parametrize("kind", [GET_CERT, GET_CRL])
def test_strangers(lab: Path, kind: MessageType) -> None:
    """To all who have no certificate here every query is refused alike, and the RA's key opens nothing for them."""
    renewal = {"trust": "ca.crt", "window": "3650d"}
    with scene(lab, {**OWN, **LISTS}, renewal=renewal) as there:
        built, key = counted(there.house)
        there.publish()
        answers = set()
        with denials(built) as deny:
            for _, own, signer in _strangers(built):
                opened = key.opened
                for wanted in (holder(built, OLD), None):
                    content = about(wanted) if wanted else named(built.state.authority.certificate.subject_der, 1)
                    opened = key.opened
                    forge = query(built, kind, content, signer, own)
                    deny(forge, because="no certificate here that is good now")
                    answers.add(masked(post(built, forge.message()).body))
                    assert key.opened == opened
        assert len(answers) == 1
        assert there.place.asked == 0


@pytest.mark.proves("AC-059", "AC-049", "AC-055")
@pytest.mark.parametrize("why", ["ended", "revoked", "revoked, by its key", "of nothing known"])
def test_certificates_that_stand_no_more(lab: Path, why: str) -> None:
    """Who has had a certificate that is over or revoked is a stranger; so is one of whom that is not known."""
    renewal = {"trust": "ca.crt", "window": "3650d", "crl": {"urls": URL}}
    with scene(lab, OWN, renewal=renewal) as there, denials(there.house) as deny:
        own = holder(there.house)
        there.publish(next_update=there.day.now() + HOUR)
        signer = None if "key" in why else own
        assert granted(there.house, query(there.house, GET_CERT, about(own), signer)).certificates() == [own.der]
        if why == "ended":
            there.pass_time(366 * 86400)
        else:
            there.pass_time(2 * 3600)
        there.place.has.clear()
        if why != "of nothing known":
            there.publish(*([own] if "revoked" in why else []))
        deny(query(there.house, GET_CERT, about(own), signer), because="no certificate here that is good now")
        if why == "ended":
            # The control enrols at a time when nothing is over.
            there.day.shift = timedelta(days=-366)


@pytest.mark.proves("AC-055", "AC-059")
def test_the_ra_s_own_certificate_asks_nothing(owning: House) -> None:
    """Who has a certificate with powers is no device, though the RA has issued it."""
    own = holder(owning)
    queries = replace(owning.authority.queries, infrastructure=frozenset((own,)))
    with denials(rebuilt(owning, queries=queries)) as deny:
        deny(query(owning, GET_CERT, about(own), own), because="no certificate here that is good now")


@pytest.mark.proves("MSG-50", "AC-050")
def test_whoever_may_renew_may_ask(lab: Path) -> None:
    """Where certificates renew that the RA never issued, they ask too, and are told of themselves; not with SHA-1."""
    with house(lab, {"queries": OWN}) as built, denials(built) as deny:
        mine, other = device_certificate(built), device_certificate(built, THIEF)
        forge = query(built, GET_CERT, about(mine), mine, OLD)
        assert granted(built, forge, OLD).certificates() == [mine.der]
        deny(query(built, GET_CERT, about(other), mine, OLD), BAD_CERT_ID)
        deny(replace(forge, digest=Digest.SHA1), because="no certificate here that is good now")


@pytest.mark.proves("AC-050", "AC-059")
def test_certificates_of_other_profiles(owning: House) -> None:
    """What was issued through another profile asks only where it renews too."""
    own = holder(owning)
    owning.database.call(lambda connection: connection.execute(sa.update(tables.certificates).values(profile="other")))
    with denials(owning) as deny:
        for signer in (own, None):
            deny(query(owning, GET_CERT, about(own), signer), because="no certificate here that is good now")
    rules = replace(owning.authority.renewal, profiles=frozenset(("dev", "other")))
    both = rebuilt(owning, renewal=rules)
    for signer in (own, None):
        assert granted(both, query(both, GET_CERT, about(own), signer)).certificates() == [own.der]


def test_a_profile_that_renews_nothing(lab: Path) -> None:
    """Certificates of the RA's ask also where none renews, and nobody else's do."""
    with house(lab, {"queries": OWN, "renewal": None}) as built, denials(built) as deny:
        own = holder(built)
        assert granted(built, query(built, GET_CERT, about(own), own)).certificates() == [own.der]
        deny(query(built, GET_CERT, about(own), device_certificate(built, KEY)), because="no certificate here")


def test_keys_that_cannot_decrypt(owning: House) -> None:
    """There is no challenge to encrypt an answer with, so clients whose keys only sign get none."""
    key = csrs.ec_key(which=62)
    csr = request(owning, key=key)
    forge = sound(owning, key=key, csr=csr, signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256))
    assert post(owning, forge.message()).status == 200
    row = owning.rows(tables.transactions)[0]
    own = Certificate.parse(row.certificate)
    with denials(owning) as deny:
        asked = query(owning, GET_CERT, about(own), own, key, signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256))
        deny(asked, because="cannot decrypt an answer")


@pytest.mark.proves("MSG-50", "AC-059", "RA-32")
@pytest.mark.parametrize("queries", [OWN, LISTS, {}])
def test_what_is_off_is_off(lab: Path, queries: dict[str, Any]) -> None:
    """Each kind of query is refused that the profile does not name, to whoever asks."""
    with scene(lab, queries) as there, denials(there.house) as deny:
        own = holder(there.house)
        for kind in (GET_CERT, GET_CRL):
            if not ((kind is GET_CERT and queries is OWN) or (kind is GET_CRL and queries is LISTS)):
                deny(query(there.house, kind, about(own), own), because="queries are not served")


@pytest.mark.proves("MSG-50", "DR-12")
def test_queries_are_counted(lab: Path) -> None:
    """A key asks as often as it may sign messages; then it is told to wait, as for anything else."""
    rates = {**FREELY, "key": {"count": 5, "per": "1m"}}
    with house(lab, {"queries": OWN}, rates=rates) as built:
        own = holder(built)
        forge = query(built, GET_CERT, about(own), own)
        assert [post(built, forge.message()).status for _ in range(6)] == [200] * 4 + [429] * 2


# --- GetCRL ----------------------------------------------------------------------------------------------------------


def _three(built: House, own: Certificate) -> list[bytes]:
    """What clients write into a GetCRL."""
    ca = built.state.authority.certificate
    points = der.sequence(der.sequence(der.tlv(0xA0, der.tlv(0xA0, der.tlv(0x86, b"http://127.0.0.9:9/evil.crl")))))
    return [about(own), about(ca), der.sequence(about(own), points)]


@pytest.mark.proves("MSG-51", "MSG-52", "CMS-49", "I11", "AC-062")
def test_the_three_encodings(lab: Path, outside: list[str]) -> None:
    """The list of the CA is sent, alone, whichever certificate a client names; it is fetched once, from where it is
    configured, and the CA is not asked."""
    with scene(lab, LISTS) as there:
        own = holder(there.house)
        there.publish(device_certificate(there.house))
        stored, forwarded = there.house.stored, len(there.house.forwarded)
        for content in _three(there.house, own):
            (found,) = lists(granted(there.house, query(there.house, GET_CRL, content, own)))
            assert len(found) == 1
            assert there.house.records[-1]["outcome"] == "answered"
        assert (there.place.asked, outside) == (1, [])
        assert (there.house.stored, len(there.house.forwarded)) == (stored, forwarded)


@pytest.mark.proves("AC-059", "MSG-51", "I8")
def test_lists_of_issuers_that_nobody_knows(lab: Path) -> None:
    """Invented issuers, and what is none, have one answer."""
    with scene(lab, LISTS) as there, denials(there.house) as deny:
        own = holder(there.house)
        there.publish()
        answers = set()
        foreign = [named(csrs.subject(f"CA {number}"), own.serial) for number in range(20)]
        for content in (*foreign, b"", b"none", request(there.house), named(own.issuer_der, 1 << 300)):
            forge = query(there.house, GET_CRL, content, own)
            deny(forge, BAD_CERT_ID, "nothing that this asker may have")
            answers.add(masked(post(there.house, forge.message()).body))
        assert len(answers) == 1
        assert there.place.asked == 0


@pytest.mark.proves("MSG-52", "FT-57")
def test_a_list_serves_until_its_end(lab: Path) -> None:
    """While its source is down the list is sent until its nextUpdate, never after; then clients are to come again."""
    with scene(lab, LISTS) as there:
        own = holder(there.house)
        there.publish()
        forge = query(there.house, GET_CRL, about(own), own)
        (first,) = lists(granted(there.house, forge))
        there.place.has.clear()
        there.pass_time(23 * 3600)
        assert lists(granted(there.house, forge)) == [first]
        there.pass_time(2 * 3600)
        assert post(there.house, forge.message()).status == 503
        assert there.house.records[-1]["outcome"] == "unavailable"
        there.publish()
        there.pass_time(31)
        (second,) = lists(granted(there.house, forge))
        assert second.last_update_utc > first.last_update_utc


@pytest.mark.proves("MSG-52", "AC-049")
@pytest.mark.parametrize("damage", [404, b"", "another's", "its name only", "over", "too large", "another's point"])
def test_no_list_that_is_not_the_ca_s(lab: Path, damage: str | bytes | int) -> None:
    """Nothing is handed on but what the CA has signed, is good now, small enough and for the one who asks."""
    section = {"crl": {**LISTS["crl"], "size": 2000}}
    with scene(lab, section) as there:
        own, ca = holder(there.house), there.house.state.authority.certificate
        if isinstance(damage, bytes | int):
            there.place.has[b"/ca.crl"] = damage
        elif damage == "another's":
            there.place.has[b"/ca.crl"] = crl(STRANGER, certificate(STRANGER, "Other CA", extensions=ca_extensions()))
        elif damage == "its name only":
            there.place.has[b"/ca.crl"] = crl(STRANGER, ca)
        elif damage == "over":
            there.publish(next_update=there.day.now() - timedelta(seconds=1))
        elif damage == "another's point":
            point = der.sequence(der.tlv(0xA0, der.tlv(0xA0, der.tlv(0x86, b"http://a.example"))))
            now = there.day.now()
            there.place.has[b"/ca.crl"] = crl(
                ca_key(there.house),
                ca,
                [],
                csrs.extension("2.5.29.28", point, critical=True),
                this_update=now - HOUR,
                next_update=now + HOUR,
            )
        else:
            there.publish(*(device_certificate(there.house) for _ in range(100)))
        assert post(there.house, query(there.house, GET_CRL, about(own), own).message()).status == 503


@pytest.mark.proves("MSG-51")
def test_the_lists_of_several_cas(lab: Path) -> None:
    """Each issuer's own list is sent; a CA below another is named by its own certificate only where the other has
    none."""
    below = certificate(STRANGER, "CA below", by=None, extensions=ca_extensions())
    (lab / "below.der").write_bytes(below.der)
    day, place = Day(), Place()
    queries = {"crl": {"trust": ["ca.crt", "below.der"], "urls": [URL, "http://pki.example/below.crl"]}}
    with house(lab, {"queries": queries}, now=day.now, clock=day, web=StubTreq(place)) as built:
        there = Scene(built, day, place)
        own = holder(built)
        there.publish()
        now = day.now()
        place.has[b"/below.crl"] = crl(STRANGER, below, [1, 2, 3], this_update=now - HOUR, next_update=now + HOUR)
        (mine,) = lists(granted(built, query(built, GET_CRL, about(own), own)))
        (theirs,) = lists(granted(built, query(built, GET_CRL, named(below.subject_der, 9), own)))
        assert (len(mine), len(theirs)) == (0, 3)


@pytest.mark.proves("MSG-51", "CERT-12")
def test_the_list_of_a_ca_that_follows(lab: Path) -> None:
    """It is handed on as soon as that CA is believed to follow the configured one, and not before."""
    naming = csrs.extension("2.5.29.35", der.sequence(der.tlv(0x80, b"\1" * 20)))
    extensions = (*ca_extensions(), key_identifier(b"\1" * 20))
    with scene(lab, LISTS) as there:
        own, ca = holder(there.house), there.house.state.authority.certificate
        following = certificate(STRANGER, ca.subject_der, extensions=extensions)
        now, view = there.day.now(), there.house.upstream.view
        assert view is not None
        content = crl(STRANGER, following, [7], naming, this_update=now - HOUR, next_update=now + HOUR)
        there.place.has[b"/ca.crl"] = content
        forge = query(there.house, GET_CRL, named(following.subject_der, 9), own)
        assert post(there.house, forge.message()).status == 503
        there.house.upstream.view = replace(view, lineage=(ca, following))
        there.pass_time(31)
        (found,) = lists(granted(there.house, forge))
        assert found.public_bytes(Encoding.DER) == content


@pytest.mark.proves("MSG-51", "AC-059", "I8")
def test_the_name_of_the_place(lab: Path) -> None:
    """A profile that says where the list is tells it in a refusal, and nothing is opened or fetched for that."""
    with scene(lab, {"location": URL}, renewal={"trust": "ca.crt", "window": "3650d"}) as there:
        built, key = counted(there.house)
        own = holder(built)
        opened = key.opened
        for content in (*_three(built, own), b"", named(csrs.subject("Other CA"), 1)):
            response = post(built, query(built, GET_CRL, content, own).message())
            answer = read_answer(response.body, built.authority.keyring.current.signing.certificate)
            assert answer.text(oid.PKI_STATUS) == PKIStatus.FAILURE.value
            assert answer.text(oid.FAIL_INFO) == str(int(FailInfo.BAD_REQUEST))
            assert answer.text(oid.FAIL_INFO_TEXT).endswith(f"; see {URL}")
        assert (key.opened, there.place.asked) == (opened, 0)
        with denials(built) as deny:
            deny(query(built, GET_CRL, about(own), None, THIEF), because="no certificate here")


# --- Forwarded -------------------------------------------------------------------------------------------------------

FORWARD = {"get-cert": "own", "forward": True}


def forgotten(built: House) -> Certificate:
    """A certificate that the RA has issued, and has no copy of any more; its holder signs with another one."""
    wanted = holder(built)
    built.database.call(lambda connection: connection.execute(sa.delete(tables.transactions)))
    return wanted


@pytest.mark.proves("RA-32", "MSG-50", "MSG-51", "CMS-49")
def test_what_the_ca_knows(lab: Path) -> None:
    """Where the profile says so, what is not known here is asked of the CA and sealed anew; nothing is stored."""
    with house(lab, {"queries": FORWARD}) as built:
        wanted, own = forgotten(built), holder(built)
        stored, forwarded = built.stored, len(built.forwarded)
        assert granted(built, query(built, GET_CERT, about(wanted), own)).certificates() == [wanted.der]
        assert built.records[-1]["upstream_status"] == "SUCCESS"
        assert built.records[-1]["certificate"] == wanted.fingerprint()
        for content in _three(built, own):
            assert len(lists(granted(built, query(built, GET_CRL, content, own)))) == 1
        assert (built.stored, len(built.forwarded)) == (stored, forwarded + 4)
        # What is known here is not asked for.
        assert granted(built, query(built, GET_CERT, about(own), own)).certificates() == [own.der]
        assert len(built.forwarded) == forwarded + 4
        # All of it under the RA's name, in its own transactions.
        sent = [each for each in built.ca.received if each.message_type in (GET_CERT, GET_CRL)]
        assert len({each.transaction_id for each in sent}) == 4
        assert not any(each.signer == own for each in sent)


@pytest.mark.proves("MSG-52", "RA-32", "FT-57")
def test_a_list_that_is_at_hand_is_not_asked_for(lab: Path) -> None:
    """The CA is asked for a list only while there is none that is good here."""
    with scene(lab, {**LISTS, "forward": True}) as there:
        own = holder(there.house)
        there.publish(next_update=there.day.now() + HOUR)
        forge, forwarded = query(there.house, GET_CRL, about(own), own), len(there.house.forwarded)
        assert lists(granted(there.house, forge))
        assert len(there.house.forwarded) == forwarded
        there.place.has.clear()
        there.pass_time(2 * 3600)
        assert lists(granted(there.house, forge))
        assert len(there.house.forwarded) == forwarded + 1


@pytest.mark.proves("AC-059", "RA-32", "I8")
def test_another_s_is_not_fetched_from_the_ca(lab: Path) -> None:
    """Another's certificate, one that the CA does not know and an invented issuer's have one answer; the last of these
    never reaches the CA."""
    with house(lab, {"queries": FORWARD}) as built:
        other, own = holder(built, OLD), holder(built)
        forwarded = len(built.forwarded)
        answers = set()
        for kind, content in (
            (GET_CERT, named(csrs.subject("Other CA"), 1)),
            (GET_CRL, named(csrs.subject("Other CA"), 1)),
            (GET_CERT, b"none"),
        ):
            answers.add(masked(post(built, query(built, kind, content, own).message()).body))
        assert len(built.forwarded) == forwarded
        for content in (about(other), named(other.issuer_der, 77)):
            answers.add(masked(post(built, query(built, GET_CERT, content, own).message()).body))
            assert built.records[-1]["outcome"] == "refused"
        assert len(built.forwarded) == forwarded + 2
        assert len(answers) == 1


def _failure(asked: Asked) -> Forge:
    return asked.failure("4")


def _forged(asked: Asked, wanted: Certificate) -> list[Any]:
    """What no asker may be shown."""
    ca, key = asked.house.state.authority.certificate, ca_key(asked.house)
    stranger = certificate(STRANGER, "Other CA", extensions=ca_extensions())
    return [
        asked.rep(),
        asked.rep(content=degenerate([device_certificate(asked.house, KEY).der])),
        asked.rep(content=degenerate([certificate(KEY, by=(STRANGER, ca), serial=wanted.serial_der).der])),
        asked.rep(content=degenerate(crls=[crl(STRANGER, ca)])),
        asked.rep(content=degenerate(crls=[crl(STRANGER, stranger)])),
        asked.rep(content=degenerate(crls=[crl(key, ca, next_update=asked.house.authority.now() - HOUR)])),
        asked.rep(content=degenerate(crls=[b"\x30\x00"])),
        asked.rep(attributes={oid.PKI_STATUS: ()}),
        asked.rep(attributes={oid.PKI_STATUS: (status(PKIStatus.PENDING.value),)}, encapsulated=EMPTY_CONTENT),
        asked.rep(key=STRANGER),
        asked.rep(transaction_id="another"),
        asked.rep(recipient=stranger),
        Reply(500),
        Reply(body=b"<html>"),
    ]


@pytest.mark.proves("RA-32", "MSG-60", "AC-115", "FT-57")
@pytest.mark.parametrize("kind", [GET_CERT, GET_CRL])
@pytest.mark.parametrize("number", range(14))
def test_forged_answers(lab: Path, kind: MessageType, number: int) -> None:
    """An answer that is not the CA's, or not to what was asked, is shown to nobody: the client is to come again."""
    with house(lab, {"queries": FORWARD}) as first:
        built, middle = behind(first)
        wanted, own = forgotten(built), holder(built)
        stored = built.stored
        middle.script = lambda asked: _forged(asked, wanted)[number]
        forge = query(built, kind, about(wanted), own)
        assert post(built, forge.message()).status == 503
        assert built.records[-1]["outcome"] == "unavailable"
        assert built.stored == stored
        built.clock.advance(60)
        middle.script = _failure
        response = post(built, forge.message())
        answer = read_answer(response.body, built.authority.keyring.current.signing.certificate)
        assert answer.text(oid.FAIL_INFO) == str(int(BAD_CERT_ID))
        middle.script = Asked.pass_on
        assert granted(built, forge).payload


@pytest.mark.proves("RA-24", "DR-15", "FT-57")
def test_a_ca_that_cannot_be_asked(lab: Path) -> None:
    """While the CA is away queries are told to come again, a turn is not lost by it, and what is known is answered."""
    with house(lab, {"queries": FORWARD}) as first:
        line = Line(first.ca)
        built = connected(first, line)
        wanted, own = forgotten(built), holder(built)
        line.error, line.early = ConnectError("away"), True
        for _ in range(20):
            assert post(built, query(built, GET_CERT, about(wanted), own).message()).status == 503
        assert granted(built, query(built, GET_CERT, about(own), own)).certificates() == [own.der]
        assert not built.upstream.turns.busy
        line.error = None
        built.clock.advance(120)
        assert granted(built, query(built, GET_CERT, about(wanted), own)).certificates() == [wanted.der]


@pytest.mark.proves("DR-12", "RA-32")
def test_forwarded_queries_are_counted(lab: Path) -> None:
    """They share the budget of what a profile may forward."""
    rates = {**FREELY, "profile": {"count": 4, "per": "1m"}}
    with house(lab, {"queries": FORWARD}, rates=rates) as built:
        wanted, own = forgotten(built), holder(built)
        answers = [post(built, query(built, GET_CERT, about(wanted), own).message()).status for _ in range(3)]
        assert answers == [200, 200, 429]


@pytest.mark.slow
@pytest.mark.proves("AC-059", "MSG-50", "I8")
@pytest.mark.parametrize("queries", [None, OWN])
def test_a_thousand_serial_numbers(lab: Path, queries: dict[str, Any] | None) -> None:
    """GetCert for 1 to 1000, off and on, by a device and by a stranger: nothing reaches the CA, and one answer each."""
    with house(lab, {"queries": queries, "renewal": {"trust": "ca.crt", "window": "3650d"}}) as built:
        own = holder(built)
        forwarded, stored = len(built.forwarded), built.stored
        for signer, key in ((own, KEY), (None, THIEF)):
            answers = {
                masked(post(built, query(built, GET_CERT, named(own.issuer_der, serial), signer, key).message()).body)
                for serial in range(1, 1001)
            }
            assert len(answers) == 1
        assert (len(built.forwarded), built.stored) == (forwarded, stored)
