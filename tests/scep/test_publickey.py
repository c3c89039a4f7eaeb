"""Public keys as their encodings state them, and signatures made with them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import FailInfo, Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest, Floor
from scepra.scep.publickey import PublicKeyInfo, pss_padding, verify_signature
from tests import csrs

ALL = frozenset(Digest)
MODULUS = csrs.rsa_key().public_key().public_numbers().n
DSA = dsa.generate_private_key(1024)  # noqa: S505 - it is here to be refused


def raw(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def ec_spki(parameters: bytes, point: bytes) -> bytes:
    return der.sequence(der.sequence(der.oid(oid.EC_PUBLIC_KEY), parameters), der.bit_string(point))


P256 = der.oid(oid.P256)
EXPLICIT = der.sequence(
    der.integer(1),
    der.sequence(der.oid(oid.encode("1.2.840.10045.1.1")), der.integer(2**256 - 189)),
    der.sequence(der.octet_string(bytes(32)), der.octet_string(bytes(32)), der.bit_string(bytes(20))),
    der.octet_string(b"\x04" + bytes(64)),
    der.integer(2**256 - 190),
    der.integer(1),
)
BINARY_FIELD = der.sequence(
    der.integer(1),
    der.sequence(
        der.oid(oid.encode("1.2.840.10045.1.2")),
        der.sequence(
            der.integer(163),
            der.oid(oid.encode("1.2.840.10045.1.2.3.3")),
            der.sequence(der.integer(3), der.integer(6), der.integer(7)),
        ),
    ),
    der.sequence(der.octet_string(bytes(21)), der.octet_string(bytes(21))),
    der.octet_string(b"\x04" + bytes(42)),
    der.integer(2**163),
    der.integer(2),
)


def test_an_rsa_key_states_its_numbers() -> None:
    """Modulus, exponent and size are read without loading the key."""
    info = PublicKeyInfo.parse(csrs.spki(csrs.rsa_key()))
    assert (info.kind, info.bits, info.modulus, info.exponent) == ("RSA", 2048, MODULUS, 65537)
    assert info.encrypts
    assert info.key.public_numbers() == csrs.rsa_key().public_key().public_numbers()  # type: ignore[union-attr]
    assert info.sha256 == PublicKeyInfo.parse(info.der).sha256


@pytest.mark.parametrize(
    ("key", "kind", "curve", "bits"),
    [
        (csrs.ec_key().public_key(), "EC", "P-256", 256),
        (csrs.ec_key("P-384").public_key(), "EC", "P-384", 384),
        (csrs.ec_key("P-521").public_key(), "EC", "P-521", 521),
        (csrs.ec_key("secp256k1").public_key(), "EC", None, 0),
        (csrs.ed25519_key().public_key(), "Ed25519", None, 256),
        (DSA.public_key(), "DSA", None, 0),
        (x25519.X25519PrivateKey.generate().public_key(), "other", None, 0),
    ],
)
def test_other_keys_state_their_kind(key: object, kind: str, curve: str | None, bits: int) -> None:
    """Kind, curve and size are read from the identifiers alone."""
    info = PublicKeyInfo.parse(raw(key))
    assert (info.kind, info.curve, info.bits, info.modulus) == (kind, curve, bits, None)
    assert not info.encrypts


@pytest.mark.proves("AC-064", "AC-086", "P10-12", "SEC-12")
@pytest.mark.parametrize(
    "spki",
    [
        csrs.rsa_spki(2**511 + 1, 65537),
        csrs.rsa_spki(2**1023 + 1, 65537),
        csrs.rsa_spki(2**2046 + 1, 65537),
        csrs.rsa_spki(2**16383 + 1, 65537),
        csrs.rsa_spki(2**131071 + 1, 65537),
        csrs.rsa_spki(2**131071 + 1, 2**131070 + 1),
        csrs.rsa_spki(-MODULUS, 65537),
        csrs.rsa_spki(0, 65537),
        csrs.rsa_spki(MODULUS - 1, 65537),
        csrs.rsa_spki(MODULUS, 1),
        csrs.rsa_spki(MODULUS, 2),
        csrs.rsa_spki(MODULUS, 0),
        csrs.rsa_spki(MODULUS, -3),
        csrs.rsa_spki(MODULUS, 65536),
        csrs.rsa_spki(MODULUS, 2**32 + 1),
        csrs.rsa_spki(MODULUS, MODULUS - 2),
        raw(csrs.ec_key("secp256k1").public_key()),
        ec_spki(EXPLICIT, b"\x04" + bytes(64)),
        ec_spki(BINARY_FIELD, b"\x04" + bytes(42)),
        ec_spki(der.NULL, b"\x04" + bytes(64)),
        ec_spki(b"", b"\x04" + bytes(64)),
        raw(DSA.public_key()),
        raw(x25519.X25519PrivateKey.generate().public_key()),
    ],
)
def test_hostile_keys_are_refused_from_their_numbers(spki: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys outside the bounds are badAlg before any library has loaded them."""
    monkeypatch.setattr(PublicKeyInfo, "key", property(lambda self: pytest.fail("the key was loaded")))
    with pytest.raises(ScepError) as refusal:
        PublicKeyInfo.parse(spki).check(Floor())
    assert refusal.value.fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("AC-064")
@pytest.mark.parametrize(
    "spki",
    [
        ec_spki(P256, b"\x04" + bytes(64)),
        ec_spki(P256, b"\x04" + b"\x01" * 64),
        ec_spki(P256, b"\0"),
        ec_spki(P256, b""),
        der.sequence(der.sequence(der.oid(oid.ED25519)), der.bit_string(bytes(31))),
    ],
)
def test_points_off_their_curve_are_refused_when_loaded(spki: bytes) -> None:
    """A key that passes the look at its numbers and is none all the same is badAlg."""
    info = PublicKeyInfo.parse(spki)
    info.check(Floor())
    with pytest.raises(ScepError) as refusal:
        _ = info.key
    assert refusal.value.fail_info is FailInfo.BAD_ALG


def test_a_loadable_key_of_a_refused_type_is_refused() -> None:
    """What the library can load and this product does not use is badAlg."""
    with pytest.raises(ScepError, match="refused type") as refusal:
        _ = PublicKeyInfo.parse(raw(x25519.X25519PrivateKey.generate().public_key())).key
    assert refusal.value.fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("P10-12")
def test_good_keys_pass() -> None:
    """RSA from 2048 to 8192 bits with an odd exponent, the NIST curves and Ed25519 are accepted."""
    for spki in (
        csrs.spki(csrs.rsa_key()),
        csrs.rsa_spki(2**8191 + 1, 3),
        csrs.rsa_spki(MODULUS, 2**32 - 1),
        *(csrs.spki(csrs.ec_key(curve)) for curve in ("P-256", "P-384", "P-521")),
        csrs.spki(csrs.ed25519_key()),
    ):
        PublicKeyInfo.parse(spki).check(Floor())
    with pytest.raises(ScepError):
        PublicKeyInfo.parse(csrs.rsa_spki(MODULUS, 3)).check(Floor(rsa_exponent=65537))


@given(st.data())
@pytest.mark.proves("SEC-12")
def test_a_mutated_key_is_malformed_or_refused(data: st.DataObject) -> None:
    """No change of a key's encoding raises anything but the one kind of refusal."""
    spki = bytearray(data.draw(st.sampled_from([csrs.spki(csrs.rsa_key()), csrs.spki(csrs.ec_key())])))
    for _ in range(data.draw(st.integers(1, 3))):
        spki[data.draw(st.integers(0, len(spki) - 1))] = data.draw(st.integers(0, 255))
    try:
        info = PublicKeyInfo.parse(bytes(spki))
        info.check(Floor())
        _ = info.key
    except ScepError:
        pass


@pytest.mark.parametrize("spki", [b"", der.sequence(), der.sequence(der.sequence(), der.bit_string(b""))])
def test_what_is_no_key_is_malformed(spki: bytes) -> None:
    """Broken encodings are refused as such."""
    with pytest.raises(Malformed):
        PublicKeyInfo.parse(spki)


@pytest.mark.proves("MSG-20")
def test_the_same_key_in_another_spelling() -> None:
    """A missing NULL changes nothing about a key; its numbers do."""
    with_null = PublicKeyInfo.parse(csrs.rsa_spki(MODULUS, 65537))
    without = PublicKeyInfo.parse(csrs.rsa_spki(MODULUS, 65537, b""))
    assert with_null.same_key(without)
    assert with_null.sha256 != without.sha256
    assert not with_null.same_key(PublicKeyInfo.parse(csrs.rsa_spki(MODULUS, 3)))
    point = b"\x04" + bytes(64)
    assert not PublicKeyInfo.parse(ec_spki(P256, point)).same_key(
        PublicKeyInfo.parse(ec_spki(der.oid(oid.P384), point))
    )


# --- Signatures ------------------------------------------------------------------------------------------------------

DATA = b"what is signed"
RSA, EC, ED = csrs.rsa_key(), csrs.ec_key(), csrs.ed25519_key()
RSA_INFO, EC_INFO, ED_INFO = (PublicKeyInfo.parse(csrs.spki(key)) for key in (RSA, EC, ED))
SHA256, SHA1, MD5 = Digest.SHA256, Digest.SHA1, Digest.MD5


def v15(digest: Digest) -> bytes:
    return RSA.sign(DATA, padding.PKCS1v15(), digest.hash)


def pss(digest: Digest, salt: int) -> bytes:
    return RSA.sign(DATA, padding.PSS(padding.MGF1(digest.hash), salt), digest.hash)


def ecdsa(digest: Digest) -> bytes:
    return EC.sign(DATA, ec.ECDSA(digest.hash))


def pss_parameters(digest: Digest, mask: Digest | None = None, salt: int = 32, *more: bytes) -> der.Node:
    return der.parse(
        der.sequence(
            der.explicit(0, csrs.algorithm(digest.oid, der.NULL)),
            der.explicit(1, der.sequence(der.oid(oid.MGF1), csrs.algorithm((mask or digest).oid))),
            der.explicit(2, der.integer(salt)),
            *more,
        )
    )


@pytest.mark.proves("CMS-12")
@pytest.mark.parametrize(
    ("info", "algorithm", "parameters", "signature", "stated", "used"),
    [
        (RSA_INFO, oid.RSA, None, v15(SHA256), SHA256, SHA256),
        (RSA_INFO, oid.SHA256_RSA, None, v15(SHA256), SHA256, SHA256),
        (RSA_INFO, oid.SHA256_RSA, None, v15(SHA256), None, SHA256),
        (RSA_INFO, oid.SHA1_RSA_ISO, None, v15(SHA1), SHA1, SHA1),
        (RSA_INFO, oid.MD5_RSA, None, v15(MD5), None, MD5),
        (RSA_INFO, oid.SHA224_RSA, None, v15(Digest.SHA224), None, Digest.SHA224),
        (RSA_INFO, oid.SHA384_RSA, None, v15(Digest.SHA384), None, Digest.SHA384),
        (RSA_INFO, oid.SHA512_RSA, None, v15(Digest.SHA512), None, Digest.SHA512),
        (RSA_INFO, oid.RSASSA_PSS, pss_parameters(SHA256), pss(SHA256, 32), SHA256, SHA256),
        (RSA_INFO, oid.RSASSA_PSS, None, pss(SHA1, 20), SHA1, SHA1),
        (EC_INFO, oid.ECDSA_SHA256, None, ecdsa(SHA256), SHA256, SHA256),
        (EC_INFO, oid.EC_PUBLIC_KEY, None, ecdsa(SHA256), SHA256, SHA256),
        (EC_INFO, oid.ECDSA_SHA1, None, ecdsa(SHA1), None, SHA1),
        (ED_INFO, oid.ED25519, None, ED.sign(DATA), None, Digest.SHA512),
        (ED_INFO, oid.ED25519, None, ED.sign(DATA), SHA256, SHA256),
    ],
)
def test_signatures_verify_under_all_their_names(
    info: PublicKeyInfo,
    algorithm: bytes,
    parameters: der.Node | None,
    signature: bytes,
    stated: Digest | None,
    used: Digest,
) -> None:
    """Every spelling of a signature algorithm that is seen verifies, and says which digest it used."""
    assert verify_signature(info, algorithm, parameters, signature, DATA, allowed=ALL, digest=stated) is used
    with pytest.raises(ScepError) as refusal:
        verify_signature(info, algorithm, parameters, signature, DATA + b".", allowed=ALL, digest=stated)
    assert refusal.value.fail_info is FailInfo.BAD_MESSAGE_CHECK
    with pytest.raises(ScepError) as refusal:
        verify_signature(info, algorithm, parameters, signature, DATA, allowed=ALL - {used}, digest=stated)
    assert refusal.value.fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("CMS-12")
@pytest.mark.parametrize(
    ("info", "algorithm", "parameters", "stated"),
    [
        (RSA_INFO, oid.SHA256_RSA, None, SHA1),
        (RSA_INFO, oid.RSA, None, None),
        (RSA_INFO, oid.ECDSA_SHA256, None, None),
        (RSA_INFO, oid.ED25519, None, None),
        (RSA_INFO, oid.encode("1.2.3"), None, SHA256),
        (RSA_INFO, oid.RSASSA_PSS, pss_parameters(SHA256), SHA1),
        (EC_INFO, oid.SHA256_RSA, None, None),
        (EC_INFO, oid.ECDSA_SHA256, None, Digest.SHA384),
        (EC_INFO, oid.EC_PUBLIC_KEY, None, None),
        (ED_INFO, oid.ECDSA_SHA256, None, None),
    ],
)
def test_algorithms_that_do_not_fit_are_bad_alg(
    info: PublicKeyInfo, algorithm: bytes, parameters: der.Node | None, stated: Digest | None
) -> None:
    """An algorithm for another kind of key, or with another digest than is stated beside it, is refused."""
    with pytest.raises(ScepError) as refusal:
        verify_signature(info, algorithm, parameters, b"", DATA, allowed=ALL, digest=stated)
    assert refusal.value.fail_info is FailInfo.BAD_ALG


def digest_info(algorithm: bytes, value: bytes) -> bytes:
    return der.sequence(algorithm, der.octet_string(value))


def forged(info: bytes, filler: bytes = b"") -> bytes:
    """A PKCS #1 v1.5 signature of any block, as only the holder of the key can make it."""
    block = (b"\0\1" + b"\xff" * (253 - len(info) - len(filler)) + b"\0" + info + filler).rjust(256, b"\0")
    private = RSA.private_numbers()
    return pow(int.from_bytes(block, "big"), private.d, MODULUS).to_bytes(256, "big")


HASH = hashes.Hash(hashes.SHA256())
HASH.update(DATA)
VALUE = HASH.finalize()
GOOD = csrs.algorithm(oid.SHA256, der.NULL)


def test_the_forger_can_make_good_signatures() -> None:
    """The control: with the right block the forged signature is a signature."""
    verify_signature(RSA_INFO, oid.SHA256_RSA, None, forged(digest_info(GOOD, VALUE)), DATA, allowed=ALL)


@pytest.mark.proves("AC-034")
@pytest.mark.parametrize(
    "signature",
    [
        forged(digest_info(GOOD, VALUE), b"garbage"),
        forged(digest_info(GOOD, VALUE), bytes(100)),
        forged(digest_info(csrs.algorithm(oid.SHA256, der.octet_string(b"x" * 50)), VALUE)),
        forged(b"\x30\x81" + digest_info(GOOD, VALUE)[1:]),
        forged(VALUE),
        forged(digest_info(csrs.algorithm(oid.SHA1, der.NULL), VALUE)),
        b"",
        bytes(256),
        b"\xff" * 256,
        v15(SHA256) + b"\0",
        v15(SHA256)[1:],
    ],
)
def test_lax_signature_forms_do_not_verify(signature: bytes) -> None:
    """Garbage behind the hash, odd parameters and lengths, and other sizes are badMessageCheck."""
    with pytest.raises(ScepError) as refusal:
        verify_signature(RSA_INFO, oid.SHA256_RSA, None, signature, DATA, allowed=ALL)
    assert refusal.value.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("AC-034")
def test_a_low_exponent_forgery_does_not_verify() -> None:
    """Bleichenbacher's cube root, garbage behind the hash, does not pass for a key with exponent 3."""
    key = rsa.generate_private_key(3, 2048)
    block = b"\0\1" + b"\xff" * 8 + b"\0" + digest_info(GOOD, VALUE)
    target = int.from_bytes(block + b"\xff" * (256 - len(block)), "big")
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= target else (low, middle - 1)
    assert (low**3).to_bytes(256, "big").startswith(block)
    with pytest.raises(ScepError) as refusal:
        verify_signature(
            PublicKeyInfo.parse(raw(key.public_key())),
            oid.SHA256_RSA,
            None,
            low.to_bytes(256, "big"),
            DATA,
            allowed=ALL,
        )
    assert refusal.value.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.proves("CMS-12")
def test_pss_parameters_are_read_strictly() -> None:
    """MGF1 with the same digest, a bounded salt and trailer 1, with RFC 4055's defaults."""
    digest, scheme = pss_padding(None)
    assert (digest, scheme._salt_length) == (SHA1, 20)  # type: ignore[attr-defined]
    digest, scheme = pss_padding(pss_parameters(SHA256, None, 64, der.explicit(3, der.integer(1))))
    assert (digest, scheme._salt_length) == (SHA256, 64)  # type: ignore[attr-defined]
    assert pss_padding(der.parse(der.sequence()))[0] is SHA1


@pytest.mark.proves("CMS-12")
@pytest.mark.parametrize(
    "parameters",
    [
        pss_parameters(SHA256, SHA1),
        pss_parameters(SHA256, None, 513),
        pss_parameters(SHA256, None, -1),
        pss_parameters(SHA256, None, 32, der.explicit(3, der.integer(2))),
        pss_parameters(SHA256, None, 32, der.explicit(4, der.integer(1))),
        pss_parameters(SHA256, None, 32, der.explicit(3)),
        der.parse(der.NULL),
        der.parse(der.sequence(der.explicit(0, csrs.algorithm(oid.encode("1.2.3"))))),
        der.parse(der.sequence(der.explicit(0, der.sequence()))),
        der.parse(der.sequence(der.explicit(1, der.sequence(der.oid(oid.SHA1), csrs.algorithm(oid.SHA1))))),
        der.parse(der.sequence(der.tlv(0x80, b"x"))),
    ],
)
def test_odd_pss_parameters_are_bad_alg(parameters: der.Node) -> None:
    """Anything else in RSASSA-PSS parameters is refused."""
    with pytest.raises(ScepError) as refusal:
        pss_padding(parameters)
    assert refusal.value.fail_info is FailInfo.BAD_ALG


def test_a_key_marked_for_pss_is_an_rsa_key() -> None:
    """id-RSASSA-PSS in a SubjectPublicKeyInfo, with full parameters, is read as the RSA key that it is."""
    inner = PublicKeyInfo.parse(csrs.spki(RSA)).key_bits
    parameters = pss_parameters(SHA256, None, 32, der.explicit(3, der.integer(1)))
    info = PublicKeyInfo.parse(der.sequence(csrs.algorithm(oid.RSASSA_PSS, parameters.raw), der.bit_string(inner[1:])))
    info.check(Floor())
    assert info.kind == "RSA"
    verify_signature(info, oid.RSASSA_PSS, parameters, pss(SHA256, 32), DATA, allowed=ALL)
