"""What is believed of what an upstream offers."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.config.upstream import Upstream as Settings
from scepra.errors import Malformed, UpstreamError
from scepra.lab.key import new_key
from scepra.scep.algorithm import Digest
from scepra.scep.capabilities import Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.cms import degenerate, parse_ca_certificates
from scepra.scep.identity import Identity
from scepra.upstream.view import UpstreamView, build_view
from tests.rig.material import DAY, NOW, ec_key, key

from .material import YEAR, made, settings

SIGNING, ENCRYPTION = ("digitalSignature",), ("keyEncipherment",)
POWERS = ("keyCertSign", "cRLSign")

CA = made("CA", ca=True, usage=POWERS)
RA = made("RA", CA, usage=SIGNING + ENCRYPTION)
RA_SIGNING = made("RA signing", CA, usage=SIGNING)
RA_ENCRYPTION = made("RA encryption", CA, usage=ENCRYPTION)
# The same name as the CA, and another key.
STRANGER = made("CA", ca=True, usage=POWERS, private_key=key("stranger"))
ROOT = made("root", ca=True, usage=POWERS)
INTERMEDIATE = made("intermediate", ROOT, ca=True, usage=POWERS)


def bag(*identities: Identity) -> bytes:
    """A GetCACert answer."""
    if len(identities) == 1:
        return identities[0].certificate.der
    return degenerate(identity.certificate.der for identity in identities)


def view_of(
    *offered: Identity, pinned: tuple[Identity, ...] = (CA,), caps: bytes = b"SCEPStandard", **more: object
) -> UpstreamView:
    """The view of an upstream that offers these."""
    pins = [identity.certificate for identity in pinned]
    return build_view("ca", settings(*pins, **more), caps, bag(*offered), NOW)


def refusal(*offered: Identity, **more: object) -> str:
    """Why an upstream that offers these is not used."""
    with pytest.raises(UpstreamError) as caught:
        view_of(*offered, **more)  # type: ignore[arg-type]
    assert not caught.value.sent
    assert caught.value.upstream == "ca"
    return caught.value.reason


def names(certificates: tuple[Certificate, ...]) -> list[str]:
    return sorted(str(certificate.subject) for certificate in certificates)


@pytest.mark.proves("CERT-11", "CERT-12")
@pytest.mark.parametrize("order", list(permutations((CA, RA_SIGNING, RA_ENCRYPTION))))
def test_two_ra_certificates_in_any_order(order: tuple[Identity, ...]) -> None:
    """Of a CA with one RA certificate to sign and one to encrypt, as NDES has them, each serves what it is for."""
    view = view_of(*order)
    assert view.encryption == RA_ENCRYPTION.certificate
    assert names(view.signers) == ["CN=CA", "CN=RA encryption", "CN=RA signing"]
    assert view.issuers == (view.pinned,) == (CA.certificate,)
    assert [item.fingerprint() for item in view.certificates] == [item.certificate.fingerprint() for item in order]


CHOICES = {
    "one RA certificate for both": ((CA, RA), RA),
    "an RA certificate without keyUsage": ((CA, plain := made("RA plain", CA)), plain),
    "keyUsage before none": ((CA, plain, RA), RA),
    "dataEncipherment": ((CA, data := made("RA data", CA, usage=("dataEncipherment",))), data),
    "a CA that encrypts beside an RA that signs": (
        (full := made("CA", ca=True, usage=(*POWERS, *ENCRYPTION)), signer := made("RA signing", full, usage=SIGNING)),
        full,
    ),
    "a CA without keyUsage alone": ((bare := made("CA", ca=True),), bare),
    "a CA with keyCertSign alone": ((CA,), CA),
    "a root of old without basicConstraints": ((old := made("CA", ca=None),), old),
    "a root of old and an RA": ((old, old_ra := made("RA", old, usage=SIGNING + ENCRYPTION)), old_ra),
}


@pytest.mark.proves("CERT-11")
@pytest.mark.parametrize(("offered", "chosen"), list(CHOICES.values()), ids=list(CHOICES))
def test_choice_of_what_is_encrypted_to(offered: tuple[Identity, ...], chosen: Identity) -> None:
    """The RA's certificate comes before the CA's, and keyUsage before position; one that is alone serves as it is."""
    for order in (offered, offered[::-1]):
        assert view_of(*order, pinned=offered[:1]).encryption == chosen.certificate


@pytest.mark.proves("CERT-12", "AC-106")
@pytest.mark.parametrize("offered", [(STRANGER,), (STRANGER, made("RA", STRANGER)), (RA,)])
def test_pin_that_nothing_has(offered: tuple[Identity, ...]) -> None:
    """Without the pinned certificate in it an answer is worth nothing, and the log can tell what was offered."""
    reason = refusal(*offered)
    assert "none is pinned" in reason
    assert all(f"sha256:{item.certificate.fingerprint()}" in reason for item in offered)


@pytest.mark.proves("CERT-12", "AC-106", "DR-11")
def test_ra_of_another_ca_of_the_same_name() -> None:
    """An RA certificate of another CA is refused, whatever the names say, and nothing is chosen instead."""
    false = made("RA", STRANGER, usage=ENCRYPTION, private_key=key("false RA"))
    reason = refusal(CA, false)
    assert f"sha256:{false.certificate.fingerprint()} is not issued by the pinned CA" in reason
    assert "is not issued by" in refusal(CA, STRANGER, false)
    # The root has the CA's key here, but another name.
    assert "is not issued by" in refusal(CA, made("RA", ROOT))


@pytest.mark.proves("CERT-12", "AC-106")
def test_stranger_beside_a_good_ra_is_passed_over() -> None:
    """A certificate that does not chain to the pin neither signs nor receives; those that do still serve."""
    false = made("RA false", STRANGER, usage=ENCRYPTION)
    view = view_of(false, STRANGER, CA, RA_SIGNING, plain)
    assert view.encryption == plain.certificate
    assert names(view.signers) == ["CN=CA", "CN=RA plain", "CN=RA signing"]
    assert false.certificate in view.certificates


@pytest.mark.proves("CERT-12")
@pytest.mark.parametrize(("start", "end"), [(-YEAR, -DAY), (DAY, YEAR)])
def test_ra_out_of_its_validity(start: timedelta, end: timedelta) -> None:
    """An RA certificate that has expired, or is not valid yet, is refused and named."""
    late = made("RA late", CA, usage=SIGNING + ENCRYPTION, start=start, end=end)
    assert f"sha256:{late.certificate.fingerprint()} is expired or not valid yet" in refusal(CA, late)
    assert view_of(CA, late, RA).signers == (CA.certificate, RA.certificate)


@pytest.mark.proves("CERT-11", "CERT-12")
def test_what_only_signs_is_never_encrypted_to() -> None:
    """Where the RA certificate that encrypts has expired, the one that signs does not take its place."""
    late = made("RA late", CA, usage=ENCRYPTION, start=-YEAR, end=-DAY)
    assert "none that is trusted is for encryption" in refusal(CA, RA_SIGNING, late)


@pytest.mark.proves("CERT-12")
def test_pinned_ca_that_has_expired() -> None:
    """The pinned certificate is good for as long as it is valid."""
    late = made("CA", ca=True, start=-YEAR, end=-DAY)
    assert "no pinned one is a CA's and valid now" in refusal(late, pinned=(late,))


@pytest.mark.proves("CERT-12")
def test_pin_of_an_ra_alone() -> None:
    """The pin is the CA's: an RA certificate issues nothing."""
    assert "no pinned one is a CA's" in refusal(CA, RA, pinned=(RA,))


@pytest.mark.proves("CERT-12", "AC-106")
def test_pin_of_an_ra_as_well() -> None:
    """Whoever pins the CA and an RA certificate believes no other RA certificate, though the CA issued it."""
    assert view_of(CA, RA, plain, pinned=(CA, RA)).signers == (CA.certificate, RA.certificate)
    missing = refusal(CA, plain, RA_SIGNING, pinned=(CA, RA_SIGNING))
    assert "none that is trusted is for encryption" in missing


@pytest.mark.proves("CERT-11", "CERT-12")
@pytest.mark.parametrize("order", list(permutations((ROOT, INTERMEDIATE))))
def test_root_is_pinned_and_an_intermediate_does_it_all(order: tuple[Identity, ...]) -> None:
    """Below a pinned root, the intermediate that alone is left receives, signs and issues, as step-ca's does."""
    view = view_of(*order, pinned=(ROOT,))
    assert view.encryption == INTERMEDIATE.certificate
    assert view.signers == view.issuers == (ROOT.certificate, INTERMEDIATE.certificate)
    assert view.pinned == ROOT.certificate


@pytest.mark.proves("CERT-11", "CERT-12")
@pytest.mark.parametrize("offered", [(INTERMEDIATE,), (INTERMEDIATE, ROOT), (ROOT, INTERMEDIATE)])
def test_intermediate_is_pinned(offered: tuple[Identity, ...]) -> None:
    """Trust goes downward: the root above a pinned intermediate signs nothing and issues nothing."""
    view = view_of(*offered, pinned=(INTERMEDIATE,))
    assert view.encryption == INTERMEDIATE.certificate
    assert view.signers == view.issuers == (INTERMEDIATE.certificate,)


@pytest.mark.proves("CERT-12")
@pytest.mark.parametrize("position", range(3))
def test_ra_of_an_intermediate_below_the_pin(position: int) -> None:
    """An RA certificate chains to the pinned root over an intermediate, in any order."""
    order = [ROOT, INTERMEDIATE]
    order.insert(position, low := made("RA low", INTERMEDIATE, usage=SIGNING + ENCRYPTION))
    view = view_of(*order, pinned=(ROOT,))
    assert view.encryption == low.certificate
    assert view.issuers == (ROOT.certificate, INTERMEDIATE.certificate)


@pytest.mark.proves("CERT-12", "AC-106")
def test_what_may_not_issue_issues_nothing() -> None:
    """Trust does not go over a device's certificate, a CA's without keyCertSign, or past a path length."""
    below_ra = made("RA low", RA, usage=ENCRYPTION)
    assert below_ra.certificate not in view_of(CA, RA, below_ra).signers
    powerless = made("intermediate", ROOT, ca=True, usage=SIGNING)
    below = made("RA low", powerless, usage=ENCRYPTION)
    assert "no RA certificate can be trusted" in refusal(ROOT, powerless, below, pinned=(ROOT,))
    short = made("root", path_length=0)
    over = made("intermediate", short, ca=True, usage=POWERS)
    assert "no RA certificate can be trusted" in refusal(short, over, made("RA low", over), pinned=(short,))
    long = made("root", path_length=1)
    assert view_of(long, made("intermediate", long, ca=True), pinned=(long,)).issuers[1:]
    middle = made("intermediate", long, ca=True)
    deep = made("deep", middle, ca=True)
    assert names(view_of(long, middle, deep, pinned=(long,)).issuers) == ["CN=intermediate", "CN=root"]


@pytest.mark.proves("CERT-11")
def test_several_cas_none_of_which_says_it_encrypts() -> None:
    """Nothing is guessed between two CAs side by side."""
    assert "none that is trusted is for encryption" in refusal(CA, ROOT, pinned=(CA, ROOT))


@pytest.mark.proves("RA-19")
@pytest.mark.parametrize("with_ra", [False, True])
def test_ca_without_rsa(with_ra: bool) -> None:
    """A CA that has only EC keys has a view: what is sent to it is encrypted by password, or not at all."""
    ca = made("EC CA", ca=True, usage=POWERS, private_key=ec_key("EC CA"))
    ra = made("EC RA", ca, usage=SIGNING, private_key=ec_key("EC RA"))
    view = view_of(*((ca, ra) if with_ra else (ca,)), pinned=(ca,))
    assert view.encryption == (ra if with_ra else ca).certificate
    assert not view.encryption.public_key.encrypts


@pytest.mark.proves("RA-19")
def test_cas_without_rsa_that_certify_each_other() -> None:
    """Where no CA is the lowest, a view without RSA is still a view, and with RSA nothing is guessed."""
    for keys in ((ec_key("a"), ec_key("b")), (key("CA"), key("RA"))):
        one, other = (made(name, ca=True, private_key=private) for name, private in zip("ab", keys, strict=True))
        crossed = [made("a", other, ca=True, private_key=keys[0]), made("b", one, ca=True, private_key=keys[1])]
        if keys[0] is key("CA"):
            assert "none that is trusted is for encryption" in refusal(*crossed, pinned=(crossed[0],))
        else:
            assert view_of(*crossed, pinned=(crossed[0],)).encryption == crossed[0].certificate


@pytest.mark.proves("AC-107")
def test_weak_key_of_an_ra() -> None:
    """Nothing is encrypted to a key below the floor, until the legacy switch is set."""
    weak = made("RA weak", CA, usage=SIGNING + ENCRYPTION, private_key=new_key("RSA-1024"))
    assert "an RSA key of 1024 bits" in refusal(CA, weak)
    assert view_of(CA, weak, legacy=["RSA-1024"]).encryption == weak.certificate


@pytest.mark.proves("CERT-12", "AC-107")
def test_weak_signature_on_an_ra() -> None:
    """A signature with MD5 proves no chain, until the legacy switch is set; SHA-1 still does."""
    md5 = made("RA MD5", CA, usage=SIGNING + ENCRYPTION, digest=Digest.MD5)
    assert "is not issued by the pinned CA" in refusal(CA, md5)
    assert view_of(CA, md5, legacy=["MD5"]).encryption == md5.certificate
    sha1 = made("RA SHA-1", CA, usage=SIGNING + ENCRYPTION, digest=Digest.SHA1)
    assert view_of(CA, sha1).encryption == sha1.certificate


BAG = bag(CA, RA)
BER = BAG.replace(BAG[:4], b"\x30\x80", 1) + b"\0\0"
BODIES = {
    "a bare certificate": (CA.certificate.der, 1),
    "a bare certificate and a line end": (CA.certificate.der + b"\r\n", 1),
    "a message of one": (degenerate([CA.certificate.der]), 1),
    "a message of two": (BAG, 2),
    "a message and a line end": (BAG + b"\n", 2),
    "a message in BER": (BER, 2),
    "one certificate twice": (degenerate([CA.certificate.der, CA.certificate.der]), 1),
}


@pytest.mark.proves("CERT-14")
@pytest.mark.parametrize(("body", "count"), list(BODIES.values()), ids=list(BODIES))
def test_certificates_are_known_by_what_they_are(body: bytes, count: int) -> None:
    """One certificate and a message of several are told apart by their octets: there is no label to ask."""
    assert parse_ca_certificates(body) == (CA.certificate, RA.certificate)[:count]


@pytest.mark.proves("CERT-14")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        degenerate(),
        BAG[:-1],
        BAG + b"\0",
        BAG + BAG,
        CA.certificate.der[:100],
        b"\x30\x00",
        b"\x30\x03\x06\x01\x2a",
    ],
)
def test_answers_without_certificates(body: bytes) -> None:
    """What is no certificate and no message of any is refused as such."""
    with pytest.raises(Malformed):
        parse_ca_certificates(body)
    with pytest.raises(UpstreamError, match="its CA certificates cannot be used"):
        build_view("ca", settings(CA.certificate), b"", body, NOW)


@given(place=st.integers(0, len(BAG) - 1), octet=st.integers(0, 255))
def test_damaged_answers(place: int, octet: int) -> None:
    """Whatever a damaged answer is taken for, it is a view or an UpstreamError, and never trust in another key or name.

    What surrounds the signed part of a certificate may be damaged and make no difference: the parameters of the
    signature's algorithm, for one.
    """
    body = BAG[:place] + bytes((octet,)) + BAG[place + 1 :]
    try:
        view = build_view("ca", settings(CA.certificate), b"", body, NOW)
    except UpstreamError:
        return
    known = {(item.subject_der, item.spki) for item in (CA.certificate, RA.certificate)}
    assert {(item.subject_der, item.spki) for item in view.signers} <= known


ALL = b"AES\nDES3\nGetNextCACert\nPOSTPKIOperation\nRenewal\nSHA-1\nSHA-256\nSHA-512\nSCEPStandard\n"
DOGTAG = b"Renewal\nSHA-512\nSHA-256\nSHA-1\nDES3\n"
NDES = b"POSTPKIOperation\r\nRenewal\r\nSHA-512\r\nSHA-256\r\nSHA-1\r\nDES3\r\n"


@pytest.mark.proves("CAPS-08", "CAPS-09", "CAPS-12")
@pytest.mark.parametrize(
    ("caps", "post"),
    [
        (ALL, True),
        (NDES, True),
        (DOGTAG, False),
        (b"", False),
        (b"scepstandard", True),
        (b"Nonsense\rpostpkioperation\r", True),
        (b"<html>POSTPKIOperation</html>", False),
        (b"\nPOSTPKIOperation", True),
        (b"POSTPKIOperationX", False),
    ],
)
def test_post_or_get_by_capabilities(caps: bytes, post: bool) -> None:
    """PKIOperation goes by POST where that is listed, in any spelling, and by GET where it is not."""
    assert view_of(CA, caps=caps).post is post
    assert view_of(CA, caps=caps, transport="post").post is True
    assert view_of(CA, caps=caps, transport="get").post is False


@pytest.mark.proves("CAPS-11", "AC-107")
@pytest.mark.parametrize(
    ("caps", "missing"),
    [
        (ALL, set()),
        (b"SCEPStandard", set()),
        (b"AES\nPOSTPKIOperation\nSHA-256", {"SCEPStandard"}),
        (NDES, {"AES", "SCEPStandard"}),
        (b"", {"AES", "SCEPStandard", "SHA-256"}),
        (b"<html>", {"AES", "SCEPStandard", "SHA-256"}),
    ],
)
def test_expected_capabilities(caps: bytes, missing: set[str]) -> None:
    """What is expected and not listed is known; SCEPStandard stands for what RFC 8894 says it does."""
    expected = ["AES", "SHA-256", "SCEPStandard"]
    view = view_of(CA, caps=caps, expect_capabilities=expected)
    assert view.missing == missing
    assert view.capabilities == Capabilities.parse(caps)


@pytest.mark.proves("CERT-13")
def test_view_ends_with_its_first_certificate() -> None:
    """A view is good until one of the certificates that it trusts expires."""
    soon = made("RA soon", CA, usage=SIGNING, end=2 * DAY)
    assert view_of(CA, RA, soon).expires == soon.certificate.not_after
    late = made("RA late", CA, end=-DAY, start=-YEAR)
    assert view_of(CA, RA, late).expires == RA.certificate.not_after


def test_settings_are_real() -> None:
    """The settings of these tests are what the configuration makes of a file."""
    assert isinstance(settings(CA.certificate), Settings)
