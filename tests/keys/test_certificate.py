"""Certificates from files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from scepra.errors import ConfigError
from scepra.keys.certificate import MAXIMUM, read_certificates
from tests.keys.material import ca_certificate, certificate, pem


def refusal(path: Path) -> str:
    """Why a file is refused, without its name."""
    with pytest.raises(ConfigError) as caught:
        read_certificates(path)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return problem.sentence


@pytest.mark.proves("CERT-10")
def test_der_and_pem(tmp_path: Path) -> None:
    """A certificate's bytes are the same whichever way they are written, and so are its fingerprints."""
    encoding = certificate()
    (tmp_path / "der").write_bytes(encoding)
    (tmp_path / "pem").write_bytes(b"Subject: CN=RA\n" + pem(encoding).replace(b"\n", b"\r\n"))
    for name in ("der", "pem"):
        (found,) = read_certificates(tmp_path / name)
        assert found.der == encoding
        assert found.fingerprint() == hashlib.sha256(encoding).hexdigest()


def test_several(tmp_path: Path) -> None:
    """All certificates of a PEM file are read, in its order."""
    (tmp_path / "chain").write_bytes(pem(certificate()) + pem(ca_certificate()))
    assert [str(found.subject) for found in read_certificates(tmp_path / "chain")] == ["CN=RA", "CN=CA"]


def test_what_is_no_certificate(tmp_path: Path) -> None:
    """Files that are absent, too large, damaged or something else are refused by name."""
    encoding = certificate()
    contents = {
        "empty": b"",
        "text": b"hello",
        "half": encoding[:-30],
        "base64": pem(encoding).replace(b"MII", b"MI", 1),
        "key": encoding.replace(encoding[encoding.index(b"\x02\x82\x01\x01") :][:40], b"\x02\x85" + b"\xff" * 38),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name) == "holds no certificate, or one that is damaged"
    (tmp_path / "large").write_bytes(bytes(MAXIMUM + 1))
    assert refusal(tmp_path / "large") == f"is larger than {MAXIMUM} octets"
    assert refusal(tmp_path / "absent") == "cannot be read: No such file or directory"
