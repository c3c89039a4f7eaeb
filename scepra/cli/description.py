"""What a file of SCEP's says, as plain values that ``scepra inspect`` shows to people and writes for scripts.

Reading is tolerant: what the RA would refuse is described all the same, with the reason of the refusal beside it.
Nothing is judged by a policy, nothing is fetched, and passwords are masked unless they are asked for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scepra.cli import pkix
from scepra.cli.asn1_text import name_of, number, printable, text
from scepra.cli.pkix import ANY, Report, attempt
from scepra.errors import FailInfo, Malformed, Refused, ScepError
from scepra.scep import cms, der, hresult, oid
from scepra.scep.capabilities import KEYWORDS, Capabilities
from scepra.scep.envelope import EnvelopedData, RecipientInfo
from scepra.scep.identity import CertificateName, SoftwareKey
from scepra.scep.message import PKIStatus, parse_issuer_and_serial, parse_issuer_and_subject
from scepra.scep.name import Name
from scepra.scep.transport import OperationKind, parse_operation

NOT_UNDERSTOOD = "not-understood"
MASKED = "(masked; --show-secrets shows it)"

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s*(.*?)-----END \1-----", re.DOTALL)
_QUERY = re.compile(rb"^(?:[A-Z]+ )?(?:[^\s?]*\?)?(\S*\boperation=\S*)", re.IGNORECASE | re.MULTILINE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\s-]{8,}=*\s*")
_CODES: dict[bytes, dict[str, str]] = {
    oid.MESSAGE_TYPE: {
        "3": "CertRep",
        "17": "RenewalReq",
        "18": "UpdateReq",
        "19": "PKCSReq",
        "20": "CertPoll",
        "21": "GetCert",
        "22": "GetCRL",
    },
    oid.PKI_STATUS: {status.value: status.name for status in PKIStatus},
    oid.FAIL_INFO: {
        str(int(info)): name
        for info, name in zip(
            FailInfo, ("badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId"), strict=True
        )
    },
}


def describe(data: bytes, keys: Sequence[SoftwareKey] = (), *, secrets: bool = False) -> Report:
    """Describe a file.

    Args:
        data: a pkiMessage, an EnvelopedData, a certs-only message, a certificate, a CSR, an answer to GetCACaps or
            GetNextCACert, or the URL or query of a GET; in DER, PEM or base64.
        keys: open envelopes that are for one of them.
        secrets: show challenge passwords.

    Returns:
        Values that JSON has, with a ``kind``. Where something was not understood, :data:`NOT_UNDERSTOOD` says why.
    """
    return _Reader(tuple(keys), secrets).file(data)


def understood(report: Any) -> bool:
    """Whether nothing in a description was not understood."""
    if isinstance(report, dict):
        return NOT_UNDERSTOOD not in report and all(map(understood, report.values()))
    return not isinstance(report, list) or all(map(understood, report))


@dataclass(frozen=True, slots=True)
class _Reader:
    keys: tuple[SoftwareKey, ...]
    secrets: bool

    def file(self, data: bytes) -> Report:
        """Whatever a file holds."""
        blocks = _PEM.findall(data)
        if len(blocks) == 1:
            return self.pem(*blocks[0])
        if blocks:
            return {"kind": "PEM file", "objects": [self.pem(*block) for block in blocks]}
        reason = "neither ASN.1, PEM, base64, a SCEP query nor a list of capabilities" if data.strip() else "empty"
        if data[:1] == b"\x30":
            try:
                first = der.parse_prefix(data)
                rest = data[first.end :].strip()
                report = self.structure(first.raw)
            except Malformed as error:
                reason = f"ASN.1 that cannot be read: {error.reason}"
            else:
                return report | {NOT_UNDERSTOOD: f"{len(rest)} octets follow"} if rest else report
        return self.text(data) or {"kind": "unknown", NOT_UNDERSTOOD: reason}

    def pem(self, label: bytes, body: bytes) -> Report:
        """One block of PEM."""
        if b"PRIVATE KEY" in label:
            return {"kind": "private key", "note": "not shown"}
        try:
            return self.structure(base64.b64decode(body.rpartition(b"\n\n")[2]))
        except (binascii.Error, Malformed) as error:
            return {"kind": label.decode("ascii").lower(), NOT_UNDERSTOOD: str(error)}

    def text(self, data: bytes) -> Report | None:
        """A query, base64, or capabilities; None for other text."""
        if query := _QUERY.search(data):
            return self.query(query[1])
        if _BASE64.fullmatch(data):
            digits = re.sub(rb"[\s=]", b"", data).replace(b"-", b"+").replace(b"_", b"/")
            with suppress(Malformed, binascii.Error):
                return self.structure(base64.b64decode(digits + b"=" * (-len(digits) % 4)))
        capabilities = Capabilities.parse(data)
        if not capabilities.keywords:
            return None
        words = [word.strip() for word in data.decode("latin-1").replace("\r", "\n").split("\n")]
        known = {keyword.lower() for keyword in KEYWORDS}
        return {
            "kind": "capabilities",
            "keywords": [keyword for keyword in KEYWORDS if keyword in capabilities],
            "unknown": [printable(word) for word in words if word and word.lower() not in known],
            "post": capabilities.post,
        }

    def query(self, query: bytes) -> Report:
        """The query of a GET."""
        try:
            operation = parse_operation("GET", query, b"")
        except Refused as error:
            return {"kind": "query", NOT_UNDERSTOOD: error.reason}
        report: Report = {"kind": "query", "operation": operation.kind.value}
        if operation.kind is OperationKind.PKI_OPERATION:
            return report | {"message": self.file(operation.message)}
        identifier = operation.ca_identifier
        return report | {"ca-identifier": printable(identifier) if identifier is not None else None}

    def structure(self, encoding: bytes) -> Report:
        """One encoded value, whichever of those that SCEP has.

        Raises:
            Malformed: it is no SEQUENCE.
        """
        first = der.parse(encoding).sequence(1)[0]
        if first.tag == der.INTEGER:
            return self.envelope(encoding)
        if first.tag == der.OBJECT_IDENTIFIER:
            readers = {oid.SIGNED_DATA: self.signed_data, oid.ENVELOPED_DATA: self.envelope}
            if reader := readers.get(first.content):
                return reader(encoding)
            return {"kind": "ContentInfo", "content-type": name_of(first.content), NOT_UNDERSTOOD: "not of SCEP"}
        others: tuple[Callable[[bytes], Report], ...] = (
            pkix.certificate,
            lambda octets: pkix.request(octets, self.attribute),
            pkix.crl,
            _issuer_and_serial,
            _issuer_and_subject,
        )
        for read in others:
            with suppress(Malformed):
                return read(encoding)
        return {"kind": "SEQUENCE", "octets": len(encoding), NOT_UNDERSTOOD: "a structure that SCEP has not"}

    def signed_data(self, encoding: bytes) -> Report:
        """A certs-only message, a pkiMessage, or next CA certificates.

        Raises:
            Malformed: it is no SignedData.
        """
        bag = cms.parse_degenerate(encoding)
        certificates, crls = list(map(self.inner, bag.certificates)), list(map(self.inner, bag.crls))
        if not der.parse(encoding).children()[1].only().children()[-1].children():
            return {"kind": "certs-only message", "certificates": certificates, "crls": crls}
        try:
            signed = cms.SignedData.parse(encoding)
        except Malformed as error:
            return {"kind": "SignedData", "certificates": certificates, "crls": crls, NOT_UNDERSTOOD: error.reason}
        info = signed.signer_info
        return {
            "kind": "pkiMessage"
            if any(kind == oid.MESSAGE_TYPE for kind, _ in info.attributes)
            else "signed certificates (GetNextCACert)",
            "encoding": _encoding_of(encoding),
            "attributes": [self.attribute(kind, values) for kind, values in info.attributes],
            "digest": name_of(info.digest),
            "signature-algorithm": name_of(info.signature_algorithm),
            "signer": _named(info.signer),
            "signature": _signature(signed),
            "certificates": certificates,
            "crls": crls,
            "content-type": name_of(signed.content_type),
            "content": self.content(signed.content),
        }

    def content(self, content: bytes | None) -> Report | str:
        """What a message carries; those without an envelope carry nothing, or, of NDES, one octet."""
        if content is None:
            return "absent"
        return self.inner(content) if len(content) > 1 else f"{len(content)} octets"

    def inner(self, encoding: bytes) -> Report:
        """A structure within another."""
        try:
            return self.structure(encoding)
        except Malformed as error:
            return {"kind": "octets", "octets": len(encoding), NOT_UNDERSTOOD: error.reason}

    def envelope(self, encoding: bytes) -> Report:
        """An EnvelopedData, opened if one of the keys fits."""
        report: Report = {"kind": "EnvelopedData", "encoding": _encoding_of(encoding)}
        try:
            envelope = EnvelopedData.parse(encoding)
        except ScepError as error:
            return report | {NOT_UNDERSTOOD: error.reason}
        report |= {
            "content-encryption": envelope.cipher.value,
            "ciphertext": f"{len(envelope.ciphertext)} octets",
            "recipients": list(map(_recipient, envelope.recipients)),
        }
        for place, recipient in enumerate(envelope.recipients, 1):
            for key in self.keys:
                # A wrong key may seem to open; only the right one opens to ASN.1.
                with suppress(ScepError):
                    content = self.structure(envelope.open(key, recipient))
                    return report | {"opened": f"as recipient {place}", "content": content}
        return report | {"opened": "no, none of the keys fits" if self.keys else "no, there is no key"}

    def attribute(self, kind: bytes, values: Sequence[der.Node]) -> Report:
        """A signed attribute, or one of a CSR."""
        shown = [self.value(kind, value) for value in values]
        named = {"type": name_of(kind)}
        return named | ({"value": shown[0]} if len(shown) == 1 else {"values": shown})

    def value(self, kind: bytes, node: der.Node) -> str:
        """One value of an attribute; challenges are masked wherever they stand."""
        if kind == oid.CHALLENGE_PASSWORD and not self.secrets:
            return MASKED
        shown = text(node)
        if kind in _CODES:
            return f"{shown} ({_CODES[kind].get(shown, 'unknown')})"
        if kind == oid.NDES_ERROR:
            with suppress(ValueError):
                return f"{shown} ({hresult.describe(int(shown) & 0xFFFFFFFF)})"
        return shown


def _signature(signed: cms.SignedData) -> str:
    try:
        signer, _ = signed.verify(ANY)
    except ScepError as error:
        return f"not verified: {error.reason}"
    return f"verifies with certificate {signed.certificates.index(signer.der) + 1}"


def _named(name: CertificateName) -> str:
    if name.issuer is None or name.serial is None:
        return f"key identifier {(name.key_identifier or b'').hex()}"
    issuer = der.parse(name.issuer)
    return f"serial number {number(name.serial)} of {attempt(lambda: str(Name.parse(issuer)))}"


def _recipient(recipient: RecipientInfo) -> Report:
    transport = recipient.transport.value if recipient.transport is not None else "unknown"
    named = {"for": _named(recipient.name)} if recipient.name is not None else {}
    return {"kind": f"key transport {transport}", **named}


def _issuer_and_serial(encoding: bytes) -> Report:
    issuer, serial = parse_issuer_and_serial(encoding)
    name = str(Name.parse(der.parse(issuer)))
    return {"kind": "issuer and serial number", "issuer": name, "serial-number": number(serial)}


def _issuer_and_subject(encoding: bytes) -> Report:
    issuer, subject = (str(Name.parse(der.parse(name))) for name in parse_issuer_and_subject(encoding))
    return {"kind": "issuer and subject", "issuer": issuer, "subject": subject}


def _encoding_of(encoding: bytes) -> str:
    try:
        der.parse(encoding, strict=True)
    except Malformed as error:
        return f"BER: {error.reason}"
    return "DER"
