"""Manufacturers' certificates: which of them enrol their devices, and under which names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.manufacturer import PLACE, ManufacturerRules, SerialNumber
from scepra.policy.pattern import Pattern
from scepra.provenance import REQUEST_AGENT, Revocation
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from tests import csrs
from tests.rig.forge import ca_extensions, certificate

KEY, DEVICE, NEW = csrs.ec_key(which=50), csrs.ec_key(which=51), csrs.ec_key(which=52)
MAKER = certificate(KEY, "Maker CA", extensions=ca_extensions())
SERIAL, CN, O = oid.encode("2.5.4.5"), csrs.CN, csrs.ORGANISATION  # noqa: E741 - its short name
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = {"common_name": PLACE, "dns": (f"{PLACE}.devices.example",)}
MAPPING = SerialNumber(SERIAL, "", NAMES)
RULES = ManufacturerRules((MAKER,), {O: Pattern("Maker")}, MAPPING)


def birth(serial: str | None = "SN1", *more: bytes, key: csrs.PrivateKey = KEY, **changes) -> Certificate:
    """A device's certificate from its manufacturer."""
    values = [csrs.value(O, "Maker"), *([csrs.value(SERIAL, serial)] if serial is not None else []), *more]
    settings = {"by": (key, MAKER), "validity": (b"200101000000Z", b"99991231235959Z")} | changes
    return certificate(DEVICE, settings.pop("name", csrs.name(*values)), **settings)


def request(name: str = "SN1", *names: bytes, subject: bytes | None = None) -> CertificationRequest:
    """What a device asks for."""
    extensions = (csrs.carried(csrs.san(*names)),) if names else ()
    return CertificationRequest.parse(csrs.build(*extensions, key=NEW, subject=subject or csrs.subject(name)))


def sentences(
    rules: ManufacturerRules = RULES,
    signer: Certificate | None = None,
    csr: CertificationRequest | None = None,
    digest: Digest = Digest.SHA256,
    now: datetime = NOW,
    revocation: Revocation = Revocation.GOOD,
) -> str:
    found = rules.violations(signer or birth(), csr or request(), digest, now, revocation)
    return "; ".join(map(str, found))


@pytest.mark.proves("AC-091")
def test_a_good_device():
    """A device enrols under the names that its serial number gives, all of them or some."""
    assert RULES.issued(birth())
    assert RULES.device(birth()) == "SN1"
    assert sentences() == ""
    assert sentences(csr=request("SN1", csrs.dns("sn1.devices.example"))) == ""


@pytest.mark.proves("AC-091", "SEC-05")
@pytest.mark.parametrize(
    "csr",
    [
        request("SN2"),
        request("sn1"),
        request("SN1", csrs.dns("sn2.devices.example")),
        request("SN1", csrs.dns("sn1.devices.example"), csrs.dns("sn2.devices.example")),
        request("SN1", csrs.upn("admin@corp.example")),
        request(subject=csrs.name(csrs.value(CN, "SN1"), csrs.value(CN, "SN2"))),
        request(subject=csrs.name(csrs.value(CN, "SN1"), csrs.value(SERIAL, "SN1"))),
        request(subject=csrs.name()),
    ],
)
def test_another_s_names(csr):
    """Names that another serial number gives, or that none gives, are refused."""
    assert "than the device's serial number gives" in sentences(csr=csr) or "no common name" in sentences(csr=csr)


@pytest.mark.parametrize(
    ("text", "after", "serial"),
    [
        ("SN1", "", "SN1"),
        ("0", "", "0"),
        ("a-b_c", "", "a-b_c"),
        ("PID:C9300-24T SN:FOC1234", "SN:", "FOC1234"),
        ("PID:C9300-24T SN:FOC1234", "", None),
        ("SN:a SN:b", "SN:", "b"),
        ("FOC1234", "SN:", None),
        ("SN:", "SN:", None),
        ("", "", None),
        ("a.b", "", None),
        ("a/b", "", None),
        ("a b", "", None),
        ("-a", "", None),
        ("a\n", "", None),
        ("ä", "", None),
        ("x" * 64, "", "x" * 64),
        ("x" * 65, "", None),
        ("{serial}", "", None),
        ("*", "", None),
    ],
)
def test_serial_numbers(text, after, serial):
    """The serial number is what stands behind its mark, if that is plain: it becomes part of names."""
    mapping = replace(MAPPING, after=after)
    signer = birth(text)
    assert mapping.of(signer) == serial
    rules = replace(RULES, serial=mapping)
    assert rules.device(signer) == (serial or "")
    assert ("no serial number" in sentences(rules, signer, request(serial or "SN1"))) == (serial is None)


def test_no_or_several_serial_numbers():
    """A certificate has one serial number, in the attribute that was named, as text."""
    assert "no serial number" in sentences(signer=birth(None))
    assert "no serial number" in sentences(signer=birth("SN1", csrs.value(SERIAL, "SN2")))
    assert "no serial number" in sentences(signer=birth(None, csrs.value(SERIAL, b"\xff")))
    by_name = replace(RULES, serial=replace(MAPPING, attribute=CN))
    assert sentences(by_name, birth(None, csrs.value(CN, "SN1"))) == ""


def test_names_that_are_too_long():
    """A serial number that makes no possible name is refused."""
    long = replace(RULES, serial=SerialNumber(SERIAL, "", {"common_name": PLACE + "x" * 250}))
    assert "makes no name" in sentences(long, birth("SN" * 10))


def test_without_a_mapping():
    """Where nobody has said which names a serial number gives, the policy alone judges names."""
    free = replace(RULES, serial=None)
    assert sentences(free, birth(None), request("anything")) == ""
    assert free.device(birth()) == ""


@pytest.mark.proves("AC-049", "AC-047", "AC-055", "MSG-31")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extensions": ca_extensions()}, "is a CA certificate"),
        ({"extensions": (csrs.eku(REQUEST_AGENT),)}, "enrolment agent"),
        ({"extensions": (csrs.key_usage(b"\x05\x20"),)}, "lacks digitalSignature"),
        ({"extensions": (csrs.extension(oid.KEY_USAGE, b"\x05"),)}, "manufacturer: signer"),
        ({"digest": Digest.SHA1}, "SHA-1"),
        ({"digest": Digest.MD5, "key": csrs.rsa_key()}, "MD5"),
        ({"validity": (b"200101000000Z", b"260531235959Z")}, "is over"),
        ({"validity": (b"260601000001Z", b"400101000000Z")}, "has not begun"),
        ({"validity": (b"200101000000Z", b"nonsense")}, "unreadable"),
        ({"name": csrs.name(csrs.value(O, "Maker 2"), csrs.value(SERIAL, "SN1"))}, "does not match"),
        ({"name": csrs.name(csrs.value(O, b"\xff"), csrs.value(SERIAL, "SN1"))}, "does not match"),
        ({"name": csrs.name(csrs.value(SERIAL, "SN1"))}, "nothing to match"),
        (
            {"name": csrs.name(csrs.value(O, "Maker"), csrs.value(O, "Other"), csrs.value(SERIAL, "SN1"))},
            "does not match",
        ),
    ],
)
def test_certificates_that_enrol_nothing(changes, said):
    """CAs, agents, what is not valid or weakly signed, and what is another maker's, enrol no device."""
    assert said in sentences(signer=birth(**changes))


@pytest.mark.parametrize("end", [b"99991231235959Z", b"20500101000000Z", b"270101000000Z"])
def test_certificates_without_an_end(end):
    """Certificates that end in the year 9999, which is to say never, are as good as others."""
    signer = birth(validity=(b"200101000000Z", end))
    assert signer.not_after is not None
    assert sentences(signer=signer) == ""
    assert sentences(signer=signer, now=signer.not_after) == ""


@pytest.mark.proves("AC-049")
def test_revocation():
    """What is revoked, or may be, enrols nothing."""
    assert "is revoked" in sentences(revocation=Revocation.REVOKED)
    assert "may be revoked" in sentences(revocation=Revocation.UNKNOWN)


def test_sha1():
    """SHA-1 counts where the profile says so, in the certificate and in the message."""
    assert "SHA-1" in sentences(digest=Digest.SHA1)
    lenient = replace(RULES, sha1=True)
    assert sentences(lenient, birth(digest=Digest.SHA1), digest=Digest.SHA1) == ""


@pytest.mark.proves("AC-055")
def test_infrastructure():
    """The RA's own certificate is no device's, whoever has issued it."""
    own = birth()
    assert "RA's own" in sentences(replace(RULES, infrastructure=frozenset((own,))), own)


@pytest.mark.proves("AC-047", "AC-049", "SEC-10")
def test_who_issued_it():
    """Only what an anchor's key has signed, under its name, is a manufacturer's certificate."""
    other = csrs.ec_key(which=53)
    assert not RULES.issued(birth(key=other))
    namesake = certificate(other, "Maker CA", extensions=ca_extensions())
    assert not RULES.issued(birth(by=(other, namesake)))
    assert not ManufacturerRules(()).issued(birth())


@given(st.text(max_size=80), st.sampled_from(["", "SN:", " "]))
def test_any_text(text, after):
    """Whatever stands in a subject, a serial number that is read gives one name below the domain and no other."""
    serial = replace(MAPPING, after=after).of(birth(None, csrs.value(SERIAL, text)))
    if serial is not None:
        binding = MAPPING.binding(serial)
        assert binding.dns == (f"{serial}.devices.example",)
        assert serial.isascii()
        assert text.endswith(serial)
        assert not set(serial) & set(".*@/:= ,")


def test_times_do_not_overflow():
    """Reckoning with the end of time goes wrong nowhere."""
    signer = birth()
    assert signer.not_after == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert sentences(signer=signer, now=NOW + timedelta(days=36500)) == ""
