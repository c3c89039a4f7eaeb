"""The lab's files: certificates and keys, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepra.errors import ConfigError, Malformed, Problem
from scepra.keys.certificate import pem
from scepra.keys.disk import Disk
from scepra.lab.key import PrivateKey, read_key, write_key
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identity, SoftwareKey


def write_private(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, that nobody else may read."""
    Disk().write(path, content)


def write_pem(certificate: Certificate) -> bytes:
    """A certificate in PEM."""
    return pem("CERTIFICATE", certificate.der)


def write_identity(directory: Path, name: str, certificate: Certificate, key: PrivateKey) -> None:
    """Write a certificate and its key, as ``NAME.crt`` and ``NAME.key``."""
    # The key first: where the certificate is, its key is.
    write_private(directory / f"{name}.key", write_key(key))
    write_private(directory / f"{name}.crt", write_pem(certificate))
    (directory / f"{name}.crt").chmod(0o644)


def read_identity(directory: Path, name: str) -> Identity:
    """Read a certificate and its key.

    Raises:
        ConfigError: a file cannot be read, or is not what its name says.
    """
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
