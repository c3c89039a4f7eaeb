"""Keys and certificates made for tests, as good or bad as each needs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation, Identity, SoftwareKey

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
USAGES = ("digital_signature", "key_encipherment", "key_cert_sign")
_ALL_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@cache
def key(name: str = "ra", bits: int = 2048) -> rsa.RSAPrivateKey:
    """The RSA key of that name, the same every time."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str = "ec") -> ec.EllipticCurvePrivateKey:
    """The EC key of that name, the same every time."""
    return ec.generate_private_key(ec.SECP256R1())


def name_of(common_name: str) -> x509.Name:
    """A name of one attribute."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate(
    subject: PrivateKey | None = None,
    *,
    issuer: PrivateKey | None = None,
    issuer_name: str = "CA",
    common_name: str = "RA",
    usages: tuple[str, ...] | None = ("digital_signature", "key_encipherment"),
    critical: bool = True,
    ca: bool | None = False,
    identifier: bool = True,
    purposes: bool = True,
    start: datetime = NOW - YEAR,
    end: datetime = NOW + YEAR,
) -> bytes:
    """A certificate in DER; as it comes, one that no client objects to."""
    subject = subject or key()
    builder = x509.CertificateBuilder(
        name_of(issuer_name), name_of(common_name), subject.public_key(), 0x1234, start, end
    )
    if usages is not None:
        usage = x509.KeyUsage(**{each: each in usages for each in _ALL_USAGES})
        builder = builder.add_extension(usage, critical)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject.public_key()), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer or key("ca"), hashes.SHA256()).public_bytes(Encoding.DER)


def ca_certificate(**changes: object) -> bytes:
    """The CA's certificate in DER."""
    settings = {"common_name": "CA", "usages": ("key_cert_sign",), "ca": True, "purposes": False, **changes}
    return certificate(key("ca"), **settings)  # type: ignore[arg-type]


def pem(encoding: bytes) -> bytes:
    """A certificate in PEM."""
    return x509.load_der_x509_certificate(encoding).public_bytes(Encoding.PEM)


def key_file(
    private: PrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    *,
    der: bool = False,
    passphrase: bytes | None = None,
) -> bytes:
    """The content of a key file."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.DER if der else Encoding.PEM, form, encryption)


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that nobody else can read."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def identity(encoding: bytes, private: PrivateKey | None = None) -> Identity:
    """An identity, its key and certificate not compared."""
    return Identity(Certificate.parse(encoding), SoftwareKey(private or key()))


def generation(signing: bytes, encryption: bytes | None = None) -> Generation:
    """A generation of these certificates; one stands for both."""
    both = identity(signing)
    return Generation(both, both if encryption is None else identity(encryption))
