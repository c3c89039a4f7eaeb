"""Whether the files that say whom a profile believes hold what they should: anchors, agents, revocation lists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path as FilePath

from scepra.config.document import Path
from scepra.config.finding import Finding
from scepra.config.model import CertificateChallenge, OnBehalf, Profile, RevocationLists
from scepra.config.trust import placed
from scepra.errors import ConfigError, ScepError
from scepra.keys.certificate import read_certificates
from scepra.keys.lint import validity
from scepra.scep.certificate import Certificate
from scepra.scep.crl import parse_crl


def examine_anchors(
    path: Path, files: Iterable[FilePath], now: datetime, findings: list[Finding]
) -> Iterator[Certificate]:
    """The certificates in files of anchors; what is wrong with them is noted."""
    for index, file in enumerate(files):
        try:
            certificates = read_certificates(file)
        except ConfigError as error:
            findings += (Finding((*path, index), f"{each.file} {each.sentence}") for each in error.problems)
            continue
        for certificate in certificates:
            if not certificate.is_ca:
                findings.append(Finding((*path, index), f"{file} holds a certificate that is no CA's"))
            elif certificate.key_usage is not None and "keyCertSign" not in certificate.key_usage:
                sentence = f"{file} holds a CA certificate with a keyUsage without keyCertSign"
                findings.append(Finding((*path, index), sentence))
            findings += (
                Finding((*path, index), f"{file} holds a certificate that {sentence}", "warning")
                for sentence, _ in validity(certificate, now)
            )
        yield from certificates


def examine_lists(
    path: Path, lists: RevocationLists | None, anchors: list[Certificate], now: datetime
) -> Iterator[Finding]:
    """What is wrong with the revocation lists of some anchors; nothing is fetched."""
    if lists is None:
        return
    issuers = {(anchor.subject_der, anchor.public_key.sha256) for anchor in anchors}
    count = len(lists.urls) + len(lists.files)
    if count < len(issuers):
        sentence = f"{count} lists for {len(issuers)} CAs: of what those without one have issued nothing will be known"
        yield Finding(path, sentence, "warning")
    for anchor in anchors:
        if anchor.is_ca and anchor.key_usage is not None and "cRLSign" not in anchor.key_usage:
            yield Finding(path, f"{anchor.subject} has a keyUsage without cRLSign: no list of its will be believed")
    for index, file in enumerate(lists.files):
        place = (*path, "files", index)
        try:
            with file.open("rb") as opened:
                content = opened.read(lists.size + 1)
        except OSError as error:
            yield Finding(place, f"{file} cannot be read: {os.strerror(error.errno or 0)}", "warning")
            continue
        if len(content) > lists.size:
            yield Finding(place, f"{file} is larger than size, {lists.size} octets")
            continue
        try:
            found = parse_crl(content, anchors, lists.digests)
        except ScepError as error:
            yield Finding(place, f"{file} is not used: {error.reason}")
            continue
        if not found.valid_at(now):
            start, end = (f"{moment:%Y-%m-%d %H:%M}" for moment in (found.this_update, found.next_update))
            yield Finding(place, f"{file} is good from {start} to {end} UTC only", "warning")


def examine_manufacturers(path: Path, profile: Profile, renewal: list[Certificate], now: datetime) -> Iterator[Finding]:
    """What is wrong with the manufacturers' CAs of a profile.

    Args:
        renewal: its anchors for renewals.
    """
    for where, challenge in placed((*path, "challenge"), profile):
        if not isinstance(challenge, CertificateChallenge):
            continue
        findings: list[Finding] = []
        anchors = list(examine_anchors((*where, "anchors"), challenge.anchors, now, findings))
        yield from findings
        for anchor in anchors:
            if any(anchor.public_key.same_key(other.public_key) for other in renewal):
                sentence = f"{anchor.subject} is an anchor for renewals too: its certificates renew, and enrol nothing"
                yield Finding((*where, "anchors"), sentence)
        yield from examine_lists((*where, "crl"), challenge.crl, anchors, now)


def examine_agents(
    path: Path, settings: OnBehalf | None, infrastructure: Iterable[Certificate], now: datetime
) -> Iterator[Finding]:
    """What is wrong with those who may enrol others.

    Args:
        infrastructure: the RA's own certificates.
    """
    if settings is None:
        return
    own = tuple(infrastructure)
    for index, pin in enumerate(settings.certificates):
        place = (*path, "certificates", index)
        if any(pin.matches(certificate) for certificate in own):
            yield Finding(place, "this is the RA's own certificate, which vouches for nobody (AC-055)")
        if pin.certificate is None:
            continue
        if pin.certificate.is_ca:
            yield Finding(place, "this is a CA certificate, which vouches for nobody (AC-055)")
        for sentence, severity in validity(pin.certificate, now):
            yield Finding(place, f"this certificate {sentence}", severity)
    for index, key in enumerate(settings.keys):
        if any(certificate.public_key.sha256.hex() == key for certificate in own):
            yield Finding((*path, "keys", index), "this is the RA's own key, which vouches for nobody (AC-055)")
