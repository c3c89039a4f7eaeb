"""What the RA says before an enrolment: GetCACert, and that every answer to an enrolment is a 200."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_degenerate
from scepra.upstream.view import UpstreamView, parse_ca_certificates
from tests import csrs
from tests.rig.device import Response, ask, ca_key, request, sound
from tests.rig.forge import ca_extensions, certificate
from tests.rig.house import House, house

SPLIT = {
    "signing": {"certificate": "ra-signing.crt", "key": "ra-signing.key"},
    "encryption": {"certificate": "ra-encryption.crt", "key": "ra-encryption.key"},
}
QUESTION = "/scep?operation=GetCACert"


@dataclass(frozen=True, slots=True)
class Known:
    """An upstream that has been asked already."""

    view: UpstreamView


@pytest.mark.proves("CERT-02", "CERT-05", "CERT-08", "CERT-10", "HTTP-24")
@pytest.mark.parametrize(("ra", "files"), [(None, ["ra"]), (SPLIT, ["ra-encryption", "ra-signing"])])
def test_ra_certificates_stand_first(lab: Path, ra: dict[str, dict[str, str]] | None, files: list[str]) -> None:
    """The type for RA certificates has these, unchanged, what encrypts before what signs, and then the issuing CA's."""
    with house(lab, {"ra": ra} if ra else {}) as built:
        answer = ask(built, "GET", QUESTION)
        assert answer.headers["content-type"] == "application/x-x509-ca-ra-cert"
        served = list(map(Certificate.parse, parse_degenerate(answer.body).certificates))
        identities = {"ra": built.authority.keyring.current.encryption}
        if ra:
            identities["ra-encryption"] = identities.pop("ra")
            identities["ra-signing"] = built.authority.keyring.current.signing
        assert served == [*(identities[file].certificate for file in files), built.state.authority.certificate]


@pytest.mark.proves("CERT-09", "CERT-02")
@pytest.mark.parametrize(
    ("settings", "above"),
    [
        ({}, ["CN=Middle CA"]),
        ({"root": True}, ["CN=Middle CA", "CN=Root CA"]),
        ({"intermediates": False, "root": True}, ["CN=Root CA"]),
        ({"intermediates": False}, []),
    ],
)
def test_cas_above_the_issuing_one(lab: Path, settings: dict[str, bool], above: list[str]) -> None:
    """Intermediate and root certificates are served where the profile says so; the issuing CA's always is."""
    with house(lab, {"ca-certificates": settings}) as built:
        root_key, middle_key = csrs.rsa_key(which=11), csrs.rsa_key(which=12)
        root = certificate(root_key, "Root CA", extensions=ca_extensions())
        middle = certificate(middle_key, "Middle CA", by=(root_key, root), extensions=ca_extensions())
        lab_ca = built.state.authority.certificate
        issuing = certificate(ca_key(built), lab_ca.subject_der, by=(middle_key, middle), extensions=ca_extensions())
        assert built.upstream.view is not None
        view = replace(built.upstream.view, issuers=(root, middle, issuing))
        _, body = replace(built.authority, upstream=Known(view)).ca_cert()
        _, first, *rest = parse_ca_certificates(body)
        assert first == issuing
        assert [str(item.subject) for item in rest] == above


@pytest.mark.proves("HTTP-25", "HTTP-24", "HTTP-27")
def test_every_cert_rep_is_a_200(shared: House) -> None:
    """A certificate, a refused challenge, a bad signature and a poll for nothing are all CertReps with status 200."""
    granted = sound(shared).message()
    messages = {
        "granted": granted,
        "challenge": sound(shared, csr=request(shared, challenge="wrong")).message(),
        "signature": granted[:-1] + bytes([granted[-1] ^ 1]),
        "poll": sound(shared, message_type="20").message(),
    }
    answers = {name: post(shared, message) for name, message in messages.items()}
    for name, answer in answers.items():
        assert answer.status == 200, name
        assert answer.headers["content-type"] == "application/x-pki-message"
        assert answer.headers["cache-control"] == "no-store"
    outcomes = [record["outcome"] for record in shared.records[-len(messages) :]]
    assert outcomes == ["issued", "refused", "refused", "refused"]


def post(built: House, message: bytes) -> Response:
    """The answer to a PKIOperation."""
    return ask(built, "POST", "/scep?operation=PKIOperation", data=message)
