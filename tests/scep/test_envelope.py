"""EnvelopedData: what opens, and that everything else looks the same."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import cms as asn1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import FailInfo, KeyUnavailable, Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest, Floor, KeyTransport
from scepra.scep.envelope import (
    ITERATIONS,
    EnvelopedData,
    RecipientInfo,
    seal,
    seal_with_password,
    unreadable,
)
from scepra.scep.identity import SoftwareKey
from tests import csrs
from tests.rig.forge import (
    RSA_V15,
    Forge,
    ber,
    certificate,
    decrypt,
    encrypt,
    issuer_and_serial,
    key_identifier,
    long_lengths,
    oaep,
    pkcs7,
    recipient_info,
)

RA_KEY = csrs.rsa_key(which=1)
RA = certificate(RA_KEY, "RA", extensions=(key_identifier(),))
KEY = SoftwareKey(RA_KEY)
FORGE = Forge(recipient=RA, content=b"plain text")
FLOOR = Floor()
AES, DES3, DES = ContentCipher.AES128_CBC, ContentCipher.DES_EDE3_CBC, ContentCipher.DES_CBC
CEK = bytes(range(1, 17))
SHA1, SHA256 = Digest.SHA1.hash, Digest.SHA256.hash

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


class Watched:
    """An RA key that counts what is asked of it, and can fail as one likes."""

    public = KEY.public

    def __init__(self, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.answer = answer
        self.used = 0

    def sign(self, data: bytes, digest: Digest) -> bytes:
        raise AssertionError("nothing is signed here")

    def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
        self.used += 1
        return (self.answer or (lambda octets: KEY.decrypt(octets, transport)))(ciphertext)


def shut(attempt: Callable[[], bytes]) -> bool:
    """Whether an attempt is refused as every one is.

    A random key decrypts to octets that end like padding once in 256 times: no refusal, and no content either.
    """
    try:
        content = attempt()
    except ScepError as refused:
        assert type(refused) is ScepError
        assert (refused.reason, refused.fail_info) == (unreadable().reason, FailInfo.BAD_REQUEST)
        return True
    assert b"plain" not in content
    return False


def open_(encoding: bytes, which: int = 0) -> bytes:
    envelope = EnvelopedData.parse(encoding)
    return envelope.open(KEY, envelope.recipients[which])


# --- What opens ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-20", "CMS-24")
@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 17, 1000])
def test_every_cipher_opens(cipher: ContentCipher, size: int) -> None:
    """Content of any length opens in every cipher that has a name here."""
    forge = replace(FORGE, cipher=cipher, content=bytes(size))
    assert open_(forge.enveloped()) == bytes(size)


@pytest.mark.proves("CMS-20")
def test_the_content_info_may_be_missing() -> None:
    """A bare EnvelopedData is read like one in its ContentInfo, and so is one with originatorInfo."""
    whole = FORGE.enveloped()
    bare = der.parse(whole).children()[1].only()
    assert open_(bare.raw) == b"plain text"
    version, recipients, content = bare.children()
    with_originator = der.sequence(version.raw, der.explicit(0, der.explicit(0)), recipients.raw, content.raw)
    assert open_(with_originator) == b"plain text"


@pytest.mark.proves("CMS-01", "PEER-08", "AC-040")
@pytest.mark.parametrize(
    "encode", [ber, lambda whole: ber(whole, segment=1000), lambda whole: ber(whole, segment=5), long_lengths]
)
def test_ber_opens(encode: Callable[[bytes], bytes]) -> None:
    """Indefinite lengths and strings in segments (the ciphertext, the wrapped key, the vector) open like DER."""
    forge = replace(FORGE, content=b"content " * 100, envelope_ber=encode)
    assert open_(forge.enveloped()) == b"content " * 100


@pytest.mark.proves("CMS-26")
@pytest.mark.parametrize("inner", [oid.DATA, oid.ENVELOPED_DATA, oid.encode("1.2.840.113549.1.7.6"), oid.RSA])
def test_what_the_envelope_calls_its_content_is_ignored(inner: bytes) -> None:
    """id-encryptedData, or anything else, opens."""
    assert open_(replace(FORGE, inner_type=inner).enveloped()) == b"plain text"


def oaep_parameters(*fields: bytes) -> bytes:
    return csrs.algorithm(oid.RSAES_OAEP, der.sequence(*fields))


def hash_field(kind: bytes, parameters: bytes = der.NULL) -> bytes:
    return der.explicit(0, csrs.algorithm(kind, parameters))


def mask_field(kind: bytes, function: bytes = oid.MGF1) -> bytes:
    return der.explicit(1, csrs.algorithm(function, csrs.algorithm(kind, der.NULL)))


NO_LABEL = der.explicit(2, csrs.algorithm(oid.PSPECIFIED, der.octet_string(b"")))
TRANSPORTS = [
    (RSA_V15, None, KeyTransport.RSA_V15),
    (csrs.algorithm(oid.RSA), None, KeyTransport.RSA_V15),
    (csrs.algorithm(oid.RSAES_OAEP), oaep(SHA1), KeyTransport.OAEP_SHA1),
    (csrs.algorithm(oid.RSAES_OAEP, der.NULL), oaep(SHA1), KeyTransport.OAEP_SHA1),
    (oaep_parameters(), oaep(SHA1), KeyTransport.OAEP_SHA1),
    (oaep_parameters(hash_field(oid.SHA1), mask_field(oid.SHA1), NO_LABEL), oaep(SHA1), KeyTransport.OAEP_SHA1),
    (oaep_parameters(hash_field(oid.SHA256), mask_field(oid.SHA256)), oaep(SHA256), KeyTransport.OAEP_SHA256),
    (
        oaep_parameters(hash_field(oid.SHA256, b""), mask_field(oid.SHA256), NO_LABEL),
        oaep(SHA256),
        KeyTransport.OAEP_SHA256,
    ),
]


@pytest.mark.proves("CMS-23")
@pytest.mark.parametrize(("algorithm", "scheme", "transport"), TRANSPORTS)
def test_key_transports_are_read_in_every_spelling(algorithm: bytes, scheme: object, transport: KeyTransport) -> None:
    """RSA v1.5 with and without NULL, OAEP with defaults, with SHA-1 and with SHA-256 spelt out."""
    info = recipient_info(RA, CEK, algorithm=algorithm, scheme=scheme)  # type: ignore[arg-type]
    encoding = replace(FORGE, recipients=(info,)).enveloped()
    envelope = EnvelopedData.parse(encoding)
    assert envelope.recipients[0].transport is transport
    envelope.check(FLOOR, envelope.recipients[0])
    assert open_(encoding) == b"plain text"


@pytest.mark.proves("CMS-23", "MSG-06")
@pytest.mark.parametrize(
    "algorithm",
    [
        oaep_parameters(hash_field(oid.SHA256)),
        oaep_parameters(mask_field(oid.SHA256)),
        oaep_parameters(hash_field(oid.SHA512), mask_field(oid.SHA512)),
        oaep_parameters(mask_field(oid.SHA1, oid.SHA1)),
        oaep_parameters(der.explicit(1, csrs.algorithm(oid.MGF1))),
        oaep_parameters(der.explicit(2, csrs.algorithm(oid.PSPECIFIED, der.octet_string(b"label")))),
        oaep_parameters(der.explicit(2, csrs.algorithm(oid.PSPECIFIED))),
        oaep_parameters(der.explicit(2, csrs.algorithm(oid.SHA1, der.octet_string(b"")))),
        oaep_parameters(der.explicit(3, der.NULL)),
        csrs.algorithm(oid.encode("1.2.840.113549.1.9.16.3.14")),
    ],
)
def test_other_key_transports_are_bad_alg(algorithm: bytes) -> None:
    """Mixed digests, labels and unknown ways are refused before a private key is used."""
    info = recipient_info(RA, CEK, algorithm=algorithm)
    envelope = EnvelopedData.parse(replace(FORGE, recipients=(info,)).enveloped())
    with pytest.raises(ScepError) as refused:
        envelope.check(FLOOR, envelope.recipients[0])
    assert refused.value.fail_info is FailInfo.BAD_ALG


@pytest.mark.parametrize("empty", [der.explicit(0), der.explicit(1), der.explicit(2), der.tlv(0xA0, der.NULL)])
def test_broken_oaep_parameters_are_malformed(empty: bytes) -> None:
    """A parameter without its value is no encoding."""
    info = recipient_info(RA, CEK, algorithm=oaep_parameters(empty))
    with pytest.raises(Malformed):
        EnvelopedData.parse(replace(FORGE, recipients=(info,)).enveloped())


# --- Visible refusals ------------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-24", "SEC-01", "MSG-06")
def test_refused_ciphers_are_bad_alg_before_the_key_is_used() -> None:
    """DES is refused unless the floor has it; a transport the floor lacks as well."""
    des = EnvelopedData.parse(replace(FORGE, cipher=DES).enveloped())
    with pytest.raises(ScepError) as refused:
        des.check(FLOOR, des.recipients[0])
    assert refused.value.fail_info is FailInfo.BAD_ALG
    des.check(Floor(ciphers=FLOOR.ciphers | {DES}), des.recipients[0])
    for cipher in FLOOR.ciphers:
        envelope = EnvelopedData.parse(replace(FORGE, cipher=cipher).enveloped())
        envelope.check(FLOOR, envelope.recipients[0])
    with pytest.raises(ScepError) as refused:
        envelope.check(Floor(key_transports=frozenset((KeyTransport.OAEP_SHA256,))), envelope.recipients[0])
    assert refused.value.fail_info is FailInfo.BAD_ALG


GCM = csrs.algorithm(oid.encode("2.16.840.1.101.3.4.1.6"), der.sequence(der.octet_string(bytes(12)), der.integer(16)))


@pytest.mark.proves("CMS-24", "CMS-25", "AC-040")
@pytest.mark.parametrize(
    "algorithm",
    [
        GCM,
        csrs.algorithm(oid.encode("1.2.840.113549.3.2"), der.octet_string(bytes(8))),
        csrs.algorithm(oid.AES128_CBC),
        csrs.algorithm(oid.AES128_CBC, der.NULL),
        csrs.algorithm(oid.AES128_CBC, der.octet_string(b"")),
        csrs.algorithm(oid.AES128_CBC, der.octet_string(bytes(8))),
        csrs.algorithm(oid.AES128_CBC, der.octet_string(bytes(15))),
        csrs.algorithm(oid.AES128_CBC, der.octet_string(bytes(17))),
        csrs.algorithm(oid.DES_EDE3_CBC, der.octet_string(bytes(16))),
    ],
)
def test_unknown_ciphers_and_wrong_vectors_are_bad_alg(algorithm: bytes) -> None:
    """GCM, RC2, a missing vector and one of another length are visible on the wire, and refused for what they are."""
    with pytest.raises(ScepError) as refused:
        EnvelopedData.parse(replace(FORGE, content_algorithm=algorithm).enveloped())
    assert refused.value.fail_info is FailInfo.BAD_ALG


# --- Everything else looks the same ----------------------------------------------------------------------------------


def raw(padded: bytes) -> Callable[[bytes, int], bytes]:
    return lambda content, block: padded


def with_key(cipher: ContentCipher, key: bytes) -> Forge:
    """The content key that is sent has a length of its own."""
    return replace(FORGE, cipher=cipher, content_key=key)


def mangled(size: int) -> Forge:
    return replace(FORGE, recipients=(recipient_info(RA, b"", encrypted_key=b"\x2a" * size),))


UNOPENABLE = {
    "wrapped key at random": mangled(256),
    "wrapped key of zeroes": replace(FORGE, recipients=(recipient_info(RA, b"", encrypted_key=bytes(256)),)),
    "wrapped key beyond the modulus": replace(
        FORGE, recipients=(recipient_info(RA, b"", encrypted_key=b"\xff" * 256),)
    ),
    "wrapped key too short": mangled(255),
    "wrapped key too long": mangled(257),
    "wrapped key empty": mangled(0),
    **{f"AES key of {size}": with_key(AES, b"\1" * size) for size in (0, 1, 5, 8, 15, 17, 24, 32, 245)},
    **{f"3DES key of {size}": with_key(DES3, b"\1" * size) for size in (8, 16, 23, 32)},
    "wrapped with OAEP and called v1.5": replace(FORGE, recipients=(recipient_info(RA, CEK, scheme=oaep(SHA1)),)),
    "wrapped with v1.5 and called OAEP": replace(
        FORGE, recipients=(recipient_info(RA, CEK, algorithm=oaep_parameters()),)
    ),
    "padding of 0": replace(FORGE, pad=raw(bytes(16))),
    "padding of 17": replace(FORGE, pad=raw(b"\x11" * 32)),
    "padding of 255": replace(FORGE, pad=raw(b"\xff" * 32)),
    "padding inconsistent": replace(FORGE, pad=raw(bytes(13) + b"\2\3\3")),
    "padding of two lengths": replace(FORGE, pad=raw(bytes(14) + b"\1\2")),
    "no ciphertext": replace(FORGE, encrypted_content=der.tlv(0x80)),
    "ciphertext absent": replace(FORGE, encrypted_content=b""),
    "ciphertext of 15": replace(FORGE, encrypted_content=der.tlv(0x80, bytes(15))),
    "ciphertext of 17": replace(FORGE, encrypted_content=der.tlv(0x80, bytes(17))),
    "ciphertext in segments of 17": replace(FORGE, encrypted_content=der.tlv(0xA0, der.octet_string(b"x") * 17)),
    "3DES ciphertext of 12": replace(FORGE, cipher=DES3, encrypted_content=der.tlv(0x80, bytes(12))),
}


@pytest.mark.proves("SEC-02", "CMS-25", "AC-037", "AC-040", "I8", "DR-12")
@pytest.mark.parametrize("how", UNOPENABLE)
def test_what_does_not_open_is_one_refusal(how: str) -> None:
    """Bad wrapping, key length, padding or ciphertext: the same reason and failInfo, after one use of the key."""
    envelope = EnvelopedData.parse(UNOPENABLE[how].enveloped())
    envelope.check(FLOOR, envelope.recipients[0])
    key = Watched()
    assert any([shut(lambda: envelope.open(key, envelope.recipients[0])) for _ in range(5)])
    assert key.used == 5


@pytest.mark.proves("SEC-02", "AC-037", "I8")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda octets: b"", id="nothing"),
        pytest.param(lambda octets: bytes(15), id="a byte too few"),
        pytest.param(lambda octets: bytes(17), id="a byte too many"),
        pytest.param(lambda octets: bytes(24), id="another cipher's key"),
        pytest.param(lambda octets: 1 / 0, id="an exception of any kind"),
        pytest.param(lambda octets: {}["CKR_ENCRYPTED_DATA_INVALID"], id="another exception"),
    ],
)
def test_a_key_that_complains_changes_nothing(answer: Callable[[bytes], bytes]) -> None:
    """A hardware key that reports bad padding, as an error or as odd octets, is not heard on the wire."""
    envelope = EnvelopedData.parse(FORGE.enveloped())
    assert sum(shut(lambda: envelope.open(Watched(answer), envelope.recipients[0])) for _ in range(20)) > 15


@pytest.mark.proves("FT-56")
def test_a_key_that_has_gone_is_no_refusal() -> None:
    """A key that cannot be reached says nothing of the envelope."""

    def gone(octets: bytes) -> bytes:
        raise KeyUnavailable("hsm", "is not there")

    envelope = EnvelopedData.parse(FORGE.enveloped())
    with pytest.raises(KeyUnavailable):
        envelope.open(Watched(gone), envelope.recipients[0])


@pytest.mark.proves("SEC-02", "AC-037")
def test_a_key_of_another_length_never_decrypts() -> None:
    """The right key with octets around it is not cut to length: a random one takes its place."""
    envelope = EnvelopedData.parse(FORGE.enveloped())
    for around in (CEK + b"\0", b"\0" + CEK, CEK[:-1], CEK * 2):
        key = Watched(lambda octets, around=around: around)  # type: ignore[misc]
        assert any([shut(lambda key=key: envelope.open(key, envelope.recipients[0])) for _ in range(5)])
    assert envelope.open(Watched(lambda octets: CEK), envelope.recipients[0]) == b"plain text"


@pytest.mark.proves("AC-038", "CMS-25")
def test_exactly_one_padding_is_stripped() -> None:
    """What looks like padding within the content stays; a whole block of padding goes."""
    content = b"ends in padding" + b"\1" + b"\x10" * 16
    assert open_(replace(FORGE, content=content).enveloped()) == content
    assert open_(replace(FORGE, pad=raw(b"\x10" * 16)).enveloped()) == b""


@pytest.mark.parametrize(
    "encoding",
    [
        b"",
        der.NULL,
        der.sequence(),
        der.sequence(der.integer(0)),
        der.sequence(der.integer(0), der.tlv(der.SET)),
        der.sequence(der.integer(0), der.tlv(der.SET), der.sequence()),
        der.sequence(der.integer(0), der.explicit(0), der.tlv(der.SET, b"\x30\0")),
        der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b""))),
        der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, der.sequence(der.integer(1), b"\x31\0", b"\x30\0"))),
        der.sequence(der.oid(oid.ENVELOPED_DATA), der.explicit(0)),
        der.sequence(der.oid(oid.ENVELOPED_DATA), der.octet_string(b"")),
        FORGE.enveloped() + b"\0",
        FORGE.enveloped()[:-1],
        csrs.build(),
        csrs.pem(FORGE.enveloped()),
        replace(FORGE, recipients=()).enveloped(),
        replace(FORGE, recipients=(recipient_info(RA, CEK),) * 9).enveloped(),
        replace(FORGE, recipients=(recipient_info(RA, CEK),) * 500).enveloped(),
        replace(FORGE, recipients=(der.sequence(der.integer(0)),)).enveloped(),
        replace(FORGE, recipients=(recipient_info(RA, CEK, name=der.NULL),)).enveloped(),
        replace(FORGE, encrypted_content=der.octet_string(bytes(16))).enveloped(),
        replace(FORGE, encrypted_content=der.tlv(0xA0, der.NULL)).enveloped(),
        replace(FORGE, content_algorithm=der.sequence()).enveloped(),
        replace(FORGE, content_algorithm=csrs.algorithm(oid.AES128_CBC, b"\x24\x02\x30\0")).enveloped(),
        replace(FORGE, recipients=(der.tlv(0xA3),)).enveloped(),
    ],
)
@pytest.mark.proves("CMS-29", "AC-019", "AC-020", "AC-035", "AC-041")
def test_what_is_no_envelope_is_malformed(encoding: bytes) -> None:
    """A bare CSR, PEM, trailing octets, other content types, no recipient or too many: badRequest."""
    with pytest.raises(Malformed) as refused:
        EnvelopedData.parse(encoding)
    assert refused.value.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.proves("AC-035", "CMS-21")
def test_other_recipients_are_passed_over() -> None:
    """Key agreement, key encryption, password and other recipients beside ours do not stand in its way."""
    others = (der.tlv(0xA1, der.integer(3)), der.tlv(0xA2, der.integer(4)), der.tlv(0xA4, der.oid(oid.DATA)))
    by_key = recipient_info(RA, CEK, name=der.tlv(0x80, b"\1" * 20), version=2)
    envelope = EnvelopedData.parse(replace(FORGE, recipients=(*others, by_key)).enveloped())
    assert envelope.recipients[:3] == (RecipientInfo(None, None, b""),) * 3
    for recipient in envelope.recipients[:3]:
        with pytest.raises(ScepError) as refused:
            envelope.check(FLOOR, recipient)
        assert refused.value.fail_info is FailInfo.BAD_ALG
    name = envelope.recipients[3].name
    assert name is not None and name.names(RA)
    assert envelope.open(KEY, envelope.recipients[3]) == b"plain text"


@given(st.data())
@pytest.mark.proves("SEC-12", "SEC-02")
def test_a_mutated_envelope_raises_nothing_but_scep_errors(data: st.DataObject) -> None:
    """Whatever octets change, an envelope is refused or opens to something."""
    octets = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        envelope = EnvelopedData.parse(bytes(octets))
        for recipient in envelope.recipients:
            envelope.check(FLOOR, recipient)
        envelope.open(KEY, envelope.recipients[0])
    except ScepError:
        pass


SEEDS = (
    FORGE.enveloped(),
    replace(FORGE, envelope_ber=lambda whole: ber(whole, segment=9)).enveloped(),
    replace(
        FORGE,
        recipients=(
            recipient_info(
                RA,
                CEK,
                algorithm=oaep_parameters(hash_field(oid.SHA256), mask_field(oid.SHA256), NO_LABEL),
                scheme=oaep(SHA256),
            ),
        ),
    ).enveloped(),
)


# --- Writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-40", "CMS-46", "PEER-01")
@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("transport", [KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1, KeyTransport.OAEP_SHA256])
def test_envelopes_are_written_in_one_template(cipher: ContentCipher, transport: KeyTransport) -> None:
    """Versions 0, issuer and serial as in the certificate, a primitive [0], and asn1crypto reads what is written."""
    written = seal(b"content", RA, cipher, transport)
    der.parse(written, strict=True)
    info = asn1.ContentInfo.load(written, strict=True)
    assert info["content_type"].native == "enveloped_data"
    data = info["content"]
    (recipient,) = data["recipient_infos"]
    assert data["version"].native == recipient.chosen["version"].native == "v0"
    assert recipient.chosen["rid"].chosen.dump() == issuer_and_serial(RA)
    algorithm = recipient.chosen["key_encryption_algorithm"]
    assert algorithm["algorithm"].native == ("rsaes_pkcs1v15" if transport is KeyTransport.RSA_V15 else "rsaes_oaep")
    encrypted = data["encrypted_content_info"]
    assert encrypted["content_type"].native == "data"
    content = der.parse(encrypted.dump()).children()[2]
    assert content.tag == 0x80
    scheme = {KeyTransport.OAEP_SHA1: oaep(SHA1), KeyTransport.OAEP_SHA256: oaep(SHA256)}.get(transport)
    wrapped = recipient.chosen["encrypted_key"].native
    key = RA_KEY.decrypt(wrapped, scheme) if scheme else KEY.decrypt(wrapped, transport)
    vector = encrypted["content_encryption_algorithm"]["parameters"].native
    assert decrypt(cipher, key, vector, content.content) == pkcs7(b"content", cipher.block_size)
    assert open_(written) == b"content"
    if transport is KeyTransport.OAEP_SHA256:
        assert algorithm["parameters"]["hash_algorithm"]["algorithm"].native == "sha256"
        assert algorithm["parameters"]["mask_gen_algorithm"]["parameters"]["algorithm"].native == "sha256"


@pytest.mark.proves("CMS-47", "I6")
def test_an_envelope_has_one_recipient() -> None:
    """Nobody but the named certificate can open it, and keys and vectors are fresh."""
    first, second = (EnvelopedData.parse(seal(b"x", RA, AES, KeyTransport.RSA_V15)) for _ in range(2))
    assert len(first.recipients) == 1
    assert (first.iv, first.ciphertext) != (second.iv, second.ciphertext)
    stranger = SoftwareKey(csrs.rsa_key(which=2))
    assert any([shut(lambda: first.open(stranger, first.recipients[0])) for _ in range(5)])


def test_an_ec_recipient_cannot_be_sealed_to() -> None:
    """A certificate whose key cannot decrypt is refused as a recipient."""
    with pytest.raises(ScepError, match="cannot encrypt") as refused:
        seal(b"x", certificate(csrs.ec_key()), AES, KeyTransport.RSA_V15)
    assert refused.value.fail_info is FailInfo.BAD_ALG


# --- Passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("CMS-28")
@pytest.mark.parametrize("cipher", ContentCipher)
def test_a_password_opens_what_it_sealed(cipher: ContentCipher) -> None:
    """EnvelopedData of version 3 with one PasswordRecipientInfo of version 0, PBKDF2 and PWRI-KEK."""
    written = seal_with_password(b"content", b"secret", cipher)
    data = asn1.ContentInfo.load(written, strict=True)["content"]
    (recipient,) = data["recipient_infos"]
    assert (data["version"].native, recipient.chosen["version"].native) == ("v3", "v0")
    derivation = recipient.chosen["key_derivation_algorithm"]
    assert derivation["algorithm"].native == "pbkdf2"
    assert derivation["parameters"]["iteration_count"].native == ITERATIONS
    assert recipient.chosen["key_encryption_algorithm"]["algorithm"].dotted == "1.2.840.113549.1.9.16.3.9"
    envelope = EnvelopedData.parse(written)
    assert envelope.open_with_password(b"secret") == b"content"
    for wrong in (b"Secret", b"", b"secret1"):
        assert any([shut(lambda wrong=wrong: envelope.open_with_password(wrong)) for _ in range(5)])


def test_a_password_does_not_open_a_key_transport() -> None:
    """Where no recipient is a password's there is nothing to open with one."""
    assert shut(lambda: EnvelopedData.parse(FORGE.enveloped()).open_with_password(b"secret"))


def wrap(key: bytes, password: bytes, cipher: ContentCipher, salt: bytes, iterations: int, digest: str) -> bytes:
    """RFC 3211, 2.3.1, written a second time."""
    kek = hashlib.pbkdf2_hmac(digest, password, salt, iterations, cipher.key_size)
    block = bytes((len(key),)) + bytes(octet ^ 0xFF for octet in key[:3]) + key
    block = block.ljust(max(2 * cipher.block_size, -(-len(block) // cipher.block_size) * cipher.block_size), b"\x77")
    iv = bytes(cipher.block_size)
    once = encrypt(cipher, kek, iv, block)
    return encrypt(cipher, kek, once[-cipher.block_size :], once)


def password_recipient(
    *,
    salt: bytes = der.octet_string(b"salt" * 4),
    iterations: int = 1000,
    prf: bytes = b"",
    digest: str = "sha1",
    cipher: ContentCipher = AES,
    key: bytes = CEK,
    derivation: bytes | None = None,
    kek: bytes | None = None,
    wrapped: bytes | None = None,
) -> bytes:
    method = derivation
    if method is None:
        method = der.tlv(0xA0, der.oid(oid.PBKDF2), der.sequence(salt, der.integer(iterations), prf))
    if wrapped is None:
        wrapped = wrap(key, b"secret", cipher, der.parse(salt).content, min(max(iterations, 1), 1000), digest)
    inner = csrs.algorithm(cipher.oid, der.octet_string(bytes(cipher.block_size)))
    return der.tlv(0xA3, der.integer(0), method, kek or csrs.algorithm(oid.PWRI_KEK, inner), der.octet_string(wrapped))


def by_password(recipient: bytes) -> EnvelopedData:
    return EnvelopedData.parse(replace(FORGE, recipients=(recipient,)).enveloped())


HMAC = {"sha1": csrs.algorithm(oid.HMAC_SHA1, der.NULL), "sha256": csrs.algorithm(oid.HMAC_SHA256, der.NULL)}


@pytest.mark.proves("CMS-27")
@pytest.mark.parametrize(
    "recipient",
    [
        password_recipient(),
        password_recipient(prf=HMAC["sha1"]),
        password_recipient(prf=HMAC["sha256"], digest="sha256"),
        password_recipient(prf=der.integer(16) + HMAC["sha256"], digest="sha256"),
        password_recipient(prf=der.integer(16)),
        password_recipient(cipher=DES3),
        password_recipient(cipher=ContentCipher.AES256_CBC),
    ],
)
def test_other_writers_password_recipients_open(recipient: bytes) -> None:
    """HMAC-SHA-1 by default, SHA-1 and SHA-256 spelt out, a key length stated, and other key-encryption ciphers."""
    assert by_password(recipient).open_with_password(b"secret") == b"plain text"


@pytest.mark.proves("CMS-27", "SEC-12")
@pytest.mark.parametrize(
    "recipient",
    [
        password_recipient(iterations=10**9),
        password_recipient(iterations=100_001),
        password_recipient(iterations=0),
        password_recipient(iterations=-1),
        password_recipient(salt=der.octet_string(bytes(7))),
        password_recipient(salt=der.octet_string(bytes(65))),
        password_recipient(prf=csrs.algorithm(oid.encode("1.2.3"))),
        password_recipient(derivation=b""),
        password_recipient(derivation=der.tlv(0xA0, der.oid(oid.PBKDF2))),
        password_recipient(derivation=der.tlv(0xA0, der.oid(oid.DATA), der.sequence())),
        password_recipient(derivation=der.tlv(0xA0, der.oid(oid.PBKDF2), der.sequence(HMAC["sha1"], der.integer(1)))),
        password_recipient(kek=csrs.algorithm(oid.PWRI_KEK)),
        password_recipient(kek=csrs.algorithm(oid.PWRI_KEK, GCM)),
        password_recipient(kek=csrs.algorithm(oid.DATA, csrs.algorithm(oid.AES128_CBC, der.octet_string(bytes(16))))),
        password_recipient(wrapped=bytes(16)),
        password_recipient(wrapped=bytes(33)),
        password_recipient(wrapped=bytes(272)),
        password_recipient(wrapped=bytes(32)),
        password_recipient(wrapped=b""),
        password_recipient(key=CEK[:15]),
        password_recipient(key=CEK * 2),
        password_recipient(key=CEK[:2]),
        password_recipient(key=b""),
    ],
)
def test_password_recipients_beyond_their_bounds_are_unreadable(recipient: bytes) -> None:
    """Costly iterations, odd salts and unknown algorithms are refused alike, before any of them is paid for."""
    assert any([shut(lambda: by_password(recipient).open_with_password(b"secret")) for _ in range(5)])


# --- OpenSSL ---------------------------------------------------------------------------------------------------------


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The RA's certificate and key, and something to encrypt, as files."""
    (tmp_path / "ra.pem").write_bytes(csrs.pem(RA.der, "CERTIFICATE"))
    key = RA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ra.key").write_bytes(key)
    (tmp_path / "plain").write_bytes(b"plain text")
    return tmp_path


@OPENSSL
@pytest.mark.proves("CMS-40", "CMS-23")
@pytest.mark.parametrize("transport", [KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1, KeyTransport.OAEP_SHA256])
def test_openssl_opens_what_is_sealed(files: Path, transport: KeyTransport) -> None:
    """`openssl cms` decrypts every transport; `openssl smime`, which reads PKCS #7 only, the default one."""
    (files / "sealed").write_bytes(seal(b"plain text", RA, AES, transport))
    options = ("-decrypt", "-inform", "DER", "-in", files / "sealed", "-inkey", files / "ra.key", "-binary")
    assert openssl("cms", *options, "-recip", files / "ra.pem") == b"plain text"
    if transport is KeyTransport.RSA_V15:
        assert openssl("smime", *options, "-recip", files / "ra.pem") == b"plain text"


@OPENSSL
@pytest.mark.proves("CMS-23", "CMS-01")
@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256", "-des3"])
@pytest.mark.parametrize("options", [(), ("-keyopt", "rsa_padding_mode:oaep"), ("-keyid",), ("-stream",)])
def test_what_openssl_seals_opens(files: Path, cipher: str, options: tuple[str, ...]) -> None:
    """v1.5, OAEP, a recipient by key identifier, and streamed BER from `openssl cms` open."""
    first = () if options and options[0] == "-keyopt" else options
    last = options if options and options[0] == "-keyopt" else ()
    sealed = openssl(
        "cms", "-encrypt", "-binary", "-outform", "DER", cipher, "-in", files / "plain", *first, "-recip",
        files / "ra.pem", *last,
    )  # fmt: skip
    assert open_(sealed) == b"plain text"
    name = EnvelopedData.parse(sealed).recipients[0].name
    assert name is not None and name.names(RA)


@OPENSSL
@pytest.mark.proves("CMS-27", "CMS-28")
def test_openssl_and_we_open_each_others_password_envelopes(files: Path) -> None:
    """PBKDF2 and PWRI-KEK agree with OpenSSL's in both directions."""
    (files / "sealed").write_bytes(seal_with_password(b"plain text", b"secret", AES))
    opened = openssl(
        "cms", "-decrypt", "-inform", "DER", "-in", files / "sealed", "-pwri_password", "secret", "-binary"
    )
    assert opened == b"plain text"
    for cipher in ("-aes128", "-aes256", "-des3"):
        sealed = openssl(
            "cms", "-encrypt", "-binary", "-outform", "DER", cipher, "-in", files / "plain", "-pwri_password", "secret"
        )
        assert EnvelopedData.parse(sealed).open_with_password(b"secret") == b"plain text"
