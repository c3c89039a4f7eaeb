"""Messages as attackers and odd devices write them, through the whole RA (security 4.2, conformance 4.1 and 5.1)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cache

import pytest
from asn1crypto import cms as asn1
from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.errors import FailInfo
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest
from tests import csrs
from tests.rig.denial import Denials, denials
from tests.rig.device import (
    KEY,
    NAME,
    OLD,
    THIEF,
    counted,
    device_certificate,
    granted,
    post,
    renewal,
    request,
    request_without_challenge,
    sound,
)
from tests.rig.forge import (
    Forge,
    attribute,
    ber,
    certificate,
    encrypt,
    key_identifier,
    long_lengths,
    own_certificate,
    pkcs7,
    recipient_info,
    text,
)
from tests.rig.house import House

F0, F1, F2 = FailInfo.BAD_ALG, FailInfo.BAD_MESSAGE_CHECK, FailInfo.BAD_REQUEST
CONTENT_KEY, IV = bytes(range(1, 17)), bytes(range(16))
GIANT = b"\x2a" + b"\x81" * 60_000 + b"\x01"


def nested(count: int, tag: int = der.SEQUENCE, innermost: bytes = der.NULL) -> bytes:
    """So many elements of definite length, each within the other."""
    heads, size = [], len(innermost)
    for _ in range(count):
        head = bytes((tag,)) + der.length(size)
        heads.append(head)
        size += len(head)
    return b"".join(reversed(heads)) + innermost


def endless(count: int, tag: int = der.SEQUENCE) -> bytes:
    """So many elements of indefinite length, each within the other."""
    return bytes((tag, 0x80)) * count + b"\x04\x01x" + b"\0\0" * count


NESTED = [
    pytest.param(make(count), id=f"{name}-{count}")
    for count in (1000, 15_000)
    for name, make in (
        ("definite", nested),
        ("indefinite", endless),
        ("strings", lambda count: endless(count, 0x24)),
        ("definite-strings", lambda count: nested(count, 0x24, b"\x04\x01x")),
    )
]


@pytest.mark.proves("HTTP-01", "I5", "I6")
def test_a_sound_message_is_granted(shared: House) -> None:
    """The control of everything below: what is changed one thing at a time is sound."""
    answer = granted(shared, sound(shared))
    assert answer.certificates()[0] in {item.der for item in shared.state.authority.issued.values()}


# --- Structures ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-016", "SEC-12", "DR-1")
def test_giant_object_identifiers(shared: House, deny: Denials) -> None:
    """An object identifier of 60 000 octets is refused wherever it stands, unread."""
    extra = (attribute(GIANT, der.NULL),)
    for change in (
        {"attributes": {GIANT: extra}},
        {"digest_algorithm": csrs.algorithm(GIANT)},
        {"signature_algorithm": csrs.algorithm(GIANT)},
        {"content_type": GIANT},
        {"bag": (own_certificate(KEY).der, der.sequence(der.sequence(der.oid(GIANT))))},
    ):
        deny.bare(sound(shared, **change), because="object identifier")
    deny(sound(shared, inner_type=GIANT), because="object identifier")
    deny(sound(shared, content_algorithm=csrs.algorithm(GIANT)), because="object identifier")
    named = csrs.name(csrs.value(GIANT, "x"), csrs.value(csrs.CN, NAME))
    deny(sound(shared, csr=request(shared, subject=named)), because="object identifier")


@pytest.mark.proves("AC-017", "SEC-12", "DR-1")
@pytest.mark.parametrize("deep", NESTED)
def test_deep_nesting(shared: House, deny: Denials, deep: bytes) -> None:
    """What is nested too deeply is refused outside, inside the envelope and inside the CSR, and nothing gives way."""
    deny.bare(sound(shared, attributes={b"*": (attribute(b"\x2a\x03", deep),)}))
    deny.bare(deep)
    signer_infos = (sound(shared).signer_info(),)
    deny.bare(
        sound(shared, encapsulated=der.sequence(der.oid(oid.DATA), der.explicit(0, deep)), signer_infos=signer_infos)
    )
    deny(sound(shared, envelope=deep))
    deny(sound(shared, content=deep))
    for kind in (oid.SUBJECT_ALT_NAME, oid.encode("1.2.3.4")):
        deny(sound(shared, csr=request(shared, csrs.carried(csrs.extension(kind, deep)))))


def repeated(count: int, element: bytes) -> bytes:
    return element * count


@pytest.mark.proves("AC-019", "CMS-15", "SEC-12")
def test_floods_of_elements(shared: House, deny: Denials) -> None:
    """Numbers beyond every real message's are refused: attributes, certificates, signers, recipients, names, chunks."""
    own = own_certificate(KEY)
    many_names = der.sequence(*[der.tlv(der.SET, csrs.value(csrs.UNIT, "x"))] * 10_000)
    recipient = recipient_info(sound(shared).recipient, CONTENT_KEY)
    chunks = der.tlv(0x24, repeated(20_000, b"\x04\x01x"))
    infos = (sound(shared).signer_info(),)
    for change in (
        {"attributes": {b"*": tuple([attribute(b"\x2a\x03", der.NULL)] * 50_000)}},
        {"attributes": {b"*": tuple([attribute(b"\x2a\x03", der.NULL)] * 60)}},
        {"bag": (own.der,) * 5_000},
        {"bag": (own.der,) * 9},
        {"signer_infos": (sound(shared).signer_info(),) * 5_000},
        {"after_bag": der.explicit(1, *[der.sequence(der.NULL)] * 10_000)},
        {"bag": (own.der, many_names)},
        {"encapsulated": der.sequence(der.oid(oid.DATA), der.explicit(0, chunks)), "signer_infos": infos},
    ):
        deny.bare(sound(shared, **change), because="too")
    for change in (
        {"recipients": (recipient,) * 5_000},
        {"recipients": (recipient,) * 9},
        {"encrypted_content": der.tlv(0xA0, repeated(20_000, b"\x04\x01x"))},
        {"csr": request(shared, subject=many_names)},
    ):
        deny(sound(shared, **change), because="too many")


@pytest.mark.proves("AC-020", "HTTP-20", "CMS-01", "DR-21")
def test_trailing_octets(shared: House, deny: Denials) -> None:
    """What follows a message is refused unless it is white space; what follows an inner layer is always refused."""
    forge = sound(shared)
    for tail in (b"\0", b"x", b"\r\n\0", forge.message()):
        deny.bare(forge.message() + tail, because="octets follow")
    assert post(shared, forge.message() + b" \r\n").status == 200
    for tail in (b"\0", b" ", b"\n", b"\x30\x00"):
        deny(sound(shared, envelope=forge.enveloped() + tail), because="octets follow")
        deny(sound(shared, csr=request(shared) + tail), because="octets follow")


@pytest.mark.proves("AC-020", "CMS-01", "CMS-02", "PEER-08")
def test_ber(shared: House, deny: Denials) -> None:
    """Indefinite, long and segmented BER is read outside the CSR, and refused within it."""
    own = own_certificate(KEY)
    for encode in (
        lambda message: ber(message, keep=(own.der,)),
        lambda message: ber(message, segment=100, keep=(own.der,)),
        lambda message: long_lengths(message, keep=(own.der,)),
    ):
        granted(shared, sound(shared, message_ber=encode, envelope_ber=encode, signed_attributes=sorted_by_der))
    for encode in (ber, long_lengths, lambda csr: ber(csr, segment=3)):
        deny(sound(shared, csr=encode(request(shared))))


def sorted_by_der(signed: bytes) -> bytes:
    return der.set_of(child.raw for child in der.parse(signed).children())


@pytest.mark.proves("AC-020")
def test_wrong_tags(shared: House, deny: Denials) -> None:
    """A constructed element where a primitive one belongs, and the reverse, is no message."""
    forge = sound(shared)
    message = forge.message()
    deny.bare(bytes((0x10,)) + message[1:])
    info = forge.signer_info()
    serial = own_certificate(KEY).serial_der
    assert serial in info
    deny.bare(sound(shared, signer_infos=(info.replace(serial, bytes((0x22,)) + serial[1:], 1),)))
    encrypted = der.tlv(0xA0, encrypt(ContentCipher.AES128_CBC, CONTENT_KEY, IV, pkcs7(forge.plaintext(), 16)))
    deny(sound(shared, encrypted_content=encrypted))


@pytest.mark.proves("AC-022", "CMS-04")
def test_two_signers(shared: House, deny: Denials) -> None:
    """Two SignerInfos are refused, whichever of them is valid, or copied from another's message."""
    mine, other = sound(shared), sound(shared, key=THIEF, transaction_id="other")
    broken = replace(mine, signature=bytes)
    both = (own_certificate(KEY).der, own_certificate(THIEF).der)
    for infos in ((mine, other), (other, mine), (broken, mine), (mine, broken), (broken, other)):
        encoded = tuple(forge.signer_info() for forge in infos)
        deny.bare(sound(shared, signer_infos=encoded, bag=both), because="SignerInfo")
    deny.bare(sound(shared, signer_infos=()), because="SignerInfo")


@pytest.mark.proves("AC-043")
@pytest.mark.parametrize("kind", [oid.DATA, oid.ENVELOPED_DATA, oid.encode("1.2.840.113549.1.7.4"), b"\x2a\x03"])
def test_outer_type(shared: House, deny: Denials, kind: bytes) -> None:
    """Only SignedData is a message, whatever the ContentInfo holds."""
    inner = der.parse(sound(shared).message()).sequence(2)[1].raw
    deny.bare(der.sequence(der.oid(kind), inner), because="SignedData")
    deny.bare(sound(shared).enveloped(), because="SignedData")


@pytest.mark.proves("AC-041", "CMS-29")
def test_layers_are_not_unfolded(shared: House, deny: Denials) -> None:
    """Compression, signatures and envelopes inside, PEM and bare CSRs are refused and never looked into."""
    forge = sound(shared)
    compressed = oid.encode("1.2.840.113549.1.9.16.1.9")
    bomb = der.sequence(der.oid(compressed), der.explicit(0, der.octet_string(bytes(100_000))))
    signed = forge.message()
    for _ in range(19):
        signed = replace(forge, envelope=signed).message()
    for envelope in (bomb, signed, csrs.pem(forge.enveloped(), "PKCS7"), request(shared), b"", b"\0"):
        deny(sound(shared, envelope=envelope))
    for content in (bomb, forge.enveloped(), forge.message(), csrs.pem(request(shared))):
        deny(sound(shared, content=content))
    for kind in (compressed, oid.SIGNED_DATA):
        deny(sound(shared, content_type=kind), because="without an envelope")


# --- Signature and signed attributes ---------------------------------------------------------------------------------


def without_attributes(house: House) -> bytes:
    """A SignerInfo that signs the bare content."""
    forge = sound(house, arrange=lambda items: [])
    return replace(forge, signed_attributes=lambda _: forge.enveloped()).signer_info()


@pytest.mark.proves("AC-023", "CMS-05", "CMS-06", "CMS-03", "MSG-06", "MSG-10", "DR-2", "DR-12")
def test_no_private_key_is_used_before_the_signature_is_verified(shared: House) -> None:
    """Whatever is wrong with the signed layer is found before the RA's key opens anything."""
    house, key = counted(shared)
    wrong = attribute(oid.MESSAGE_DIGEST, der.octet_string(bytes(32)))
    nothing = attribute(oid.MESSAGE_DIGEST, der.octet_string(hashlib.sha256(b"").digest()))
    detached = der.sequence(der.oid(oid.DATA))
    with denials(house) as deny:
        deny.bare(sound(house, signer_infos=(without_attributes(house),)))
        assert key.signed == 0
        for forge, fail_info, because in (
            (sound(house, attributes={oid.MESSAGE_DIGEST: (wrong,)}), F1, "messageDigest"),
            (sound(house, attributes={oid.MESSAGE_DIGEST: ()}), F1, "messageDigest"),
            (sound(house, attributes={oid.CONTENT_TYPE: ()}), F1, "contentType"),
            (
                sound(house, attributes={oid.CONTENT_TYPE: (attribute(oid.CONTENT_TYPE, der.oid(oid.SIGNED_DATA)),)}),
                F1,
                "contentType",
            ),
            (sound(house, encapsulated=detached, attributes={oid.MESSAGE_DIGEST: (wrong,)}), F1, "messageDigest"),
            (sound(house, encapsulated=detached, attributes={oid.MESSAGE_DIGEST: (nothing,)}), F2, "envelope"),
            (sound(house, signature=lambda signed: os.urandom(256)), F1, "does not verify"),
            (sound(house, signature=lambda signed: b""), F1, "does not verify"),
            (sound(house, bag=()), F1, "missing"),
            (sound(house, bag=(certificate(THIEF, "bystander").der,)), F1, "missing"),
            (sound(house, bag=(own_certificate(THIEF).der,)), F1, "does not verify"),
            (sound(house, digest=Digest.MD5), F0, "digest"),
            (sound(house, message_type="18"), F2, "messageType"),
            (sound(house, message_type="20", transaction_id="unknown"), FailInfo.BAD_CERT_ID, "not known"),
        ):
            deny(forge, fail_info, because)
        assert key.opened == 0
        assert key.signed == deny.count - 1
        deny(sound(house, content=b"x"))
        assert key.opened == 1


@pytest.mark.proves("MSG-10", "DR-2")
def test_the_first_of_several_faults_decides(shared: House, deny: Denials) -> None:
    """With everything wrong at once, what is checked first is what is told: structure, digest, signature, and so on."""
    bad = {
        "digest": Digest.MD5,
        "attributes": {oid.MESSAGE_DIGEST: (attribute(oid.MESSAGE_DIGEST, der.octet_string(bytes(32))),)},
        "signature": lambda signed: bytes(256),
        "message_type": "18",
        "cipher": ContentCipher.DES_CBC,
        "csr": request(shared, challenge="wrong", subject=csrs.subject("evil")),
    }
    deny.bare(sound(shared, **bad, transaction_id=""))
    for fault, fail_info, because in (
        ("digest", F0, "a message digest that is refused"),
        ("attributes", F1, "messageDigest"),
        ("signature", F1, "does not verify"),
        ("message_type", F2, "messageType"),
        ("cipher", F0, "content cipher"),
        ("csr", F2, "challenge"),
    ):
        deny(sound(shared, **bad), fail_info, because)
        del bad[fault]


@pytest.mark.proves("AC-025")
@pytest.mark.parametrize("swapped", [False, True])
def test_attributes_that_stand_twice(shared: House, deny: Denials, swapped: bool) -> None:
    """Two of a SCEP attribute, two values or none in one: refused, whatever their order, and never half-believed."""

    def doubled(kind: bytes, *values: bytes) -> list[tuple[bytes, ...]]:
        values = values[::-1] if swapped else values
        twice, together = tuple(attribute(kind, value) for value in values), (attribute(kind, *values),)
        return [twice, together, (attribute(kind),)]

    def forge(kind: bytes, items: tuple[bytes, ...]) -> Forge:
        return sound(shared, attributes={kind: items}, arrange=lambda listed: listed)

    for other in ("17", "18", "19"):
        for items in doubled(oid.MESSAGE_TYPE, text("19"), text(other)):
            deny(forge(oid.MESSAGE_TYPE, items), because="messageType")
    for items in doubled(oid.TRANSACTION_ID, text("one"), text("two")):
        deny.bare(forge(oid.TRANSACTION_ID, items))
    for items in doubled(oid.SENDER_NONCE, der.octet_string(b"one"), der.octet_string(b"two")):
        deny.bare(forge(oid.SENDER_NONCE, items))
    right = der.octet_string(hashlib.sha256(sound(shared).enveloped()).digest())
    for items in doubled(oid.MESSAGE_DIGEST, right, der.octet_string(bytes(32))):
        deny(forge(oid.MESSAGE_DIGEST, items), F1)
    for items in doubled(oid.CONTENT_TYPE, der.oid(oid.DATA), der.oid(oid.SIGNED_DATA)):
        deny(forge(oid.CONTENT_TYPE, items), F1)


def type_attribute(value: bytes) -> dict[bytes, tuple[bytes, ...]]:
    return {oid.MESSAGE_TYPE: (attribute(oid.MESSAGE_TYPE, value),)}


@pytest.mark.proves("MSG-01", "AC-026", "SEC-09", "MSG-34", "I12", "DR-3")
def test_message_types(shared: House, deny: Denials) -> None:
    """Of all numbers only 17, 19, 20, 21 and 22 mean something; none is an enrolment without its own credential."""
    meanings = {
        17: (F2, "self-signed"),
        20: (FailInfo.BAD_CERT_ID, "not known"),
        21: (F2, "not served by this profile"),
    }
    meanings[22] = meanings[21]
    with_challenge, without = request(shared), request_without_challenge()
    for number in range(-1, 301):
        fail_info, because = meanings.get(number, (F2, "messageType that is not served"))
        forge = sound(shared, csr=with_challenge, message_type=str(number), transaction_id="unknown")
        if number != 19:
            deny(forge, fail_info, because)
        if 15 <= number <= 25:
            because = "no challenge" if number == 19 else because
            deny(replace(forge, csr=without), fail_info, because)


SPELLINGS = [
    *("019", "+19", " 19", "19 ", "19\n", "19\0", "1_9", "19.0", "1９", "１９", "١٩", "0x13", "", "1" * 1000),
    *("PKCSReq", "19,17", "18", "3", "00", "-19"),
]


@pytest.mark.proves("MSG-01", "AC-026", "CMS-09", "I12")
def test_spellings_of_message_types(shared: House, deny: Denials) -> None:
    """Only the exact text means a type, in any string type or as a number; all else means nothing."""
    for spelling in SPELLINGS:
        deny(sound(shared, message_type=spelling), because="messageType")
    for value in (
        der.octet_string(b"19"),
        der.integer(18),
        der.integer(-19),
        der.tlv(der.INTEGER, bytes(8) + b"\x13"),
        der.tlv(der.BMP_STRING, "19".encode("utf-16-be")),
        der.tlv(der.UTF8_STRING, b"18"),
        der.sequence(text("19")),
        der.NULL,
        der.tlv(der.BOOLEAN, b"\xff"),
    ):
        deny(sound(shared, attributes=type_attribute(value)), because="messageType")
    for tag in (der.PRINTABLE_STRING, der.UTF8_STRING, der.IA5_STRING, der.T61_STRING):
        granted(shared, sound(shared, attributes=type_attribute(der.tlv(tag, b"19"))))
    granted(shared, sound(shared, attributes=type_attribute(der.integer(19))))


HOSTILE_IDS = [
    "../../../../etc/passwd",
    "' OR 1=1; DROP TABLE transactions--",
    '"><script>alert(1)</script>',
    "%s%s%n",
    "{0.__class__}{record}",
    "${jndi:ldap://127.0.0.9/a}",
    '","outcome":"issued',
    "a" * 255,
    " ",
]
REAL_IDS = [
    "5D8737382F6871D1BE9F5454E18BE352",
    "b7e23ec29af22b0b4e41da31e868d57226121c84",
    "q+/yXwSWZGgrO4bdfYLNhm8Cnsw=",
    "7XXEY-ERLPU-2JDR9",
    "SSCEP transactionId",
    "1" * 77,
    "1",
]


@pytest.mark.proves("AC-028", "MSG-02", "DR-20", "PEER-07")
@pytest.mark.parametrize("identifier", [*REAL_IDS, *HOSTILE_IDS])
def test_transaction_ids_are_opaque(shared: House, deny: Denials, identifier: str) -> None:
    """Printable text up to 255 characters is echoed as it is, in grants and refusals, and stays text in the records."""
    as_given = {oid.TRANSACTION_ID: (attribute(oid.TRANSACTION_ID, der.tlv(der.UTF8_STRING, identifier.encode())),)}
    forge = sound(shared, transaction_id=identifier, attributes=as_given)
    granted(shared, forge)
    assert shared.records[-1]["transaction"] == identifier
    assert identifier not in shared.ca.received[-1].transaction_id or identifier in ("1", " ")
    deny(replace(forge, csr=request(shared, challenge="wrong")), because="wrong challenge")


@pytest.mark.proves("AC-028", "MSG-02", "CMS-08")
@pytest.mark.parametrize(
    "value",
    [
        text(""),
        text("x\r\n{}"),
        text("x\0"),
        text("\x1b[2J"),
        text("\x7f"),
        text("x" * 256),
        text("x" * 100_000),
        text("transacción"),
        der.octet_string(b"x"),
        der.integer(1),
        der.tlv(der.BMP_STRING, "x".encode("utf-16-be")),
        der.NULL,
    ],
)
def test_transaction_ids_that_cannot_be_echoed(shared: House, deny: Denials, value: bytes) -> None:
    """Control characters, emptiness, length, other characters and types than text get a bare refusal."""
    deny.bare(sound(shared, attributes={oid.TRANSACTION_ID: (attribute(oid.TRANSACTION_ID, value),)}))


@pytest.mark.proves("CMS-08")
@pytest.mark.parametrize("kind", [oid.TRANSACTION_ID, oid.MESSAGE_TYPE, oid.SENDER_NONCE])
def test_required_attributes(shared: House, deny: Denials, kind: bytes) -> None:
    """Without transactionID, messageType or senderNonce no CertRep can answer; unsigned ones do not count."""
    deny.bare(sound(shared, attributes={kind: ()}))
    unsigned = attribute(kind, text("19") if kind != oid.SENDER_NONCE else der.octet_string(bytes(16)))
    deny.bare(sound(shared, attributes={kind: ()}, unsigned=der.tlv(0xA1, unsigned)))


@pytest.mark.proves("AC-029", "CMS-10", "MSG-04", "CMS-43")
def test_nonces(shared: House, deny: Denials) -> None:
    """Nonces of 1 to 64 octets are echoed as they are; others cannot be; the RA's own is always new."""
    fresh = set()
    for size in (1, 8, 15, 16, 17, 20, 32, 64):
        answer = granted(shared, sound(shared, sender_nonce=os.urandom(size)))
        fresh.add(answer.octets(oid.SENDER_NONCE))
        deny(sound(shared, sender_nonce=os.urandom(size), csr=request(shared, challenge="wrong")))
    assert len(fresh) == 8
    for size in (0, 65, 4096):
        deny.bare(sound(shared, sender_nonce=bytes(size)), because="senderNonce")
    deny.bare(sound(shared, attributes={oid.SENDER_NONCE: (attribute(oid.SENDER_NONCE, text("16 octets of text")),)}))


@pytest.mark.proves("CMS-11", "CMS-09", "CMS-12")
def test_what_real_devices_add(shared: House) -> None:
    """Unknown attributes, other string types, no NULL and an empty set of digests change nothing."""
    extra = (
        attribute(oid.encode("1.2.840.113549.1.9.5"), der.tlv(der.UTC_TIME, b"010101000000Z")),
        attribute(oid.encode("1.2.840.113549.1.9.25.3"), der.octet_string(bytes(16))),
        attribute(oid.encode("1.2.840.113549.1.9.15"), der.sequence()),
    )
    identifier = (attribute(oid.TRANSACTION_ID, der.tlv(der.T61_STRING, b"5D8737382F6871D1BE9F5454E18BE352")),)
    granted(shared, sound(shared, attributes={b"*": extra, oid.TRANSACTION_ID: identifier}))
    granted(shared, sound(shared, digest_algorithm=csrs.algorithm(oid.SHA256), digest_algorithms=der.tlv(der.SET)))
    granted(shared, sound(shared, signature_algorithm=csrs.algorithm(oid.SHA256_RSA, der.NULL)))


@pytest.mark.proves("CMS-12", "MSG-06")
def test_algorithms_that_contradict_each_other(shared: House, deny: Denials) -> None:
    """A signature algorithm that names another digest than the SignerInfo's is badAlg."""
    deny(sound(shared, signature_algorithm=csrs.algorithm(oid.SHA512_RSA, der.NULL)), F0)
    deny(sound(shared, signature_algorithm=csrs.algorithm(oid.ECDSA_SHA256)), F0)


def signature_of(key: rsa.RSAPrivateKey, encoded_message: bytes) -> bytes:
    """RSA's private operation on any octets."""
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    value = pow(int.from_bytes(encoded_message, "big"), numbers.d, modulus)
    return value.to_bytes((modulus.bit_length() + 7) // 8, "big")


def digest_info(signed: bytes, null: bytes = der.NULL, long: bool = False) -> bytes:
    content = der.sequence(der.oid(oid.SHA256), null) + der.octet_string(hashlib.sha256(signed).digest())
    return b"\x30\x81" + bytes((len(content),)) + content if long else der.sequence(content)


def padded(info: bytes, before: int | None = None, block: bytes = b"\0\1") -> bytes:
    """An encoded message of 256 octets: so much padding before the DigestInfo, and what is left behind it."""
    filler = 256 - 3 - len(info) if before is None else before
    return (block + b"\xff" * filler + b"\0" + info).ljust(256, b"\xaa")


LAX = {
    "garbage behind the digest": lambda signed: padded(digest_info(signed), 8),
    "no NULL": lambda signed: padded(digest_info(signed, null=b"")),
    "parameters": lambda signed: padded(digest_info(signed, null=der.octet_string(bytes(20)))),
    "long length": lambda signed: padded(digest_info(signed, long=True)),
    "no DigestInfo": lambda signed: padded(hashlib.sha256(signed).digest()),
    "block type 2": lambda signed: padded(digest_info(signed), block=b"\0\2"),
}


@pytest.mark.proves("AC-034")
@pytest.mark.parametrize("name", LAX)
def test_lax_signatures(shared: House, deny: Denials, name: str) -> None:
    """A signature that a lax verifier accepts is badMessageCheck, for initial and renewing signers."""
    lax = LAX[name]
    deny(sound(shared, signature=lambda signed: signature_of(KEY, lax(signed))), F1, "does not verify")
    deny(renewal(shared, signature=lambda signed: signature_of(OLD, lax(signed))), F1, "does not verify")


@pytest.mark.proves("AC-034")
def test_signature_forged_for_a_small_exponent(shared: House, deny: Denials) -> None:
    """Bleichenbacher's forgery of 2006 for an issued certificate with exponent 3 is refused."""
    victim = device_certificate(shared, public_key=csrs.spki(small_exponent()))

    def forged(signed: bytes) -> bytes:
        wanted = int.from_bytes(padded(digest_info(signed), 8), "big")
        return cube_root(wanted).to_bytes(256, "big")

    signed = b"anything"
    assert (int.from_bytes(forged(signed), "big") ** 3).to_bytes(256, "big")[:50] == padded(digest_info(signed), 8)[:50]
    deny(renewal(shared, victim, signature=forged), F1, "does not verify")
    granted(shared, renewal(shared, victim, key=small_exponent()), small_exponent())


@cache
def small_exponent() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(3, 2048)


def cube_root(number: int) -> int:
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


@pytest.mark.proves("AC-031", "CMS-13", "DR-4")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_ambiguous_signer(shared: House, deny: Denials, message_type: str) -> None:
    """Two certificates that a SignerInfo may mean are refused: by issuer and serial, and by key identifier."""
    victim = device_certificate(shared, extensions=(key_identifier(),))
    double = certificate(
        THIEF, NAME, issuer=victim.issuer_der, serial=victim.serial_der, extensions=(key_identifier(),)
    )
    csr = request_without_challenge(key=THIEF)
    for sid in (None, der.tlv(0x80, bytes([1]) * 20)):
        for bag in ((victim.der, double.der), (double.der, victim.der)):
            changes = {"key": THIEF, "signer": double, "csr": csr, "sid": sid, "signer_version": 3 if sid else 1}
            deny(sound(shared, **changes, bag=bag, message_type=message_type), F1, "ambiguous")
    # Alone it is what it is: a self-signed certificate, however it is named.
    deny(sound(shared, key=THIEF, signer=double, csr=csr, message_type=message_type))


@pytest.mark.proves("AC-032", "CMS-47", "CMS-13", "I6", "DR-4")
def test_the_answer_is_for_the_signer_alone(shared: House) -> None:
    """Other certificates in a request, before or behind the signer's, are no recipients of its answer."""
    own, other = own_certificate(KEY).der, certificate(THIEF, "bystander").der
    for bag in ((own, other), (other, own), (other, device_certificate(shared).der, own)):
        forge = sound(shared, bag=bag)
        assert granted(shared, forge).recipients == 1
        content = granted(shared, forge).content
        (recipient,) = asn1.ContentInfo.load(content)["content"]["recipient_infos"]
        assert recipient.chosen["rid"].chosen["serial_number"].native == own_certificate(KEY).serial
        assert recipient.chosen["rid"].chosen["issuer"].dump() == own_certificate(KEY).issuer_der


@pytest.mark.proves("CMS-15")
def test_crls_in_a_request_change_nothing(shared: House) -> None:
    """A CRL beside the certificates is passed over."""
    granted(shared, sound(shared, after_bag=der.explicit(1, shared.state.authority.crl())))
