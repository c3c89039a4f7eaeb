"""Keys and certificates that belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from scepra.config.model import DualIdentity, IdentityFiles, KeyFile, SplitIdentity
from scepra.errors import ConfigError
from scepra.keys.identity import read_generation, read_identity
from tests.keys.material import ca_certificate, certificate, key, key_file, pem, write_private
from tests.keys.test_private import pkcs12_file


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Files of an RA, and of another."""
    write_private(tmp_path / "ra.key", key_file(key()))
    write_private(tmp_path / "other.key", key_file(key("other")))
    write_private(tmp_path / "ra.p12", pkcs12_file(key(), None, certificate()))
    (tmp_path / "ra.crt").write_bytes(pem(certificate()))
    (tmp_path / "chain.crt").write_bytes(pem(ca_certificate()) + pem(certificate()))
    return tmp_path


def files(directory: Path, certificate_name: str | None, key_name: str) -> IdentityFiles:
    """An identity as the configuration names it."""
    path = directory / certificate_name if certificate_name else None
    return IdentityFiles(certificate=path, key=KeyFile(file=directory / key_name))


@pytest.mark.parametrize(
    ("certificate_name", "key_name"),
    [("ra.crt", "ra.key"), ("chain.crt", "ra.key"), (None, "ra.p12"), ("ra.crt", "ra.p12")],
)
def test_the_certificate_for_the_key_is_found(directory: Path, certificate_name: str | None, key_name: str) -> None:
    """The certificate is the one for the key: alone, in a chain, or in the key's own file."""
    found = read_identity(files(directory, certificate_name, key_name))
    assert found.certificate.der == certificate()
    assert found.key.public.same_key(found.certificate.public_key)


@pytest.mark.parametrize(
    ("certificate_name", "key_name", "problem"),
    [
        ("ra.crt", "other.key", "{0}/ra.crt: holds a certificate that is not for the key in {0}/other.key"),
        ("chain.crt", "other.key", "{0}/chain.crt: holds 2 certificates, none of them for the key in {0}/other.key"),
        (None, "ra.key", "{0}/ra.key: holds no certificate: name the file of the certificate"),
        ("absent", "ra.key", "{0}/absent: cannot be read: No such file or directory"),
        ("ra.crt", "absent", "{0}/absent: cannot be read: No such file or directory"),
    ],
)
def test_what_does_not_fit(directory: Path, certificate_name: str | None, key_name: str, problem: str) -> None:
    """A key without its certificate is refused, and both files are named."""
    with pytest.raises(ConfigError) as caught:
        read_identity(files(directory, certificate_name, key_name))
    assert str(caught.value) == problem.format(directory)


def test_generations(directory: Path) -> None:
    """One identity signs and decrypts, or two do; what is wrong with both is said at once."""
    dual = DualIdentity(certificate=directory / "ra.crt", key=KeyFile(file=directory / "ra.key"))
    found = read_generation(dual)
    assert found.signing is found.encryption
    good, bad = files(directory, "ra.crt", "ra.key"), files(directory, "ra.crt", "other.key")
    found = read_generation(SplitIdentity(signing=good, encryption=good))
    assert found.signing.certificate == found.encryption.certificate
    with pytest.raises(ConfigError) as caught:
        read_generation(SplitIdentity(signing=bad, encryption=files(directory, "ra.crt", "absent")))
    assert len(caught.value.problems) == 2
