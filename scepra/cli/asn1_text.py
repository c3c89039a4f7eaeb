"""ASN.1 values as text for people: identifiers under the names of their documents, strings, numbers and times."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from scepra.errors import Malformed
from scepra.scep import der, oid
from scepra.scep.certificate import parse_time
from scepra.scep.name import SHORT_NAMES, decode

_NAMES = {
    # SCEP (conformance section 0.3)
    "2.16.840.1.113733.1.9.2": "messageType",
    "2.16.840.1.113733.1.9.3": "pkiStatus",
    "2.16.840.1.113733.1.9.4": "failInfo",
    "2.16.840.1.113733.1.9.5": "senderNonce",
    "2.16.840.1.113733.1.9.6": "recipientNonce",
    "2.16.840.1.113733.1.9.7": "transactionID",
    "2.16.840.1.113733.1.9.8": "extensionReq (VeriSign)",
    "1.3.6.1.5.5.7.24": "id-scep (step-ca's failInfoText)",
    "1.3.6.1.5.5.7.24.1": "failInfoText",
    # CMS and PKCS #9
    "1.2.840.113549.1.7.1": "data",
    "1.2.840.113549.1.7.2": "signedData",
    "1.2.840.113549.1.7.3": "envelopedData",
    "1.2.840.113549.1.7.5": "digestedData",
    "1.2.840.113549.1.7.6": "encryptedData",
    "1.2.840.113549.1.9.16.1.9": "compressedData",
    "1.2.840.113549.1.9.16.1.23": "authEnvelopedData",
    "1.2.840.113549.1.9.3": "contentType",
    "1.2.840.113549.1.9.4": "messageDigest",
    "1.2.840.113549.1.9.5": "signingTime",
    "1.2.840.113549.1.9.7": "challengePassword",
    "1.2.840.113549.1.9.14": "extensionRequest",
    "1.2.840.113549.1.9.15": "smimeCapabilities",
    "1.2.840.113549.1.9.20": "friendlyName",
    "1.2.840.113549.1.9.21": "localKeyId",
    "1.2.840.113549.1.9.25.3": "randomNonce",
    "1.2.840.113549.1.9.52": "cmsAlgorithmProtection",
    # Digests, signatures, ciphers
    "1.2.840.113549.2.5": "MD5",
    "1.3.14.3.2.26": "SHA-1",
    "2.16.840.1.101.3.4.2.4": "SHA-224",
    "2.16.840.1.101.3.4.2.1": "SHA-256",
    "2.16.840.1.101.3.4.2.2": "SHA-384",
    "2.16.840.1.101.3.4.2.3": "SHA-512",
    "1.2.840.113549.1.1.1": "rsaEncryption",
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.3.14.3.2.29": "sha1WithRSASignature",
    "1.2.840.113549.1.1.7": "RSAES-OAEP",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
    "1.2.840.10045.2.1": "ecPublicKey",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "Ed25519",
    "1.3.14.3.2.7": "DES-CBC",
    "1.2.840.113549.3.2": "RC2-CBC",
    "1.2.840.113549.3.7": "DES-EDE3-CBC",
    "2.16.840.1.101.3.4.1.2": "AES-128-CBC",
    "2.16.840.1.101.3.4.1.22": "AES-192-CBC",
    "2.16.840.1.101.3.4.1.42": "AES-256-CBC",
    "2.16.840.1.101.3.4.1.6": "AES-128-GCM",
    "2.16.840.1.101.3.4.1.26": "AES-192-GCM",
    "2.16.840.1.101.3.4.1.46": "AES-256-GCM",
    # X.509 extensions and purposes
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.18": "issuerAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.30": "nameConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.36": "policyConstraints",
    "2.5.29.37": "extKeyUsage",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "2.5.29.37.0": "anyExtendedKeyUsage",
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "1.3.6.1.5.5.7.3.17": "ipsecIKE",
    # Microsoft
    "1.3.6.1.4.1.311.2.1.14": "certExtensions (Microsoft)",
    "1.3.6.1.4.1.311.13.2.2": "enrolment CSP (Microsoft)",
    "1.3.6.1.4.1.311.13.2.3": "OS version (Microsoft)",
    "1.3.6.1.4.1.311.20.2": "certificate template name (Microsoft)",
    "1.3.6.1.4.1.311.20.2.1": "certificate request agent (Microsoft)",
    "1.3.6.1.4.1.311.20.2.2": "smart card logon (Microsoft)",
    "1.3.6.1.4.1.311.21.7": "certificate template (Microsoft)",
    "1.3.6.1.4.1.311.21.10": "application policies (Microsoft)",
    "1.3.6.1.4.1.311.21.20": "client info (Microsoft)",
    "1.3.6.1.4.1.311.21.33": "SCEP error (NDES)",
    "1.3.6.1.4.1.311.21.34": "SCEP server state (NDES)",
    "1.3.6.1.4.1.311.25.2": "NTDS CA security (Microsoft)",
}


def name_of(content: bytes) -> str:
    """The name of an identifier (its content octets), or the identifier, dotted."""
    dotted = oid.dotted(content)
    return _NAMES.get(dotted) or SHORT_NAMES.get(content) or dotted


def printable(text: str) -> str:
    """Text that no terminal acts upon."""
    return text if text.isprintable() else repr(text)


def number(value: int) -> str:
    """Whole octets in hexadecimal, as serial numbers are shown."""
    digits = f"{abs(value):x}"
    return "-" * (value < 0) + digits.zfill(len(digits) + len(digits) % 2)


def moment(time: datetime | None) -> str:
    """ISO 8601, or the word that it cannot be read."""
    return time.isoformat() if time is not None else "unreadable"


def text(node: der.Node) -> str:
    """Any value: strings as text, numbers, identifiers and times as such, the rest in hexadecimal."""
    tag = node.tag & ~der.CONSTRUCTED
    with suppress(Malformed):
        found = decode(tag, node.octets(tag))
        if found is not None:
            return printable(found)
    if node.tag == der.INTEGER:
        return str(node.integer()) if len(node.content) <= 8 else number(node.integer())
    if node.tag == der.OBJECT_IDENTIFIER:
        return name_of(node.content)
    if node.tag in (der.UTC_TIME, der.GENERALIZED_TIME):
        return moment(parse_time(node))
    return node.content.hex() if node.tag == der.OCTET_STRING else node.raw.hex()
