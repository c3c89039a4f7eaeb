"""Certification requests of the RA's own, and identities that stay what they are."""

from __future__ import annotations

from scepra.scep.certification import build_csr, name
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import FixedIdentities, Generation, Identity, Keyring
from tests.rig.house import run
from tests.rig.material import authority


def test_a_request_for_nothing_but_a_name() -> None:
    """Without extensions and challenge there is none of either in it."""
    csr = CertificationRequest.parse(build_csr(authority().identity.key, name("ra")))
    assert (tuple(csr.extensions), csr.challenge_password) == ((), None)


def test_fixed_identities_are_all_there_ever_are() -> None:
    """Looking for more finds nothing."""
    own = authority().identity
    fixed = FixedIdentities(Keyring([Generation(Identity(own.certificate, own.key), own)]))
    assert not run(fixed.seek())
    assert fixed.upcoming is None
