"""Private keys from PEM, DER and PKCS#12 files that nobody else may read (AC-130)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from scepra.config.model import KeyFile
from scepra.config.private import NotPrivate, read_private
from scepra.config.token import KeyInToken
from scepra.errors import Malformed
from scepra.keys.certificate import parse_certificates, wrong
from scepra.keys.reference import read_reference
from scepra.scep import der
from scepra.scep.certificate import Certificate
from scepra.scep.identity import SoftwareKey

MAXIMUM = 256 * 1024
_PEM = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)
_PKCS12_VERSION = 3


@dataclass(frozen=True, slots=True)
class KeyContent:
    """What a key file holds: the key, and certificates that stand beside it."""

    key: SoftwareKey
    certificates: tuple[Certificate, ...]


def resolve(key: KeyFile | KeyInToken) -> KeyFile | KeyInToken:
    """What a file says that names a key in a token, in place of holding one; every other key is itself.

    Raises:
        ConfigError: the file cannot be read or believed, or names nothing that could be a key.
    """
    if isinstance(key, KeyInToken):
        return key
    try:
        return read_reference(read_private(key.file, MAXIMUM)) or key
    except (NotPrivate, ValueError) as error:
        raise wrong(key.file, str(error)) from None


def read_key(file: KeyFile) -> KeyContent:
    """Read a key file.

    Raises:
        ConfigError: it cannot be read or believed, holds no key, or the passphrase does not fit.
    """
    try:
        content = read_private(file.file, MAXIMUM)
    except NotPrivate as error:
        raise wrong(file.file, str(error)) from None
    passphrase = file.passphrase.reveal() if file.passphrase is not None else None
    try:
        key, certificates = _parse(content, passphrase, file)
    except TypeError:
        # What cryptography raises when a passphrase is missing, or is there for a key that needs none.
        needed = "is encrypted: name its passphrase-file" if passphrase is None else "is not encrypted"
        raise wrong(file.file, needed) from None
    except UnsupportedAlgorithm:
        raise wrong(file.file, "uses an algorithm that is not supported") from None
    except (ValueError, Malformed):
        doubt = "is its passphrase-file missing?" if passphrase is None else "is the passphrase another one?"
        raise wrong(file.file, f"holds no private key that can be read; {doubt}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise wrong(file.file, "holds a key that is neither RSA nor EC")
    return KeyContent(SoftwareKey(key), certificates)


def _parse(content: bytes, passphrase: bytes | None, file: KeyFile) -> tuple[object, tuple[Certificate, ...]]:
    """The key in a content, and the certificates."""
    blocks = list(_PEM.finditer(content))
    if len(blocks) > 1:
        raise wrong(file.file, f"holds {len(blocks)} private keys")
    if blocks:
        beside = parse_certificates(content, file.file) if b"-----BEGIN CERTIFICATE" in content else ()
        return load_pem_private_key(blocks[0][0], passphrase), beside
    if not _is_pkcs12(content):
        return load_der_private_key(content, passphrase), ()
    bag = pkcs12.load_pkcs12(content, passphrase)
    if bag.key is None:
        raise wrong(file.file, "holds no private key")
    found = [bag.cert, *bag.additional_certs]
    encodings = [each.certificate.public_bytes(Encoding.DER) for each in found if each is not None]
    return bag.key, tuple(Certificate.parse(encoding) for encoding in encodings)


def _is_pkcs12(content: bytes) -> bool:
    try:
        first = der.parse(content).sequence(1)[0]
        return first.tag == der.INTEGER and first.integer() == _PKCS12_VERSION
    except Malformed:
        return False
