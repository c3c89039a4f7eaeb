"""What the RA says before an enrolment: GetCACert and GetCACaps (conformance 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from scepra.errors import FailInfo
from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates, parse_degenerate
from scepra.upstream.view import UpstreamView
from tests import csrs
from tests.rig.denial import Denials
from tests.rig.device import KEY, ask, ca_key, granted, rebuilt, request, sound
from tests.rig.forge import ca_extensions, certificate, sign
from tests.rig.house import house

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
        known = built.upstream.view
        view = replace(known, current=replace(known.current, issuers=(root, middle, issuing)))
        _, body = rebuilt(built, upstream=Known(view)).authority.ca_cert()
        _, first, *rest = parse_ca_certificates(body)
        assert first == issuing
        assert [str(item.subject) for item in rest] == above


@pytest.mark.proves("CAPS-01", "CAPS-02", "CAPS-03", "CAPS-05", "PEER-03", "SEC-14")
@pytest.mark.parametrize("switched", ["none", "des3", "sha1", "sha256", "sha384", "sha512"])
def test_what_is_listed_works(lab: Path, switched: str) -> None:
    """Each switch takes one keyword off the list, and what is not listed is refused; all that is listed is granted."""
    keywords = {
        "DES3": {"cipher": ContentCipher.DES_EDE3_CBC},
        "AES": {"cipher": ContentCipher.AES128_CBC, "digest": Digest.SHA512 if switched == "sha256" else Digest.SHA256},
        "SHA-1": {"digest": Digest.SHA1},
        "SHA-256": {"digest": Digest.SHA256},
        "SHA-384": {"digest": Digest.SHA384},
        "SHA-512": {"digest": Digest.SHA512},
    }
    if switched == "sha256":
        keywords["DES3"] |= {"digest": Digest.SHA512}
    off = {"des3": "DES3"}.get(switched, switched.upper().replace("SHA", "SHA-"))
    with house(lab, {"capabilities": {switched: False}} if switched != "none" else {}) as built:
        deny = Denials(built)
        answer = ask(built, "GET", "/scep?operation=GetCACaps")
        assert answer.headers["content-type"] == "text/plain"
        listed = answer.body.decode("ascii").removesuffix("\n").split("\n")
        assert len(set(listed)) == len(listed)
        expected = set(keywords) | {"POSTPKIOperation", "Renewal", "SCEPStandard"}
        assert set(listed) == expected - {off} - ({"SCEPStandard"} if switched == "sha256" else set())
        csr = request(built, **_signed_with_sha512() if switched == "sha256" else {})
        for keyword, used in keywords.items():
            forge = sound(built, **used, csr=csr)
            if keyword in listed:
                granted(built, forge)
            else:
                deny(forge, FailInfo.BAD_ALG)


def _signed_with_sha512() -> dict[str, Any]:
    algorithm = csrs.algorithm(oid.SHA512_RSA, der.NULL)
    return {"signature_algorithm": algorithm, "sign": lambda signed: sign(KEY, signed, Digest.SHA512)}
