"""Renewal rules: which certificate may renew itself into which request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from scepra.enrolment import Reservation
from scepra.provenance import REQUEST_AGENT, Provenance, Revocation
from scepra.renewal import RenewalRules
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.certification import Validity, basic_constraints, build_certificate, extended_key_usage, key_usage
from scepra.scep.identity import SoftwareKey
from tests.rig.material import DAY, NOW, authority, issued, key, request

RULES = RenewalRules((authority().certificate,), window=30 * DAY, profiles=frozenset(("wifi",)))
OURS = Provenance("wifi")


def sentences(
    rules: RenewalRules, signer: Certificate, csr=None, digest: Digest = Digest.SHA256, now=NOW, provenance=OURS
) -> str:
    """What the rules say against a renewal; by default of a request with a new key."""
    csr = csr or request(private_key=key("new"))
    return "; ".join(map(str, rules.violations(signer, csr, digest, now, provenance)))


def certificate(*, by: str = "CA", digest: Digest = Digest.SHA256, extensions=(), **changes) -> Certificate:
    """A device's certificate with something unusual about it."""
    settings = {
        "subject": request().subject.der,
        "public_key": SoftwareKey(key()).public.der,
        "issuer": authority(by).certificate.subject_der,
        "signer": authority(by).identity.key,
        "validity": Validity.of(NOW, 10 * DAY),
    }
    return build_certificate(**settings | changes, extensions=extensions, digest=digest)


@pytest.mark.proves("MSG-31")
def test_good_renewal():
    """A certificate in its window renews to a new key with the same names."""
    assert RULES.issued(issued(request()))
    assert sentences(RULES, issued(request())) == ""


@pytest.mark.proves("AC-047", "MSG-32")
def test_foreign_issuer():
    """A certificate of another CA renews only where that CA is an anchor."""
    foreign = issued(request(), by="other CA")
    assert not RULES.issued(foreign)
    assert RenewalRules((authority("other CA").certificate,), 30 * DAY).issued(foreign)


@pytest.mark.proves("RA-31", "SEC-10")
def test_a_ca_that_follows_an_anchor_is_one_too():
    """What follows an anchor may have issued what renews; what came before it, or follows another CA, may not."""
    first, third = authority("first CA").certificate, authority("third CA").certificate
    second = authority().certificate
    beside = RULES.beside((first, second, third))
    assert beside.anchors == (second, third)
    assert beside.issued(issued(request(), by="third CA")) and not beside.issued(issued(request(), by="first CA"))
    assert RULES.beside((first, third)) is RULES.beside((second,)) is RULES.beside(()) is RULES


@pytest.mark.proves("AC-049")
def test_name_is_not_enough():
    """A certificate that bears the anchor's name but another CA's signature was not issued by the anchor."""
    fake = certificate(signer=authority("other CA").identity.key)
    assert fake.issuer_der == authority().certificate.subject_der
    assert not RULES.issued(fake)


@pytest.mark.proves("SEC-10")
def test_end_entity_as_anchor():
    """A certificate that is no CA's issues nothing, even where it is configured."""
    rules = RenewalRules((issued(request()),), 30 * DAY)
    child = certificate(issuer=request().subject.der, signer=SoftwareKey(key()))
    assert not rules.issued(child)


@pytest.mark.proves("MSG-31", "AC-052", "AC-049")
@pytest.mark.parametrize(
    ("elapsed", "grace", "said"),
    [
        (-2 * DAY, 0 * DAY, "has not begun"),
        (0 * DAY, 0 * DAY, "too early"),
        (69 * DAY, 0 * DAY, "too early"),
        (71 * DAY, 0 * DAY, ""),
        (100 * DAY, 0 * DAY, ""),
        (100 * DAY + timedelta(seconds=1), 0 * DAY, "ended"),
        (101 * DAY, 2 * DAY, ""),
        (103 * DAY, 2 * DAY, "ended"),
    ],
)
def test_window(elapsed, grace, said):
    """A certificate renews within its window, until its end and the grace after it."""
    answer = sentences(replace(RULES, grace=grace), issued(request(), lifetime=100 * DAY), now=NOW + elapsed)
    assert said in answer
    assert bool(answer) == bool(said)


def test_unreadable_validity():
    """A certificate whose validity cannot be read does not renew."""
    signer = certificate()
    broken = Certificate.parse(signer.der.replace(b"\x17\x0d" + f"{NOW + 10 * DAY:%y%m}".encode(), b"\x17\x0dxx99", 1))
    assert "cannot be read" in sentences(RULES, broken)


@pytest.mark.proves("MSG-31")
@pytest.mark.parametrize(
    ("old", "new", "fewer", "said"),
    [
        (["a.example", "b.example"], ["a.example", "b.example"], False, ""),
        (["a.example", "b.example"], ["b.example", "a.example"], False, ""),
        (["a.example", "b.example"], ["a.example"], True, ""),
        (["a.example", "b.example"], [], True, ""),
        (["a.example", "b.example"], ["a.example"], False, "lacks names"),
        (["a.example"], ["a.example", "b.example"], True, "has names"),
        ([], ["a.example"], True, "has names"),
    ],
)
def test_names(old, new, fewer, said):
    """The new certificate has the names of the old one, or fewer where the profile says so, and never others."""
    csr = request(private_key=key("new"), names=new)
    answer = sentences(replace(RULES, fewer_names=fewer), issued(request(names=old)), csr)
    assert said in answer
    assert bool(answer) == bool(said)


@pytest.mark.proves("MSG-31")
def test_subject():
    """A renewal does not change the subject."""
    assert "subject" in sentences(RULES, issued(request()), request("another.example", private_key=key("new")))


@pytest.mark.proves("MSG-30")
def test_same_key():
    """The old key is kept only where the profile allows it."""
    assert "old certificate's key" in sentences(RULES, issued(request()), request())
    assert sentences(replace(RULES, same_key=True), issued(request()), request()) == ""


@pytest.mark.proves("MSG-31")
def test_sha1():
    """A renewal rests on SHA-1, in its message or in its certificate, only where the profile allows it."""
    weak = certificate(digest=Digest.SHA1)
    assert "SHA-1" in sentences(RULES, weak)
    assert "SHA-1" in sentences(RULES, issued(request()), digest=Digest.SHA1)
    allowing = replace(RULES, sha1=True)
    assert sentences(allowing, weak, digest=Digest.SHA1) == ""


@pytest.mark.proves("AC-055")
@pytest.mark.parametrize(
    ("extensions", "said"),
    [
        ([basic_constraints(ca=True)], "CA certificate"),
        ([extended_key_usage(oid.encode(REQUEST_AGENT))], "enrolment agent"),
        ([key_usage(["keyEncipherment"])], "lacks digitalSignature"),
        ([key_usage(["digitalSignature"])], ""),
        ([], ""),
    ],
)
def test_powerful_signers(extensions, said):
    """CA, agent and encryption-only certificates renew nothing."""
    answer = sentences(RULES, certificate(extensions=extensions))
    assert said in answer
    assert bool(answer) == bool(said)


@pytest.mark.proves("AC-055")
def test_infrastructure():
    """The RA's own certificates renew nothing, although the anchor issued them."""
    own = issued(request())
    assert "RA's own" in sentences(replace(RULES, infrastructure=frozenset((own,))), own)


@pytest.mark.proves("AC-050")
@pytest.mark.parametrize(
    ("profile", "outside", "said"),
    [
        ("wifi", False, ""),
        ("vpn", False, "through profile vpn"),
        ("vpn", True, "through profile vpn"),
        (None, False, "not issued through this RA"),
        (None, True, ""),
    ],
)
def test_provenance(profile, outside, said):
    """What another profile issued does not renew, and what nobody knows of only where the profile says so."""
    answer = sentences(replace(RULES, outside=outside), issued(request()), provenance=Provenance(profile))
    assert said in answer
    assert bool(answer) == bool(said)


@pytest.mark.proves("AC-049", "MSG-31")
@pytest.mark.parametrize(
    ("revocation", "said"),
    [(Revocation.GOOD, ""), (Revocation.REVOKED, "is revoked"), (Revocation.UNKNOWN, "may be revoked")],
)
def test_revocation(revocation, said):
    """A revoked certificate does not renew, and one of which that is not known neither."""
    answer = sentences(RULES, issued(request()), provenance=Provenance("wifi", revocation))
    assert said in answer
    assert bool(answer) == bool(said)


@pytest.mark.proves("AC-052")
def test_reservation():
    """What is taken for the new key is the old certificate, whatever spelling of its names; another one is another."""
    one, other = issued(request()), certificate()
    assert RULES.reservation(one) == Reservation(f"certificate {one.fingerprint()}", 1)
    assert replace(RULES, uses=3).reservation(one).uses == 3
    assert RULES.reservation(other).credential != RULES.reservation(one).credential


def test_unreadable_extension():
    """An extension that cannot be read is a reason to refuse, not a crash."""
    broken = certificate(extensions=[replace(key_usage(["digitalSignature"]), value=b"\x01")])
    assert "renewal: signer" in sentences(RULES, broken)


def test_extension_types_are_real():
    """The agent's purpose is the one that Microsoft's request agents have."""
    assert x509.ExtendedKeyUsage([ObjectIdentifier(REQUEST_AGENT)])
