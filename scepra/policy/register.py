"""What configuration calls extensions, attributes and purposes; everything else goes by its dotted identifier."""

from __future__ import annotations

from collections.abc import Mapping

from scepra.scep import oid
from scepra.scep.csr import CARRIERS, TEMPLATE, TEMPLATE_NAME
from scepra.scep.name import SHORT_NAMES

APPLICATION_POLICIES = oid.encode("1.3.6.1.4.1.311.21.10")
SECURITY_IDENTIFIER = oid.encode("1.3.6.1.4.1.311.25.2")

ATTRIBUTE_TYPES: Mapping[str, bytes] = {name: content for content, name in SHORT_NAMES.items()}

EXTENSIONS: Mapping[str, bytes] = {
    name: oid.encode(dotted)
    for name, dotted in (
        ("subjectKeyIdentifier", "2.5.29.14"),
        ("keyUsage", "2.5.29.15"),
        ("subjectAltName", "2.5.29.17"),
        ("basicConstraints", "2.5.29.19"),
        ("cRLDistributionPoints", "2.5.29.31"),
        ("certificatePolicies", "2.5.29.32"),
        ("authorityKeyIdentifier", "2.5.29.35"),
        ("extendedKeyUsage", "2.5.29.37"),
        ("authorityInfoAccess", "1.3.6.1.5.5.7.1.1"),
        ("tlsFeature", "1.3.6.1.5.5.7.1.24"),
        ("smimeCapabilities", "1.2.840.113549.1.9.15"),
        ("applicationPolicies", "1.3.6.1.4.1.311.21.10"),
        ("ntdsCaSecurity", "1.3.6.1.4.1.311.25.2"),
        ("netscapeCertType", "2.16.840.1.113730.1.1"),
        ("netscapeComment", "2.16.840.1.113730.1.13"),
    )
}

CA_EXTENSIONS: Mapping[bytes, str] = {
    oid.encode(dotted): name
    for name, dotted in (
        ("nameConstraints", "2.5.29.30"),
        ("policyMappings", "2.5.29.33"),
        ("policyConstraints", "2.5.29.36"),
        ("inhibitAnyPolicy", "2.5.29.54"),
    )
}
"""What only a CA's certificate has (AC-080)."""

ATTRIBUTES: Mapping[str, bytes] = {
    name: oid.encode(dotted)
    for name, dotted in (
        ("unstructuredName", "1.2.840.113549.1.9.2"),
        ("unstructuredAddress", "1.2.840.113549.1.9.8"),
        ("friendlyName", "1.2.840.113549.1.9.20"),
        ("localKeyID", "1.2.840.113549.1.9.21"),
        ("osVersion", "1.3.6.1.4.1.311.13.2.3"),
        ("enrollmentCSP", "1.3.6.1.4.1.311.13.2.2"),
        ("requestClientInfo", "1.3.6.1.4.1.311.21.20"),
        ("enrollmentNameValuePair", "1.3.6.1.4.1.311.13.2.1"),
    )
}

PURPOSES: Mapping[str, bytes] = {
    name: oid.encode(dotted)
    for name, dotted in (
        ("serverAuth", "1.3.6.1.5.5.7.3.1"),
        ("clientAuth", "1.3.6.1.5.5.7.3.2"),
        ("codeSigning", "1.3.6.1.5.5.7.3.3"),
        ("emailProtection", "1.3.6.1.5.5.7.3.4"),
        ("ipsecEndSystem", "1.3.6.1.5.5.7.3.5"),
        ("ipsecTunnel", "1.3.6.1.5.5.7.3.6"),
        ("ipsecUser", "1.3.6.1.5.5.7.3.7"),
        ("timeStamping", "1.3.6.1.5.5.7.3.8"),
        ("OCSPSigning", "1.3.6.1.5.5.7.3.9"),
        ("ipsecIKE", "1.3.6.1.5.5.7.3.17"),
        ("iKEIntermediate", "1.3.6.1.5.5.8.2.2"),
        ("smartcardLogon", "1.3.6.1.4.1.311.20.2.2"),
        ("certificateRequestAgent", "1.3.6.1.4.1.311.20.2.1"),
        ("anyExtendedKeyUsage", "2.5.29.37.0"),
        ("pkinitClientAuth", "1.3.6.1.5.2.3.4"),
        ("pkinitKDC", "1.3.6.1.5.2.3.5"),
        ("caExchange", "1.3.6.1.4.1.311.21.5"),
        ("keyRecoveryAgent", "1.3.6.1.4.1.311.21.6"),
        ("encryptedFileSystem", "1.3.6.1.4.1.311.10.3.4"),
        ("fileRecovery", "1.3.6.1.4.1.311.10.3.4.1"),
        ("microsoftTrustListSigning", "1.3.6.1.4.1.311.10.3.1"),
        ("qualifiedSubordination", "1.3.6.1.4.1.311.10.3.10"),
        ("directoryServiceEmailReplication", "1.3.6.1.4.1.311.21.19"),
        ("kernelModeCodeSigning", "1.3.6.1.4.1.311.61.1.1"),
    )
}

POWERFUL: Mapping[bytes, str] = {
    PURPOSES[name]: said
    for name, said in (
        ("anyExtendedKeyUsage", "certificates for every purpose"),
        ("certificateRequestAgent", "certificates that may request others in anyone's name"),
        ("smartcardLogon", "certificates to log on to Windows with"),
        ("pkinitClientAuth", "certificates to log on to Kerberos with"),
        ("pkinitKDC", "certificates of Kerberos servers"),
        ("codeSigning", "certificates that sign programs"),
        ("kernelModeCodeSigning", "certificates that sign programs"),
        ("timeStamping", "certificates that say when something was signed"),
        ("OCSPSigning", "certificates that say which others are revoked"),
        ("caExchange", "certificates of CAs, to which keys are sent"),
        ("keyRecoveryAgent", "certificates that open others' archived keys"),
        ("fileRecovery", "certificates that open others' files"),
        ("microsoftTrustListSigning", "certificates that say whom to trust"),
        ("qualifiedSubordination", "certificates that make CAs"),
        ("directoryServiceEmailReplication", "certificates of domain controllers"),
    )
}
"""Purposes whose holder may act for others: refused unless each is named, whatever else a profile only reports."""

ALWAYS_ALLOWED_ATTRIBUTES = CARRIERS | {oid.CHALLENGE_PASSWORD}
"""What other rules, and the challenge, decide about."""

TEMPLATE_SELECTORS = frozenset((TEMPLATE_NAME, TEMPLATE))

_NAMES = {
    content: name for register in (EXTENSIONS, ATTRIBUTES, PURPOSES) for name, content in register.items()
} | dict(CA_EXTENSIONS)


def name_of(content: bytes) -> str:
    """The name of an extension, attribute or purpose (OID content octets), or its dotted identifier."""
    return _NAMES.get(content) or oid.dotted(content)
