"""The lab's directory."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepra.errors import ConfigError
from scepra.lab import LabState, new_key
from scepra.lab.files import write_private
from scepra.lab.key import write_key
from scepra.lab.state import RA_CERTIFICATES

from .conftest import NOW


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory after its first start; not to be changed."""
    directory = tmp_path_factory.mktemp("state") / "deep" / "lab"
    assert LabState.load_or_create(directory, lambda: NOW).created
    return directory


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "lab"))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_first_start_makes_everything(made: Path) -> None:
    """There are a CA, three RA certificates of its own, all keys, and a challenge; nobody else may read the secrets."""
    names = {f"{name}.{kind}" for name in ("ca", *RA_CERTIFICATES) for kind in ("crt", "key")}
    assert set(contents(made)) == names | {"challenge.txt"}
    authority = x509.load_pem_x509_certificate((made / "ca.crt").read_bytes())
    for name in ("ca", *RA_CERTIFICATES):
        certificate = x509.load_pem_x509_certificate((made / f"{name}.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)
        key = load_pem_private_key((made / f"{name}.key").read_bytes(), None)
        assert key.public_key() == certificate.public_key()
    modes = {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()}
    assert {name for name, mode in modes.items() if mode != 0o600} == {name for name in names if name.endswith(".crt")}
    assert made.stat().st_mode & 0o777 == 0o700


def test_challenge_cannot_be_guessed(made: Path) -> None:
    """The challenge is 128 random bits in upper-case hexadecimal digits."""
    challenge = LabState.load_or_create(made, lambda: NOW).challenge
    assert len(challenge) == 32
    assert set(challenge) <= set("0123456789ABCDEF")


def test_second_start_changes_nothing(directory: Path) -> None:
    """What is there is used as it is, and the CA is the same."""
    before = contents(directory)
    state = LabState.load_or_create(directory, lambda: NOW)
    assert not state.created
    assert contents(directory) == before
    assert state.authority.identity.key.public.same_key(state.authority.certificate.public_key)
    assert state.challenge.encode() + b"\n" == before["challenge.txt"]


@pytest.mark.parametrize("lost", ["ra.crt", "ra-signing.crt", "challenge.txt"])
def test_start_that_was_cut_short_is_finished(lost: str, directory: Path) -> None:
    """A file that is missing is made, and the others stay."""
    before = contents(directory)
    (directory / lost).unlink()
    LabState.load_or_create(directory, lambda: NOW)
    after = contents(directory)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {lost, lost.replace(".crt", ".key")}


def test_expired_ra_certificates_are_made_anew(directory: Path) -> None:
    """After their time RA certificates are replaced, and the CA stays."""
    before = contents(directory)
    state = LabState.load_or_create(directory, lambda: NOW + timedelta(days=800))
    after = contents(directory)
    assert after["ca.crt"] == before["ca.crt"]
    assert all(after[f"{name}.crt"] != before[f"{name}.crt"] for name in RA_CERTIFICATES)
    assert len(state.authority.issued) == len(RA_CERTIFICATES)


def test_ra_certificates_of_another_ca_are_made_anew(directory: Path) -> None:
    """Where the CA was replaced, so are the certificates that the old one issued."""
    (directory / "ca.crt").unlink()
    before = contents(directory)
    assert LabState.load_or_create(directory, lambda: NOW).created
    assert contents(directory)["ra.crt"] != before["ra.crt"]


@pytest.mark.parametrize("file", ["ca.crt", "ca.key", "ra.crt", "ra.key"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN NONSENSE-----", None])
def test_files_that_cannot_be_used_are_named(file: str, content: bytes | None, directory: Path) -> None:
    """A file that is not what its name says, or cannot be read, is named; nothing is overwritten."""
    (directory / file).unlink()
    if content is None:
        (directory / file).mkdir()
    else:
        (directory / file).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{directory / file}: cannot be used"):
        LabState.load_or_create(directory, lambda: NOW)


def test_key_of_another_certificate(directory: Path) -> None:
    """A key that is not its certificate's is named."""
    (directory / "ca.key").write_bytes(write_key(new_key("EC-P-256")))
    with pytest.raises(ConfigError, match=r"ca\.key: is not the key of ca\.crt"):
        LabState.load_or_create(directory, lambda: NOW)


def test_private_files_are_replaced_as_a_whole(tmp_path: Path) -> None:
    """A file that is written again is another file with its name, readable by nobody else, and no scratch is left."""
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as old:
        write_private(path, b"new")
        assert old.read() == "old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
