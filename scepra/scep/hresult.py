"""HRESULTs, in which NDES says why it refuses (attribute 1.3.6.1.4.1.311.21.33; MSG-08), as people read them.

The list is closed: what NDES, Windows certification services and the cryptography below them give. The names are those
of Windows' own header file; the texts are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TEXTS: Mapping[int, str] = MappingProxyType(
    {
        0x80004001: "E_NOTIMPL: it does not do this",
        0x80004005: "E_FAIL: it failed and says no more",
        0x8000FFFF: "E_UNEXPECTED: it did not expect this",
        0x80070002: "ERROR_FILE_NOT_FOUND: something of its set-up is missing",
        0x80070005: "E_ACCESSDENIED: its account may not do this",
        0x8007000D: "ERROR_INVALID_DATA: the message or request cannot be read",
        0x8007000E: "E_OUTOFMEMORY: it has no memory left",
        0x80070032: "ERROR_NOT_SUPPORTED: it does not do this",
        0x80070057: "E_INVALIDARG: invalid argument",
        0x800706BA: "RPC_S_SERVER_UNAVAILABLE: its CA cannot be reached",
        0x80070490: "ERROR_NOT_FOUND: something is not found",
        0x8010002C: "SCARD_E_NO_SUCH_CERTIFICATE: a certificate of its own cannot be had",
        0x80090003: "NTE_BAD_KEY: a key is not acceptable",
        0x80090005: "NTE_BAD_DATA: the message cannot be decrypted; it may be encrypted to the wrong certificate",
        0x80090006: "NTE_BAD_SIGNATURE: a signature is wrong",
        0x80090008: "NTE_BAD_ALGID: an algorithm is not acceptable",
        0x8009000B: "NTE_BAD_KEY_STATE: a key cannot be used as it is",
        0x8009000D: "NTE_NO_KEY: its key cannot be found",
        0x80090010: "NTE_PERM: its account may not use its key",
        0x80090016: "NTE_BAD_KEYSET: its key cannot be opened",
        0x80090029: "NTE_NOT_SUPPORTED: it does not do this",
        0x80091002: "CRYPT_E_UNKNOWN_ALGO: an algorithm is unknown to it",
        0x80091007: "CRYPT_E_HASH_VALUE: a digest is wrong",
        0x8009100B: "CRYPT_E_RECIPIENT_NOT_FOUND: the message is encrypted to another certificate",
        0x8009100E: "CRYPT_E_SIGNER_NOT_FOUND: the signer cannot be found",
        0x8009200C: "CRYPT_E_NO_DECRYPT_CERT: it has no certificate for which the message is encrypted",
        0x80092002: "CRYPT_E_BAD_ENCODE: the message cannot be read",
        0x80092004: "CRYPT_E_NOT_FOUND: a certificate or property cannot be found",
        0x80092009: "CRYPT_E_NO_MATCH: nothing matches",
        0x80092010: "CRYPT_E_REVOKED: a certificate is revoked",
        0x80092012: "CRYPT_E_NO_REVOCATION_CHECK: revocation cannot be checked",
        0x80092013: "CRYPT_E_REVOCATION_OFFLINE: a revocation list cannot be fetched",
        0x80093100: "CRYPT_E_ASN1_ERROR: the message cannot be read",
        0x80093102: "CRYPT_E_ASN1_EOD: the message ends too early",
        0x8009310B: "CRYPT_E_ASN1_BADTAG: the message has something where it must not be",
        0x80094001: "CERTSRV_E_BAD_REQUESTSUBJECT: the subject of the request is not acceptable",
        0x80094002: "CERTSRV_E_NO_REQUEST: there is no such request",
        0x80094003: "CERTSRV_E_BAD_REQUESTSTATUS: the request is not in a state for this",
        0x80094004: "CERTSRV_E_PROPERTY_EMPTY: something that it needs is not there",
        0x80094005: "CERTSRV_E_INVALID_CA_CERTIFICATE: the CA's certificate is not valid",
        0x80094006: "CERTSRV_E_SERVER_SUSPENDED: the CA is suspended",
        0x80094009: "CERTSRV_E_RESTRICTEDOFFICER: whoever decides is restricted",
        0x8009400E: "CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE: the certificate to renew is not acceptable",
        0x80094011: "CERTSRV_E_ENROLL_DENIED: the CA does not let its account enrol",
        0x80094012: "CERTSRV_E_TEMPLATE_DENIED: its account may not enrol by the template",
        0x80094014: "CERTSRV_E_ADMIN_DENIED_REQUEST: somebody has denied it",
        0x80094015: "CERTSRV_E_NO_POLICY_SERVER: it finds no enrolment policy",
        0x80094016: "CERTSRV_E_WEAK_SIGNATURE_OR_KEY: a signature or key is too weak",
        0x80094800: "CERTSRV_E_UNSUPPORTED_CERT_TYPE: the CA does not issue by this template",
        0x80094801: "CERTSRV_E_NO_CERT_TYPE: the request names no template",
        0x80094802: "CERTSRV_E_TEMPLATE_CONFLICT: the request names templates that contradict each other",
        0x80094803: "CERTSRV_E_SUBJECT_ALT_NAME_REQUIRED: a subject alternative name is required",
        0x80094806: "CERTSRV_E_BAD_RENEWAL_SUBJECT: the subject is not that of the certificate to renew",
        0x80094807: "CERTSRV_E_BAD_TEMPLATE_VERSION: the template is another version",
        0x80094809: "CERTSRV_E_SIGNATURE_POLICY_REQUIRED: the template wants a signature policy",
        0x8009480A: "CERTSRV_E_SIGNATURE_COUNT: the template wants more signatures",
        0x8009480B: "CERTSRV_E_SIGNATURE_REJECTED: a signature of the request is not acceptable",
        0x8009480F: "CERTSRV_E_SUBJECT_DNS_REQUIRED: a DNS name is required",
        0x80094811: "CERTSRV_E_KEY_LENGTH: the key is too short for the template",
        0x80094813: "CERTSRV_E_UNKNOWN_CERT_TYPE: the template is unknown",
        0x80096004: "TRUST_E_CERT_SIGNATURE: a certificate's signature is wrong",
        0x800B0101: "CERT_E_EXPIRED: a certificate has expired, or is not valid yet",
        0x800B0109: "CERT_E_UNTRUSTEDROOT: a certificate is under a root that it does not trust",
        0x800B010A: "CERT_E_CHAINING: no chain leads from a certificate to a root",
        0x800B010C: "CERT_E_REVOKED: a certificate is revoked",
        0x800B010E: "CERT_E_REVOCATION_FAILURE: revocation cannot be checked",
        0x800B0110: "CERT_E_WRONG_USAGE: a certificate is not for this use",
        0x800B0112: "CERT_E_UNTRUSTEDCA: a CA is not trusted for this",
        0x800B0114: "CERT_E_INVALID_NAME: a certificate has a name that is not acceptable",
    }
)


def describe(code: int) -> str:
    """An HRESULT for people: its number as documentation has it, and what it means where that is known.

    Args:
        code: unsigned, 32 bits.
    """
    text = TEXTS.get(code)
    return f"{code:#010x}" if text is None else f"{code:#010x}, {text}"
