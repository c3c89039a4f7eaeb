"""Every client enrols through the RA with every CA, by GET and POST where it can, and is refused where it should be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.x509.oid import NameOID

from .authorities import Authority, ScepServer
from .clients import Certmonger, Client, PyScep, ScepClient, StrongSwan
from .conftest import MakeClient
from .ra import CHALLENGE, FORMS, INSIDE, OUTSIDE, RegistrationAuthority

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Way:
    """A client, the RA certificates that it is shown, and how it sends its message."""

    client: type[Client]
    form: str
    transport: str

    def url(self, ra: RegistrationAuthority) -> str:
        return ra.url(self.form, self.transport, self.client.algorithms)

    def __str__(self) -> str:
        return f"{self.client.name}-{self.form}-{self.transport}"


# PyScep knows one way only: the two tests at the end show why.
WAYS = [
    *(
        Way(client, form, transport)
        for client in (StrongSwan, Certmonger, ScepClient)
        for form in FORMS
        for transport in client.transports
    ),
    Way(PyScep, "split", "post"),
]
ONE_WAY_EACH = [way for way in WAYS if way.form == "split" and way.transport == way.client.transports[0]]


@pytest.mark.proves("PEER-01", "PEER-03", "PEER-07", "PEER-08", "PEER-09", "PEER-10", "PEER-11", "PEER-12")
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_enrols_through_the_ra(way: Way, authority: Authority, ra: RegistrationAuthority, client: MakeClient) -> None:
    """A client gets through the RA the certificate that the CA issued, also if these two cannot talk to each other."""
    result = client(way.client, authority.root_file).enrol(way.url(ra), INSIDE, CHALLENGE)
    assert result.certificate is not None, result.text + ra.server.output()
    result.certificate.verify_directly_issued_by(authority.issuer)
    (common_name,) = result.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert common_name.value == INSIDE


@pytest.mark.proves("RA-11", "PEER-02")
@pytest.mark.parametrize("way", ONE_WAY_EACH, ids=str)
@pytest.mark.parametrize("challenge", ["wrong", None], ids=["wrong", "absent"])
def test_wrong_challenge_is_refused(
    way: Way, challenge: str | None, authority: Authority, ra: RegistrationAuthority, client: MakeClient
) -> None:
    """A client with the wrong challenge, or none, shows badRequest, and the CA never hears of it."""
    before = authority.operations()
    result = client(way.client, authority.root_file).enrol(way.url(ra), INSIDE, challenge)
    assert not result.issued
    assert way.client.bad_request in result.text, result.text
    assert authority.operations() == before


@pytest.mark.proves("RA-02", "PEER-02")
@pytest.mark.parametrize("way", ONE_WAY_EACH, ids=str)
def test_name_outside_policy_is_refused(
    way: Way, authority: Authority, ra: RegistrationAuthority, client: MakeClient
) -> None:
    """A client with the challenge and a name outside policy shows badRequest, and the CA never hears of it."""
    before = authority.operations()
    result = client(way.client, authority.root_file).enrol(way.url(ra), OUTSIDE, CHALLENGE)
    assert not result.issued
    assert way.client.bad_request in result.text, result.text
    assert authority.operations() == before


@pytest.mark.proves("DR-17", "AC-091", "SEC-05", "SEC-06")
@pytest.mark.parametrize("authority", [ScepServer], ids=lambda kind: kind.name, indirect=True)
@pytest.mark.parametrize("kind", [StrongSwan, Certmonger, ScepClient, PyScep], ids=lambda kind: kind.name)
def test_enrols_with_a_minted_challenge(
    kind: type[Client], authority: Authority, ra: RegistrationAuthority, client: MakeClient
) -> None:
    """A client enrols with a challenge that was made for its name, once: another name and another key are refused. The
    CA has no challenges of its own, which it would miss."""
    challenge = ra.mint(kind.algorithms, INSIDE)
    url = ra.minting_url(kind.algorithms)
    before = authority.operations()
    stranger = client(kind, authority.root_file).enrol(url, "dev2.example.org", challenge)
    assert not stranger.issued
    assert kind.bad_request in stranger.text, stranger.text
    assert authority.operations() == before
    result = client(kind, authority.root_file).enrol(url, INSIDE, challenge)
    assert result.certificate is not None, result.text + ra.server.output()
    after = authority.operations()
    assert not client(kind, authority.root_file).enrol(url, INSIDE, challenge).issued
    assert authority.operations() == after


@pytest.mark.proves("SEC-01")
def test_des_is_refused_where_it_is_not_switched_on(ra: RegistrationAuthority, client: MakeClient) -> None:
    """scepclient, which knows no cipher but DES, shows badAlg at a profile without the legacy switch."""
    result = client(ScepClient).enrol(ra.url("dual", "post"), INSIDE, CHALLENGE)
    assert not result.issued
    assert "failInfo: badAlg (0)" in result.text, result.text


@pytest.mark.proves("PEER-09")
def test_pyscep_needs_split_ra_certificates(
    authority: Authority, ra: RegistrationAuthority, client: MakeClient
) -> None:
    """Where one RA certificate has both uses, PyScep encrypts to the CA, which does not help, or stops at the root."""
    result = client(PyScep).enrol(ra.url("dual", "post"), INSIDE, CHALLENGE)
    assert not result.issued
    expected = PyScep.bad_request if authority.issuer == authority.root else "RA is not issued by CA"
    assert expected in result.text, result.text


def test_pyscep_cannot_get(ra: RegistrationAuthority, client: MakeClient) -> None:
    """PyScep fails before it sends anything where POST is not offered: its GET was written for Python 2."""
    result = client(PyScep).enrol(ra.url("split", "get"), INSIDE, CHALLENGE)
    assert not result.issued
    assert "'bytes' object has no attribute 'encode'" in result.text, result.text
