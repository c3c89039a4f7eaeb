"""Certificates from PEM and DER files, their bytes unchanged (CERT-10)."""

from __future__ import annotations

import base64
import os
import textwrap
from pathlib import Path

from scepra.errors import ConfigError, Malformed, Problem
from scepra.scep.certificate import Certificate, split_pem

MAXIMUM = 256 * 1024


def wrong(path: Path, sentence: str) -> ConfigError:
    """The error that says a sentence of a file."""
    return ConfigError((Problem(str(path), 0, 0, "", sentence),))


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """All certificates in a file, in its order: PEM blocks, or one DER certificate.

    Raises:
        ConfigError: the file cannot be read, is larger than 256 KiB, or holds no certificate.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM + 1)
    except OSError as error:
        raise wrong(path, f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(content) > MAXIMUM:
        raise wrong(path, f"is larger than {MAXIMUM} octets")
    return parse_certificates(content, path)


def parse_certificates(content: bytes, path: Path) -> tuple[Certificate, ...]:
    """As :func:`read_certificates`, of a content that was read already; *path* is only named."""
    try:
        certificates = tuple(map(Certificate.parse, split_pem(content)))
        for certificate in certificates:
            _ = certificate.public_key
    except Malformed:
        raise wrong(path, "holds no certificate, or one that is damaged") from None
    return certificates


def pem(label: str, encoding: bytes) -> bytes:
    """An encoding in PEM."""
    body = "\n".join(textwrap.wrap(base64.b64encode(encoding).decode("ascii"), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode("ascii")
