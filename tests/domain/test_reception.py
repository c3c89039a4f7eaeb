"""Reception: a message becomes a request that belongs to its signer, or one uniform refusal."""

from __future__ import annotations

from typing import Any

import pytest

from scepra.agent import Agents
from scepra.enrolment import Credential
from scepra.errors import FailInfo, ScepError
from scepra.reception import NOBODY, Reception, receive
from scepra.renewal import RenewalRules
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor, KeyTransport
from scepra.scep.certification import self_signed
from scepra.scep.identity import Generation, Identity, Keyring, SoftwareKey
from scepra.scep.message import MessageType, PKIMessage, build_request, new_nonce
from tests.rig.material import DAY, NOW, authority, ec_key, issued, key, request, self_signed_identity

RA = authority().issue_ra("RA", key=key("RA"))
KEYRING = Keyring([Generation(RA, RA)])
USUAL, FLOOR = Algorithms(), Floor()
RULES = RenewalRules((authority().certificate,), window=30 * DAY)


def received(
    content: bytes,
    signer: Identity,
    message_type: MessageType = MessageType.PKCS_REQ,
    *,
    algorithms: Algorithms = USUAL,
    floor: Floor = FLOOR,
    renewal: RenewalRules | None = RULES,
    recipient: Identity = RA,
    **others: Any,
) -> Reception:
    """What becomes of a message with this content."""
    encoding = build_request(message_type, "1", new_nonce(), content, signer, recipient.certificate, algorithms)
    message = PKIMessage.parse(encoding)
    verified, digest = message.verify(floor)
    return receive(message, verified, digest, keyring=KEYRING, floor=floor, renewal=renewal, **others)


def refusal(*args, **settings) -> ScepError:
    """The refusal of a message with this content."""
    with pytest.raises(ScepError) as caught:
        received(*args, **settings)
    return caught.value


def device_certificate(by: str = "CA") -> Identity:
    """A certificate of the device's, issued by a CA, and its key."""
    return Identity(issued(request(), by=by), SoftwareKey(key()))


@pytest.mark.proves("MSG-20")
@pytest.mark.parametrize("private_key", [key(), ec_key()], ids=["RSA", "EC"])
def test_initial(private_key):
    """A request signed with a self-signed certificate over its own key is an initial enrolment."""
    csr = request(private_key=private_key)
    reception = received(csr.der, self_signed_identity(csr, private_key))
    assert reception.credential is Credential.INITIAL
    assert reception.csr.der == csr.der
    assert reception.generation.signing is RA


@pytest.mark.proves("CMS-46")
def test_algorithms_to_mirror():
    """The reception says what the client used, for the answer to use the same."""
    used = Algorithms(Digest.SHA512, ContentCipher.DES_EDE3_CBC, KeyTransport.OAEP_SHA256)
    assert received(request().der, self_signed_identity(request()), algorithms=used).algorithms == used


@pytest.mark.proves("MSG-20", "SEC-04", "AC-038")
def test_stolen_envelope():
    """Another's request under one's own self-signed signer is refused, whatever the certificate says."""
    thief = Identity(self_signed(SoftwareKey(key("thief")), request().subject.der, NOW), SoftwareKey(key("thief")))
    assert refusal(request().der, thief).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("MSG-21", "MSG-22")
def test_signer_subject_does_not_matter():
    """The self-signed certificate may have any subject."""
    csr = request()
    signer = Identity(self_signed(SoftwareKey(key()), request("SCEP SIGNER").subject.der, NOW), SoftwareKey(key()))
    assert received(csr.der, signer).credential is Credential.INITIAL


@pytest.mark.proves("MSG-23", "PEER-06")
@pytest.mark.parametrize("message_type", [MessageType.PKCS_REQ, MessageType.RENEWAL_REQ])
def test_renewal(message_type):
    """A request signed with a certificate of a renewal anchor is a renewal, under either message type."""
    csr = request(private_key=key("new"))
    assert received(csr.der, device_certificate(), message_type).credential is Credential.RENEWAL


@pytest.mark.proves("MSG-33", "AC-046")
def test_self_signed_renewal():
    """RenewalReq under a self-signed certificate is refused."""
    assert "self-signed" in refusal(request().der, self_signed_identity(request()), MessageType.RENEWAL_REQ).reason


@pytest.mark.proves("MSG-23", "AC-047", "I12")
@pytest.mark.parametrize("message_type", [MessageType.PKCS_REQ, MessageType.RENEWAL_REQ])
def test_foreign_certificate(message_type):
    """A certificate of any other CA is neither a renewal nor an initial enrolment."""
    csr = request(private_key=key("new"))
    assert refusal(csr.der, device_certificate("other CA"), message_type).fail_info is FailInfo.BAD_REQUEST
    assert refusal(request().der, device_certificate("other CA"), message_type).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("RA-30")
def test_profile_without_renewal():
    """Where nothing is renewed, a certificate of the CA's authorises nothing."""
    assert "renews nothing" in refusal(request().der, device_certificate(), renewal=None).reason


@pytest.mark.proves("AC-055", "MSG-20", "DR-4")
def test_agents():
    """Whom a profile lists signs for others, and for itself like anybody; it renews nothing."""
    agent = device_certificate()
    agents = Agents(frozenset((bytes.fromhex(agent.certificate.fingerprint()),)))
    csr = request(private_key=key("new"))
    assert received(csr.der, agent, agents=agents).credential is Credential.ON_BEHALF
    assert received(csr.der, agent, agents=agents, renewal=None).credential is Credential.ON_BEHALF
    assert "renews nothing" in refusal(csr.der, agent, MessageType.RENEWAL_REQ, agents=agents).reason
    by_key = Agents(keys=frozenset((agent.certificate.public_key.sha256,)))
    own = self_signed_identity(request())
    assert received(csr.der, own, agents=by_key).credential is Credential.ON_BEHALF
    assert received(request().der, own, agents=by_key).credential is Credential.INITIAL
    assert "another key" in refusal(csr.der, own).reason


@pytest.mark.proves("MSG-20", "MSG-23", "DR-4", "SEC-10")
def test_manufacturers():
    """A manufacturer's certificate signs a first request for a new key, where the profile names that manufacturer."""
    device, csr = device_certificate("maker"), request(private_key=key("new"))
    makers = (authority("maker").certificate,)
    assert received(csr.der, device, manufacturers=makers).credential is Credential.DEVICE
    assert received(csr.der, device, manufacturers=makers, renewal=None).credential is Credential.DEVICE
    assert "manufacturer" in refusal(csr.der, device, MessageType.RENEWAL_REQ, manufacturers=makers).reason
    other = device_certificate("other CA")
    assert "no renewal anchor" in refusal(csr.der, other, manufacturers=makers).reason
    assert "renews nothing" in refusal(csr.der, other, manufacturers=makers, renewal=None).reason
    # Whoever is both is what has less to say about names.
    both = RenewalRules((*RULES.anchors, *makers), window=30 * DAY)
    assert received(csr.der, device, manufacturers=makers, renewal=both).credential is Credential.RENEWAL


@pytest.mark.proves("P10-02", "AC-065", "SEC-11", "AC-053")
def test_proof_of_possession():
    """A request whose own signature does not verify is refused, for renewals too."""
    csr = request()
    flipped = csr.der[:-1] + bytes((csr.der[-1] ^ 1,))
    assert refusal(flipped, self_signed_identity(csr)).fail_info is FailInfo.BAD_REQUEST
    assert refusal(flipped, device_certificate()).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("AC-088")
def test_refused_algorithm_in_the_request():
    """The holder of the key learns that the request's own signature uses a refused digest."""
    floor = Floor(digests=frozenset((Digest.SHA512,)))
    used = Algorithms(digest=Digest.SHA512)
    assert refusal(request().der, self_signed_identity(request()), floor=floor, algorithms=used).fail_info is (
        FailInfo.BAD_ALG
    )


@pytest.mark.proves("CMS-30", "I8")
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\x30\x00", b"garbage", request().der + b"\0"],
    ids=["empty", "nul", "seq", "text", "tail"],
)
def test_unreadable_content(content):
    """What is no request, or more than one, is badRequest like any other."""
    assert refusal(content, self_signed_identity(request())).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("I8", "SEC-02")
def test_nobody_is_never_believed():
    """The request that stands in for an unreadable one is refused even from a signer with its key."""
    assert refusal(b"", self_signed_identity(request())).fail_info is FailInfo.BAD_REQUEST
    with pytest.raises(ScepError):
        NOBODY.verify()


@pytest.mark.proves("CMS-21")
def test_wrong_recipient():
    """A message to the CA instead of the RA is refused with a hint for the log."""
    ca = authority().identity
    assert "CA" in refusal(request().der, self_signed_identity(request()), recipient=ca).reason


@pytest.mark.proves("CMS-24", "SEC-01")
def test_refused_cipher():
    """A cipher that the floor refuses is badAlg, before any private key is used."""
    used = Algorithms(cipher=ContentCipher.DES_CBC)
    assert refusal(request().der, self_signed_identity(request()), algorithms=used).fail_info is FailInfo.BAD_ALG
