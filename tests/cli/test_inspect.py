"""``scepra inspect``: everything in, nothing secret out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from scepra.cli import main
from scepra.cli.description import MASKED, NOT_UNDERSTOOD, describe, understood
from scepra.errors import FailInfo
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.cms import degenerate
from scepra.scep.envelope import seal_with_password
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import Answer, PKIMessage, PKIStatus, build_cert_rep, issuer_and_serial, issuer_and_subject
from scepra.scep.rollover import build_next_ca_cert
from tests import csrs
from tests.rig.forge import Forge, attribute, ber, ca_extensions, certificate, key_identifier, recipient_info

VECTORS = Path(__file__).parents[1] / "vectors"
RA_KEY = csrs.rsa_key(which=1)
RA = Identity(certificate(RA_KEY, "RA", extensions=(csrs.key_usage(b"\x05\xa0"),)), SoftwareKey(RA_KEY))
CA = certificate(csrs.rsa_key(which=3), "CA", extensions=ca_extensions())
UNKNOWN = oid.encode("1.2.3.4.5")
CSR = csrs.build(
    csrs.challenge("the secret"),
    attribute(UNKNOWN, der.octet_string(b"\xbe\xef")),
    csrs.carried(
        csrs.san(csrs.dns("device.example"), csrs.upn("user@corp.example")),
        csrs.eku("1.3.6.1.5.5.7.3.2", "1.2.3.4"),
        csrs.key_usage(b"\x05\xa0"),
        csrs.extension(oid.BASIC_CONSTRAINTS, der.sequence(), critical=True),
        csrs.extension("1.3.6.1.4.1.311.20.2", der.tlv(der.BMP_STRING, "Wi-Fi".encode("utf-16-be"))),
        csrs.extension("1.3.6.1.4.1.311.21.7", der.sequence(der.oid(UNKNOWN))),
        csrs.extension("1.2.3.9", b"\xca\xfe"),
    ),
    key=csrs.rsa_key(),
)
FORGE = Forge(recipient=RA.certificate, csr=CSR)
CHALLENGE_IN_CLEAR = {oid.CHALLENGE_PASSWORD: (attribute(oid.CHALLENGE_PASSWORD, der.printable_string("the secret")),)}
CRL = der.sequence(
    der.sequence(
        der.integer(1), csrs.algorithm(oid.SHA256_RSA), CA.subject_der, der.tlv(der.UTC_TIME, b"240102030405Z"),
    ),
    csrs.algorithm(oid.SHA256_RSA),
    der.bit_string(b""),
)  # fmt: skip


def pem_key(key: Any = RA_KEY, passphrase: bytes | None = None, encoding: Encoding = Encoding.PEM) -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(encoding, PrivateFormat.PKCS8, encryption)  # type: ignore[no-any-return]


def inspect(tmp_path: Path, data: bytes, *options: str, key: bytes | None = None) -> Result:
    """What the command does with one file, and perhaps a key."""
    (tmp_path / "file").write_bytes(data)
    if key is not None:
        (tmp_path / "key").write_bytes(key)
        options = (*options, "--key", str(tmp_path / "key"))
    return CliRunner().invoke(main, ["inspect", str(tmp_path / "file"), *options], catch_exceptions=False)


def facts(report: dict[str, Any], part: str) -> dict[str, Any]:
    """Attributes or extensions by their types."""
    return {item["type"]: item.get("value", item.get("values")) for item in report[part]}


# --- Messages --------------------------------------------------------------------------------------------------------


def test_a_request_is_shown_in_both_layers(tmp_path: Path) -> None:
    """With the RA's key: attributes, algorithms, signer, recipient, and the CSR with its extensions."""
    result = inspect(tmp_path, FORGE.message(), key=pem_key())
    assert result.exit_code == 0
    for line in (
        "messageType    19 (PKCSReq)",
        f"transactionID  {FORGE.transaction_id}",
        f"senderNonce    {FORGE.sender_nonce.hex()}",
        "digest               SHA-256",
        "signature            verifies with certificate 1",
        "content encryption  AES-128-CBC",
        "1. key transport RSA-v1.5",
        "for  serial number 2a of CN=RA",
        "opened              as recipient 1",
        "content: certification request",
        f"challengePassword  {MASKED}",
        "1.2.3.4.5          beef",
        "dns:device.example, upn:user@corp.example",
        "clientAuth, 1.2.3.4",
        "digitalSignature, keyEncipherment",
        "no CA (critical)",
        "certificate template name (Microsoft)  Wi-Fi",
        "cafe",
        "verdict              sound, and its signature verifies",
    ):
        assert line in result.output, line
    assert "the secret" not in result.output


def test_secrets_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    """The challenge is masked in both layers and both forms of output, unless --show-secrets is given."""
    message = replace(FORGE, attributes=CHALLENGE_IN_CLEAR).message()
    for options in ((), ("--json",)):
        hidden = inspect(tmp_path, message, *options, key=pem_key())
        assert "the secret" not in hidden.output
        assert b"the secret".hex() not in hidden.output
        shown = inspect(tmp_path, message, *options, "--show-secrets", key=pem_key())
        assert shown.output.count("the secret") == 2
        assert hidden.exit_code == shown.exit_code == 0


def test_json_is_for_scripts(tmp_path: Path) -> None:
    """One object, by file, with the same facts."""
    result = inspect(tmp_path, FORGE.message(), "--json", key=pem_key())
    (report,) = json.loads(result.output).values()
    assert report["kind"] == "pkiMessage"
    assert facts(report, "attributes")["messageType"] == "19 (PKCSReq)"
    assert report["content"]["content"]["kind"] == "certification request"
    assert report["certificates"][0]["sha256"] == FORGE.certificate().fingerprint()
    assert "not-understood" not in result.output


def test_without_the_key_the_envelope_stays_shut() -> None:
    """No key, or another one: the envelope is described and not opened, which is no failure."""
    for keys, opened in (((), "no, there is no key"), ((SoftwareKey(csrs.rsa_key()),), "no, none of the keys fits")):
        report = describe(FORGE.message(), keys)
        assert report["content"]["opened"] == opened
        assert understood(report)


def test_any_key_opens_any_recipient() -> None:
    """The right key among several opens the right recipient among several."""
    recipients = (
        der.tlv(0xA4, der.oid(oid.DATA)),
        recipient_info(CA, bytes(range(1, 17)), name=der.tlv(0x80, b"\xab\xcd")),
        recipient_info(RA.certificate, bytes(range(1, 17))),
    )
    report = describe(
        replace(FORGE, recipients=recipients).message(), (SoftwareKey(csrs.rsa_key()), SoftwareKey(RA_KEY))
    )
    assert report["content"]["opened"] == "as recipient 3"
    assert report["content"]["recipients"][:2] == [
        {"kind": "key transport unknown"},
        {"kind": "key transport RSA-v1.5", "for": "key identifier abcd"},
    ]


def test_answers_are_shown(tmp_path: Path) -> None:
    """PENDING, FAILURE with its reasons, and SUCCESS with the certificates in it."""
    request = PKIMessage.parse(FORGE.message())
    pending = describe(build_cert_rep(request, Answer(PKIStatus.PENDING), RA, Digest.SHA256, empty_content=False))
    assert facts(pending, "attributes")["pkiStatus"] == "3 (PENDING)"
    assert pending["content"] == "absent"
    answer = Answer(PKIStatus.FAILURE, fail_info=FailInfo.BAD_ALG, fail_info_text="no, ref 7")
    failure = describe(build_cert_rep(request, answer, RA, Digest.SHA256))
    assert facts(failure, "attributes").items() >= {"failInfo": "0 (badAlg)", "failInfoText": "no, ref 7"}.items()
    assert failure["content"] == "0 octets"
    forge = replace(FORGE, content=degenerate([CA.der], [CRL]), message_type="3", key=RA_KEY, signer=RA.certificate)
    success = describe(forge.message(), (SoftwareKey(RA_KEY),))
    inner = success["content"]["content"]
    assert inner["kind"] == "certs-only message"
    assert inner["certificates"][0]["subject"] == "CN=CA"
    assert inner["crls"][0]["this-update"] == "2024-01-02T03:04:05+00:00"
    assert "CN=CA" in inspect(tmp_path, forge.message(), key=pem_key()).output


@pytest.mark.proves("MSG-08")
def test_ndes_errors_are_shown_with_what_they_mean() -> None:
    """The HRESULT and its text stand beside the number on the wire; what is no number stands alone."""
    for value, shown in (
        ("-2147024809", "-2147024809 (0x80070057, E_INVALIDARG: invalid argument)"),
        ("1", "1 (0x00000001)"),
        ("many", "many"),
    ):
        error = (attribute(oid.NDES_ERROR, der.printable_string(value)),)
        report = describe(replace(FORGE, attributes={oid.NDES_ERROR: error}).message())
        assert facts(report, "attributes")["SCEP error (NDES)"] == shown


def test_attributes_of_every_type_are_shown() -> None:
    """Texts, numbers, identifiers, times, octets and structures, repeated, empty or segmented."""
    values = {
        "1.2.1": (der.tlv(der.UTF8_STRING, "größer".encode()), "größer"),
        "1.2.2": (der.integer(5), "5"),
        "1.2.3": (der.integer(2**80), "0100000000000000000000"),
        "1.2.4": (der.integer(-(2**80)), "-0100000000000000000000"),
        "1.2.5": (der.oid(oid.SHA256), "SHA-256"),
        "1.2.6": (der.oid(UNKNOWN), "1.2.3.4.5"),
        "1.2.7": (der.tlv(der.UTC_TIME, b"240102030405Z"), "2024-01-02T03:04:05+00:00"),
        "1.2.8": (der.tlv(der.UTC_TIME, b"soon"), "unreadable"),
        "1.2.9": (der.octet_string(b"\xbe\xef"), "beef"),
        "1.2.10": (der.sequence(der.NULL), "30020500"),
        "1.2.11": (der.tlv(0x33, der.octet_string(b"seg"), der.octet_string(b"ment")), "segment"),
        "1.2.12": (der.tlv(0x33, der.NULL), "33020500"),
        "1.2.13": (der.tlv(der.UTF8_STRING, b"\x1b[31mred\r\n"), "'\\x1b[31mred\\r\\n'"),
    }
    encoded = {oid.encode(kind): (attribute(oid.encode(kind), value),) for kind, (value, _) in values.items()}
    encoded[oid.encode("1.2.14")] = (attribute(oid.encode("1.2.14"), der.NULL, der.integer(1)),)
    encoded[oid.encode("1.2.15")] = (attribute(oid.encode("1.2.15")),)
    shown = facts(describe(replace(FORGE, attributes=encoded).message()), "attributes")
    assert shown.items() >= {kind: text for kind, (_, text) in values.items()}.items()
    assert shown["1.2.14"] == ["0500", "1"]
    assert shown["1.2.15"] == []


def test_a_signature_that_does_not_verify_says_why(tmp_path: Path) -> None:
    """A wrong signature, a missing certificate: understood, and reported."""
    for forge, reason in (
        (
            replace(FORGE, signature=lambda signed: bytes(256)),
            "not verified: a message whose signature does not verify",
        ),
        (replace(FORGE, bag=()), "not verified: the signer's certificate is missing"),
        (replace(FORGE, message_type="18"), "verifies with certificate 1"),
    ):
        result = inspect(tmp_path, forge.message())
        assert result.exit_code == 0
        assert f"signature            {reason}" in result.output
    assert "18 (UpdateReq)" in result.output


def test_refused_messages_are_not_understood(tmp_path: Path) -> None:
    """What is no message of SCEP's is described as far as it goes, with the reason, and exits with 1."""
    gcm = csrs.algorithm(oid.encode("2.16.840.1.101.3.4.1.6"), der.sequence())
    for message, kind, reason in (
        (replace(FORGE, signer_infos=(FORGE.signer_info(),) * 2).message(), "SignedData", "not exactly one SignerInfo"),
        (
            replace(FORGE, content_algorithm=gcm).message(),
            "pkiMessage",
            "the unknown content cipher 2.16.840.1.101.3.4.1.6",
        ),
        (replace(FORGE, envelope=b"\x04\x01x").message(), "pkiMessage", "tag 0x04 where 0x30 belongs"),
        (der.sequence(der.oid(oid.DATA), der.explicit(0, der.octet_string(b""))), "ContentInfo", "not of SCEP"),
        (der.sequence(der.NULL, der.NULL), "SEQUENCE", "a structure that SCEP has not"),
        (der.sequence(*[der.sequence(*[der.sequence()] * 3)] * 3), "SEQUENCE", "a structure that SCEP has not"),
        (FORGE.message()[:-1], "unknown", "ASN.1 that cannot be read: an element runs over its container"),
        (FORGE.message() + b"more", "pkiMessage", "4 octets follow"),
        (b"hello, world", "unknown", "neither ASN.1, PEM, base64, a SCEP query nor a list of capabilities"),
        (b" \n", "unknown", "empty"),
        (csrs.pem(b"\x04\0"), "certificate request", "tag 0x04 where 0x30 belongs"),
        (b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "certificate", "Invalid base64"),
        (b"?operation=PKIOperation&message=%%%", "query", ""),
        (degenerate([b"\x30\x80\0\0"]), "certs-only message", "a constructed element is too short"),
    ):
        report = describe(message)
        assert report["kind"] == kind
        assert reason in json.dumps(report)
        result = inspect(tmp_path, message)
        assert result.exit_code == 1, reason
        assert "not understood" in result.output


# --- Other files -----------------------------------------------------------------------------------------------------

MESSAGE = FORGE.message()
QUERY = b"operation=PKIOperation&message=" + quote_from_bytes(base64.b64encode(MESSAGE), safe="").encode()


@pytest.mark.proves("CERT-10")
def test_a_certificate_is_shown_with_its_fingerprints(tmp_path: Path) -> None:
    """Names, validity, key, extensions, and the three fingerprints that people compare."""
    aki = csrs.extension(oid.AUTHORITY_KEY_IDENTIFIER, der.sequence(der.tlv(0x80, b"\xaa")))
    shown = certificate(
        csrs.ec_key(), "ca", serial=der.integer(-5), extensions=(
            key_identifier(b"\xbb"),
            aki,
            csrs.extension(oid.BASIC_CONSTRAINTS, der.sequence(b"\1\1\xff", der.integer(0))),
            csrs.extension(oid.EXTENDED_KEY_USAGE, b"broken"),
        ),
    )  # fmt: skip
    output = inspect(tmp_path, shown.der).output
    for fact in (
        "serial number        -05",
        "not before           2020-01-01T00:00:00+00:00",
        "key                  EC, P-256",
        "self signed          yes",
        "subjectKeyIdentifier    bb",
        "authorityKeyIdentifier  aa",
        "basicConstraints        a CA, path length 0",
        "62726f6b656e (unreadable: ",
        *(shown.fingerprint(digest) for digest in ("sha256", "sha1", "md5")),
    ):
        assert fact in output, fact


def test_odd_certificates_are_shown_as_far_as_they_can_be_read() -> None:
    """Version 1, other keys, broken names and extensions do not stop the rest."""
    no_identifier = csrs.extension(oid.AUTHORITY_KEY_IDENTIFIER, der.sequence())
    odd = describe(
        certificate(
            csrs.ed25519_key(), der.sequence(der.NULL), version=b"", validity=(b"x", b"y"), extensions=(no_identifier,)
        ).der
    )
    assert (odd["version"], odd["key"], odd["not-after"]) == (1, "Ed25519", "unreadable")
    assert odd["subject"].startswith("unreadable: ")
    assert facts(odd, "extensions")["authorityKeyIdentifier"] == "no key identifier"
    assert describe(certificate(trailer=b"\xa3\2\5\0").der)["extensions"].startswith("unreadable: ")
    assert describe(certificate(csrs.ec_key("secp256k1")).der)["key"] == "EC, on another curve"


@pytest.mark.parametrize(
    ("request_", "verdict"),
    [
        (
            csrs.build(csrs.carried(), csrs.carried(carrier=oid.MICROSOFT_EXTENSIONS)),
            "refused: extensions in more than one",
        ),
        (csrs.build(csrs.challenge("a"), csrs.challenge("b")), "refused: an attribute that is repeated"),
        (csrs.build(sign=lambda signed: b"nonsense"), "refused: a request whose own signature does not verify"),
        (csrs.build(attributes_field=b""), "sound"),
        (csrs.build(der.sequence(der.NULL, der.NULL)), "refused: "),
    ],
)
def test_requests_that_the_ra_refuses_are_shown(request_: bytes, verdict: str) -> None:
    """An ambiguous CSR is decoded all the same, and the reason for its refusal stands beside it."""
    report = describe(request_)
    assert report["kind"] == "certification request"
    assert report["verdict"].startswith(verdict)
    assert understood(report)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (MESSAGE, "pkiMessage"),
        (ber(MESSAGE, segment=100, keep=(FORGE.certificate().der,)), "pkiMessage"),
        (MESSAGE + b"\r\n", "pkiMessage"),
        (base64.b64encode(MESSAGE), "pkiMessage"),
        (base64.encodebytes(MESSAGE).replace(b"\n", b"\r\n"), "pkiMessage"),
        (base64.urlsafe_b64encode(MESSAGE).rstrip(b"="), "pkiMessage"),
        (csrs.pem(MESSAGE, "PKCS7"), "pkiMessage"),
        (csrs.pem(CSR, "NEW CERTIFICATE REQUEST"), "certification request"),
        (b"some text\n" + csrs.pem(CA.der, "CERTIFICATE"), "certificate"),
        (csrs.pem(CA.der, "CERTIFICATE") * 2, "PEM file"),
        (pem_key(), "private key"),
        (CA.der, "certificate"),
        (CSR, "certification request"),
        (CRL, "CRL"),
        (FORGE.enveloped(), "EnvelopedData"),
        (der.parse(FORGE.enveloped()).children()[1].only().raw, "EnvelopedData"),
        (seal_with_password(b"x", b"secret", ContentCipher.AES128_CBC), "EnvelopedData"),
        (degenerate([CA.der, RA.certificate.der]), "certs-only message"),
        (build_next_ca_cert((CA,), RA, Digest.SHA256), "signed certificates (GetNextCACert)"),
        (issuer_and_serial(CA), "issuer and serial number"),
        (issuer_and_subject(CA.subject_der, CA.subject_der), "issuer and subject"),
        (b"AES\r\nSHA-256\r\nPOSTPKIOperation\r\nfrobnicate\r\n", "capabilities"),
        (QUERY, "query"),
        (b"?" + QUERY, "query"),
        (b"http://ra.example/scep?" + QUERY + b"\n", "query"),
        (b"GET /cgi-bin/pkiclient.exe?" + QUERY + b" HTTP/1.0\r\nHost: ra\r\n\r\n", "query"),
        (b"/scep?message=" + QUERY.partition(b"message=")[2] + b"&operation=PKIOperation", "query"),
        (b"/scep?operation=GetCACert&message=device%20CA", "query"),
        (b"/scep?operation=GetCACaps", "query"),
    ],
)
def test_every_kind_of_file_is_understood(tmp_path: Path, data: bytes, kind: str) -> None:
    """Messages, CSRs, certificates, answers, lists and queries, in DER, BER, PEM and base64."""
    result = inspect(tmp_path, data, key=pem_key())
    assert result.output.startswith(f"{tmp_path / 'file'}: {kind}\n")
    assert result.exit_code == 0


def test_queries_are_shown_with_their_message() -> None:
    """The message of a PKIOperation is decoded; other operations have their CA identifier."""
    assert describe(QUERY)["message"]["kind"] == "pkiMessage"
    assert describe(b"?operation=GetCACert&message=device%20CA")["ca-identifier"] == "device CA"
    assert describe(b"?operation=GetCACert&message=%1b")["ca-identifier"] == "'\\x1b'"
    assert describe(b"?operation=GetCACaps") == {"kind": "query", "operation": "GetCACaps", "ca-identifier": None}


def test_capabilities_are_shown_with_what_is_unknown() -> None:
    """Known words in the RFC's spelling, unknown ones as they are, and whether POST may be used."""
    assert describe(b"aes\nSHA-256\n\x1bfoo\n") == {
        "kind": "capabilities",
        "keywords": ["AES", "SHA-256"],
        "unknown": ["'\\x1bfoo'"],
        "post": False,
    }


def test_several_files_and_standard_input(tmp_path: Path) -> None:
    """Each file is described; one that is not understood decides the exit code."""
    (tmp_path / "good").write_bytes(CA.der)
    (tmp_path / "bad").write_bytes(b"?")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "good"), str(tmp_path / "bad"), "-"], input=CSR)
    assert result.exit_code == 1
    for title in ("good: certificate", "bad: unknown", "-: certification request"):
        assert title in result.output


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_encrypted_keys_need_their_passphrase(tmp_path: Path) -> None:
    """The passphrase comes from a file, without the line end."""
    (tmp_path / "passphrase").write_bytes(b"open sesame\n")
    option = ("--passphrase-file", str(tmp_path / "passphrase"))
    encrypted = pem_key(passphrase=b"open sesame")
    assert "as recipient 1" in inspect(tmp_path, MESSAGE, *option, key=encrypted).output
    for result in (
        inspect(tmp_path, MESSAGE, key=encrypted),
        inspect(tmp_path, MESSAGE, *option, key=pem_key(passphrase=b"another")),
        inspect(tmp_path, MESSAGE, *option, key=pem_key()),
        inspect(tmp_path, MESSAGE, key=b"no key"),
    ):
        assert result.exit_code == 2
        assert "holds no private key that can be read" in result.output


def test_keys_in_der_and_of_other_kinds(tmp_path: Path) -> None:
    """A key may be DER or EC; one that is neither RSA nor EC opens nothing."""
    assert "as recipient 1" in inspect(tmp_path, MESSAGE, key=pem_key(encoding=Encoding.DER)).output
    assert "none of the keys fits" in inspect(tmp_path, MESSAGE, key=pem_key(csrs.ec_key())).output
    refused = inspect(tmp_path, MESSAGE, key=pem_key(ed25519.Ed25519PrivateKey.generate()))
    assert refused.exit_code == 2
    assert "neither RSA nor EC" in refused.output


# --- Everything recorded, and everything broken ----------------------------------------------------------------------

NOT_OURS = {"024-PKIOperation-response.der", "ber_indefinite_signed.p7"}
FILES = sorted(
    path
    for path in VECTORS.rglob("*")
    if path.suffix in (".der", ".p7", ".txt", ".pem", ".crt") and path.name not in NOT_OURS
)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(VECTORS)) for path in FILES])
def test_recorded_files_are_understood(path: Path) -> None:
    """Everything that real clients and servers said is understood, opened or not."""
    report = describe(path.read_bytes())
    assert understood(report), report


@given(st.data())
def test_nothing_is_too_broken_to_be_described(data: st.DataObject) -> None:
    """Any octets are described or said not to be understood; nothing raises, and nothing unprintable is shown."""
    octets = bytearray(data.draw(st.sampled_from((MESSAGE, CSR, CA.der, CRL, degenerate([CA.der]), QUERY, b"AES\n"))))
    for _ in range(data.draw(st.integers(0, 3))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(min_size=1, max_size=2))
    report = describe(bytes(octets), (SoftwareKey(RA_KEY),), secrets=True)
    assert report["kind"]
    assert understood(report) == (NOT_UNDERSTOOD not in json.dumps(report))
    for text in texts(report):
        assert text.isprintable()


def texts(report: Any) -> list[str]:
    """Every text in a description."""
    if isinstance(report, dict):
        return [text for value in report.values() for text in texts(value)]
    if isinstance(report, list):
        return [text for value in report for text in texts(value)]
    return [report] if isinstance(report, str) else []
