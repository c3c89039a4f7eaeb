"""GetNextCACert: two layouts, of which a signature covers one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scepra.errors import Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest, Floor
from scepra.scep.cms import SignedData, degenerate, parse_degenerate
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import Answer, PKIMessage, PKIStatus, build_cert_rep
from scepra.scep.rollover import NextCACert, build_next_ca_cert, parse_next_ca_cert
from tests import csrs
from tests.rig.forge import Forge, attribute, ber, ca_extensions, certificate, read_answer

CA_KEY, RA_KEY, NEXT_KEY = csrs.rsa_key(which=3), csrs.rsa_key(which=1), csrs.rsa_key(which=4)
CA = certificate(CA_KEY, "CA", extensions=ca_extensions())
RA = Identity(certificate(RA_KEY, "RA", by=(CA_KEY, CA), serial=der.integer(7)), SoftwareKey(RA_KEY))
NEXT_CA = certificate(NEXT_KEY, "CA 2", extensions=ca_extensions())
NEXT_RA = certificate(csrs.rsa_key(which=5), "RA 2", by=(NEXT_KEY, NEXT_CA))
NEXT = (NEXT_CA, NEXT_RA)
TRUSTED = (CA, RA.certificate)
FLOOR = Floor()
SCEP = {oid.MESSAGE_TYPE: (), oid.TRANSACTION_ID: (), oid.SENDER_NONCE: ()}
ABSENT = der.sequence(der.oid(oid.DATA))
# What a CA signs: the RFC's layout, and jscep's.
RFC = Forge(
    recipient=CA,
    key=CA_KEY,
    signer=CA,
    attributes=SCEP,
    envelope=degenerate(item.der for item in NEXT),
    bag=(CA.der,),
)
JSCEP = replace(RFC, encapsulated=ABSENT, bag=tuple(item.der for item in NEXT))


def signed_data_type(forge: Forge) -> Forge:
    return replace(forge, content_type=oid.SIGNED_DATA)


@pytest.mark.proves("CERT-30", "CERT-32", "CERT-33")
def test_an_answer_is_written_for_readers_of_both_layouts() -> None:
    """The signed content is a certs-only message, the outer bag repeats it, and there are no SCEP attributes."""
    answer = build_next_ca_cert(NEXT, RA, Digest.SHA256)
    der.parse(answer, strict=True)
    read = SignedData.parse(answer)
    assert read.content is not None
    assert parse_degenerate(read.content).certificates == tuple(item.der for item in NEXT)
    assert read.certificates == (*(item.der for item in NEXT), RA.certificate.der)
    assert parse_next_ca_cert(answer, TRUSTED, FLOOR) == NextCACert(NEXT, RA.certificate, signed=True)
    names = {oid.dotted(name) for name, _ in read.signer_info.attributes}
    assert names == {oid.dotted(oid.CONTENT_TYPE), oid.dotted(oid.MESSAGE_DIGEST)}


@pytest.mark.proves("CERT-30")
def test_the_signature_verifies_elsewhere() -> None:
    """asn1crypto and cryptography find the RA's signature over the content."""
    message = build_next_ca_cert((), RA, Digest.SHA512)
    assert SignedData.parse(message).verify(FLOOR, TRUSTED) == (RA.certificate, Digest.SHA512)
    jscep = replace(JSCEP, key=RA_KEY, signer=RA.certificate, bag=(RA.certificate.der,))
    assert read_answer(jscep.message(), RA.certificate).content is None


@pytest.mark.proves("CERT-33", "CERT-31")
@pytest.mark.parametrize(
    ("forge", "signed"),
    [
        (RFC, True),
        (signed_data_type(RFC), True),
        (replace(RFC, message_ber=lambda whole: ber(whole, segment=500, keep=(CA.der,))), True),
        (replace(RFC, bag=()), True),
        (JSCEP, False),
        (replace(JSCEP, encapsulated=der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"")))), False),
        (replace(JSCEP, bag=(CA.der, *(item.der for item in NEXT))), False),
    ],
)
def test_both_layouts_are_read_and_told_apart(forge: Forge, signed: bool) -> None:
    """The next certificates come out in order, with their signer, and with word whether a signature covers them."""
    assert parse_next_ca_cert(forge.message(), TRUSTED, FLOOR) == NextCACert(NEXT, CA, signed)


@pytest.mark.proves("CERT-33", "CERT-12")
def test_nothing_covers_jsceps_layout() -> None:
    """Anyone can exchange the certificates of a message without content: it is read, and never as signed."""
    evil = certificate(csrs.rsa_key(which=2), "evil CA", extensions=ca_extensions())
    swapped = replace(JSCEP, bag=(evil.der,)).message()
    assert parse_next_ca_cert(swapped, TRUSTED, FLOOR) == NextCACert((evil,), CA, signed=False)
    # The RFC's layout cannot be turned into it: the digest is of the content.
    with pytest.raises(ScepError):
        parse_next_ca_cert(
            replace(RFC, bag=(evil.der,), signer_infos=(RFC.signer_info(),), encapsulated=ABSENT).message(),
            TRUSTED,
            FLOOR,
        )


@pytest.mark.proves("CERT-30", "CERT-31", "CERT-12")
@pytest.mark.parametrize(
    "message",
    [
        degenerate(item.der for item in NEXT),
        replace(RFC, key=NEXT_KEY, signer=NEXT_CA, bag=(NEXT_CA.der,)).message(),
        replace(RFC, signature=lambda signed: bytes(256)).message(),
        replace(RFC, digest=Digest.MD5).message(),
        replace(RFC, attributes={**SCEP, oid.MESSAGE_DIGEST: ()}).message(),
        replace(RFC, envelope=b"garbage").message(),
        replace(RFC, envelope=degenerate()).message(),
        replace(RFC, envelope=degenerate([b"\x30\0"])).message(),
        replace(RFC, content_type=oid.ENVELOPED_DATA).message(),
        replace(JSCEP, bag=()).message(),
        replace(JSCEP, bag=(CA.der,)).message(),
        b"",
        CA.der,
        b"<html>",
    ],
)
def test_what_no_one_trusted_signed_is_refused(message: bytes) -> None:
    """Unsigned, signed by somebody else or badly, without certificates, or no message at all."""
    with pytest.raises(ScepError):
        parse_next_ca_cert(message, TRUSTED, FLOOR)


@pytest.mark.proves("CERT-33")
def test_a_cert_rep_cannot_be_dressed_up_as_an_answer() -> None:
    """A PENDING CertRep of the same RA has no content either: its SCEP attributes give it away."""
    request = PKIMessage.parse(Forge(recipient=RA.certificate).message())
    pending = build_cert_rep(request, Answer(PKIStatus.PENDING), RA, Digest.SHA256)
    with pytest.raises(Malformed, match="pkiMessage"):
        parse_next_ca_cert(pending, TRUSTED, FLOOR)
    kind = (attribute(oid.MESSAGE_TYPE, der.printable_string("3")),)
    with pytest.raises(Malformed, match="pkiMessage"):
        parse_next_ca_cert(replace(JSCEP, attributes={**SCEP, oid.MESSAGE_TYPE: kind}).message(), TRUSTED, FLOOR)
