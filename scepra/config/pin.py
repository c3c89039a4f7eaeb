"""Pins: what an upstream's CA certificate must be, compared out of band and never learned (CERT-12)."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from scepra.config.section import Surroundings
from scepra.errors import Malformed
from scepra.scep.certificate import Certificate, split_pem

MAXIMUM = 64 * 1024
_HEX = re.compile(r"[0-9a-f]{64}")
_FORM = "expected sha256:HEX (64 hexadecimal digits) or file:PATH of the CA certificate"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The SHA-256 digest of a whole DER certificate, 32 octets; prints as ``sha256:hex``.

    ``certificate`` is the certificate itself where the pin was named by its file.
    """

    sha256: bytes
    certificate: Certificate | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"sha256:{self.sha256.hex()}"

    def matches(self, certificate: Certificate) -> bool:
        """Whether this is the certificate's fingerprint."""
        return hashlib.sha256(certificate.der).digest() == self.sha256


def _pin(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Fingerprint):
        return value
    if not isinstance(value, str):
        raise ValueError(_FORM)
    kind, _, rest = value.partition(":")
    if kind == "file" and rest:
        return _pin_of(Surroundings.of(info).base / rest, rest)
    if kind.lower().replace("-", "") in ("sha1", "md5"):
        raise ValueError(f"{kind} can be forged: only SHA-256 pins a certificate; {_FORM}")
    digits = rest.replace(":", "").replace(" ", "").lower()
    if kind.lower().replace("-", "") != "sha256" or not _HEX.fullmatch(digits):
        raise ValueError(_FORM)
    return Fingerprint(bytes.fromhex(digits))


def _pin_of(path: Path, shown: str) -> Fingerprint:
    """The fingerprint of the one certificate in a file, PEM or DER."""
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM + 1)
    except OSError as error:
        raise ValueError(f"the file {shown} cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        encodings = split_pem(content)
        if len(encodings) > 1:
            raise ValueError(f"the file {shown} holds {len(encodings)} certificates: a pin is one")
        certificate = Certificate.parse(encodings[0])
    except Malformed:
        raise ValueError(f"the file {shown} holds no certificate") from None
    return Fingerprint(hashlib.sha256(certificate.der).digest(), certificate)


Pin = Annotated[
    Fingerprint,
    BeforeValidator(_pin),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(sha256:[0-9A-Fa-f: ]+|file:.+)$"}),
]
