"""Which certificates renew: those that this RA issued through the same profile, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scepra.lab import Behaviour
from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus
from tests import csrs
from tests.rig.denial import denials
from tests.rig.device import (
    NAME,
    NEW,
    OLD,
    device_certificate,
    granted,
    pki_status,
    post,
    rebuilt,
    renewal,
    request,
    request_without_challenge,
    sound,
    subject,
)
from tests.rig.house import House, house

RENEWAL = {"trust": "ca.crt", "window": "3650d"}


@pytest.fixture
def strict(lab: Path) -> Iterator[House]:
    """A house that renews what it has issued itself, and nothing else."""
    with house(lab, {"renewal": RENEWAL}) as built:
        yield built


def enrolled(house: House, name: str = NAME) -> Certificate:
    """The certificate that a device gets through a house for its key, :data:`OLD`."""
    forge = sound(house, key=OLD, csr=request(house, key=OLD, subject=subject(name)))
    return Certificate.parse(granted(house, forge, OLD).certificates()[0])


def called(house: House, name: str, *profiles: str) -> House:
    """The house as another profile over the same store, which renews certificates of these profiles."""
    authority = house.authority
    assert authority.renewal is not None
    return rebuilt(
        house,
        name=name,
        renewal=replace(authority.renewal, profiles=frozenset((name, *profiles))),
        policies={**authority.forwarding.policies, name: authority.forwarding.policies[authority.name]},
    )


@pytest.mark.proves("AC-050", "MSG-31", "I1")
def test_what_the_ra_issued_renews(strict: House) -> None:
    """A certificate that this RA issued through the profile renews; what its CA issued otherwise does not."""
    with denials(strict) as deny:
        deny(renewal(strict), because="was not issued through this RA")
        genuine = enrolled(strict)
        granted(strict, renewal(strict, genuine), OLD)
        assert strict.records[-1]["challenge"] == f"certificate {genuine.fingerprint()}"
        namesake = device_certificate(strict)
        assert namesake.subject_der == genuine.subject_der
        deny(renewal(strict, namesake), because="was not issued through this RA")


@pytest.mark.proves("AC-050")
def test_another_profile_s_certificate(strict: House) -> None:
    """What was issued through another profile renews only where the profile lists that one."""
    signer = enrolled(called(strict, "vpn"))
    with denials(strict) as deny:
        deny(renewal(strict, signer), because="was issued through profile vpn")
    # Neither does it count as one from outside.
    assert strict.authority.renewal is not None
    lenient = rebuilt(strict, renewal=replace(strict.authority.renewal, outside=True))
    with denials(lenient) as deny:
        deny(renewal(lenient, signer), because="was issued through profile vpn")
    listing = called(strict, "dev", "vpn")
    granted(listing, renewal(listing, signer), OLD)


@pytest.mark.proves("AC-050")
def test_old_certificates_of_the_ca(lab: Path) -> None:
    """Certificates that the CA issued before there was an RA renew where the profile says so."""
    with house(lab, {"renewal": {**RENEWAL, "outside": "allow"}}) as built:
        granted(built, renewal(built), OLD)


def renewed_for(house: House, signer: Certificate, key: csrs.PrivateKey, **changes: Any) -> Any:
    return renewal(house, signer, csr=request_without_challenge(key=key), **changes)


@pytest.mark.proves("AC-052", "I2", "SEC-06", "DR-8")
def test_fifty_keys_for_one_certificate(strict: House) -> None:
    """One certificate is renewed for one key: forty-nine others are refused, and the one is answered as often as it
    asks."""
    signer = enrolled(strict)
    with denials(strict) as deny:
        first = renewed_for(strict, signer, NEW)
        certificates = granted(strict, first, OLD).certificates()
        for which in range(49):
            deny(renewed_for(strict, signer, csrs.ec_key(which=which)), because="used by another key before")
        forwarded = len(strict.forwarded)
        assert granted(strict, first, OLD).certificates() == certificates
        again = replace(first, transaction_id="another")
        assert granted(strict, again, OLD).certificates() == certificates
        assert len(strict.forwarded) == forwarded


@pytest.mark.proves("AC-052")
def test_as_many_keys_as_the_profile_says(lab: Path) -> None:
    """Where a certificate may be renewed for two keys, the third is refused."""
    with house(lab, {"renewal": {**RENEWAL, "renewals-per-certificate": 2}}) as built, denials(built) as deny:
        signer = enrolled(built)
        for which in (0, 1):
            granted(built, renewed_for(built, signer, csrs.ec_key(which=which)), OLD)
        deny(renewed_for(built, signer, csrs.ec_key(which=2)), because="used by 2 other keys before")


@pytest.mark.proves("AC-052", "DR-8", "I3")
def test_a_refused_renewal_takes_nothing(strict: House) -> None:
    """What this RA refuses leaves the certificate free; what the CA refuses leaves it to the key that asked."""
    signer = enrolled(strict)
    with denials(strict) as deny:
        other = request_without_challenge(key=csrs.ec_key(), subject=subject("other.example"))
        deny(renewal(strict, signer, csr=other), because="differs from the old certificate's")
        strict.ca.behaviour = Behaviour(status=PKIStatus.FAILURE)
        refused = renewed_for(strict, signer, NEW)
        assert pki_status(strict, post(strict, refused.message())) is PKIStatus.FAILURE
        strict.ca.behaviour = Behaviour()
        deny(renewed_for(strict, signer, csrs.ec_key()), because="used by another key before")
        granted(strict, renewed_for(strict, signer, NEW), OLD)
