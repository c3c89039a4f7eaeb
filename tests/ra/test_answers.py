"""Answers: what a CertRep of the RA holds, and what an exact replay gets (conformance 4.3, AC-044)."""

from __future__ import annotations

from pathlib import Path

import pytest

from scepra.errors import FailInfo
from scepra.lab import PERMISSIVE, Behaviour
from scepra.lab.authority import RAUsage
from scepra.lab.files import write_pem, write_private
from scepra.lab.key import write_key
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.message import PKIStatus
from tests import csrs
from tests.rig.denial import Denials
from tests.rig.device import KEY, get, granted, post, rebuilt, request, sound
from tests.rig.forge import read_answer
from tests.rig.house import House, house, lab_state

F0 = FailInfo.BAD_ALG


@pytest.mark.proves("CMS-42", "CMS-43", "CMS-45", "SEC-16", "MSG-04", "PEER-01", "PEER-02", "CMS-44")
def test_what_an_answer_holds(shared: House, deny: Denials) -> None:
    """SUCCESS and FAILURE hold the attributes of their status and no other, and no certificate but the signer's."""
    usual = {
        oid.dotted(kind)
        for kind in (
            oid.CONTENT_TYPE,
            oid.MESSAGE_DIGEST,
            oid.MESSAGE_TYPE,
            oid.TRANSACTION_ID,
            oid.PKI_STATUS,
            oid.SENDER_NONCE,
            oid.RECIPIENT_NONCE,
        )
    }
    signer = shared.authority.keyring.current.signing.certificate
    answer = granted(shared, sound(shared))
    assert set(answer.attributes) == usual
    assert answer.bag == (signer.der,)
    assert (answer.recipients, answer.cipher) == (1, "AES-128-CBC")
    assert answer.signature_algorithm == oid.dotted(oid.RSA)
    refused = deny(sound(shared, csr=request(shared, challenge="wrong")))
    assert set(refused.attributes) == usual | {oid.dotted(oid.FAIL_INFO), "1.3.6.1.5.5.7.24.1"}
    assert refused.content == b""


@pytest.mark.proves("CMS-44", "PEER-02")
def test_absent_content(shared: House) -> None:
    """Where the profile says so, a refusal has no content at all instead of an empty one."""
    profile = shared.authority.profile
    absent = profile.model_copy(update={"reply": profile.reply.model_copy(update={"empty_content": "absent"})})
    house = rebuilt(shared, profile=absent)
    response = post(house, sound(house, csr=request(house, challenge="wrong")).message())
    answer = read_answer(response.body, house.authority.keyring.current.signing.certificate)
    assert answer.text(oid.PKI_STATUS) == PKIStatus.FAILURE.value
    assert answer.content is None


@pytest.mark.proves("MSG-07")
def test_fail_info_text(shared: House, deny: Denials) -> None:
    """failInfoText is a UTF8String under the registered identifier that names a record and tells nothing else."""
    answer = deny(sound(shared, csr=request(shared, challenge="wrong", subject=csrs.subject("evil"))))
    (value,) = answer.attributes["1.3.6.1.5.5.7.24.1"]
    assert value.decode() == f"refused, ref {shared.records[-1]['reference']}"


@pytest.mark.proves("CMS-46", "PEER-01")
@pytest.mark.parametrize("digest", [item for item in Digest if item is not Digest.MD5])
@pytest.mark.parametrize("cipher", [item for item in ContentCipher if item is not ContentCipher.DES_CBC])
def test_algorithms_are_mirrored(shared: House, deny: Denials, digest: Digest, cipher: ContentCipher) -> None:
    """Digest and cipher of the request are those of its answer, granted or refused."""
    answer = granted(shared, sound(shared, digest=digest, cipher=cipher))
    assert (answer.digest, answer.cipher) == (digest.hashlib_name, cipher.value)
    refused = deny(sound(shared, digest=digest, cipher=cipher, csr=request(shared, challenge="wrong")))
    assert refused.digest == digest.hashlib_name


@pytest.mark.proves("CMS-46", "SEC-01")
def test_refused_digests_are_not_mirrored(shared: House, deny: Denials) -> None:
    """A message in MD5, or in a digest that nobody knows, is refused in SHA-256."""
    assert deny(sound(shared, digest=Digest.MD5), F0).digest == "sha256"
    unknown = sound(shared, digest_algorithm=csrs.algorithm(oid.encode("1.2.840.113549.2.2"), der.NULL))
    assert deny(unknown, F0).digest == "sha256"


@pytest.mark.proves("CMS-46", "RA-02", "SEC-01")
def test_an_ra_that_signs_with_an_ec_key(lab: Path) -> None:
    """An RA whose signing key is EC answers in the digest of the request, and in SHA-256 where ECDSA has none."""
    key = csrs.ec_key(which=4)
    identity = lab_state(lab).authority.issue_ra("EC RA", RAUsage.SIGNING, key)
    write_private(lab / "ec.key", write_key(key))
    write_private(lab / "ec.crt", write_pem(identity.certificate))
    split = {
        "signing": {"certificate": "ec.crt", "key": "ec.key"},
        "encryption": {"certificate": "ra-encryption.crt", "key": "ra-encryption.key"},
    }
    with house(lab, {"ra": split, "legacy": ["MD5"], "renewal": None}) as built:
        built.ca.behaviour = Behaviour(floor=PERMISSIVE)
        for used, answered in ((Digest.SHA1, "sha1"), (Digest.SHA512, "sha512"), (Digest.MD5, "sha256")):
            assert granted(built, sound(built, digest=used)).digest == answered


@pytest.mark.proves("CMS-28", "CMS-27")
def test_a_key_that_only_signs_is_answered_under_its_challenge(shared: House) -> None:
    """The envelope for an EC device has one recipient, a password."""
    key = csrs.ec_key(which=3)
    forge = sound(shared, key=key, signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256), csr=request(shared, key=key))
    assert granted(shared, forge, None).recipients == 1
    body = post(shared, forge.message()).body
    assert der.oid(oid.PWRI_KEK) in body


@pytest.mark.proves("AC-044", "MSG-25", "MSG-05", "SEC-07", "RA-17", "RA-21", "I4")
def test_exact_replay(shared: House) -> None:
    """The same octets again, by POST and by GET, are one message to the CA; each answer has the same certificate, under
    a fresh nonce and a fresh envelope, and is recorded."""
    forge = sound(shared, transaction_id="again and again")
    message = forge.message()
    forwarded, records = len(shared.forwarded), len(shared.records)
    first = post(shared, message)
    stored = shared.stored
    responses = [first, *(send(shared, message) for send in (post, get) * 10)]
    assert shared.stored == stored
    assert len(shared.forwarded) == forwarded + 1
    signer = shared.authority.keyring.current.signing.certificate
    answers = [read_answer(response.body, signer, KEY) for response in responses]
    assert {answer.text(oid.PKI_STATUS) for answer in answers} == {PKIStatus.SUCCESS.value}
    assert len({answer.certificates()[0] for answer in answers}) == 1
    nonces = {answer.octets(oid.SENDER_NONCE) for answer in answers}
    assert len(nonces) == 21
    assert shared.ca.received[-1].request.sender_nonce not in nonces | {forge.sender_nonce}
    assert len({answer.content for answer in answers}) == 21
    told = shared.records[records:]
    assert [record["outcome"] for record in told] == ["issued"] * 21
    assert len({record["enrolment"] for record in told}) == 1
    assert len({record["serial"] for record in told}) == 1


@pytest.mark.proves("MSG-05", "MSG-03", "AC-044")
def test_replayed_refusals(shared: House, deny: Denials) -> None:
    """A refused message is refused as often as it comes, each time with a record and a reference of its own."""
    forge = sound(shared, csr=request(shared, challenge="wrong"))
    references = set()
    for _ in range(5):
        deny(forge)
        references.add(shared.records[-1]["reference"])
    assert len(references) == 5
