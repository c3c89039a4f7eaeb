"""Messages of others' software: those in tests/vectors, and a larger collection where that is at hand.

``SCEPRA_VECTORS`` names the collection; without it ``shared/vectors`` beside the repository is looked for. Both have
the layout that tests/vectors/README describes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepra.errors import FailInfo, Malformed, Refused, ScepError
from scepra.scep import cms, der, oid
from scepra.scep.algorithm import ContentCipher, Digest, Floor
from scepra.scep.capabilities import Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.certrep import Expectation, choose_issued, read_cert_rep
from scepra.scep.csr import CertificationRequest
from scepra.scep.envelope import EnvelopedData, RecipientInfo
from scepra.scep.identity import SoftwareKey
from scepra.scep.message import PKIMessage, PKIStatus, parse_issuer_and_subject
from scepra.scep.transport import parse_operation
from tests import csrs

ROOT = Path(__file__).parents[2]
OURS = ROOT / "tests" / "vectors"
COLLECTION = Path(os.environ.get("SCEPRA_VECTORS") or ROOT.parent / "shared" / "vectors")
PLACES = {"ours": OURS, "collection": COLLECTION}
ABSENT = pytest.mark.skip("the collection of recorded messages is not here")
# What museum pieces need.
ANY = Floor(digests=frozenset(Digest), ciphers=frozenset(ContentCipher), rsa_bits=(512, 16384))
CIPHERS = {
    "des": ContentCipher.DES_CBC,
    "tripledes_3key": ContentCipher.DES_EDE3_CBC,
    "aes128_cbc": ContentCipher.AES128_CBC,
    "aes256_cbc": ContentCipher.AES256_CBC,
}
ATTRIBUTES = {
    "messageType": oid.MESSAGE_TYPE,
    "pkiStatus": oid.PKI_STATUS,
    "failInfo": oid.FAIL_INFO,
    "transactionID": oid.TRANSACTION_ID,
    "senderNonce": oid.SENDER_NONCE,
    "recipientNonce": oid.RECIPIENT_NONCE,
}


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer, with what another reader said of them."""

    folder: Path
    facts: dict[str, Any]

    def octets(self, name: str) -> bytes:
        return (self.folder / self.facts[name]).read_bytes()

    def key(self, side: str) -> SoftwareKey | None:
        """What opens one side, if it is here."""
        name = self.facts["decoded"][side].get("decrypted_with")
        file = self.folder / "keys" / str(name)
        return private_key(file) if name and file.exists() else None


def private_key(file: Path) -> SoftwareKey:
    key = load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return SoftwareKey(key)


def exchanges(operation: str) -> list[object]:
    """Every recorded exchange of one operation, as parameters of a test."""
    found: list[object] = []
    for place, root in PLACES.items():
        indices = sorted((root / "captured").glob("*/index.json"))
        for index in indices:
            for facts in json.loads(index.read_text())["exchanges"]:
                if facts["operation"] == operation and " 200 " in facts["status_line"]:
                    name = f"{place}-{index.parent.name}-{facts['n']:03}"
                    found.append(pytest.param(Exchange(index.parent, facts), id=name))
        if not indices:
            found.append(pytest.param(None, id=place, marks=ABSENT))
    return found


def recorded(*kinds: str) -> list[object]:
    """Every recorded file of some kinds, as parameters of a test."""
    found: list[object] = []
    for place, root in PLACES.items():
        index = root / "recorded" / "index.json"
        if not index.exists():
            found.append(pytest.param(None, None, id=place, marks=ABSENT))
            continue
        for facts in json.loads(index.read_text()):
            if facts["kind"] in kinds:
                file = root / "recorded" / facts["file"]
                found.append(pytest.param(file, facts, id=f"{place}-{facts['file']}"))
    return found


def values(signed: cms.SignedData) -> dict[str, str]:
    """The SCEP attributes of a message as the index writes them."""
    found = {}
    for name, identifier in ATTRIBUTES.items():
        node = signed.signer_info.attribute(identifier)
        if node is not None:
            found[name] = node.content.hex() if node.tag == der.OCTET_STRING else node.content.decode("ascii")
    return found


def check_outer(message: bytes, facts: dict[str, Any]) -> cms.SignedData:
    """A message verifies, and says what the index says."""
    signed = cms.SignedData.parse(message)
    signer, digest = signed.verify(ANY)
    (expected,) = facts["signers"]
    stated = expected["attrs"].items()
    assert values(signed) == {name: attr["value"] for name, attr in stated if name in ATTRIBUTES}
    assert digest.hashlib_name == expected["digest"]
    assert len(signed.certificates) == len(facts["certs"])
    assert str(signer.serial) == str(expected["sid"]["serial"])
    return signed


def check_plain(content: bytes, kind: str) -> None:
    """What was in an envelope is what the index says, and nothing follows it."""
    if kind == "PKCS10":
        CertificationRequest.parse(content).verify(ANY)
    elif kind == "IssuerAndSubject":
        parse_issuer_and_subject(content)
    else:
        assert kind == "degenerate certs-only"
        bag = cms.parse_degenerate(content)
        assert bag.certificates and all(map(Certificate.parse, bag.certificates))


@pytest.mark.proves("CMS-01", "CMS-12", "CMS-14", "CMS-23", "PEER-08", "PEER-10", "MSG-22", "P10-09")
@pytest.mark.parametrize("exchange", exchanges("PKIOperation"))
def test_recorded_requests_are_read_and_opened(exchange: Exchange) -> None:
    """Requests of real clients verify, and open where the key is here."""
    facts = exchange.facts["decoded"]["request"]
    message = exchange.octets("request_der")
    signed = check_outer(message, facts)
    request = PKIMessage.parse(message)
    assert request.message_type.value == facts["signers"][0]["attrs"]["messageType"]["value"]
    key = exchange.key("request")
    assert signed.content is not None
    envelope = EnvelopedData.parse(signed.content)
    assert envelope.cipher is CIPHERS[facts["envelope"]["encAlg"]]
    assert len(envelope.recipients) == len(facts["envelope"]["recipients"])
    if key is not None:
        (content,) = filter(None, [attempt(envelope, key, recipient) for recipient in envelope.recipients])
        check_plain(content, facts["plain"]["type"])


def attempt(envelope: EnvelopedData, key: SoftwareKey, recipient: RecipientInfo) -> bytes | None:
    """What a key makes of one recipient: a readable element, or nothing."""
    try:
        content = envelope.open(key, recipient)
        der.parse(content)
    except ScepError:
        return None
    return content


@pytest.mark.proves("MSG-60", "MSG-62", "PEER-08", "PEER-11", "CMS-44", "MSG-07")
@pytest.mark.parametrize("exchange", exchanges("PKIOperation"))
def test_recorded_answers_belong_to_their_requests(exchange: Exchange) -> None:
    """Answers of real CAs verify, match their request, and open where the key is here."""
    facts = exchange.facts["decoded"]["response"]
    answer = exchange.octets("response_body")
    signed = check_outer(answer, facts)
    request = PKIMessage.parse(exchange.octets("request_der"))
    key = exchange.key("response")
    status = facts["signers"][0]["attrs"]["pkiStatus"]["value"]
    bag = [Certificate.parse(item) for item in signed.certificates]
    stranger = SoftwareKey(csrs.rsa_key())
    expected = Expectation(request.transaction_id, request.sender_nonce, bag, key or stranger, ANY)
    if status == "0" and key is None:
        with pytest.raises(ScepError):
            read_cert_rep(answer, expected)
        return
    read = read_cert_rep(answer, expected)
    assert read.status is PKIStatus(status)
    if status == "0":
        check_plain(cms.degenerate(read.certificates), "degenerate certs-only")
        opened = exchange.key("request")
        if opened is not None and request.message_type.value == "19":
            content = EnvelopedData.parse(request.signed_data.content or b"")
            csr = CertificationRequest.parse(attempt(content, opened, content.recipients[0]) or b"")
            assert choose_issued(read.certificates, csr.spki).public_key.same_key(csr.public_key)
    elif status == "2":
        assert read.fail_info is not None


def test_an_authenticated_cipher_in_an_answer_is_bad_alg() -> None:
    """step-ca can be told to answer in AES-GCM, which is no cipher of EnvelopedData."""
    message = (OURS / "captured" / "micromdm-stepca" / "024-PKIOperation-response.der").read_bytes()
    with pytest.raises(ScepError) as refused:
        EnvelopedData.parse(cms.SignedData.parse(message).content or b"")
    assert refused.value.fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("CERT-14", "MSG-62")
@pytest.mark.parametrize("exchange", exchanges("GetCACert"))
def test_recorded_ca_certificates_are_read(exchange: Exchange) -> None:
    """A single certificate and a certs-only message are told apart by what they are."""
    body = exchange.octets("response_body")
    facts = exchange.facts["decoded"]["response"]
    if facts.get("type") == "x509":
        assert Certificate.parse(body).der == body
        with pytest.raises(Malformed):
            cms.parse_degenerate(body)
    else:
        assert len(cms.parse_degenerate(body).certificates) == len(facts["certs"])
        with pytest.raises(Malformed):
            Certificate.parse(body)


@pytest.mark.proves("CAPS-09")
@pytest.mark.parametrize("exchange", exchanges("GetCACaps"))
def test_recorded_capabilities_are_read(exchange: Exchange) -> None:
    """What real servers list is understood word by word, but for DES, which has no place here."""
    body = exchange.octets("response_body")
    words = {word for word in body.decode("ascii").replace("\r", "\n").split("\n") if word}
    assert Capabilities.parse(body).keywords == words - {"DES"}


# --- Recorded by others ----------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-01", "CMS-07", "CMS-10", "CMS-12", "CMS-14", "CMS-24")
@pytest.mark.parametrize(("file", "facts"), recorded("pkimessage-request", "pkimessage-response"))
def test_museum_messages_are_read(file: Path, facts: dict[str, Any]) -> None:
    """cryptlib, jscep, Apple, Cisco, OpenSCEP, sscep and micromdm: their messages verify and say what they should."""
    signed = cms.SignedData.parse(file.read_bytes())
    if facts["signature_valid"] == "valid":
        signer, digest = signed.verify(ANY)
        assert digest.hashlib_name == facts["algorithms"]["digest"]
        assert f"RSA-{signer.public_key.bits}" == facts["algorithms"]["signer_key"]
        assert signer.public_key.kind == "RSA"
    assert (
        values(signed).items()
        >= {
            name: value
            for name, value in facts["attributes"].items()
            if name in ("messageType", "senderNonce", "transactionID")
        }.items()
    )
    envelope = EnvelopedData.parse(signed.content or b"")
    assert envelope.cipher is CIPHERS[facts["algorithms"]["content_encryption"]]
    assert len(envelope.recipients) == facts["algorithms"]["recipients"]
    if facts["kind"] == "pkimessage-request":
        assert PKIMessage.parse(file.read_bytes()).message_type.value == facts["messageType"].split()[0]


@pytest.mark.proves("CMS-23", "CMS-24")
@pytest.mark.parametrize("name", ["env_oaep_sha1", "env_v15_1"])
def test_envelopes_with_their_keys_open(name: str) -> None:
    """OAEP and v1.5 envelopes of another project open to its plain text."""
    folder = OURS / "recorded" / "smallstep_pkcs7"
    envelope = EnvelopedData.parse((folder / f"{name}.p7").read_bytes())
    assert envelope.open(private_key(folder / f"{name}_key.pem"), envelope.recipients[0]) == b"This is a test"


@pytest.mark.proves("CMS-10", "MSG-21")
def test_an_apple_request_opens() -> None:
    """An Apple client's request of 2016, with a nonce of 8 octets, opens to its CSR; it was signed with another key."""
    folder = OURS / "recorded" / "smallstep_scep"
    message = PKIMessage.parse((folder / "PKCSReq.der").read_bytes())
    signer, _ = message.verify(ANY)
    assert len(message.sender_nonce) == 8
    envelope = EnvelopedData.parse(message.signed_data.content or b"")
    content = envelope.open(private_key(folder / "testca_ca.key"), envelope.recipients[0])
    csr = CertificationRequest.parse(content)
    csr.verify(ANY)
    assert signer.is_self_signed and not signer.subject.matches(csr.subject)
    assert not signer.public_key.same_key(csr.public_key)


@pytest.mark.parametrize(("file", "facts"), recorded("get-query-string"))
def test_recorded_query_strings_are_the_messages_they_carry(file: Path, facts: dict[str, Any]) -> None:
    """A query as it was sent decodes to the message that is recorded beside it."""
    operation = parse_operation("GET", file.read_bytes().strip().split(b"?")[-1], b"")
    assert operation.message == file.with_name(file.name.replace(".query.txt", ".der")).read_bytes()
    assert facts["kind"] == "get-query-string"


@pytest.mark.proves("CERT-11", "MSG-62")
@pytest.mark.parametrize(("file", "facts"), recorded("getcacert-p7", "certs-only-other"))
def test_museum_ca_certificates_are_read(file: Path, facts: dict[str, Any]) -> None:
    """Certificates of NDES and others are all read, in their order."""
    bag = cms.parse_degenerate(file.read_bytes())
    assert str(len(bag.certificates)) == facts["forms"]["certificates_field"]
    for encoding in bag.certificates:
        certificate = Certificate.parse(encoding)
        assert certificate.public_key.bits >= 1024
        assert certificate.not_after is not None


@pytest.mark.proves("SEC-12")
@pytest.mark.parametrize(("file", "facts"), recorded("cms-parser-corpus", "cms-signed-other"))
def test_a_corpus_for_cms_parsers_does_no_harm(file: Path, facts: dict[str, Any]) -> None:
    """Broken and unusual CMS is read or refused, and nothing else happens."""
    try:
        signed = cms.SignedData.parse(file.read_bytes())
        signed.verify(ANY)
    except ScepError:
        assert "ber_indefinite_signed" not in file.name
    try:
        PKIMessage.parse(file.read_bytes())
    except Refused as refused:
        assert refused.status == 400
    assert facts["file"].endswith(file.name)
