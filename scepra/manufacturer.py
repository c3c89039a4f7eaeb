"""Certificates that devices bring from their manufacturer, as what authorises an initial enrolment.

The certificate signs the request in place of a self-signed one, and the new names have nothing to do with its own. So
what it says its device is, the serial number, decides which names the request may ask for: without that every device of
the manufacturer's could ask for every name that the policy lets through (AC-091).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scepra.binding import Binding, NoBinding
from scepra.enrolment import Violation
from scepra.errors import ScepError
from scepra.policy.pattern import Pattern
from scepra.provenance import Revocation, issuer_of, powers, standing, weaknesses
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest

PLACE = "{serial}"
"""Stands for the serial number in the names that it gives."""
# Plain, so that it can become part of a name without becoming two.
_SERIAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SerialNumber:
    """Where a manufacturer's certificates have the serial number of their device, and which names it gives.

    Attributes:
        attribute: the attribute of the subject that has it: content octets of its identifier.
        after: what stands before it there and is no part of it: Cisco writes "PID:... SN:...".
        names: as in :meth:`~scepra.binding.Binding.to_json`; :data:`PLACE` stands for the number.
    """

    attribute: bytes
    after: str
    names: Mapping[str, str | tuple[str, ...]]

    def of(self, certificate: Certificate) -> str | None:
        """The serial number; None where there is none, or several, or one that is not plain."""
        values = certificate.subject.values(self.attribute)
        text = values[0].text if len(values) == 1 else None
        if text is None or self.after not in text:
            return None
        serial = text.rpartition(self.after)[2] if self.after else text
        return serial if _SERIAL.fullmatch(serial) else None

    def binding(self, serial: str) -> Binding:
        """The names that a device may ask for.

        Raises:
            NoBinding: one of them is too long.
        """

        def filled(text: str) -> str:
            return text.replace(PLACE, serial)

        names = {
            key: filled(value) if isinstance(value, str) else tuple(map(filled, value))
            for key, value in self.names.items()
        }
        return Binding.from_json(names)


@dataclass(frozen=True, slots=True)
class ManufacturerRules:
    """Which manufacturers' certificates authorise an initial enrolment, and for which names.

    Attributes:
        anchors: the CA certificates that issued them, directly; the system's trust store plays no part.
        subject: patterns by attribute type (content octets): each must be there, and all its values must match.
        serial: None: their devices may ask for whatever the policy lets through.
        sha1: whether SHA-1 may have signed them, or the message.
        infrastructure: certificates that authorise nothing: the RA's own.
    """

    anchors: tuple[Certificate, ...]
    subject: Mapping[bytes, Pattern] = field(default_factory=dict)
    serial: SerialNumber | None = None
    sha1: bool = False
    infrastructure: Container[Certificate] = frozenset()

    def issued(self, signer: Certificate) -> bool:
        """Whether one of the anchors issued *signer*."""
        return issuer_of(signer, self.anchors) is not None

    def device(self, signer: Certificate) -> str:
        """The serial number of the certificate's device; empty where nobody has said where it stands."""
        return (self.serial.of(signer) or "") if self.serial is not None else ""

    def violations(
        self, signer: Certificate, csr: CertificationRequest, digest: Digest, now: datetime, revocation: Revocation
    ) -> tuple[Violation, ...]:
        """Everything that keeps *signer* from enrolling its device as *csr* has it.

        Args:
            signer: a certificate that one of the anchors issued.
            digest: of the message's signature.
            now: UTC.
            revocation: whether *signer* was revoked.
        """
        try:
            return tuple(
                Violation("manufacturer", path, sentence)
                for path, sentence in (
                    *powers(signer, self.infrastructure),
                    *(weaknesses(signer, digest) if not self.sha1 else ()),
                    *(
                        ()
                        if signer.valid_at(now)
                        else [("signer.validity", "is over, has not begun, or is unreadable")]
                    ),
                    *standing(revocation),
                    *self._subject(signer),
                    *self._names(signer, csr),
                )
            )
        except ScepError as error:
            return (Violation("manufacturer", "signer", error.reason),)

    def _subject(self, signer: Certificate) -> Iterator[tuple[str, str]]:
        for attribute, pattern in self.subject.items():
            values = signer.subject.values(attribute)
            if not values:
                yield "signer.subject", f"has nothing to match {pattern.text}"
            elif any(value.text is None or not pattern.matches(value.text) for value in values):
                yield f"signer.subject.{values[0].type_name}", f"does not match {pattern.text}"

    def _names(self, signer: Certificate, csr: CertificationRequest) -> Iterator[tuple[str, str]]:
        if self.serial is None:
            return
        serial = self.serial.of(signer)
        if serial is None:
            yield "signer.subject", "has no serial number where it should be"
            return
        try:
            binding = self.serial.binding(serial)
        except NoBinding as error:
            yield "signer.subject", f"its serial number makes no name: {error}"
            return
        for sentence in binding.violations(csr):
            yield "", f"{sentence} than the device's serial number gives"
