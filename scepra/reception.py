"""A request received: opened, read and bound to its signer, or refused (design section 3, steps 4 and 5).

Everything after the envelope runs to its end before one refusal is chosen: what does not open is read on as a request
that can belong to nobody, so that neither the answer nor its timing tells where reading failed (design rule 2, I8,
SEC-02).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace

from scepra.agent import Agents
from scepra.enrolment import Credential
from scepra.errors import FailInfo, ScepError
from scepra.provenance import issuer_of
from scepra.renewal import RenewalRules
from scepra.scep import der, oid
from scepra.scep.algorithm import Algorithms, Digest, Floor, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import CertificateName, Generation, Keyring
from scepra.scep.message import MessageType, PKIMessage, parse_issuer_and_serial, read_envelope
from scepra.scep.name import Name

NO_AGENTS = Agents()
LONGEST_SERIAL = 256
"""How many bits a serial number that is asked for may have: of what somebody else has encrypted nothing fits into one
(RFC 5280, 4.1.2.2, has 160)."""
_NOBODY_S = der.sequence()


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is answered, and how: ``signer`` made the message's signature, ``generation`` is the RA generation that the
    client used, ``algorithms`` what it used and is answered with."""

    signer: Certificate
    generation: Generation
    algorithms: Algorithms


@dataclass(frozen=True, slots=True)
class Reception(Asker):
    """A readable PKCSReq or RenewalReq whose signer is entitled to speak for its key."""

    message_type: MessageType
    digest: Digest
    csr: CertificationRequest
    credential: Credential


@dataclass(frozen=True, slots=True)
class Query(Asker):
    """A GetCert or GetCRL: the certificate that it names by its issuer, encoded, and its serial number; ``asked`` is
    the digest of what it says."""

    message_type: MessageType
    issuer: bytes
    serial: int
    asked: bytes

    @property
    def name(self) -> CertificateName:
        """The name of that certificate."""
        return CertificateName(self.issuer, self.serial)


def receive(
    message: PKIMessage,
    signer: Certificate,
    digest: Digest,
    *,
    keyring: Keyring,
    floor: Floor,
    renewal: RenewalRules | None,
    agents: Agents = NO_AGENTS,
    manufacturers: tuple[Certificate, ...] = (),
) -> Reception:
    """Open a verified message and bind its request to its signer.

    Args:
        signer: the certificate whose key made the message's signature with *digest*.
        renewal: the profile's rules, None where nothing is renewed.
        agents: who may sign for others.
        manufacturers: the CAs whose certificates may sign for new keys of their devices.

    Raises:
        ScepError: badAlg for what anyone can see on the wire, else badRequest.
    """
    opened = message.open(keyring, floor, digest)
    failure: ScepError | None = None
    try:
        csr = CertificationRequest.parse(opened.content)
    except ScepError as error:
        failure, csr = error, NOBODY
    credential = _classify(message.message_type, signer, csr, renewal, agents, manufacturers)
    possession = _possession(csr, floor)
    if failure is not None:
        raise ScepError(failure.reason)
    if isinstance(credential, ScepError):
        raise credential
    if possession is not None:
        raise possession
    return Reception(signer, opened.generation, opened.algorithms, message.message_type, digest, csr, credential)


def receive_poll(message: PKIMessage, signer: Certificate, digest: Digest, *, keyring: Keyring, floor: Floor) -> Asker:
    """Who sent a verified CertPoll.

    What it polls for is told by its transactionID and its signer's key alone; its content is not looked at, and need
    not even open: clients write many things into it (MSG-41). Where its algorithms cannot be mirrored, the usual ones
    serve.
    """
    generation, algorithms = keyring.current, Algorithms(digest)
    with suppress(ScepError):
        envelope = read_envelope(message.signed_data)
        position, generation = keyring.generation_for(recipient.name for recipient in envelope.recipients)
        recipient = envelope.recipients[position]
        envelope.check(floor, recipient)
        algorithms = Algorithms(digest, envelope.cipher, recipient.transport or KeyTransport.RSA_V15)
    return Asker(signer, generation, algorithms)


def receive_query(message: PKIMessage, signer: Certificate, digest: Digest, *, keyring: Keyring, floor: Floor) -> Query:
    """Open a verified GetCert or GetCRL of somebody who may ask.

    Whoever may not is to be refused before: then the RA's key opens nothing for strangers. Nor does it tell the others
    anything: content that does not open, or is no IssuerAndSerialNumber, is a certificate that nobody has (SEC-02).

    Raises:
        ScepError: badAlg or badRequest for what anyone can see on the wire.
    """
    opened = message.open(keyring, floor, digest)
    issuer, serial = _NOBODY_S, 0
    with suppress(ScepError):
        found, number = parse_issuer_and_serial(opened.content)
        Name.parse(der.parse(found))
        if number.bit_length() <= LONGEST_SERIAL:
            issuer, serial = found, number
    asked = hashlib.sha256(opened.content).digest()
    return Query(signer, opened.generation, opened.algorithms, message.message_type, issuer, serial, asked)


def _classify(
    message_type: MessageType,
    signer: Certificate,
    csr: CertificationRequest,
    renewal: RenewalRules | None,
    agents: Agents,
    manufacturers: tuple[Certificate, ...],
) -> Credential | ScepError:
    """How the signer stands to the request (MSG-20, MSG-23, MSG-33): there is no other way, and no default.

    Whom a profile names goes before what a certificate says; who is asked last has the least to say.
    """
    first = message_type is MessageType.PKCS_REQ
    self_signed = signer.is_self_signed
    if self_signed and first and signer.public_key.same_key(csr.public_key):
        return Credential.INITIAL
    if agents.lists(signer):
        return Credential.ON_BEHALF if first else ScepError("a renewal signed by an agent, who renews nothing")
    if self_signed:
        if not first:
            return ScepError("a renewal signed by a self-signed certificate")
        return ScepError("signed by another key than the request's")
    if renewal is not None and renewal.issued(signer):
        return Credential.RENEWAL
    if issuer_of(signer, manufacturers) is not None:
        return Credential.DEVICE if first else ScepError("a renewal signed by a manufacturer's certificate")
    if renewal is None:
        return ScepError("signed by a certificate that is not self-signed, and this profile renews nothing")
    return ScepError("signed by a certificate that no renewal anchor issued")


def _possession(csr: CertificationRequest, floor: Floor) -> ScepError | None:
    """The proof of possession (P10-02), or why there is none.

    A refused algorithm is told only to whoever holds the key. Until the signature shows that, the request may be
    another's that was changed under its encryption, and two kinds of answer would be an oracle for it (AC-038, I8).
    """
    try:
        csr.verify(floor)
    except ScepError as error:
        return error if error.fail_info is not FailInfo.BAD_ALG or _authentic(csr, floor) else ScepError(error.reason)
    return None


def _authentic(csr: CertificationRequest, floor: Floor) -> bool:
    """Whether the request's signature verifies, by whatever digest."""
    try:
        csr.verify(replace(floor, digests=frozenset(Digest)))
    except ScepError:
        return False
    return True


# What takes the place of a request that cannot be read. It is never believed: its reading failed before it came into
# play.
_MODULUS = int.from_bytes(hashlib.shake_256(b"nobody's modulus").digest(256), "big") | 1 | 1 << 2047
_SPKI = der.sequence(
    der.sequence(der.oid(oid.RSA), der.NULL),
    der.bit_string(der.sequence(der.integer(_MODULUS), der.integer(65537))),
)
NOBODY = CertificationRequest.parse(
    der.sequence(
        der.sequence(der.integer(0), der.sequence(), _SPKI, der.tlv(0xA0)),
        der.sequence(der.oid(oid.SHA256_RSA), der.NULL),
        der.bit_string(bytes(255) + b"\x02"),
    )
)
