"""Answers that are not what they should be, and what a client makes of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509

from scepra.errors import ScepError
from scepra.lab import Authority, Behaviour, CertificationService, Client, Faces, Forgery
from scepra.lab.key import PrivateKey
from scepra.scep import oid

from .conftest import CHALLENGE, NOW, run


@pytest.mark.proves("MSG-60", "MSG-61")
@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        (Forgery.SIGNER, "does not verify"),
        (Forgery.NONCE, "another request"),
        (Forgery.TRANSACTION, "another transaction"),
        (Forgery.KEY, "the request's key"),
    ],
)
@pytest.mark.parametrize("faces", [Faces.CA, Faces.SPLIT])
def test_forged_answer_is_refused(
    forgery: Forgery, reason: str, faces: Faces, client: Client, service: CertificationService
) -> None:
    """An answer by another signer, to another request or transaction, or for another key is refused as what it is."""
    service.behaviour = Behaviour(forgery=forgery, faces=faces)
    with pytest.raises(ScepError, match=reason):
        run(client.enrol("dev1", challenge=CHALLENGE))
    service.behaviour = Behaviour(faces=faces)
    assert run(client.enrol("dev2", challenge=CHALLENGE)).certificate is not None


def test_impostor_differs_in_nothing_but_the_key(service: CertificationService, client: Client) -> None:
    """A forged signer has the names, the serial number and the usages of the real one."""
    service.behaviour = Behaviour(forgery=Forgery.ISSUER)
    issued = run(client.enrol("dev1", challenge=CHALLENGE)).certificate
    assert issued is not None
    ours = service.authority.certificate
    assert issued.issuer_der == ours.subject_der
    assert not issued.signed_by(ours.public_key)


@pytest.mark.parametrize("forgery", [Forgery.SUBJECT, Forgery.NAMES, Forgery.CA, Forgery.EXPIRED])
def test_wrong_certificate_for_the_right_key(forgery: Forgery, service: CertificationService, client: Client) -> None:
    """Each kind of wrong certificate is wrong in its one way, and properly signed."""
    service.behaviour = Behaviour(forgery=forgery)
    issued = run(client.enrol("dev1", challenge=CHALLENGE)).certificate
    assert issued is not None
    x509.load_der_x509_certificate(issued.der).verify_directly_issued_by(
        x509.load_der_x509_certificate(service.authority.certificate.der)
    )
    assert (str(issued.subject) != "CN=dev1") is (forgery is Forgery.SUBJECT)
    assert (issued.extension(oid.SUBJECT_ALT_NAME) is not None) is (forgery is Forgery.NAMES)
    assert issued.is_ca is (forgery is Forgery.CA)
    assert issued.valid_at(NOW) is (forgery is not Forgery.EXPIRED)


def test_certificate_of_an_impostor_is_not_the_cas(authority: Authority, keys: list[PrivateKey]) -> None:
    """A CA does not take for its own what was signed under its name."""
    namesake = Authority.create("Test CA", keys[2], clock=lambda: NOW - timedelta(days=1))
    assert not authority.has_issued(namesake.issue_ra("RA", key=keys[1]).certificate)


Connect = Callable[..., Client]


@pytest.mark.proves("CERT-12")
def test_certificate_by_another_ca_is_no_signer(connect: Connect, service: CertificationService) -> None:
    """A client that knows its CA by fingerprint believes no RA certificate that another CA signed."""
    service.behaviour = Behaviour(faces=Faces.RA)
    other = Authority.create("Another CA", clock=lambda: NOW)
    foreign = CertificationService(other, CHALLENGE, Behaviour(faces=Faces.RA))
    own_generation = service.generation
    service._generations[Faces.RA, service.authority] = foreign.generation
    client = connect(ca_fingerprint=service.authority.certificate.fingerprint())
    assert own_generation is not foreign.generation
    with pytest.raises(ScepError):
        run(client.enrol("dev1", challenge=CHALLENGE))
