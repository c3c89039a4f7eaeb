"""Certification requests as devices make them (RFC 2986), written by another library than the one that reads them."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from scepra.lab.key import PrivateKey
from scepra.scep.algorithm import Digest

RequestedExtension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is to be critical."""


def build_csr(
    key: PrivateKey,
    subject: str | x509.Name,
    *,
    names: Iterable[str | x509.GeneralName] = (),
    challenge: str | None = None,
    extensions: Iterable[RequestedExtension] = (),
    digest: Digest = Digest.SHA256,
) -> bytes:
    """Write and sign a PKCS#10 request.

    Args:
        key: the device's; its public half is certified.
        subject: a common name, or a whole name.
        names: subject alternative names; text is a DNS name.
        challenge: the challengePassword.
        extensions: any others that are asked for.
        digest: what it is signed with: SHA-2, older ones the library no longer writes.

    Returns:
        Its DER encoding.
    """
    if isinstance(subject, str):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    alternative = [x509.DNSName(item) if isinstance(item, str) else item for item in names]
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode("utf-8"))
    signed = builder.sign(key, digest.hash)  # type: ignore[arg-type]  # the stubs list digests one by one
    return signed.public_bytes(Encoding.DER)
