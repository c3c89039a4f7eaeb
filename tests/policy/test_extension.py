"""The rules about extensions, attributes, purposes and usages."""

from __future__ import annotations

import random
from typing import Any

import pytest

from scepra.policy import build as build_rules
from scepra.policy import explain
from scepra.scep import der, oid
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.csrs import attribute, build, carried, challenge, extension, with_extensions
from tests.policy.sample import Asked, objected, policy

CLIENT, SERVER, ANY = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1", "2.5.29.37.0"
TEMPLATE_NAME, TEMPLATE = "1.3.6.1.4.1.311.20.2", "1.3.6.1.4.1.311.21.7"
APPLICATION_POLICIES = "1.3.6.1.4.1.311.21.10"
EVERYTHING: list[dict[str, Any]] = [
    {"extensions": {"allow": ["basicConstraints", "keyUsage", "subjectKeyIdentifier", "1.2.3"]}},
    {
        "key-usage": {
            "allow": ["digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement"]
        }
    },
    {"eku": {"allow": ["clientAuth", "serverAuth", "anyExtendedKeyUsage"]}},
]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (extension("2.5.29.19", der.sequence(der.tlv(1, b"\xff"))), "extensions.basicConstraints"),
        (extension("2.5.29.19", der.sequence(der.tlv(1, b"\xff")), critical=True), "extensions.basicConstraints"),
        (extension("2.5.29.19", der.sequence(der.tlv(1, b"\xff"), der.integer(0))), "extensions.basicConstraints"),
        (extension("2.5.29.19", der.sequence(der.integer(0))), "extensions.basicConstraints"),
        (csrs.key_usage(b"\x02\x84"), "extensions.keyUsage.keyCertSign"),
        (csrs.key_usage(b"\x01\x02"), "extensions.keyUsage.cRLSign"),
        (extension("2.5.29.30", der.sequence()), "extensions.nameConstraints"),
        (extension("2.5.29.33", der.sequence(), critical=True), "extensions.policyMappings"),
        (extension("2.5.29.36", der.sequence()), "extensions.policyConstraints"),
        (extension("2.5.29.54", der.integer(0)), "extensions.inhibitAnyPolicy"),
    ],
)
@pytest.mark.proves("AC-080")
def test_ca_powers(asked: bytes, path: str) -> None:
    """What makes a CA is refused in the most open profile as in the closed one."""
    assert path in objected(with_extensions(asked), *EVERYTHING)
    assert path in objected(with_extensions(asked))


@pytest.mark.proves("AC-080")
def test_no_ca() -> None:
    """basicConstraints that say no CA are an extension like another."""
    for content in (der.sequence(), der.sequence(der.tlv(1, b"\0"))):
        encoding = with_extensions(extension("2.5.29.19", content))
        assert objected(encoding) == ["extensions.basicConstraints"]
        assert objected(encoding, *EVERYTHING) == []


@pytest.mark.proves("AC-083", "I12")
def test_unknown_extensions() -> None:
    """Extensions nobody named are refused, critical or not, short or long; named ones are accepted by identifier."""
    generator = random.Random(7)
    for critical in (None, False, True):
        identifier = ".".join(["1.3.6.1.4.1", *(str(generator.randrange(1 << 30)) for _ in range(3))])
        encoding = with_extensions(extension(identifier, generator.randbytes(10_000), critical=critical))
        assert objected(encoding, *EVERYTHING) == [f"extensions.{identifier}"]
        assert objected(encoding, {"extensions": {"allow": identifier}}) == []


@pytest.mark.proves("AC-083", "AC-082", "I12")
def test_unknown_attributes() -> None:
    """Attributes nobody named are refused; the challenge and one carrier are other rules' affair."""
    encoding = build(
        attribute("1.2.3.4", der.octet_string(b"x" * 10_000)),
        carried(extension("1.2.3", b"")),
        challenge("secret"),
    )
    assert objected(encoding, *EVERYTHING) == ["attributes.1.2.3.4"]
    assert objected(encoding, *EVERYTHING, {"attributes": {"allow": ["1.2.3.4"]}}) == []


@pytest.mark.parametrize(
    ("identifier", "called"),
    [
        ("1.3.6.1.4.1.311.13.2.3", "osVersion"),
        ("1.3.6.1.4.1.311.13.2.2", "enrollmentCSP"),
        ("1.3.6.1.4.1.311.21.20", "requestClientInfo"),
        ("1.2.840.113549.1.9.20", "friendlyName"),
        ("1.2.840.113549.1.9.2", "unstructuredName"),
    ],
)
@pytest.mark.proves("AC-082", "P10-10")
def test_harmless_attributes(identifier: str, called: str) -> None:
    """Harmless attributes are accepted by name or identifier, where they are listed."""
    encoding = build(attribute(identifier, der.tlv(der.UTF8_STRING, b"x")))
    assert objected(encoding) == [f"attributes.{called}"]
    for spelling in (identifier, called):
        assert objected(encoding, {"attributes": {"allow": spelling}}) == []


@pytest.mark.parametrize("pair", ["ValidityPeriod", "SAN", "CertificateTemplate"])
@pytest.mark.proves("AC-082")
def test_name_value_pairs(pair: str) -> None:
    """Microsoft's name-value pairs, which carry authority, are refused beside the harmless attributes."""
    content = der.sequence(*(der.tlv(der.BMP_STRING, text.encode("utf-16-be")) for text in (pair, "x")))
    encoding = build(attribute("1.3.6.1.4.1.311.13.2.1", content))
    harmless = {"attributes": {"allow": ["osVersion", "enrollmentCSP", "requestClientInfo"]}}
    assert objected(encoding, harmless) == ["attributes.enrollmentNameValuePair"]


@pytest.mark.proves("P10-06", "AC-082")
def test_templates() -> None:
    """A template is selected only where its name or identifier is the profile's, by either selector."""
    by_name = extension(TEMPLATE_NAME, der.tlv(der.BMP_STRING, "WiFi".encode("utf-16-be")))
    by_identifier = extension(TEMPLATE, der.sequence(der.oid(oid.encode("1.2.3.4")), der.integer(1)))
    encoding = with_extensions(by_name, by_identifier)
    refusal = "extensions.templates"
    assert objected(encoding) == [refusal, refusal]
    assert objected(encoding, {"extensions": {"templates": ["WiFi", "1.2.3.4"]}}) == []
    assert objected(encoding, {"extensions": {"templates": ["WiFi"]}}) == [refusal]
    assert objected(encoding, {"extensions": {"templates": ["wifi", "1.2.3.40"]}}) == [refusal, refusal]


@pytest.mark.proves("AC-082")
def test_template_as_an_attribute() -> None:
    """A template selector among the attributes is not a template selector, and is refused."""
    encoding = build(attribute(TEMPLATE_NAME, der.tlv(der.BMP_STRING, "WiFi".encode("utf-16-be"))))
    assert objected(encoding, {"extensions": {"templates": ["WiFi"]}}) == [f"attributes.{TEMPLATE_NAME}"]


@pytest.mark.proves("I12")
def test_purposes() -> None:
    """Each purpose must be named; without the rule all are refused, even where the extension is allowed."""
    encoding = with_extensions(csrs.eku(CLIENT, SERVER, "1.2.3.4"))
    all_of_them = ["eku.clientAuth", "eku.serverAuth", "eku.1.2.3.4"]
    assert objected(encoding) == ["extensions.extendedKeyUsage", *all_of_them]
    assert objected(encoding, {"extensions": {"allow": ["extendedKeyUsage"]}}) == all_of_them
    assert objected(encoding, {"eku": {"allow": ["clientAuth"]}}) == all_of_them[1:]
    assert objected(encoding, {"eku": {"allow": ["clientAuth", SERVER, "1.2.3.4"]}}) == []


@pytest.mark.proves("I12", "AC-080")
def test_any_purpose() -> None:
    """The purpose that means all purposes is one that must be named itself."""
    assert objected(with_extensions(csrs.eku(CLIENT, ANY)), {"eku": {"allow": ["clientAuth"]}}) == [
        "eku.anyExtendedKeyUsage"
    ]


@pytest.mark.proves("I12")
def test_application_policies() -> None:
    """Microsoft's application policies are purposes too, and are judged as such where they are allowed."""

    def policies(*purposes: str) -> bytes:
        content = der.sequence(*(der.sequence(der.oid(oid.encode(purpose))) for purpose in purposes))
        return with_extensions(csrs.eku(CLIENT), extension(APPLICATION_POLICIES, content))

    rules: list[dict[str, Any]] = [
        {"eku": {"allow": ["clientAuth"]}},
        {"extensions": {"allow": ["applicationPolicies"]}},
    ]
    assert objected(policies(CLIENT), *rules) == []
    assert objected(policies(CLIENT), rules[0]) == ["extensions.applicationPolicies"]
    assert objected(policies(CLIENT, "1.3.6.1.4.1.311.20.2.1"), *rules) == ["eku.certificateRequestAgent"]
    broken = with_extensions(extension(APPLICATION_POLICIES, b"\x30\x80"))
    assert objected(broken, *rules) == ["extensions.applicationPolicies"]
    assert "cannot be read" in reports(broken)["eku"]


@pytest.mark.proves("I12")
def test_key_usages() -> None:
    """Each usage must be named; without the rule all are refused, even where the extension is allowed."""
    encoding = with_extensions(csrs.key_usage(b"\x05\xa0"))
    both = ["key-usage.digitalSignature", "key-usage.keyEncipherment"]
    assert objected(encoding) == ["extensions.keyUsage", *both]
    assert objected(encoding, {"extensions": {"allow": "keyUsage"}}) == both
    assert objected(encoding, {"key-usage": {"allow": ["digitalSignature"]}}) == both[1:]
    assert objected(encoding, {"key-usage": {"allow": ["digitalSignature", "keyEncipherment"]}}) == []


def reports(encoding: bytes) -> dict[str, str]:
    request = Asked(CertificationRequest.parse(encoding))
    return {report.rule: report.looked_at for report in explain(build_rules(policy()), request)}


def test_what_is_shown() -> None:
    """People see names where there are any, the carrier, and templates with their controls escaped."""
    shown = reports(
        build(
            challenge("canary"),
            attribute("1.3.6.1.4.1.311.13.2.3", der.NULL),
            carried(
                csrs.eku(CLIENT, "1.2.3.4"),
                csrs.key_usage(b"\x05\xa0"),
                extension("1.2.3", b""),
                extension("2.5.29.19", der.sequence()),
                extension(TEMPLATE_NAME, der.tlv(der.UTF8_STRING, b"W\nF")),
                carrier=oid.MICROSOFT_EXTENSIONS,
            ),
        )
    )
    assert shown["extensions"] == (
        f"extendedKeyUsage, keyUsage, 1.2.3, basicConstraints, {TEMPLATE_NAME}"
        " in attribute 1.3.6.1.4.1.311.2.1.14; templates 'W\\nF'"
    )
    assert shown["attributes"] == "osVersion"
    assert shown["eku"] == "clientAuth, 1.2.3.4"
    assert shown["key-usage"] == "digitalSignature, keyEncipherment"
    assert shown["ca-powers"] == "basicConstraints CA False"
    assert "canary" not in str(shown)
    empty = reports(build(carried()))
    assert empty["extensions"] == "(none) in attribute 1.2.840.113549.1.9.14"
    nothing = reports(build())
    assert {nothing[rule] for rule in ("extensions", "attributes", "eku", "key-usage", "san")} == {"(none)"}
    assert nothing["ca-powers"] == "no basicConstraints"
