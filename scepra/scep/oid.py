"""Object identifiers by name (conformance section 0.3), held as the content octets that stand on the wire.

Comparing octets is what the readers do; :func:`dotted` and :func:`encode` serve people and configuration.
"""

from __future__ import annotations

from functools import lru_cache


def encode(text: str) -> bytes:
    """Content octets of a dotted identifier.

    Raises:
        ValueError: *text* is not an identifier.
    """
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"not an object identifier: {text!r}")
    arcs = [int(part) for part in parts]
    if arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise ValueError(f"not an object identifier: {text!r}")
    out = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        chunk = [arc & 0x7F]
        while arc := arc >> 7:
            chunk.append(0x80 | (arc & 0x7F))
        out.extend(reversed(chunk))
    return bytes(out)


@lru_cache(maxsize=1024)
def dotted(content: bytes) -> str:
    """The dotted text of content octets (at most 64 of them: the reader's limit)."""
    arcs: list[int] = []
    arc = 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(arc)
            arc = 0
    if not arcs:
        return ""
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


# SCEP attributes
MESSAGE_TYPE = encode("2.16.840.1.113733.1.9.2")
PKI_STATUS = encode("2.16.840.1.113733.1.9.3")
FAIL_INFO = encode("2.16.840.1.113733.1.9.4")
SENDER_NONCE = encode("2.16.840.1.113733.1.9.5")
RECIPIENT_NONCE = encode("2.16.840.1.113733.1.9.6")
TRANSACTION_ID = encode("2.16.840.1.113733.1.9.7")
FAIL_INFO_TEXT = encode("1.3.6.1.5.5.7.24.1")
FAIL_INFO_TEXT_STEP_CA = encode("1.3.6.1.5.5.7.24")
NDES_ERROR = encode("1.3.6.1.4.1.311.21.33")

# CMS
DATA = encode("1.2.840.113549.1.7.1")
SIGNED_DATA = encode("1.2.840.113549.1.7.2")
ENVELOPED_DATA = encode("1.2.840.113549.1.7.3")
CONTENT_TYPE = encode("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = encode("1.2.840.113549.1.9.4")
SIGNING_TIME = encode("1.2.840.113549.1.9.5")
ALGORITHM_PROTECTION = encode("1.2.840.113549.1.9.52")
PWRI_KEK = encode("1.2.840.113549.1.9.16.3.9")
PBKDF2 = encode("1.2.840.113549.1.5.12")
HMAC_SHA1 = encode("1.2.840.113549.2.7")
HMAC_SHA256 = encode("1.2.840.113549.2.9")
HMAC_SHA512 = encode("1.2.840.113549.2.11")

# Digests, signatures, key transport, content encryption
MD5 = encode("1.2.840.113549.2.5")
SHA1 = encode("1.3.14.3.2.26")
SHA224 = encode("2.16.840.1.101.3.4.2.4")
SHA256 = encode("2.16.840.1.101.3.4.2.1")
SHA384 = encode("2.16.840.1.101.3.4.2.2")
SHA512 = encode("2.16.840.1.101.3.4.2.3")
RSA = encode("1.2.840.113549.1.1.1")
RSAES_OAEP = encode("1.2.840.113549.1.1.7")
MGF1 = encode("1.2.840.113549.1.1.8")
PSPECIFIED = encode("1.2.840.113549.1.1.9")
RSASSA_PSS = encode("1.2.840.113549.1.1.10")
MD5_RSA = encode("1.2.840.113549.1.1.4")
SHA1_RSA = encode("1.2.840.113549.1.1.5")
SHA1_RSA_ISO = encode("1.3.14.3.2.29")
SHA256_RSA = encode("1.2.840.113549.1.1.11")
SHA384_RSA = encode("1.2.840.113549.1.1.12")
SHA512_RSA = encode("1.2.840.113549.1.1.13")
SHA224_RSA = encode("1.2.840.113549.1.1.14")
EC_PUBLIC_KEY = encode("1.2.840.10045.2.1")
ECDSA_SHA1 = encode("1.2.840.10045.4.1")
ECDSA_SHA224 = encode("1.2.840.10045.4.3.1")
ECDSA_SHA256 = encode("1.2.840.10045.4.3.2")
ECDSA_SHA384 = encode("1.2.840.10045.4.3.3")
ECDSA_SHA512 = encode("1.2.840.10045.4.3.4")
P256 = encode("1.2.840.10045.3.1.7")
P384 = encode("1.3.132.0.34")
P521 = encode("1.3.132.0.35")
ED25519 = encode("1.3.101.112")
DES_CBC = encode("1.3.14.3.2.7")
DES_EDE3_CBC = encode("1.2.840.113549.3.7")
AES128_CBC = encode("2.16.840.1.101.3.4.1.2")
AES192_CBC = encode("2.16.840.1.101.3.4.1.22")
AES256_CBC = encode("2.16.840.1.101.3.4.1.42")

# PKCS#10 attributes
CHALLENGE_PASSWORD = encode("1.2.840.113549.1.9.7")
EXTENSION_REQUEST = encode("1.2.840.113549.1.9.14")
MICROSOFT_EXTENSIONS = encode("1.3.6.1.4.1.311.2.1.14")
VERISIGN_EXTENSIONS = encode("2.16.840.1.113733.1.9.8")

# X.509 extensions
SUBJECT_KEY_IDENTIFIER = encode("2.5.29.14")
KEY_USAGE = encode("2.5.29.15")
SUBJECT_ALT_NAME = encode("2.5.29.17")
BASIC_CONSTRAINTS = encode("2.5.29.19")
AUTHORITY_KEY_IDENTIFIER = encode("2.5.29.35")
EXTENDED_KEY_USAGE = encode("2.5.29.37")
