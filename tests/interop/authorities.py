"""CAs that others wrote: how each is started, and how it certifies an RA."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from scepra.config.kind import KindName

from .peers import DEBIAN, ORGANISATION, PEERS, debian_version
from .sandbox import Sandbox, Server

CERTIFICATE_REQUEST_AGENT = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.1")


class Authority:
    """A running CA: its URL, its certificates, and its key, with which it also certifies the RA.

    ``variant`` says how it is set up, where that matters; ``asked`` finds in its log by which method it was sent a
    message.
    """

    name: ClassVar[str]
    program: ClassVar[Path]
    package: ClassVar[str]
    kind: ClassVar[KindName]
    variant: ClassVar[str] = ""
    asked: ClassVar[re.Pattern[str]] = re.compile(r"method=(GET|POST) .*PKIOperation")
    answers_in_des: ClassVar[bool] = False
    adds_names: ClassVar[bool] = False
    url: str
    challenge: str | None
    server: Server
    root_file: Path
    issuer: x509.Certificate
    root: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def fingerprints(self) -> list[str]:
        """Of the issuing CA's certificate and, where that is another, of the root's."""
        pinned = dict.fromkeys((self.issuer, self.root))
        return [f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}" for certificate in pinned]

    @property
    def upstream(self) -> dict[str, Any]:
        """What the RA is told of it, besides its URL and its fingerprints."""
        return {
            "kind": self.kind,
            "authorisation": "challenge" if self.challenge else "network",
            "legacy": ["DES-CBC"] if self.answers_in_des else [],
            "tolerate": ["names", "extensions"] if self.adds_names else [],
        }

    @property
    def broker(self) -> dict[str, Any] | None:
        """Where the RA draws challenges that the CA makes; None where the RA has its own."""
        return None

    @classmethod
    def version(cls) -> str:
        """Which version of it is tried."""
        return debian_version(cls.package)

    def methods(self, since: int) -> str:
        """By which methods it was sent messages, as far as its log says from an offset on: others may have asked it
        before."""
        return " and ".join(sorted(set(self.asked.findall(self.server.output()[since:])))) or "not in its log"

    def operations(self) -> int:
        """How often PKIOperation stands in the CA's log: it tells whether the CA was asked, not how often."""
        return self.server.output().count("PKIOperation")

    def certify_ra(
        self, common_name: str, *, sign: bool, decrypt: bool, unit: str | None = None
    ) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
        """A certificate with the key usage that clients look for to tell an RA from its CA, and its key."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = (
            _certificate(_name(common_name, unit), key, self.issuer.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=sign, key_encipherment=decrypt), critical=True)
            .add_extension(x509.ExtendedKeyUsage([CERTIFICATE_REQUEST_AGENT]), critical=False)
            .add_extension(_authority_key_identifier(self.issuer), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate, key


class ScepServer(Authority):
    """micromdm's CA: one self-signed certificate; answers in single DES."""

    name = "scepserver"
    package = "scep"
    kind = "micromdm"
    program = DEBIAN / "bin" / "scepserver"
    answers_in_des = True

    def __init__(self, sandbox: Sandbox, directory: Path, challenge: str | None = None) -> None:
        self.challenge = challenge
        depot, password, port = directory / "depot", "depot", sandbox.free_port()
        made = sandbox.run(
            [
                *(self.program, "ca", "-init", "-depot", depot, "-keySize", "2048"),
                *("-key-password", password, "-organization", ORGANISATION),
            ],
            directory=directory,
        )
        if made.code:
            raise RuntimeError(f"no depot: {made.text}")
        self.root_file = depot / "ca.pem"
        self.root = self.issuer = x509.load_pem_x509_certificate(self.root_file.read_bytes())
        self.key = read_key((depot / "ca.key").read_bytes(), password)
        self.server = sandbox.serve(
            [
                *(self.program, "-depot", depot, "-capass", password, "-port", str(port), "-allowrenew", "0", "-debug"),
                *(("-challenge", challenge) if challenge else ()),
            ],
            directory=directory,
            ready=port,
            name=self.name,
        )
        self.url = f"http://127.0.0.1:{port}/scep"


class StepCA(Authority):
    """step-ca: an intermediate below a root. Its content cipher is configuration: DES unless told, here AES-256."""

    name = "step-ca"
    package = "golang-github-smallstep-certificates-dev"
    kind = "step-ca"
    variant = "with a challenge"
    program = PEERS / "bin" / "step-ca"
    adds_names = True
    AES256 = 2

    def __init__(self, sandbox: Sandbox, directory: Path, challenge: str | None = None) -> None:
        self.challenge = challenge
        root_key, self.key = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
        signing = _usage(digital_signature=True, key_encipherment=True, key_cert_sign=True, crl_sign=True)
        self.root = (
            _certificate(_name("step root"), root_key, _name("step root"))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        self.issuer = (
            _certificate(_name("step issuing"), self.key, self.root.subject)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(signing, critical=True)
            .add_extension(_authority_key_identifier(self.root), critical=False)
            .sign(root_key, hashes.SHA256())
        )
        self.root_file = directory / "root.crt"
        write_pem(self.root_file, self.root)
        write_pem(directory / "issuing.crt", self.issuer)
        write_key(directory / "issuing.key", self.key, serialization.PrivateFormat.TraditionalOpenSSL)
        port, tls_port = sandbox.free_port(), sandbox.free_port()
        settings = {
            "root": str(self.root_file),
            "crt": str(directory / "issuing.crt"),
            "key": str(directory / "issuing.key"),
            "address": f"127.0.0.1:{tls_port}",
            "insecureAddress": f"127.0.0.1:{port}",
            "dnsNames": ["127.0.0.1"],
            "logger": {"format": "text"},
            "authority": {
                "claims": {"maxTLSCertDuration": "8760h", "defaultTLSCertDuration": "720h"},
                "provisioners": [
                    {
                        "type": "SCEP",
                        "name": "scep",
                        "challenge": challenge or "",
                        "encryptionAlgorithmIdentifier": self.AES256,
                        "includeRoot": True,
                    }
                ],
            },
        }
        (directory / "ca.json").write_text(json.dumps(settings))
        self.server = sandbox.serve(
            [self.program, directory / "ca.json"],
            directory=directory,
            ready=port,
            environment={"STEPPATH": str(directory)},
            name=self.name,
        )
        self.url = f"http://127.0.0.1:{port}/scep/scep"


AUTHORITIES: tuple[type[Authority], ...] = (ScepServer, StepCA)


def write_pem(path: Path, *certificates: x509.Certificate) -> None:
    path.write_bytes(b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates))


def write_key(
    path: Path, key: rsa.RSAPrivateKey, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8
) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _name(common_name: str, unit: str | None = None) -> x509.Name:
    values = ((NameOID.ORGANIZATION_NAME, ORGANISATION), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    attributes = [x509.NameAttribute(oid, value) for oid, value in values if value is not None]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(subject: x509.Name, key: rsa.RSAPrivateKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The issuer's identifier as it stands in its certificate: CAs differ in how they make it of the key."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def read_key(pem: bytes, password: str | None = None) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, password.encode() if password else None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
