"""SignedData: read as devices write it, verified before anything else, written for every reader."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from asn1crypto import cms as asn1
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import FailInfo, Malformed, ScepError
from scepra.scep import cms, der, oid
from scepra.scep.algorithm import Digest, Floor
from scepra.scep.certificate import Certificate
from scepra.scep.cms import SignedData, degenerate, parse_degenerate
from scepra.scep.identity import Identity, SoftwareKey
from tests import csrs
from tests.rig.forge import (
    Forge,
    attribute,
    ber,
    ca_extensions,
    certificate,
    issuer_and_serial,
    key_identifier,
    long_lengths,
    read_answer,
)

RA_KEY = csrs.rsa_key(which=1)
RA = certificate(RA_KEY, "RA", extensions=(csrs.key_usage(b"\x05\xa0"),))
FORGE = Forge(recipient=RA, envelope=b"not looked at here")
SIGNER = FORGE.certificate()
FLOOR = Floor()
OTHERS = tuple(certificate(csrs.rsa_key(which=which), f"other {which}") for which in range(2, 5))


def verify(message: bytes, floor: Floor = FLOOR) -> tuple[Certificate, Digest]:
    return SignedData.parse(message).verify(floor)


def refusal(message: bytes, floor: Floor = FLOOR) -> FailInfo:
    """What a message that can be parsed is refused with, without any private key at hand."""
    signed = SignedData.parse(message)
    with pytest.raises(ScepError) as refused:
        signed.verify(floor)
    return refused.value.fail_info


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_a_sound_message_verifies() -> None:
    """The control of everything below: signer, digest, content and bag are what they were."""
    signed = SignedData.parse(FORGE.message())
    assert signed.verify(FLOOR) == (SIGNER, Digest.SHA256)
    assert signed.content == b"not looked at here"
    assert signed.certificates == (SIGNER.der,)


def sorted_by_der(signed: bytes) -> bytes:
    """The SET OF attributes in DER's order, whatever order they came in."""
    return der.set_of(child.raw for child in der.parse(signed).children())


@pytest.mark.proves("CMS-01", "CMS-02", "AC-020")
@pytest.mark.parametrize("arrange", [sorted, lambda items: sorted(items, reverse=True)])
@pytest.mark.parametrize(
    "encode",
    [
        lambda message: ber(message, keep=(SIGNER.der,)),
        lambda message: ber(message, segment=1000, keep=(SIGNER.der,)),
        lambda message: ber(message, segment=3, keep=(SIGNER.der,)),
        lambda message: long_lengths(message, keep=(SIGNER.der,)),
    ],
)
def test_ber_at_every_level_verifies(
    encode: Callable[[bytes], bytes], arrange: Callable[[list[bytes]], list[bytes]]
) -> None:
    """Indefinite lengths, strings in segments and long lengths do not change what was signed or digested."""
    content = bytes(range(256)) * 5
    forge = replace(FORGE, message_ber=encode, arrange=arrange, envelope=content, signed_attributes=sorted_by_der)
    signed = SignedData.parse(forge.message())
    assert signed.verify(FLOOR) == (SIGNER, Digest.SHA256)
    assert signed.content == content


@pytest.mark.proves("CMS-07")
def test_unsorted_attributes_verify_either_way() -> None:
    """A signature over the attributes as they stand verifies, and so does one over DER's order of them."""
    backwards = replace(FORGE, arrange=lambda items: sorted(items, reverse=True))
    in_order = replace(backwards, signed_attributes=sorted_by_der)
    assert backwards.attribute_list() != FORGE.attribute_list()
    for forge in (backwards, in_order):
        assert verify(forge.message()) == (SIGNER, Digest.SHA256)
    third_order = replace(backwards, signed_attributes=lambda signed: signed[:-1] + b"x")
    assert refusal(third_order.message()) is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("CMS-02", "CMS-06")
def test_absent_content_is_digested_as_nothing() -> None:
    """An absent eContent and an empty one have the digest of no octets."""
    for content in (der.sequence(der.oid(oid.DATA)), der.sequence(der.oid(oid.DATA), der.explicit(0, b"\x04\0"))):
        signed = SignedData.parse(replace(FORGE, encapsulated=content).message())
        assert signed.verify(FLOOR) == (SIGNER, Digest.SHA256)
        assert not signed.content
        assert (signed.content is None) == (len(der.parse(content).children()) == 1)


@pytest.mark.proves("CMS-03", "PEER-04")
def test_the_content_type_is_what_the_attribute_says() -> None:
    """data and envelopedData are read, and an attribute that says another than eContentType is badMessageCheck."""
    assert verify(replace(FORGE, content_type=oid.ENVELOPED_DATA).message()) == (SIGNER, Digest.SHA256)
    for stated in (oid.ENVELOPED_DATA, oid.SIGNED_DATA):
        wrong = replace(FORGE, attributes={oid.CONTENT_TYPE: (attribute(oid.CONTENT_TYPE, der.oid(stated)),)})
        assert refusal(wrong.message()) is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("CMS-04", "AC-022", "AC-019")
@pytest.mark.parametrize("count", [0, 2, 5000])
def test_there_is_one_signer(count: int) -> None:
    """None, two, or very many SignerInfos make no message, whoever they are."""
    other = replace(FORGE, key=csrs.rsa_key(which=2), message_type="17")
    infos = tuple(itertools.islice(itertools.cycle((other.signer_info(), FORGE.signer_info())), count))
    both = (SIGNER.der, other.certificate().der)
    with pytest.raises(Malformed):
        SignedData.parse(replace(FORGE, signer_infos=infos, bag=both).message())
    with pytest.raises(Malformed):
        SignedData.parse(replace(FORGE, signer_infos=infos[::-1], bag=both).message())


def without_attributes(forge: Forge) -> bytes:
    return der.sequence(
        der.integer(1),
        issuer_and_serial(forge.certificate()),
        csrs.algorithm(oid.SHA256, der.NULL),
        csrs.algorithm(oid.RSA, der.NULL),
        der.octet_string(RA_KEY.sign(forge.value(), padding.PKCS1v15(), Digest.SHA256.hash)),
    )


@pytest.mark.proves("CMS-05", "AC-023")
def test_signed_attributes_are_required() -> None:
    """A signature over the bare content is no message, and neither is one over no attributes at all."""
    bare = replace(FORGE, key=RA_KEY, signer=RA)
    plain = without_attributes(bare)
    only_unsigned = der.sequence(
        *(node.raw for node in der.parse(plain).children()), der.explicit(1, attribute(oid.MESSAGE_TYPE, b"\x13\x0219"))
    )
    empty = der.sequence(
        *(node.raw for node in der.parse(plain).children()[:3]),
        der.tlv(0xA0),
        *(node.raw for node in der.parse(plain).children()[3:]),
    )
    for info in (plain, only_unsigned, empty):
        with pytest.raises(Malformed):
            SignedData.parse(replace(bare, signer_infos=(info,)).message())


@pytest.mark.proves("CMS-05")
def test_unsigned_attributes_count_for_nothing() -> None:
    """What stands among the unsigned attributes is not there."""
    moved = attribute(oid.TRANSACTION_ID, der.printable_string("unsigned"))
    forge = replace(FORGE, attributes={oid.TRANSACTION_ID: ()}, unsigned=der.tlv(0xA1, moved))
    signed = SignedData.parse(forge.message())
    assert signed.verify(FLOOR) == (SIGNER, Digest.SHA256)
    assert signed.signer_info.attribute(oid.TRANSACTION_ID) is None


DIGEST_OF_OTHER = attribute(oid.MESSAGE_DIGEST, der.octet_string(bytes(32)))


@pytest.mark.proves("CMS-06", "AC-023", "AC-025")
@pytest.mark.parametrize(
    "attributes",
    [
        {oid.MESSAGE_DIGEST: ()},
        {oid.MESSAGE_DIGEST: (DIGEST_OF_OTHER,)},
        {oid.MESSAGE_DIGEST: (attribute(oid.MESSAGE_DIGEST),)},
        {oid.MESSAGE_DIGEST: (attribute(oid.MESSAGE_DIGEST, der.octet_string(b"x"), der.octet_string(b"y")),)},
        {oid.MESSAGE_DIGEST: (attribute(oid.MESSAGE_DIGEST, der.integer(1)),)},
        {oid.CONTENT_TYPE: ()},
        {oid.CONTENT_TYPE: (attribute(oid.CONTENT_TYPE, der.oid(oid.DATA)),) * 2},
        {oid.CONTENT_TYPE: (attribute(oid.CONTENT_TYPE, der.oid(oid.DATA), der.oid(oid.DATA)),)},
        {oid.CONTENT_TYPE: (attribute(oid.CONTENT_TYPE, der.NULL),)},
    ],
)
def test_content_type_and_digest_are_there_once_and_right(attributes: dict[bytes, tuple[bytes, ...]]) -> None:
    """Missing, repeated, many-valued, of another type or of other content: badMessageCheck."""
    assert refusal(replace(FORGE, attributes=attributes).message()) is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("CMS-06", "AC-025")
def test_a_second_digest_is_refused_in_any_order() -> None:
    """A good messageDigest beside another is as bad as the other alone."""
    good = next(item for item in FORGE.attribute_list() if der.oid(oid.MESSAGE_DIGEST) in item)
    for pair in itertools.permutations((good, DIGEST_OF_OTHER)):
        forge = replace(FORGE, attributes={oid.MESSAGE_DIGEST: pair}, arrange=list)
        assert refusal(forge.message()) is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("CMS-11")
def test_unknown_attributes_are_ignored() -> None:
    """randomNonce, signingTime, something private: none of them changes anything."""
    more = {
        oid.encode("1.2.840.113549.1.9.25.3"): (
            attribute(oid.encode("1.2.840.113549.1.9.25.3"), der.octet_string(b"r")),
        ),
        oid.SIGNING_TIME: (attribute(oid.SIGNING_TIME, der.tlv(der.UTC_TIME, b"garbage")),),
        oid.encode("1.2.3.4"): (attribute(oid.encode("1.2.3.4")), attribute(oid.encode("1.2.3.4"), der.NULL)),
    }
    assert verify(replace(FORGE, attributes=more).message()) == (SIGNER, Digest.SHA256)


def protection(*parts: bytes) -> dict[bytes, tuple[bytes, ...]]:
    return {oid.ALGORITHM_PROTECTION: (attribute(oid.ALGORITHM_PROTECTION, der.sequence(*parts)),)}


SHA256_PART = csrs.algorithm(oid.SHA256, der.NULL)


def test_algorithm_protection_protects() -> None:
    """RFC 6211's attribute, where it is, names the algorithms that were used."""
    good = protection(SHA256_PART, der.tlv(0xA1, der.oid(oid.RSA), der.NULL))
    assert verify(replace(FORGE, attributes=good).message()) == (SIGNER, Digest.SHA256)
    for parts in (
        (SHA256_PART, der.tlv(0xA1, der.oid(oid.SHA256_RSA), der.NULL)),
        (csrs.algorithm(oid.SHA1), der.tlv(0xA1, der.oid(oid.RSA))),
        (SHA256_PART, der.tlv(0xA1)),
        (SHA256_PART, der.tlv(0xA2, der.oid(oid.RSA))),
        (SHA256_PART,),
    ):
        assert refusal(replace(FORGE, attributes=protection(*parts)).message()) is FailInfo.BAD_MESSAGE_CHECK


# --- Algorithms ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-12")
@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256, Digest.SHA384, Digest.SHA512])
@pytest.mark.parametrize("parameters", [b"", der.NULL])
@pytest.mark.parametrize("digests", [None, der.tlv(der.SET), der.tlv(der.SET, csrs.algorithm(oid.MD5))])
def test_the_digest_is_the_signers(digest: Digest, parameters: bytes, digests: bytes | None) -> None:
    """The SignerInfo's digest counts, with or without NULL, whatever the message's list of digests says."""
    forge = replace(
        FORGE, digest=digest, digest_algorithm=csrs.algorithm(digest.oid, parameters), digest_algorithms=digests
    )
    assert verify(forge.message()) == (SIGNER, digest)


@pytest.mark.proves("CMS-12")
def test_the_signature_algorithm_may_name_its_digest() -> None:
    """sha256WithRSAEncryption is as good as rsaEncryption; another digest than the SignerInfo's is badAlg."""
    named = replace(FORGE, signature_algorithm=csrs.algorithm(oid.SHA256_RSA))
    assert verify(named.message()) == (SIGNER, Digest.SHA256)
    mismatch = replace(FORGE, signature_algorithm=csrs.algorithm(oid.SHA1_RSA, der.NULL))
    assert refusal(mismatch.message()) is FailInfo.BAD_ALG


@pytest.mark.proves("CMS-12")
def test_pss_and_ecdsa_verify() -> None:
    """RSASSA-PSS with strict parameters, and ECDSA, sign messages too."""
    sha256 = Digest.SHA256.hash
    parameters = der.sequence(
        der.explicit(0, SHA256_PART),
        der.explicit(1, csrs.algorithm(oid.MGF1, SHA256_PART)),
        der.explicit(2, der.integer(32)),
    )
    pss = replace(
        FORGE,
        signature_algorithm=csrs.algorithm(oid.RSASSA_PSS, parameters),
        signature=lambda signed: csrs.rsa_key().sign(signed, padding.PSS(padding.MGF1(sha256), 32), sha256),
    )
    assert verify(pss.message()) == (SIGNER, Digest.SHA256)
    assert refusal(replace(pss, signature_algorithm=csrs.algorithm(oid.RSASSA_PSS)).message()) is FailInfo.BAD_ALG
    curve = replace(FORGE, key=csrs.ec_key(), signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256))
    assert verify(curve.message()) == (curve.certificate(), Digest.SHA256)


@pytest.mark.proves("SEC-01", "MSG-06")
def test_refused_digests_are_bad_alg() -> None:
    """MD5 is refused unless a floor allows it; an unknown digest always."""
    md5 = replace(FORGE, digest=Digest.MD5)
    assert refusal(md5.message()) is FailInfo.BAD_ALG
    assert verify(md5.message(), Floor(digests=frozenset(Digest))) == (SIGNER, Digest.MD5)
    unknown = replace(FORGE, digest_algorithm=csrs.algorithm(oid.encode("1.2.3")))
    assert refusal(unknown.message()) is FailInfo.BAD_ALG


# --- The signer's certificate ----------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-13")
def test_the_signer_is_found_wherever_it_stands() -> None:
    """Certificates in any order, unrelated ones among them, do not hide or replace the one that is named."""
    for bag in itertools.permutations((SIGNER, *OTHERS)):
        message = replace(FORGE, bag=tuple(item.der for item in bag)).message()
        assert verify(message) == (SIGNER, Digest.SHA256)


@pytest.mark.proves("CMS-13")
def test_the_signer_may_be_named_by_its_key_identifier() -> None:
    """A subjectKeyIdentifier with version 3 names the certificate that has it."""
    own = certificate(extensions=(key_identifier(),))
    forge = replace(FORGE, signer=own, sid=der.tlv(0x80, b"\x01" * 20), signer_version=3)
    assert verify(replace(forge, bag=(OTHERS[0].der, own.der)).message()) == (own, Digest.SHA256)
    assert refusal(replace(forge, bag=(OTHERS[0].der,)).message()) is FailInfo.BAD_MESSAGE_CHECK
    with pytest.raises(Malformed):
        SignedData.parse(replace(forge, sid=der.tlv(0x81, b"\x01" * 20)).message())


@pytest.mark.proves("CMS-13")
def test_the_issuer_may_be_spelt_otherwise() -> None:
    """The issuer in the SignerInfo may be in other letters and another string type than in the certificate."""
    sid = der.sequence(csrs.subject("DEVICE.example", der.PRINTABLE_STRING), der.integer(0x2A))
    assert verify(replace(FORGE, sid=sid).message()) == (SIGNER, Digest.SHA256)
    padded = der.sequence(SIGNER.issuer_der, der.tlv(der.INTEGER, b"\0\x2a"))
    assert verify(replace(FORGE, sid=padded).message()) == (SIGNER, Digest.SHA256)


@pytest.mark.proves("CMS-13", "MSG-06")
@pytest.mark.parametrize(
    "bag", [(), (OTHERS[0].der,), (certificate(serial=der.integer(7)).der,), (b"\x30\0",), (SIGNER.der[:-1] + b"xx",)]
)
def test_a_missing_signer_is_bad_message_check(bag: tuple[bytes, ...]) -> None:
    """A signer's certificate that is not there, or cannot be read, is badMessageCheck."""
    if bag == (SIGNER.der[:-1] + b"xx",):
        with pytest.raises(Malformed):
            SignedData.parse(replace(FORGE, bag=bag).message())
        return
    assert refusal(replace(FORGE, bag=bag).message()) is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("AC-031")
def test_an_ambiguous_signer_is_refused() -> None:
    """Two certificates that the SignerInfo could mean are badMessageCheck in both orders; the same one twice is one."""
    victim = certificate(csrs.rsa_key(which=2))
    assert (victim.issuer_der, victim.serial) == (SIGNER.issuer_der, SIGNER.serial)
    for bag in itertools.permutations((victim.der, SIGNER.der)):
        assert refusal(replace(FORGE, bag=bag).message()) is FailInfo.BAD_MESSAGE_CHECK
    keys = (csrs.rsa_key(), csrs.rsa_key(which=2))
    identified = [certificate(key, extensions=(key_identifier(),)) for key in keys]
    by_key = replace(FORGE, signer=identified[0], sid=der.tlv(0x80, b"\x01" * 20))
    for pair in itertools.permutations(identified):
        assert refusal(replace(by_key, bag=tuple(item.der for item in pair)).message()) is FailInfo.BAD_MESSAGE_CHECK
    assert verify(replace(FORGE, bag=(SIGNER.der, SIGNER.der)).message()) == (SIGNER, Digest.SHA256)


@pytest.mark.proves("AC-064")
@pytest.mark.parametrize(
    "spki",
    [
        csrs.rsa_spki(2**1023 + 1, 65537),
        csrs.rsa_spki(2**16383 + 1, 65537),
        csrs.rsa_spki(2**131071 + 1, 65537),
        csrs.rsa_spki(csrs.rsa_key().public_key().public_numbers().n, 1),
        csrs.spki(csrs.ec_key("secp256k1")),
        der.sequence(csrs.algorithm(oid.RSA, der.NULL), der.bit_string(b"no key")),
    ],
)
def test_hostile_signer_keys_are_bad_alg(spki: bytes) -> None:
    """A signer's key outside the floor, or none at all, is badAlg: anyone can see it."""
    hostile = certificate(public_key=spki)
    assert refusal(replace(FORGE, signer=hostile).message()) is FailInfo.BAD_ALG


@pytest.mark.proves("CMS-13")
def test_somebody_elses_signature_does_not_verify() -> None:
    """The named certificate's key must have made the signature."""
    stolen = replace(FORGE, signer=OTHERS[0])
    assert refusal(stolen.message()) is FailInfo.BAD_MESSAGE_CHECK


def test_candidates_take_the_place_of_the_bag() -> None:
    """Where it is known who may sign, certificates in the message are no reason to believe it."""
    signed = SignedData.parse(FORGE.message())
    assert signed.verify(FLOOR, [OTHERS[0], SIGNER]) == (SIGNER, Digest.SHA256)
    with pytest.raises(ScepError) as refused:
        signed.verify(FLOOR, OTHERS)
    assert refused.value.fail_info is FailInfo.BAD_MESSAGE_CHECK


# --- Bounds and hostility --------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-15", "AC-019")
def test_certificates_and_attributes_are_bounded() -> None:
    """Eight certificates and 64 signed attributes are read, one more is not."""
    filler = [attribute(oid.encode(f"1.2.3.{number}"), der.NULL) for number in range(64)]
    eight = (SIGNER.der, *(OTHERS[number % 3].der for number in range(7)))
    assert verify(replace(FORGE, bag=eight).message()) == (SIGNER, Digest.SHA256)
    many = {oid.encode("1.2.3"): tuple(filler[:59])}
    assert verify(replace(FORGE, attributes=many).message()) == (SIGNER, Digest.SHA256)
    for forge in (
        replace(FORGE, bag=(*eight, SIGNER.der)),
        replace(FORGE, bag=(b"\x30\0",) * 5000),
        replace(FORGE, attributes={oid.encode("1.2.3"): tuple(filler[:60])}),
        replace(FORGE, attributes={oid.encode("1.2.3"): tuple(filler) * 800}),
        replace(FORGE, after_bag=der.tlv(0xA1, *[b"\x30\0"] * 10_000)),
    ):
        with pytest.raises(Malformed):
            SignedData.parse(forge.message())


@pytest.mark.proves("CMS-15")
def test_crls_and_other_certificates_change_nothing() -> None:
    """CRLs, attribute certificates and fields nobody knows are passed over."""
    forge = replace(
        FORGE,
        bag=(der.tlv(0xA2, der.NULL), SIGNER.der, der.tlv(0xA3, der.oid(oid.DATA))),
        after_bag=der.tlv(0xA1, der.sequence(der.integer(1))) + der.tlv(0xA5, der.NULL),
    )
    signed = SignedData.parse(forge.message())
    assert signed.certificates == (SIGNER.der,)
    assert signed.verify(FLOOR) == (SIGNER, Digest.SHA256)


@pytest.mark.proves("AC-016")
@pytest.mark.parametrize(
    "forge",
    [
        replace(FORGE, attributes={b"x": (der.sequence(der.tlv(6, b"\x2a" + b"\x81" * 60_000 + b"\1"), b"\x31\0"),)}),
        replace(FORGE, signature_algorithm=der.sequence(der.tlv(6, b"\x2a" + b"\x81" * 60_000 + b"\1"))),
        replace(
            FORGE, sid=der.sequence(csrs.name(csrs.value(b"\x2a" + b"\x81" * 60_000 + b"\1", "x")), der.integer(1))
        ),
    ],
)
def test_a_giant_identifier_is_no_message(forge: Forge) -> None:
    """An object identifier of 60 kB, wherever it stands, stops the reading of the message."""
    with pytest.raises(Malformed, match="object identifier"):
        SignedData.parse(forge.message())


@pytest.mark.proves("AC-017")
@pytest.mark.parametrize("levels", [40, 1000, 15_000])
def test_deep_nesting_is_no_message(levels: int) -> None:
    """Deep structures in an attribute's value, of either kind of length, stop the reading of the message."""
    definite = der.NULL
    for _ in range(levels):
        definite = der.sequence(definite)
    for value in (definite, b"\x30\x80" * levels + b"\0\0" * levels, b"\x24\x80" * levels + b"\0\0" * levels):
        forge = replace(FORGE, attributes={b"x": (attribute(oid.encode("1.2.3"), value),)})
        with pytest.raises(Malformed, match="too deeply"):
            SignedData.parse(forge.message())


@pytest.mark.proves("AC-043", "AC-020")
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"garbage",
        der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"x"))),
        der.sequence(der.oid(oid.ENVELOPED_DATA), der.explicit(0, der.sequence())),
        der.sequence(der.oid(oid.encode("1.2.840.113549.1.7.4")), der.explicit(0, der.sequence())),
        der.sequence(der.oid(oid.encode("1.2.3")), der.explicit(0, der.sequence())),
        der.sequence(der.oid(oid.SIGNED_DATA)),
        der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0)),
        der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence(), der.sequence())),
        der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence(der.integer(1)))),
        FORGE.enveloped(),
        FORGE.message() + b"\0",
        FORGE.message() + b"\r\n",
        FORGE.message()[:-1],
        degenerate((SIGNER.der,)),
        der.sequence(),
    ],
)
def test_what_is_no_signed_message_is_malformed(message: bytes) -> None:
    """Other content types, truncated messages and trailing octets are nothing that could be answered."""
    with pytest.raises(Malformed):
        SignedData.parse(message)


@pytest.mark.parametrize(
    "change",
    [
        {"encapsulated": der.sequence(der.oid(oid.DATA), der.explicit(0))},
        {"encapsulated": der.sequence(der.oid(oid.DATA), der.explicit(0, der.sequence()))},
        {"encapsulated": der.sequence(der.oid(oid.DATA), der.octet_string(b"x"))},
        {"sid": der.sequence(der.sequence())},
        {"sid": der.sequence(der.NULL, der.integer(1))},
        {"digest_algorithm": der.sequence()},
        {"signature_algorithm": der.sequence()},
        {"attributes": {b"x": (der.sequence(der.oid(oid.DATA)),)}},
        {"attributes": {b"x": (der.sequence(der.oid(oid.DATA), der.sequence()),)}},
    ],
)
def test_broken_parts_are_malformed(change: dict[str, object]) -> None:
    """Each part that has another shape than CMS gives it is refused."""
    attributes = FORGE.attribute_list()
    forge = replace(FORGE, envelope=b"", **change)  # type: ignore[arg-type]
    if "encapsulated" in change:
        # The forge cannot digest what is no content: the reader must stop before it asks for a digest.
        forge = replace(forge, encapsulated=None)
        message = forge.message()
        good = der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"")))
        broken = bytes(change["encapsulated"])  # type: ignore[arg-type]
        fields = [node.raw for node in der.parse(message).children()[1].children()[0].children()]
        assert fields[2] == good
        fields[2] = broken
        message = der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence(*fields)))
    else:
        message = forge.message()
    assert attributes
    with pytest.raises(Malformed):
        SignedData.parse(message)


@given(st.data())
@pytest.mark.proves("SEC-12", "DR-1")
def test_a_mutated_message_is_malformed_or_does_not_verify(data: st.DataObject) -> None:
    """Whatever octets change: Malformed, badAlg, badMessageCheck, or nothing that is signed has changed."""
    octets = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        signed = SignedData.parse(bytes(octets))
    except Malformed:
        return
    try:
        signer, _ = signed.verify(FLOOR)
    except ScepError as refused:
        assert refused.fail_info in (FailInfo.BAD_ALG, FailInfo.BAD_MESSAGE_CHECK)
    else:
        assert signer.spki == SIGNER.spki
        assert signed.content == FORGE.value()


SEEDS = (
    FORGE.message(),
    ber(FORGE.message(), segment=50, keep=(SIGNER.der,)),
    replace(FORGE, sid=der.tlv(0x80, b"\x01" * 20), signer=certificate(extensions=(key_identifier(),))).message(),
    replace(FORGE, attributes=protection(SHA256_PART, der.tlv(0xA1, der.oid(oid.RSA), der.NULL))).message(),
)


def test_values_that_no_der_can_have_are_only_refused() -> None:
    """A signature that fails over attributes with a broken constructed string is badMessageCheck, not worse."""
    broken = {b"x": (attribute(oid.encode("1.2.3"), b"\x24\x02\x30\0"),)}
    forge = replace(FORGE, attributes=broken)
    assert verify(forge.message()) == (SIGNER, Digest.SHA256)
    assert refusal(replace(forge, signature=lambda signed: bytes(256)).message()) is FailInfo.BAD_MESSAGE_CHECK


# --- Writing ---------------------------------------------------------------------------------------------------------

IDENTITY = Identity(RA, SoftwareKey(RA_KEY))
PLAIN = attribute(oid.encode("1.2.3"), der.NULL)


@pytest.mark.proves("CMS-40", "CMS-41", "PEER-01")
def test_messages_are_written_in_one_template() -> None:
    """Version 1, one digest with NULL, rsaEncryption with NULL, issuer and serial as in the certificate, DER."""
    written = cms.sign(b"", [PLAIN], IDENTITY, Digest.SHA512, [RA])
    der.parse(written, strict=True)
    info = asn1.ContentInfo.load(written, strict=True)
    assert info.dump(force=True) == written
    data = info["content"]
    (signer_info,) = data["signer_infos"]
    sha512 = csrs.algorithm(oid.SHA512, der.NULL)
    assert data["version"].native == signer_info["version"].native == "v1"
    assert data["digest_algorithms"].contents == signer_info["digest_algorithm"].dump() == sha512
    assert signer_info["signature_algorithm"].dump() == csrs.algorithm(oid.RSA, der.NULL)
    assert signer_info["sid"].chosen.dump() == der.sequence(RA.issuer_der, RA.serial_der)
    assert data["encap_content_info"].dump() == der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"")))
    assert [choice.chosen.dump() for choice in data["certificates"]] == [RA.der]
    assert read_answer(written, RA).digest == "sha512"


@pytest.mark.proves("CMS-07", "CMS-40")
@given(st.lists(st.binary(min_size=1, max_size=8), max_size=6))
def test_signed_attributes_are_written_sorted(values: list[bytes]) -> None:
    """Whatever the attributes are, they stand in DER's order, and two readers verify them."""
    more = [attribute(oid.encode(f"1.2.3.{at}"), der.octet_string(value)) for at, value in enumerate(values)]
    written = cms.sign(None, more, IDENTITY, Digest.SHA256, [])
    signed = SignedData.parse(written)
    assert signed.verify(FLOOR, [RA]) == (RA, Digest.SHA256)
    encodings = [child.raw for child in signed.signer_info.attributes_node.children()]
    assert encodings == sorted(encodings)
    assert read_answer(written, RA).content is None


@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256, Digest.SHA384, Digest.SHA512])
def test_an_ec_key_signs_too(digest: Digest) -> None:
    """An RA with an EC signing key names ECDSA with the digest; MD5 it cannot."""
    own = certificate(csrs.ec_key(), "RA")
    identity = Identity(own, SoftwareKey(csrs.ec_key()))
    written = cms.sign(b"", [], identity, digest, [own])
    assert SignedData.parse(written).verify(FLOOR) == (own, digest)
    answer = read_answer(written, own)
    assert oid.encode(answer.signature_algorithm) in (
        oid.ECDSA_SHA1,
        oid.ECDSA_SHA256,
        oid.ECDSA_SHA384,
        oid.ECDSA_SHA512,
    )
    with pytest.raises(ScepError) as refused:
        cms.sign(b"", [], identity, Digest.MD5, [own])
    assert refused.value.fail_info is FailInfo.BAD_ALG


def test_ecdsa_signatures_are_checked_outside() -> None:
    """The signature over the attributes is ECDSA by cryptography's word too."""
    own = certificate(csrs.ec_key(), "RA")
    signed = SignedData.parse(cms.sign(b"", [], Identity(own, SoftwareKey(csrs.ec_key())), Digest.SHA256, [own]))
    info = signed.signer_info
    covered = der.tlv(der.SET, info.attributes_node.content)
    csrs.ec_key().public_key().verify(info.signature, covered, ec.ECDSA(Digest.SHA256.hash))


# --- Certs-only messages ---------------------------------------------------------------------------------------------

CAS = (RA, certificate(csrs.rsa_key(which=2), "CA", extensions=ca_extensions()), OTHERS[0])
CRL = der.sequence(der.sequence(), csrs.algorithm(oid.SHA256_RSA), der.bit_string(b""))


@pytest.mark.proves("CERT-02", "CERT-03")
def test_a_certs_only_message_has_nothing_else() -> None:
    """Version 1, empty sets of digests and signers, and no eContent at all."""
    fields = der.parse(degenerate(item.der for item in CAS), strict=True).children()[1].only().children()
    assert [node.raw for node in fields[:3]] == [der.integer(1), b"\x31\0", der.sequence(der.oid(oid.DATA))]
    assert [node.tag for node in fields[3:]] == [0xA0, der.SET]
    assert fields[-1].raw == b"\x31\0"
    data = asn1.ContentInfo.load(degenerate(item.der for item in CAS), strict=True)["content"]
    assert data["encap_content_info"]["content"].native is None
    assert len(data["certificates"]) == 3


@pytest.mark.proves("CERT-04")
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_certificates_keep_their_order(order: tuple[int, ...]) -> None:
    """A certs-only message is not sorted, on the way out or in, and asn1crypto sees that order."""
    encodings = tuple(CAS[at].der for at in order)
    written = degenerate(encodings)
    assert parse_degenerate(written).certificates == encodings
    assert (
        tuple(choice.chosen.dump() for choice in asn1.ContentInfo.load(written)["content"]["certificates"]) == encodings
    )


@pytest.mark.proves("CMS-49", "MSG-50")
def test_a_crl_is_answered_alone() -> None:
    """A message of CRLs has no certificates field, and is read back."""
    written = degenerate(crls=[CRL])
    fields = der.parse(written).children()[1].only().children()
    assert [node.tag for node in fields[3:]] == [0xA1, der.SET]
    assert parse_degenerate(written) == cms.Degenerate((), (CRL,))
    assert parse_degenerate(degenerate()) == cms.Degenerate((), ())


def certs_only(content: bytes, *fields: bytes, signers: bytes = b"\x31\0") -> bytes:
    data = der.sequence(der.integer(1), b"\x31\0", content, *fields, signers)
    return der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, data))


BAG = der.explicit(0, *(item.der for item in CAS))
NO_CONTENT = der.sequence(der.oid(oid.DATA))


@pytest.mark.proves("MSG-62")
@pytest.mark.parametrize(
    "message",
    [
        certs_only(NO_CONTENT, BAG),
        certs_only(der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b""))), BAG),
        certs_only(der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b"x"))), BAG),
        certs_only(der.sequence(der.oid(oid.ENVELOPED_DATA)), BAG),
        certs_only(NO_CONTENT, BAG, der.explicit(1)),
        certs_only(NO_CONTENT, BAG, signers=der.tlv(der.SET, FORGE.signer_info())),
        ber(certs_only(NO_CONTENT, BAG), keep=tuple(item.der for item in CAS)),
        replace(FORGE, bag=tuple(item.der for item in CAS)).message(),
        certs_only(NO_CONTENT, der.explicit(0, der.tlv(0xA2, der.NULL), *(item.der for item in CAS))),
    ],
)
def test_other_cas_certs_only_messages_are_read(message: bytes) -> None:
    """eContent absent, empty or not, BER, signed or not: the certificates are read in their order."""
    assert parse_degenerate(message) == cms.Degenerate(tuple(item.der for item in CAS), ())


def test_certs_only_messages_are_bounded() -> None:
    """More certificates or CRLs than a CA has are refused."""
    assert len(parse_degenerate(degenerate([RA.der] * 32)).certificates) == 32
    for message in (degenerate([RA.der] * 33), degenerate(crls=[CRL] * 33), b"", RA.der):
        with pytest.raises(Malformed):
            parse_degenerate(message)
