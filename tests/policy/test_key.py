"""The rules about keys and signatures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import ValidationError

from scepra.errors import FailInfo
from scepra.policy import build as build_rules
from scepra.policy import explain, version
from scepra.policy.model import KeySpec, PolicyRule
from scepra.policy.weakness import weakness
from scepra.scep import der, oid
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import build, rsa_key, rsa_spki, spki
from tests.policy.sample import Asked, judged, policy

EXPONENT = 65537
VECTORS = Path(__file__).parents[1] / "vectors"


def modulus(bits: int = 2048) -> int:
    return rsa_key(bits).public_key().public_numbers().n


def says(public_key: bytes, **spec: Any) -> list[tuple[str, FailInfo]]:
    """The paths, and what the client is told, that a key rule objects with."""
    violations = judged(build(public_key=public_key), {"key": spec})
    return [(violation.path, violation.fail_info) for violation in violations]


@pytest.mark.proves("I12", "P10-12")
def test_no_rule() -> None:
    """Without a key rule every key is refused."""
    for key in (csrs.ec_key(), rsa_key(), csrs.ed25519_key()):
        (violation,) = judged(build(key=key), {"subject": {"match": {"CN": "dev"}}}, usual=False)
        assert (violation.rule, violation.fail_info) == ("key", FailInfo.BAD_ALG)


@pytest.mark.parametrize(
    ("spec", "bits", "accepted"),
    [
        ({}, 1024, False),
        ({}, 2048, True),
        ({"min": 3072}, 2048, False),
        ({"max": 2048}, 2048, True),
        ({"min": 1024, "max": 1024}, 1024, True),
        ({"min": 1024, "max": 1024}, 2048, False),
    ],
)
@pytest.mark.proves("P10-12", "AC-086")
def test_rsa_size(spec: dict[str, int], bits: int, accepted: bool) -> None:
    """The modulus has a smallest and a largest size; outside of them the answer is badAlg."""
    expected = [] if accepted else [("key.rsa", FailInfo.BAD_ALG)]
    assert says(rsa_spki(modulus(bits), EXPONENT), rsa=spec) == expected


@pytest.mark.parametrize("bits", [512, 2047, 16384, 131072])
@pytest.mark.proves("P10-12", "AC-086")
def test_odd_rsa_sizes(bits: int) -> None:
    """Sizes that are no library's are refused by their size."""
    assert says(rsa_spki((1 << (bits - 1)) | 1, EXPONENT), rsa={}) == [("key.rsa", FailInfo.BAD_ALG)]


@pytest.mark.parametrize(
    ("exponent", "smallest", "accepted"),
    [
        (65537, 65537, True),
        (3, 65537, False),
        (3, 3, True),
        (1, 3, False),
        (-3, 3, False),
        (65538, 65537, False),
        (2**32 - 1, 65537, True),
        (2**32 + 1, 65537, False),
        (1 << 20000 | 1, 65537, False),
    ],
    ids=lambda number: str(number) if number < 2**40 else "huge",
)
@pytest.mark.proves("P10-12", "AC-086")
def test_exponent(exponent: int, smallest: int, accepted: bool) -> None:
    """The exponent is odd, at least 65537 unless a smaller one is named, and below 2^32."""
    expected = [] if accepted else [("key.rsa.exponent", FailInfo.BAD_ALG)]
    assert says(rsa_spki(modulus(), exponent), rsa={"exponent": smallest}) == expected


@pytest.mark.proves("AC-086")
def test_weak_modulus() -> None:
    """An even modulus is badAlg; one that is known to be factored easily is badRequest."""
    assert says(rsa_spki(modulus() - 1, EXPONENT), rsa={}) == [("key.rsa", FailInfo.BAD_ALG)]
    weak = 3 * (1 << 2046 | 1)
    assert weakness(weak) is not None
    assert says(rsa_spki(weak, EXPONENT), rsa={}) == [("key.rsa", FailInfo.BAD_REQUEST)]


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
@pytest.mark.proves("P10-12", "AC-086")
def test_curve(curve: str) -> None:
    """A curve is accepted where it is named, and only there."""
    key = spki(csrs.ec_key(curve))
    assert says(key, ec=curve) == []
    others = [each for each in ("P-256", "P-384", "P-521") if each != curve]
    assert says(key, ec=others) == [("key.ec", FailInfo.BAD_ALG)]
    assert says(key, rsa={}) == [("key.ec", FailInfo.BAD_ALG)]


@pytest.mark.parametrize(
    "encoded",
    [
        spki(csrs.ec_key("secp256k1")),
        der.sequence(der.sequence(der.oid(oid.EC_PUBLIC_KEY), der.sequence(der.integer(1))), der.bit_string(b"\4")),
        der.sequence(csrs.algorithm(oid.encode("1.2.840.10040.4.1")), der.bit_string(b"x")),
        der.sequence(csrs.algorithm(oid.encode("1.3.101.110")), der.bit_string(b"x" * 32)),
    ],
    ids=["secp256k1", "explicit", "DSA", "X25519"],
)
@pytest.mark.proves("AC-086", "I12")
def test_unknown_kinds(encoded: bytes) -> None:
    """Kinds of keys that cannot be named are refused even where all that can be are."""
    everything: dict[str, Any] = {"rsa": {}, "ec": ["P-256", "P-384", "P-521"], "ed25519": True}
    assert [fail_info for _, fail_info in says(encoded, **everything)] == [FailInfo.BAD_ALG]


@pytest.mark.proves("P10-12", "AC-086")
def test_ed25519() -> None:
    """Ed25519 is accepted where it is named."""
    key = spki(csrs.ed25519_key())
    assert says(key, ed25519=True) == []
    assert says(key, rsa={}) == [("key", FailInfo.BAD_ALG)]


@pytest.mark.proves("P10-12", "AC-086")
def test_refused_by_fingerprint() -> None:
    """A key that is refused by its fingerprint is a bad request; others are not affected."""
    key = spki(csrs.ec_key())
    fingerprint = "sha256:" + hashlib.sha256(key).hexdigest().upper()
    assert says(key, ec="P-256", refuse=fingerprint) == [("key.refuse", FailInfo.BAD_REQUEST)]
    assert says(spki(csrs.ec_key(which=1)), ec="P-256", refuse=[fingerprint]) == []


@pytest.mark.parametrize(
    ("encoded", "shown"),
    [
        (rsa_spki(modulus(), EXPONENT), "RSA, 2048 bits, exponent 65537"),
        (rsa_spki(modulus(), 1 << 20000 | 1), "RSA, 2048 bits, exponent beyond 64 bits"),
        (spki(csrs.ec_key()), "EC, P-256"),
        (spki(csrs.ec_key("secp256k1")), "EC, unknown curve"),
        (spki(csrs.ed25519_key()), "Ed25519"),
    ],
    ids=["RSA", "large exponent", "P-256", "secp256k1", "Ed25519"],
)
def test_what_is_shown(encoded: bytes, shown: str) -> None:
    """People see kind, size and fingerprint, of hostile keys too."""
    request = CertificationRequest.parse(build(public_key=encoded))
    reports = {report.rule: report for report in explain(build_rules(policy()), Asked(request))}
    assert reports["key"].looked_at == f"{shown}, SHA-256 {hashlib.sha256(encoded).hexdigest()}"


def signed_with(algorithm: hashes.HashAlgorithm, kind: bytes) -> bytes:
    key = rsa_key()
    return build(
        key=key,
        signature_algorithm=csrs.algorithm(kind, der.NULL),
        sign=lambda data: key.sign(data, padding.PKCS1v15(), algorithm),
    )


@pytest.mark.proves("AC-088")
def test_signature_digest() -> None:
    """The request's digest must be among those named; otherwise the answer is badAlg."""
    encoding = signed_with(hashes.SHA256(), oid.SHA256_RSA)
    assert judged(encoding, {"signature": {"digests": ["SHA-256", "SHA-512"]}}) == ()
    (violation,) = judged(encoding, {"signature": {"digests": "SHA-512"}})
    assert (violation.path, violation.fail_info) == ("signature.digests", FailInfo.BAD_ALG)
    assert judged(encoding) == ()


@pytest.mark.proves("AC-088", "I12")
def test_unknown_signature() -> None:
    """A signature algorithm that is unknown uses none of the digests."""
    encoding = build(signature_algorithm=csrs.algorithm(oid.encode("1.2.3")))
    rule = {"signature": {"digests": ["SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "MD5"]}}
    assert [violation.sentence for violation in judged(encoding, rule)] == ["an unknown digest"]
    request = Asked(CertificationRequest.parse(encoding))
    assert explain(build_rules(policy(rule)), request)[-1].looked_at == "unknown"


@pytest.mark.proves("AC-086")
def test_published_keys() -> None:
    """Every key whose private half stands in our own test vectors, and those of RFC 9500, are refused."""
    found = []
    for file in sorted(VECTORS.rglob("*")):
        if file.name.endswith((".key", "key.pem")):
            found.append(spki(load_pem_private_key(file.read_bytes(), None)))
    assert len(found) > 10
    point = bytes.fromhex(
        "04422548f88fb782ffb5eca3744452c72a1e558fbd6f73be5e48e93232cc45c5b1"
        "6c4cd10c4cb8d5b8a17139e94882c8992572993425f41419ab7e90a42a494272"
    )
    curve = der.sequence(der.oid(oid.encode("1.2.840.10045.2.1")), der.oid(oid.encode("1.2.840.10045.3.1.7")))
    found.append(der.sequence(curve, der.bit_string(point)))
    for public_key in found:
        (violation,) = judged(build(public_key=public_key), {"key": {"rsa": {"min": 1024}, "ec": ["P-256", "P-384"]}})
        assert violation.sentence == "a key that is published, in a standard or in tests"
        assert violation.structural


def listing(directory: Path, content: str) -> KeySpec:
    """A key rule with a file of keys, as the configuration reads it."""
    (directory / "keys.txt").write_text(content)
    data = {"rsa": {}, "ec": ["P-256"], "refuse-file": "keys.txt"}
    return KeySpec.model_validate(data, context=SimpleNamespace(base=directory))


@pytest.mark.proves("AC-086")
def test_files_of_keys(tmp_path: Path) -> None:
    """A file lists keys by the SHA-256 of what they are, or as Debian's openssl-blacklist lists the keys of 2008."""
    key, other = rsa_key().public_key().public_numbers().n, csrs.ec_key()
    debian = hashlib.sha1(f"Modulus={key:X}\n".encode(), usedforsecurity=False).hexdigest()[20:]
    fingerprint = hashlib.sha256(spki(other)).hexdigest().upper()
    spec = listing(tmp_path, f"# broken in 2008\n{debian}\n\nsha256:{fingerprint}  # lost\n")
    assert len(spec.refuse_file) == 2
    assert KeySpec.model_validate({"refuse-file": spec.refuse_file}).refuse_file == spec.refuse_file
    rules = build_rules((PolicyRule.model_validate({"key": spec}),))
    for listed in (rsa_key(), other):
        (report,) = (
            each for each in explain(rules, Asked(CertificationRequest.parse(build(key=listed)))) if each.rule == "key"
        )
        assert report.said == "key.refuse-file: a key that is in a list of refused ones"
    fine = explain(rules, Asked(CertificationRequest.parse(build(key=csrs.ec_key(which=3)))))
    assert next(each for each in fine if each.rule == "key").ok
    assert version((PolicyRule.model_validate({"key": spec}),)) != version((PolicyRule.model_validate({"key": {}}),))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1234", "keys.txt, line 1: expected 64 or 20 hexadecimal digits"),
        ("# x\n" + "g" * 64, "keys.txt, line 2"),
    ],
)
def test_files_of_something_else(tmp_path: Path, content: str, sentence: str) -> None:
    """A line that is no key is refused, with its number."""
    with pytest.raises(ValidationError, match=sentence):
        listing(tmp_path, content)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("missing.txt", "missing.txt cannot be read: No such file"),
        (["missing.txt", 3], "cannot be read"),
        ([3], "expected the path of a file"),
        ("", "expected the path of a file"),
        ({}, "expected the path of a file"),
        ("a\0b", "expected the path of a file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, value: Any, sentence: str) -> None:
    """What is no readable file is refused."""
    with pytest.raises(ValidationError, match=sentence):
        KeySpec.model_validate({"refuse-file": value}, context=SimpleNamespace(base=tmp_path))


def test_files_that_are_too_long(tmp_path: Path) -> None:
    """A file beyond any list of keys is not read on."""
    with (tmp_path / "keys.txt").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(ValidationError, match="more than 67108864 octets"):
        KeySpec.model_validate({"refuse-file": "keys.txt"}, context=SimpleNamespace(base=tmp_path))
