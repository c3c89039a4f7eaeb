"""The GetNextCACert answer: the next CA certificates under a signature of today (RFC 8894, 4.7; conformance 3.3).

Two layouts are in use (CERT-33). In the RFC's, the signed content is itself a certs-only message; in jscep's there is
no content and the certificates stand in the ``certificates`` field, *which no signature covers*. Both are read and told
apart; the RFC's is written, with the certificates repeated in the field for readers of the other kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scepra.errors import Malformed
from scepra.scep import cms, oid
from scepra.scep.algorithm import Digest, Floor
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identity


@dataclass(frozen=True, slots=True)
class NextCACert:
    """What an answer says is next.

    ``signer`` is the candidate whose key signed it. ``signed`` is False for jscep's layout: anyone can exchange those
    certificates, and whoever uses them needs another reason to believe them (a pin, say, or the present CA's signature
    in them).
    """

    certificates: tuple[Certificate, ...]
    signer: Certificate
    signed: bool


def build_next_ca_cert(certificates: Sequence[Certificate], signer: Identity, digest: Digest) -> bytes:
    """Write an answer.

    Args:
        certificates: the next CA certificates and, where they change, the next RA certificates (CERT-32), in order.
        signer: the RA's signing identity; its certificate goes along, last, because sscep looks for it there.
        digest: of the signature.
    """
    inner = cms.degenerate(certificate.der for certificate in certificates)
    return cms.sign(inner, (), signer, digest, (*certificates, signer.certificate))


def parse_next_ca_cert(encoding: bytes, candidates: Sequence[Certificate], floor: Floor) -> NextCACert:
    """Read and verify an answer in either layout.

    Args:
        candidates: who may have signed it: the pinned CA, and RA certificates that chain to it. An unsigned answer, or
            one signed by somebody else, is refused (N23 8.9).
        floor: digests and keys that are accepted.

    Raises:
        ScepError: it is none, is not signed by a candidate, or carries no certificate.
    """
    signed_data = cms.SignedData.parse(encoding)
    if signed_data.content_type not in (oid.DATA, oid.SIGNED_DATA):
        raise Malformed("next CA certificates in an unknown content")
    if any(name == oid.MESSAGE_TYPE for name, _ in signed_data.signer_info.attributes):
        # Else a CertRep without content, signed by the same key, could be dressed up as an answer (N23 5.2.6.1).
        raise Malformed("a pkiMessage where next CA certificates belong")
    signer, _ = signed_data.verify(floor, candidates)
    if signed_data.content:
        encodings = cms.parse_degenerate(signed_data.content).certificates
    else:
        encodings = tuple(item for item in signed_data.certificates if item != signer.der)
    if not encodings:
        raise Malformed("no next CA certificate")
    return NextCACert(tuple(map(Certificate.parse, encodings)), signer, bool(signed_data.content))
