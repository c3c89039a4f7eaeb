"""Private keys from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat, pkcs12

from scepra.config.model import KeyFile, Secret
from scepra.errors import ConfigError
from scepra.keys.private import MAXIMUM, read_key
from scepra.scep.algorithm import Digest
from tests.keys.material import PrivateKey, certificate, ec_key, key, key_file, pem, write_private

PASSPHRASE = b"correct horse battery staple"


def file_of(path: Path, content: bytes, passphrase: bytes | None = None) -> KeyFile:
    """A private key file as the configuration names it."""
    secret = Secret(passphrase, "here") if passphrase is not None else None
    return KeyFile(file=write_private(path / "ra.key", content), passphrase=secret)


def refusal(file: KeyFile) -> str:
    """Why a key file is refused, without its name; no passphrase is in it."""
    with pytest.raises(ConfigError) as caught:
        read_key(file)
    (problem,) = caught.value.problems
    assert problem.file == str(file.file)
    assert PASSPHRASE.decode() not in problem.sentence
    return problem.sentence


def pkcs12_file(private: PrivateKey, passphrase: bytes | None, *others: bytes) -> bytes:
    """A PKCS#12 file with a key, its certificate and others."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    loaded = [x509.load_der_x509_certificate(encoding) for encoding in others]
    return pkcs12.serialize_key_and_certificates(b"ra", private, loaded[0], loaded[1:], encryption)


@pytest.mark.parametrize("private", [key(), ec_key()], ids=["RSA", "EC"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("der", [False, True])
def test_plain_keys(tmp_path: Path, private: PrivateKey, form: PrivateFormat, der: bool) -> None:
    """PKCS#8 and traditional keys are read, in PEM and DER, RSA and EC."""
    content = read_key(file_of(tmp_path, key_file(private, form, der=der)))
    assert content.key.sign(b"data", Digest.SHA256)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert content.key.public.der == public
    assert content.certificates == ()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_encrypted_keys(tmp_path: Path, form: PrivateFormat) -> None:
    """An encrypted key is read with its passphrase, and with no other and not without."""
    written = key_file(key(), form, passphrase=PASSPHRASE)
    assert read_key(file_of(tmp_path, written, PASSPHRASE)).key.public.bits == 2048
    assert refusal(file_of(tmp_path, written)) == "is encrypted: name its passphrase-file"
    assert refusal(file_of(tmp_path, written, PASSPHRASE + b"?")) == (
        "holds no private key that can be read; is the passphrase another one?"
    )
    assert refusal(file_of(tmp_path, key_file(key()), PASSPHRASE)) == "is not encrypted"


def test_encrypted_der(tmp_path: Path) -> None:
    """The same in DER."""
    written = key_file(key(), der=True, passphrase=PASSPHRASE)
    assert read_key(file_of(tmp_path, written, PASSPHRASE)).key.public.bits == 2048
    assert refusal(file_of(tmp_path, written)) == "is encrypted: name its passphrase-file"


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_pkcs12(tmp_path: Path, passphrase: bytes | None) -> None:
    """A PKCS#12 file gives the key and every certificate beside it."""
    encoding, other = certificate(), certificate(common_name="other")
    content = read_key(file_of(tmp_path, pkcs12_file(key(), passphrase, encoding, other), passphrase))
    assert content.key.public.bits == 2048
    assert [found.der for found in content.certificates] == [encoding, other]


def test_pkcs12_that_does_not_open(tmp_path: Path) -> None:
    """A PKCS#12 file with a missing or wrong passphrase, or without a key, is refused."""
    written = pkcs12_file(key(), PASSPHRASE, certificate())
    assert (
        refusal(file_of(tmp_path, written)) == "holds no private key that can be read; is its passphrase-file missing?"
    )
    assert refusal(file_of(tmp_path, written, b"x")) == (
        "holds no private key that can be read; is the passphrase another one?"
    )
    loaded = x509.load_der_x509_certificate(certificate())
    empty = pkcs12.serialize_key_and_certificates(b"ra", None, loaded, [], NoEncryption())
    assert refusal(file_of(tmp_path, empty)) == "holds no private key"


def test_certificates_beside_a_pem_key(tmp_path: Path) -> None:
    """A PEM file may hold certificates before and after the key."""
    encoding = certificate()
    content = read_key(file_of(tmp_path, pem(encoding) + key_file(key()) + pem(encoding)))
    assert [found.der for found in content.certificates] == [encoding, encoding]


def test_what_is_no_key(tmp_path: Path) -> None:
    """What is damaged, ambiguous, or a key of another kind, is refused by name."""
    unreadable = "holds no private key that can be read; is its passphrase-file missing?"
    assert refusal(file_of(tmp_path, b"")) == unreadable
    assert refusal(file_of(tmp_path, b"hello")) == unreadable
    assert refusal(file_of(tmp_path, certificate())) == unreadable
    assert refusal(file_of(tmp_path, key_file(key(), der=True)[:-9])) == unreadable
    assert refusal(file_of(tmp_path, key_file(key()).replace(b"MII", b"AAA", 1))) == unreadable
    assert refusal(file_of(tmp_path, key_file(key()) * 2)) == "holds 2 private keys"
    assert refusal(file_of(tmp_path, bytes(MAXIMUM + 1))) == f"is larger than {MAXIMUM} octets"
    other = ed25519.Ed25519PrivateKey.generate()
    written = other.private_bytes(serialization.Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert refusal(file_of(tmp_path, written)) == "holds a key that is neither RSA nor EC"


def test_an_unknown_algorithm(tmp_path: Path) -> None:
    """A key of an algorithm that nobody knows is refused by name."""
    written = key_file(ec_key(), der=True).replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209"))
    assert refusal(file_of(tmp_path, written)).startswith(("uses an algorithm", "holds no private key"))


@pytest.mark.proves("AC-130")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_keys_that_others_can_read(tmp_path: Path, mode: int) -> None:
    """A key file that is open to others is not used."""
    file = file_of(tmp_path, key_file(key()))
    file.file.chmod(mode)
    assert refusal(file) == f"is open to others (mode 0{mode:o}): chmod 600 it"
