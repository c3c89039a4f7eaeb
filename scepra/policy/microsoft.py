"""The rule about what Windows maps certificates to accounts by (KB5014754): security identifiers and UPNs.

A security identifier stands in the extension szOID_NTDS_CA_SECURITY_EXT, where a CA puts it, or in a URI of the SAN,
where Intune does. A domain controller takes whoever shows it for that account, so nobody may ask for one unless told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.errors import ScepError
from scepra.policy.alternative import is_sid_uri
from scepra.policy.model import MicrosoftSpec
from scepra.policy.register import SECURITY_IDENTIFIER
from scepra.policy.rule import NOT_NAMED, Contents, Request
from scepra.scep import der, oid
from scepra.scep.name import COMMON_NAME

TAG = "tag:microsoft.com,2022-09-14:sid:"
_OBJECT_SID = oid.encode("1.3.6.1.4.1.311.25.2.1")
_ACCOUNT = re.compile(r"(S-1-5-21(?:-(?:0|[1-9][0-9]{0,9})){3})-(0|[1-9][0-9]{0,9})")
# Below are the accounts and groups that every domain has: Administrator is 500, Domain Admins 512.
_FIRST_OWN = 1000


class Microsoft:
    """Where security identifiers may be, and which; how UPNs have to fit."""

    name: ClassVar[str] = "microsoft"
    __slots__ = ("_spec",)

    def __init__(self, spec: MicrosoftSpec) -> None:
        self._spec = spec

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        contents, spec = request.csr, self._spec
        found = list(identifiers(contents))
        for path, sid in found:
            if spec.sid == "forbid":
                yield Violation(self.name, path, f"a security identifier: {NOT_NAMED}", structural=sid is None)
            elif sentence := self._object(sid):
                built_in = sid is None or sentence == _BUILT_IN
                yield Violation(self.name, path, sentence, structural=built_in)
        if len({sid for _, sid in found}) > 1:
            yield Violation(self.name, "sid", "is not the same in all places", structural=True)
        upns = [name.value for name in contents.alternative_names if name.kind == "upn"]
        if not found and (spec.sid == "require" or (spec.sid == "with-upn" and upns)):
            yield Violation(self.name, "sid", "is required and not there")
        if spec.upn_matches_cn:
            common = {value.text.lower() for value in contents.subject.values(COMMON_NAME) if value.text is not None}
            for upn in upns:
                text = upn.lower() if isinstance(upn, str) else ""
                if not {text, text.rpartition("@")[0]} & common:
                    yield Violation(self.name, "san.upn", "is not the common name's")

    def look(self, request: Request) -> str:
        """The security identifiers."""
        return ", ".join(sid or "unreadable" for _, sid in identifiers(request.csr)) or "no security identifier"

    def _object(self, sid: str | None) -> str | None:
        match = _ACCOUNT.fullmatch(sid) if sid is not None else None
        if match is None:
            return "is not the security identifier of an account of a domain"
        if int(match[2]) < _FIRST_OWN:
            return _BUILT_IN
        if self._spec.domains and match[1] not in self._spec.domains:
            return "is of none of the domains"
        return None


_BUILT_IN = f"is below {_FIRST_OWN}: accounts and groups that every domain has"


def identifiers(contents: Contents) -> Iterator[tuple[str, str | None]]:
    """Every security identifier with its place; None where there is one that cannot be read."""
    for extension in contents.extensions:
        if extension.oid == SECURITY_IDENTIFIER:
            yield "extensions.ntdsCaSecurity", _read(extension.value)
    for index, name in enumerate(contents.alternative_names):
        if is_sid_uri(name) and isinstance(name.value, str):
            exact = name.value.startswith(TAG)
            yield f"san.uri[{index}]", name.value.removeprefix(TAG) if exact else None


def _read(encoding: bytes) -> str | None:
    """The only name in the extension ([MS-WCCE] 2.2.2.7.7.4), or None if it has any other form."""
    try:
        names = der.parse(encoding, strict=True).sequence()
        if len(names) != 1:
            return None
        parts = names[0].expect(0xA0).children()
        if len(parts) != 2 or parts[0].oid() != _OBJECT_SID:
            return None
        values = parts[1].expect(0xA0).children()
        return values[0].octets().decode("ascii") if len(values) == 1 else None
    except (ScepError, UnicodeDecodeError):
        return None
