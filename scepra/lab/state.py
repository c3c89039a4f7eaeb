"""The lab's directory: the CA, the RA's certificates and a challenge, made at the first start and used ever after.

``config.example.yaml`` names these files, so that the RA runs in front of this CA as it stands.
"""

from __future__ import annotations

import base64
import os
import secrets
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepra.errors import ConfigError, Malformed, Problem
from scepra.lab.authority import Authority, RAUsage, utc_now
from scepra.lab.key import PrivateKey, new_key, read_key, write_key
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identity, SoftwareKey

CA = "ca"
RA_CERTIFICATES = {
    "ra": ("scepra lab RA", RAUsage.DUAL),
    "ra-signing": ("scepra lab RA (signing)", RAUsage.SIGNING),
    "ra-encryption": ("scepra lab RA (encryption)", RAUsage.ENCRYPTION),
}
CHALLENGE = "challenge.txt"


@dataclass(frozen=True, slots=True)
class LabState:
    """What the directory holds; ``created`` is True where the CA is new."""

    directory: Path
    authority: Authority
    challenge: str
    created: bool

    @classmethod
    def load_or_create(cls, directory: Path, clock: Callable[[], datetime] = utc_now) -> LabState:
        """Read the directory, and make what is missing in it.

        A start that was cut short is finished by the next; RA certificates are made anew when they have expired, or are
        another CA's.

        Raises:
            ConfigError: a file cannot be read, or is not what its name says.
            OSError: the directory cannot be written to.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        created = not (directory / f"{CA}.crt").exists()
        if created:
            key = new_key()
            authority = Authority.create(key=key, clock=clock)
            _write_identity(directory, CA, authority.certificate, key)
        else:
            authority = Authority(_read_identity(directory, CA), clock)
        for name, (common_name, usage) in RA_CERTIFICATES.items():
            if not _usable(directory, name, authority):
                key = new_key()
                identity = authority.issue_ra(common_name, usage, key)
                _write_identity(directory, name, identity.certificate, key)
        if not (directory / CHALLENGE).exists():
            write_private(directory / CHALLENGE, secrets.token_hex(16).upper().encode("ascii") + b"\n")
        return cls(directory, authority, (directory / CHALLENGE).read_text("utf-8").rstrip("\r\n"), created)


def write_private(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, that nobody else may read."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def write_pem(certificate: Certificate) -> bytes:
    """A certificate in PEM."""
    body = "\n".join(textwrap.wrap(base64.b64encode(certificate.der).decode("ascii"), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode("ascii")


def _write_identity(directory: Path, name: str, certificate: Certificate, key: PrivateKey) -> None:
    # The key first: where the certificate is, its key is.
    write_private(directory / f"{name}.key", write_key(key))
    write_private(directory / f"{name}.crt", write_pem(certificate))
    (directory / f"{name}.crt").chmod(0o644)


def _read_identity(directory: Path, name: str) -> Identity:
    file = directory / f"{name}.crt"
    try:
        pem = file.read_bytes()
        certificate = Certificate.parse(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
        file = directory / f"{name}.key"
        key = SoftwareKey(read_key(file.read_bytes()))
    except (OSError, ValueError, Malformed) as error:
        raise ConfigError((Problem(str(file), 0, 0, "", f"cannot be used: {error}"),)) from error
    if not key.public.same_key(certificate.public_key):
        raise ConfigError((Problem(str(file), 0, 0, "", f"is not the key of {name}.crt"),))
    return Identity(certificate, key)


def _usable(directory: Path, name: str, authority: Authority) -> bool:
    """Whether an RA certificate is there, is this CA's, and is still good."""
    if not (directory / f"{name}.crt").exists():
        return False
    certificate = _read_identity(directory, name).certificate
    return authority.has_issued(certificate) and certificate.valid_at(authority.now)
