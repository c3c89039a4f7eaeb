"""What judging a request takes: a profile of twenty rules, and requests that are made to take long.

There are sixteen kinds of rule and each stands once in a profile; three that every profile has, and the three parts of
the longest ones, make some twenty. Every request is approved but for what makes it pathological, so that no rule ends
early.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import TypeAdapter

from bench.cores import MEASURED, on
from bench.table import spread, table
from scepra.enrolment import Credential
from scepra.policy import Policy, Rules, build, decide
from scepra.policy.claim import claims
from scepra.scep.csr import CertificationRequest

# Of 1024 characters, the longest that may be, and of as many positions as may be: each character of a text may be
# every one of them.
_WORST = "(?:[a-z]?[a-z0-9-]?[a-z.]?){84}[a-z.]*|(?:[a-z]{1,9}[0-9-]*\\.?){12}x?"
_POLICY: list[dict[str, Any]] = [
    {"key": {"rsa": {}, "ec": ["P-256", "P-384"], "refuse": ["ab" * 32]}},
    {
        "subject": {
            "require": ["CN"],
            "match": {"CN": _WORST, "O": "Example( [A-Z][a-z]+)*", "OU": "[a-z0-9-]{1,64}"},
            "allow": ["C", "serialNumber"],
            "repeat": ["OU"],
        }
    },
    {
        "san": {
            "dns": {"match": _WORST, "max": 200},
            "email": {"domains": "devices.example"},
            "upn": {"match": "[a-z]+@devices\\.example"},
            "uri": {"match": "urn:[a-z]+:[0-9]+"},
            "ip": {"networks": ["10.0.0.0/8", "2001:db8::/32"]},
            "directory": {"match": {"CN": "[a-z]+"}},
        }
    },
    {"extensions": {"allow": ["basicConstraints"], "templates": ["WiFi"]}},
    {"attributes": {"allow": ["osVersion", "enrollmentCSP"]}},
    {"eku": {"allow": ["clientAuth", "serverAuth"]}},
    {"key-usage": {"allow": ["digitalSignature", "keyEncipherment"]}},
    {"signature": {"digests": ["SHA-256", "SHA-384", "SHA-512"]}},
    {"source": {"networks": ["192.0.2.0/24", "2001:db8::/32"]}},
    {"time": {"days": ["mon", "tue", "wed", "thu", "fri"], "hours": "07:00-19:00", "zone": "Europe/Berlin"}},
    {"infrastructure": {"names": ["(dc|ca|ra)[0-9]*\\.corp\\.example", "administrator"], "addresses": "10.0.0.0/28"}},
    {"microsoft": {"sid": "with-upn", "domains": "S-1-5-21-1-2-3", "upn-matches-cn": True}},
    {"validity": {"most": "398d"}},
    {"limit": [{"per": "subject", "active": 1}, {"per": "profile", "new": 100, "within": "1h"}]},
    {"unique": {"keys": "profile", "names": "profile"}},
    {"hold": {"when": {"subject": {"OU": "servers?"}, "source": "10.0.0.0/8"}, "approvals": 2}},
]
AIM = 200.0


@dataclass(frozen=True, slots=True)
class _Asked:
    csr: CertificationRequest
    credential: Credential = Credential.INITIAL
    source: str = "192.0.2.7"
    received: datetime = datetime(2026, 5, 6, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Figures:
    """Microseconds of CPU for one request: the median of the rounds, the smallest and the largest; and what claims
    take beside that, where requests are recorded."""

    judged: float
    judged_range: tuple[float, float]
    claimed: float


def measure(rounds: int, repeat: int = 200) -> dict[str, Figures]:
    """The figures of every kind of request, by its name."""
    rules = build(TypeAdapter(Policy).validate_python(_POLICY))
    with on(MEASURED):
        return {name: _figures(rules, _Asked(request), rounds, repeat) for name, request in _requests().items()}


def show(figures: Mapping[str, Figures]) -> str:
    """The table of them."""
    lines = [(name, spread(each.judged, each.judged_range, 0), f"{each.claimed:.0f}") for name, each in figures.items()]
    head = (f"Policy of {len(_POLICY)} kinds of rule, microseconds", "judged", "claims")
    return f"{table(head, lines)}\n\nLoad while it was measured: {os.getloadavg()[0]:.1f}."


def _figures(rules: Rules, request: _Asked, rounds: int, repeat: int) -> Figures:
    judged = [_microseconds(lambda: decide(rules, request), repeat) for _ in range(rounds)]
    claimed = [_microseconds(lambda: claims(request.csr, "bench", challenge="x"), repeat) for _ in range(rounds)]
    return Figures(statistics.median(judged), (min(judged), max(judged)), statistics.median(claimed))


def _microseconds(function: Callable[[], object], repeat: int) -> float:
    started = time.process_time()
    for _ in range(repeat):
        function()
    return (time.process_time() - started) / repeat * 1e6


def _requests() -> dict[str, CertificationRequest]:
    curve, modulus = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    host = "device-17.devices.example"
    usual = (_name("CN", host), _name("O", "Example"))
    many = (_name("CN", host), *(_name("OU", f"unit-{number}") for number in range(31)))
    return {
        "EC key, 2 RDNs, 1 SAN": _csr(curve, usual, [host]),
        "RSA-2048, 2 RDNs, 1 SAN": _csr(modulus, usual, [host]),
        "EC key, 32 RDNs": _csr(curve, many, [host]),
        "EC key, 100 SANs": _csr(curve, usual, [f"device-{number}.devices.example" for number in range(100)]),
        "EC key, SAN of 253 characters": _csr(curve, usual, [".".join(["a" * 60] * 4) + ".devices"]),
        "EC key, subject of 60 000 characters": _csr(curve, (_name("OU", "x" * 60000),), [host]),
    }


def _name(kind: str, text: str) -> x509.NameAttribute[str]:
    kinds = {
        "CN": NameOID.COMMON_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    }
    return x509.NameAttribute(kinds[kind], text, _validate=False)


def _csr(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, subject: tuple[x509.NameAttribute[str], ...], names: list[str]
) -> CertificationRequest:
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    encoding = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return CertificationRequest.parse(encoding)
