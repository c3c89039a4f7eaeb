"""What the CA made of a request, judged by the policy again before anybody gets it (I5, AC-110, DR-5)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from scepra.lab import CertificationService
from scepra.lab.authority import LIFETIME, Authority
from scepra.scep import der, oid
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.certification import basic_constraints, extended_key_usage, key_usage
from scepra.scep.csr import CertificationRequest
from scepra.store import tables
from tests import csrs
from tests.rig.denial import Denials
from tests.rig.device import granted, rebuilt, request, sound
from tests.rig.house import PROFILE, House, house, lab_state


class Adding(Authority):
    """A CA that issues what is asked for, and more.

    ``added`` are extensions, ``subject`` takes the place of the requested one, if it is set.
    """

    added: tuple[Extension, ...] = ()
    subject: bytes | None = None
    lifetime: timedelta = LIFETIME

    def issue(self, csr: CertificationRequest, lifetime: timedelta = LIFETIME) -> Certificate:
        kinds = {extension.oid for extension in self.added}
        asked = [extension for extension in csr.extensions if extension.oid not in kinds]
        return self.certify(self.subject or csr.subject.der, csr.public_key, (*asked, *self.added), self.lifetime)


def extension(dotted: str, value: bytes = der.NULL) -> Extension:
    """An extension of any kind."""
    return Extension(oid.encode(dotted), False, value)


def names(*texts: str) -> Extension:
    """A subjectAltName."""
    value = x509.SubjectAlternativeName([x509.DNSName(text) for text in texts]).public_bytes()
    return Extension(oid.SUBJECT_ALT_NAME, False, value)


def behind(lab: Path, *added: Extension, **changes: Any) -> tuple[CertificationService, Adding]:
    """A CA's face, and the CA."""
    ca = Adding(lab_state(lab).authority.identity)
    ca.added = added
    for name, value in changes.items():
        setattr(ca, name, value)
    return CertificationService(ca), ca


def undelivered(built: House, because: str, csr: bytes | None = None) -> None:
    """Have a certificate issued that is not delivered: its client is refused in the standard way, and it is kept."""
    Denials(built)(sound(built, csr=csr or request(built)), because=because, reached=1)
    row = built.rows(tables.transactions)[-1]
    assert (row.state, row.certificate) == ("refused", None)
    assert row.misissued and row.attention.startswith("a certificate from upstream that is not delivered")
    assert built.rows(tables.certificates) == []
    assert built.rows(tables.claims) == []


def policy(*rules: dict[str, Any]) -> dict[str, Any]:
    """The usual profile, with these rules instead of its own of their kinds."""
    kinds = {next(iter(rule)) for rule in rules}
    return {"policy": [*(each for each in PROFILE["policy"] if next(iter(each)) not in kinds), *rules]}


REPORTING: dict[str, Any] = {"eku": {"allow": "clientAuth"}, "san": {"dns": {"suffix": "corp.example"}}}
SID = der.sequence(
    der.tlv(
        0xA0,
        der.oid(oid.encode("1.3.6.1.4.1.311.25.2.1")),
        der.tlv(0xA0, der.octet_string(b"S-1-5-21-1-2-3-1104")),
    )
)


@pytest.mark.proves("I5", "AC-110", "DR-5")
@pytest.mark.parametrize(
    ("added", "because"),
    [
        (extended_key_usage(oid.encode("1.3.6.1.5.5.7.3.2")), "eku: eku.clientAuth: no rule names it"),
        (extended_key_usage(oid.encode("1.3.6.1.4.1.311.20.2.1")), "eku: eku.certificateRequestAgent"),
        (names("evil.example", "x.other"), "san: san.dns[1]: does not match"),
        (extension("1.2.3.4"), "extensions: extensions.1.2.3.4: no rule names it"),
        (extension("1.3.6.1.4.1.311.25.2", SID), "microsoft: extensions.ntdsCaSecurity"),
        (extension("2.5.29.30", der.sequence()), "ca-powers: extensions.nameConstraints"),
        (Extension(oid.EXTENDED_KEY_USAGE, False, b"\x05"), "issued: certificate"),
    ],
    ids=["purpose", "power", "name", "extension", "identifier", "constraints", "unreadable"],
)
def test_what_a_ca_adds_must_be_allowed(lab: Path, added: Extension, because: str) -> None:
    """Names, purposes, identifiers and extensions that the CA adds are judged as if they had been asked for."""
    ca, _ = behind(lab, added)
    with house(lab, upstream={"tolerate": ["names"]}, ca=ca) as built:
        undelivered(built, because)


@pytest.mark.proves("AC-110", "DR-5")
def test_what_cas_add_of_themselves(lab: Path) -> None:
    """What every CA adds is expected: identifiers, addresses of lists, a usage that narrows, the template."""
    usual = [
        basic_constraints(ca=False),
        key_usage(["digitalSignature"]),
        extension("2.5.29.31"),
        extension("2.5.29.32"),
        extension("1.3.6.1.5.5.7.1.1"),
        extension("1.3.6.1.4.1.311.21.7", der.sequence(der.oid(oid.encode("1.2.3")))),
        extension("1.3.6.1.4.1.311.20.2", der.tlv(der.BMP_STRING, "WebServer".encode("utf-16-be"))),
    ]
    ca, _ = behind(lab, *usual)
    with house(lab, ca=ca) as built:
        granted(built, sound(built))


def test_what_the_policy_names(lab: Path) -> None:
    """Purposes and names that the CA adds, and the policy allows, are delivered."""
    added = (extended_key_usage(oid.encode("1.3.6.1.5.5.7.3.2")), names("b.example"))
    ca, _ = behind(lab, *added)
    with house(lab, policy({"eku": {"allow": "clientAuth"}}), {"tolerate": ["names"]}, ca=ca) as built:
        granted(built, sound(built))


def test_usages_where_the_policy_has_a_rule(lab: Path) -> None:
    """A profile that says which usages there may be gets no others."""
    ca, _ = behind(lab, key_usage(["digitalSignature", "dataEncipherment"]))
    with house(lab, policy({"key-usage": {"allow": "digitalSignature"}}), ca=ca) as built:
        undelivered(built, "key-usage: key-usage.dataEncipherment")


def test_what_is_tolerated(lab: Path) -> None:
    """A CA may rewrite subjects and add extensions where that is said of it; purposes and names stay the policy's."""
    ca, adding = behind(lab, extension("1.2.3.4"))
    adding.subject = csrs.name(csrs.value(csrs.CN, "other"), csrs.value(csrs.UNIT, "made by the CA"))
    with house(lab, upstream={"tolerate": ["subject", "extensions"]}, ca=ca) as built:
        granted(built, sound(built))
        adding.added = (extended_key_usage(oid.encode("1.3.6.1.5.5.7.3.3")),)
        Denials(built)(sound(built), because="eku: eku.codeSigning", reached=1)
    with house(lab, policy({"infrastructure": {"names": "other"}}), {"tolerate": ["subject"]}, ca=ca) as built:
        adding.added = ()
        undelivered(built, "infrastructure: subject.CN")


@pytest.mark.proves("AC-110")
def test_how_long_it_may_be_valid(lab: Path) -> None:
    """A certificate that is valid for longer than the policy allows is not delivered."""
    ca, adding = behind(lab)
    with house(lab, policy({"validity": {"most": "398d"}}), ca=ca) as built:
        adding.lifetime = timedelta(days=397)
        granted(built, sound(built))
        adding.lifetime = timedelta(days=50 * 365)
        because = "validity: validity.most: is valid for"
        Denials(built)(sound(built), because=because, reached=1)
        assert "longer than 398d" in built.records[-1]["reasons"][0]


def test_what_is_only_reported(lab: Path) -> None:
    """Rules that only report do so about certificates, too; what is a power is refused."""
    ca, adding = behind(lab, extended_key_usage(oid.encode("1.3.6.1.5.5.7.3.1")))
    rules = [{kind: spec, "severity": "report"} for kind, spec in REPORTING.items()]
    with house(lab, policy(*rules), ca=ca) as built:
        granted(built, sound(built, csr=request(built, csrs.carried(csrs.san(csrs.dns("a.other"))))))
        said = ["san: san.dns[0]: is not below corp.example", "eku: eku.serverAuth: no rule names it"]
        assert built.records[-1]["reported"] == said
        adding.added = (extended_key_usage(oid.encode("1.3.6.1.5.5.7.3.3")),)
        Denials(built)(sound(built), because="eku: eku.codeSigning", reached=1)


def test_no_policy_at_all(lab: Path) -> None:
    """A transaction of a profile that is gone is judged by a policy that names nothing, and so not believed."""
    ca, _ = behind(lab)
    with house(lab, ca=ca) as built:
        made = rebuilt(built, policies={})
        Denials(made)(sound(made), because="subject: subject.CN: no rule names it", reached=1)
