"""Public keys that others sign with, read from files: PEM, or a JWK (RFC 7517)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from scepra.config.private import NotPrivate, read_private
from scepra.config.section import Surroundings

MAXIMUM = 16 * 1024
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def require_joserfc() -> None:
    """Check that signed tokens can be read at all.

    Raises:
        ValueError: they cannot.
    """
    if find_spec("joserfc") is None:
        raise ValueError("signed challenges need the extra: pip install 'scepra[jwt]'")


def _from_file(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, PublicKey):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected the path of a file")
    try:
        content = read_private(Surroundings.of(info).base / value, MAXIMUM, public=True)
    except NotPrivate as error:
        raise ValueError(f"the file {value} {error}") from None
    key = _from_jwk(content) if content.lstrip().startswith(b"{") else _from_pem(content)
    if key is None:
        raise ValueError(f"the file {value} holds no public key of RSA or EC, as PEM or as one JWK")
    return key


def _from_pem(content: bytes) -> PublicKey | None:
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) else None


def _from_jwk(content: bytes) -> PublicKey | None:
    require_joserfc()
    import json

    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey, import_key

    try:
        key = import_key(json.loads(content))
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(key, RSAKey | ECKey) or key.is_private:
        return None
    return _from_pem(key.as_pem())


PublicKeyFile = Annotated[
    PublicKey,
    BeforeValidator(_from_file),
    PlainSerializer(lambda key: "<public key>", return_type=str),
    WithJsonSchema({"type": "string"}),
]
