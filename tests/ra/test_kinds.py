"""The RA before each kind of CA as the lab imitates it: with what the kind says, and nothing else but pins, a challenge
and the legacy that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from treq.testing import StubTreq
from twisted.internet.task import Clock

from scepra.config.kind import KINDS, KindName
from scepra.errors import FailInfo
from scepra.lab import BEHAVIOURS, CertificationService
from scepra.lab.authority import Authority
from scepra.lab.files import write_pem, write_private
from scepra.lab.key import write_key
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, KeyTransport
from scepra.scep.certification import basic_constraints, key_usage, name
from scepra.scep.envelope import EnvelopedData
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import MessageType, PKIStatus, parse_issuer_and_subject
from scepra.scep.transport import OperationKind
from scepra.transaction import State
from scepra.upstream import proposal
from scepra.upstream.exchange import Exchange
from scepra.upstream.probe import Prober
from tests.rig.device import sound
from tests.rig.house import Day, House, house, lab_state, run
from tests.rig.material import key

NAME = "device.example"
PATIENT: tuple[KindName, ...] = ("cisco-ios",)
"""Kinds at which somebody decides by hand."""
each_kind = pytest.mark.parametrize("kind", KINDS)


@contextmanager
def before(
    lab: Path, kind: KindName, *, theirs: Callable[[str], str | None] = lambda ours: None, **upstream: Any
) -> Iterator[House]:
    """A house before a CA of a kind, with the legacy that the kind needs; *theirs* is the CA's challenge."""
    state = lab_state(lab)
    ca = CertificationService(state.authority, theirs(state.challenge), BEHAVIOURS[kind])
    settings, day = {"kind": kind, "legacy": list(KINDS[kind].answers), **upstream}, Day()
    with house(lab, upstream=settings, ca=ca, now=day.now, clock=day) as built:
        yield built


def enrol(built: House, **settings: Any) -> Any:
    """A device enrols, and comes again as often as it has to; somebody at the CA grants what waits there."""
    client = built.client()
    asked = run(client.enrol(NAME, **{"challenge": built.challenge, "key": key(), **settings}))
    if asked.status is PKIStatus.PENDING:
        (waiting,) = built.ca.transactions
        built.ca.approve(waiting)
        built.reconcile(90)
        asked = run(client.poll(asked))
    return asked


def messages(built: House) -> list[Any]:
    """What the CA received by PKIOperation."""
    return [item for item in built.ca.received if item.message]


@pytest.mark.proves("CAPS-08", "CAPS-10", "CAPS-12", "CERT-11", "RA-13", "RA-14", "RA-15", "RA-16", "RA-18", "MSG-62")
@pytest.mark.proves("UP-01", "UP-02", "UP-03", "UP-04", "UP-05", "UP-06", "UP-07", "UP-08", "UP-09")
@each_kind
def test_a_device_enrols(lab: Path, kind: KindName) -> None:
    """With the defaults of its kind every CA answers, and the device has its certificate."""
    with before(lab, kind) as built:
        enrolment = enrol(built)
        assert enrolment.status is PKIStatus.SUCCESS, built.records[-1]
        assert enrolment.certificate.subject.matches(messages(built)[0].csr.subject)
        settings = built.config.upstreams["ca"]
        for received in messages(built):
            assert received.message_type in (MessageType.PKCS_REQ, MessageType.CERT_POLL)
            assert len(received.request.signed_data.certificates) == 1
            assert set(received.transaction_id) <= set("0123456789ABCDEF")
            assert received.algorithms is None or received.algorithms == settings.algorithms
        assert not [event for event in built.events if event["log_level"].name in ("error", "critical")]


@pytest.mark.proves("CAPS-10", "CERT-11")
@each_kind
def test_what_a_probe_proposes_is_enough(lab: Path, kind: KindName) -> None:
    """The section that a probe prints, pasted as it is, has the RA enrol there."""
    ca = CertificationService(lab_state(lab).authority, None, BEHAVIOURS[kind])
    url = "http://ca.example/scep"
    exchange = Exchange("ca", url, StubTreq(ca), Clock(), 1_000_000)
    found = run(Prober(exchange, url, SoftwareKey(key("probe")), Day().begun).look())
    section = yaml.safe_load(proposal.write(proposal.propose(found), "CN=CA"))["upstreams"][proposal.NAME]
    day = Day()
    with house(lab, upstream=section, ca=ca, now=day.now, clock=day) as built:
        assert enrol(built).status is PKIStatus.SUCCESS, built.records[-1]


@pytest.mark.proves("UP-01", "UP-02", "UP-03", "UP-05", "UP-06", "UP-07", "UP-08", "UP-09", "RA-30")
@each_kind
def test_a_device_renews(lab: Path, kind: KindName) -> None:
    """What renews at the RA is new to the CA: every kind that trusts the RA has no part in it."""
    with before(lab, kind) as built:
        old = enrol(built)
        built.ca.transactions.clear()
        client = built.client()
        renewed = run(client.renew(old, key=key("new")))
        if kind in PATIENT:
            (waiting,) = built.ca.transactions
            built.ca.approve(waiting)
            built.reconcile(90)
            renewed = run(client.poll(renewed))
        assert renewed.status is PKIStatus.SUCCESS, built.records[-1]
        assert renewed.certificate.serial != old.certificate.serial


@pytest.mark.proves("RA-23", "MSG-08", "UP-01", "UP-06", "UP-07")
@each_kind
def test_a_challenge_that_the_ca_does_not_know_is_refused(lab: Path, kind: KindName) -> None:
    """However the CA says no, the device gets a refusal or is told to come back, never a certificate; and the record
    says in words what the CA said."""
    with before(lab, kind, theirs=lambda ours: ours + "-and-another", authorisation="challenge") as built:
        answer = built.post(sound(built).message())
        assert answer[0] == 200
        assert len(messages(built)) == 1
        said = {
            "ndes": "refused by upstream ca: BAD_REQUEST, 0x80070057, E_INVALIDARG: invalid argument",
            "ejbca": "upstream ca: no message but status 400 with 0 octets of no media type",
        }
        family = kind.partition("-")[0]
        expected = said.get(family, "refused by upstream ca: BAD_REQUEST")
        assert built.records[-1]["reasons"] == [expected]


@pytest.mark.proves("UP-02", "RA-18", "SEC-14")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].answers])
def test_what_a_kind_answers_in_is_not_read_until_it_is_named(lab: Path, kind: KindName) -> None:
    """Without its cipher under legacy its certificate is not read; somebody is told what to write."""
    with before(lab, kind, legacy=[]) as built:
        asked = run(built.client().enrol(NAME, challenge=built.challenge, key=key()))
        assert asked.status is PKIStatus.PENDING
        transaction = built.transaction(built.records[-1]["enrolment"])
        assert transaction.state is State.UNKNOWN
        assert transaction.attention == (
            "an answer in the refused content cipher DES-CBC; "
            f"{kind} answers in DES-CBC: it is read only where legacy names it"
        )


@pytest.mark.proves("UP-10", "RA-18")
@each_kind
def test_no_kind_is_asked_in_a_broken_cipher(lab: Path, kind: KindName) -> None:
    """Whatever legacy says about answers, requests are in AES or triple DES, with SHA-1 or better."""
    with before(lab, kind) as built:
        enrol(built)
        used = messages(built)[0].algorithms
        assert used.cipher in (ContentCipher.AES128_CBC, ContentCipher.DES_EDE3_CBC)
        assert used.digest in (Digest.SHA1, Digest.SHA256)


@pytest.mark.proves("UP-03", "CAPS-10", "CMS-23")
def test_ndes_2012_answers_aes_in_oaep(lab: Path) -> None:
    """Where AES is configured its OAEP is read; with the transport auto an empty answer to POST is noticed."""
    with before(lab, "ndes-2012", transport="auto", cipher="AES-128-CBC") as built:
        assert enrol(built).status is PKIStatus.SUCCESS
        assert [item.method for item in messages(built)] == ["POST", "GET"]
        assert messages(built)[-1].algorithms == Algorithms(cipher=ContentCipher.AES128_CBC)
        assert built.ca.behaviour.manner.oaep_with_aes
        assert KeyTransport.OAEP_SHA1 in built.config.upstreams["ca"].floor.key_transports


@pytest.mark.proves("UP-01")
def test_iis_does_not_read_long_queries(lab: Path) -> None:
    """With IIS's own limit a message by GET is not found there."""
    with before(lab, "ndes", transport="get") as built:
        answer = built.post(sound(built).message())
        assert answer[0] == 200
        assert built.records[-1]["reasons"] == [
            "upstream ca: no message but status 404 with 0 octets of no media type: is this the right path?"
        ]


@pytest.mark.proves("RA-13", "UP-09")
def test_cisco_ios_does_not_make_its_ra_wait(lab: Path) -> None:
    """Who signs with a certificate that names it as the RA is granted at once; whoever else has to wait."""
    authority, own = lab_state(lab).authority, key("ioscs")
    subject = x509.Name.from_rfc4514_string("OU=ioscs RA,CN=ra.example").public_bytes()
    extensions = (basic_constraints(ca=False), key_usage(("digitalSignature", "keyEncipherment")))
    certificate = authority.certify(subject, SoftwareKey(own).public, extensions, timedelta(days=365))
    write_private(lab / "ioscs.key", write_key(own))
    write_private(lab / "ioscs.crt", write_pem(certificate))
    signer = {"strategy": "ra-certificate", "certificate": "ioscs.crt", "key": "ioscs.key"}
    with before(lab, "cisco-ios", signer=signer) as built:
        asked = run(built.client().enrol(NAME, challenge=built.challenge, key=key()))
        assert asked.status is PKIStatus.SUCCESS
    with before(lab, "cisco-ios") as built:
        asked = run(built.client().enrol(NAME, challenge=built.challenge, key=key()))
        assert asked.status is PKIStatus.PENDING


@pytest.mark.proves("RA-20")
@pytest.mark.parametrize("which", ["ca-subject", "ca-issuer"])
def test_polls_name_the_ca(lab: Path, which: str) -> None:
    """A poll's issuer is the subject of the CA's certificate, or its issuer where that is configured."""
    root, state = Authority.create("root"), lab_state(lab)
    below = root.certify(name("issuing CA"), state.authority.identity.key.public, _CA, timedelta(days=365))
    ca = CertificationService(Authority(Identity(below, state.authority.identity.key)), None, BEHAVIOURS["cisco-ios"])
    settings = {"kind": "cisco-ios", "poll-issuer": which, "ca-fingerprint": f"sha256:{below.fingerprint()}"}
    day = Day()
    with house(lab, upstream=settings, ca=ca, now=day.now, clock=day) as built:
        assert enrol(built).status is PKIStatus.SUCCESS
        poll = messages(built)[-1]
        assert poll.message_type is MessageType.CERT_POLL
        envelope = EnvelopedData.parse(poll.request.signed_data.content)
        content = envelope.open(state.authority.identity.key, envelope.recipients[0])
        issuer, _ = parse_issuer_and_subject(content)
        assert issuer == (below.subject_der if which == "ca-subject" else root.certificate.subject_der)


_CA = (basic_constraints(ca=True), key_usage(("digitalSignature", "keyEncipherment", "keyCertSign")))


@pytest.mark.proves("RA-16")
def test_a_transaction_id_that_is_passed_through(lab: Path) -> None:
    """Where the CA gives the transactionID a meaning it is the client's."""
    with before(lab, "generic", **{"transaction-id": "passthrough"}) as built:
        enrol(built, transaction_id="user 17")
        assert [item.transaction_id for item in messages(built)] == ["user 17"]


@pytest.mark.proves("MSG-08", "RA-23")
def test_a_refusal_is_the_standard_one(lab: Path) -> None:
    """What the client is told of a refusal by the CA is nothing but badRequest."""
    with before(lab, "ndes", theirs=lambda ours: ours + "-and-another", authorisation="challenge") as built:
        refused = run(built.client().enrol(NAME, challenge=built.challenge, key=key()))
        assert refused.status is PKIStatus.FAILURE
        assert refused.fail_info is FailInfo.BAD_REQUEST
        assert OperationKind.PKI_OPERATION in {item.kind for item in built.ca.received}
