"""What clients and CAs can do with no RA between: docs/interoperability.rst says why, this says that it is so."""

from __future__ import annotations

import pytest

from .authorities import AUTHORITIES, Authority, ScepServer, StepCA
from .clients import CLIENTS, Certmonger, Client, PyScep, ScepClient, StrongSwan
from .conftest import MakeClient
from .ra import CHALLENGE

pytestmark = pytest.mark.interop

# What the client prints where the pair cannot work.
FAILS = {
    (StrongSwan, ScepServer): "AES_CBC encryption algorithm not supported by CA",
    (StrongSwan, StepCA): "AES_CBC encryption algorithm not supported by CA",
    (Certmonger, ScepServer): "failed to verify signature on server response",
    (Certmonger, StepCA): 'Server reply was of unexpected MIME type "text/plain"',
    (PyScep, ScepServer): "method should have been primitive, but constructed was found",
    (PyScep, StepCA): "method should have been primitive, but constructed was found",
}


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.name)
def test_pair_without_ra(kind: type[Client], authority: Authority, client: MakeClient) -> None:
    """A client gets its certificate from the CA itself, or fails in the way that is written down for this pair."""
    result = client(kind).enrol(authority.url, "direct.example.org", CHALLENGE)
    expected = FAILS.get((kind, type(authority)))
    if expected is None:
        assert result.certificate is not None, result.text
        result.certificate.verify_directly_issued_by(authority.issuer)
    else:
        assert not result.issued
        assert expected in result.text, result.text


def test_table_is_of_pairs_that_are_tried() -> None:
    """Every failure that is written down belongs to a pair that is tried, and only micromdm's client needs no RA."""
    pairs = {(kind, authority) for kind in CLIENTS for authority in AUTHORITIES}
    assert pairs - FAILS.keys() == {(ScepClient, authority) for authority in AUTHORITIES}


def test_strongswan_without_aes(authority: Authority, client: MakeClient) -> None:
    """Told to use triple DES, strongSwan gets an answer and cannot read its signature: it knows one OID for RSA."""
    result = client(StrongSwan).enrol(authority.url, "direct.example.org", CHALLENGE, options=["--cipher", "des3"])
    assert not result.issued
    assert "only RSA digest encryption supported" in result.text, result.text


def test_certmonger_with_a_trusted_ca(authority: Authority, client: MakeClient) -> None:
    """Told which CA to trust, certmonger verifies the answer; the DES inside, or step-ca's GET, stops it."""
    result = client(Certmonger, authority.root_file).enrol(authority.url, "direct.example.org", CHALLENGE)
    assert not result.issued
    expected = "status: NEED_GUIDANCE" if authority.answers_in_des else FAILS[Certmonger, type(authority)]
    assert expected in result.text, result.text
