"""Clients renew through the RA in their own ways, without a challenge where the CA asks for none."""

from __future__ import annotations

import pytest

from .authorities import Authority, ScepServer, StepCA
from .clients import Certmonger, Client, PyScep, ScepClient, StrongSwan
from .conftest import MakeClient
from .ra import CHALLENGE, INSIDE, RegistrationAuthority

pytestmark = pytest.mark.interop


def name_of(kind: type[Client] | type[Authority]) -> str:
    return kind.name


@pytest.mark.proves("PEER-06", "RA-30", "MSG-30")
@pytest.mark.parametrize("authority", [ScepServer], indirect=True, ids=name_of)
@pytest.mark.parametrize("kind", [StrongSwan, Certmonger, PyScep], ids=name_of)
def test_renews_through_the_ra(
    kind: type[Client], authority: Authority, ra: RegistrationAuthority, client: MakeClient
) -> None:
    """A client gets its next certificate without a challenge, by RenewalReq or by PKCSReq under the old one."""
    url = ra.url("split", kind.transports[0])
    device = client(kind, authority.root_file)
    first = device.enrol(url, INSIDE, CHALLENGE)
    assert first.certificate is not None, first.text
    second = device.renew(url, INSIDE)
    assert second.certificate is not None, second.text + ra.server.output()
    second.certificate.verify_directly_issued_by(authority.issuer)
    assert second.certificate.serial_number != first.certificate.serial_number
    assert second.certificate.subject == first.certificate.subject


@pytest.mark.proves("RA-30")
@pytest.mark.parametrize("authority", [StepCA], indirect=True, ids=name_of)
@pytest.mark.parametrize("kind", [StrongSwan, PyScep], ids=name_of)
def test_no_renewal_without_the_challenge_that_the_ca_wants(
    kind: type[Client], authority: Authority, ra: RegistrationAuthority, client: MakeClient
) -> None:
    """A client that renews without one shows badRequest, and the CA never hears of it."""
    refuses_renewal(client(kind, authority.root_file), authority, ra)


@pytest.mark.proves("SEC-01")
@pytest.mark.parametrize("authority", [ScepServer], indirect=True, ids=name_of)
def test_no_renewal_by_des(authority: Authority, ra: RegistrationAuthority, client: MakeClient) -> None:
    """scepclient, which knows no cipher but DES, enrols where that is switched on and cannot renew: badRequest."""
    refuses_renewal(client(ScepClient, authority.root_file), authority, ra, CHALLENGE)


def refuses_renewal(
    device: Client, authority: Authority, ra: RegistrationAuthority, challenge: str | None = None
) -> None:
    url = ra.url("split", device.transports[0], device.algorithms)
    first = device.enrol(url, INSIDE, CHALLENGE)
    assert first.certificate is not None, first.text
    before = authority.operations()
    second = device.renew(url, INSIDE, challenge)
    assert not second.issued
    assert device.bad_request in second.text, second.text
    assert authority.operations() == before
