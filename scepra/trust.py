"""From a profile's settings to what the certificates that sign its requests are judged by."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from scepra.agent import Agents
from scepra.challenge.certificate import ManufacturerCertificate
from scepra.config import model
from scepra.manufacturer import ManufacturerRules, SerialNumber
from scepra.policy.pattern import Pattern
from scepra.policy.register import ATTRIBUTE_TYPES
from scepra.policy.value import content_of
from scepra.renewal import RenewalRules
from scepra.revocation import RevocationLists
from scepra.scep.certificate import Certificate

Anchors = tuple[Certificate, ...]


@dataclass(slots=True)
class Trust:
    """Makes the rules of all profiles.

    Attributes:
        files: the certificates in each file of anchors.
        infrastructure: the RA's own certificates.
        make_lists: makes the lists of some anchors from their section; the first argument is their name.
        lists: those made so far; profiles that ask for the same share them.
    """

    files: Mapping[Path, Anchors]
    infrastructure: Container[Certificate]
    make_lists: Callable[[str, Anchors, model.ListSources], RevocationLists]
    lists: dict[tuple[Anchors, model.ListSources], RevocationLists] = field(default_factory=dict)

    def anchors(self, paths: Iterable[Path]) -> Anchors:
        """All certificates in some files."""
        return tuple(certificate for path in paths for certificate in self.files[path])

    def renewal(self, profile: str, renewal: model.Renewal) -> RenewalRules:
        """A profile's rules for renewals."""
        return RenewalRules(
            self.anchors(renewal.trust),
            timedelta(seconds=renewal.window),
            timedelta(seconds=renewal.grace),
            fewer_names=renewal.names == "same-or-fewer",
            same_key=renewal.same_key == "allow",
            sha1=renewal.sha1 == "allow",
            infrastructure=self.infrastructure,
            profiles=frozenset((profile, *renewal.profiles)),
            outside=renewal.outside == "allow",
            uses=renewal.renewals_per_certificate,
        )

    def revocation(
        self, name: str, paths: Iterable[Path], settings: model.ListSources | None
    ) -> RevocationLists | None:
        """The lists of the CAs in some files; None where none are configured."""
        if settings is None:
            return None
        anchors = self.anchors(paths)
        known = self.lists.get((anchors, settings))
        if known is None:
            known = self.lists[anchors, settings] = self.make_lists(name, anchors, settings)
        return known

    def agents(self, settings: model.OnBehalf | None) -> Agents:
        """Who may enrol others."""
        if settings is None:
            return Agents()
        certificates = frozenset(pin.sha256 for pin in settings.certificates)
        return Agents(certificates, frozenset(map(bytes.fromhex, settings.keys)), self.infrastructure)

    def manufacturers(self, challenge: model.Challenge) -> Anchors:
        """The CAs of all manufacturers whose certificates a profile's challenge lets enrol."""
        kinds = [each for each in model.singles(challenge) if isinstance(each, model.CertificateChallenge)]
        return self.anchors(path for each in kinds for path in each.anchors)

    def manufacturer(self, name: str, challenge: model.CertificateChallenge) -> ManufacturerCertificate:
        """What judges the certificates of a manufacturer's devices."""
        mapping = challenge.serial
        rules = ManufacturerRules(
            self.anchors(challenge.anchors),
            {_attribute(short): Pattern(text) for short, text in challenge.subject.items()},
            SerialNumber(_attribute(mapping.attribute), mapping.after, mapping.names) if mapping is not None else None,
            challenge.sha1 == "allow",
            self.infrastructure,
        )
        lists = self.revocation(name, challenge.anchors, challenge.crl)
        return ManufacturerCertificate(rules, challenge.keys, lists.standing if lists is not None else None)


def anchor_files(profiles: Iterable[model.Profile]) -> Iterable[Path]:
    """Every file of anchors that profiles name, once."""
    found: dict[Path, None] = {}
    for profile in profiles:
        found |= dict.fromkeys(profile.renewal.trust if profile.renewal is not None else ())
        if profile.queries is not None and profile.queries.crl is not None:
            found |= dict.fromkeys(profile.queries.crl.trust)
        for challenge in model.singles(profile.challenge):
            if isinstance(challenge, model.CertificateChallenge):
                found |= dict.fromkeys(challenge.anchors)
    return found


def _attribute(short: str) -> bytes:
    return content_of(ATTRIBUTE_TYPES, short)
