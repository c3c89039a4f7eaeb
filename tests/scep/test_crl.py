"""Certificate revocation lists: believed only whole, for what they say and no more."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from scepra.errors import FailInfo, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.crl import RevocationList, parse_crl
from tests import csrs
from tests.rig import crls
from tests.rig.crls import DAY, NOW, crl, entry, reason
from tests.rig.forge import ca_extensions, certificate, key_identifier

KEY, OTHER = csrs.ec_key(which=40), csrs.ec_key(which=41)
CA = certificate(KEY, "CA", extensions=ca_extensions())
STRONG = frozenset((Digest.SHA256, Digest.SHA384, Digest.SHA512))


def read(
    encoding: bytes, *anchors: Certificate, digests: frozenset[Digest] = STRONG, limit: int = 100
) -> RevocationList:
    """A list that one of the anchors signed; by default of the CA."""
    return parse_crl(encoding, anchors or (CA,), digests, limit)


def refusal(encoding: bytes, *anchors: Certificate, **settings: int) -> str:
    """Why a list is refused."""
    with pytest.raises(ScepError) as caught:
        read(encoding, *anchors, **settings)
    return caught.value.reason


@pytest.mark.proves("AC-049", "MSG-31")
def test_what_is_on_a_list_is_revoked() -> None:
    """Serial numbers of any size are on it, whatever the reason; what was taken off again is not."""
    large = int.from_bytes(b"\x7f" * 20, "big")
    entries = [
        1,
        127,
        128,
        large,
        -5,
        entry(7, reason(1)),
        entry(8, reason(6)),
        entry(9, reason(8)),
        entry(10, reason(1)),
    ]
    found = read(crl(KEY, CA, entries, number=42))
    assert found.revoked == {1, 127, 128, large, -5, 7, 8, 10}
    assert (found.issuer, found.number, found.points) == (CA, 42, None)
    assert found.covers(CA)
    assert repr(found).startswith("<RevocationList of 8 until ")


@pytest.mark.proves("AC-049")
def test_when_a_list_is_good() -> None:
    """It is good from its thisUpdate to its nextUpdate, both included."""
    found = read(crl(KEY, CA))
    start, end = found.this_update, found.next_update
    assert (end - start, end.tzinfo) == (DAY + timedelta(hours=1), UTC)
    second = timedelta(seconds=1)
    said = [found.valid_at(moment) for moment in (start - second, start, end, end + second)]
    assert said == [False, True, True, False]


def test_a_list_of_another_library() -> None:
    """What another library writes is read the same: entries with reasons and dates, an empty list, PEM."""
    name = x509.load_der_x509_certificate(CA.der).subject
    builder = x509.CertificateRevocationListBuilder(name, NOW, NOW + DAY)
    serials = [1, 255, 1 << 150]
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder(serial, NOW)
        revoked = revoked.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        revoked = revoked.add_extension(x509.InvalidityDate(datetime(2020, 1, 1, tzinfo=UTC)), critical=False)
        builder = builder.add_revoked_certificate(revoked.build())
    full = builder.add_extension(x509.CRLNumber(7), critical=False).sign(KEY, hashes.SHA384())
    found = read(full.public_bytes(Encoding.DER))
    assert (found.revoked, found.number) == (frozenset(serials), 7)
    assert read(full.public_bytes(Encoding.PEM)) == found
    empty = x509.CertificateRevocationListBuilder(name, NOW, NOW + DAY).sign(KEY, hashes.SHA256())
    assert read(empty.public_bytes(Encoding.DER)).revoked == frozenset()


def test_a_list_of_version_1() -> None:
    """An old list without version and extensions counts; a version that does not exist does not."""
    assert read(crl(KEY, CA, [5], version=b"", number=None)).revoked == {5}
    assert read(crl(KEY, CA, [5], version=der.integer(0), number=None)).revoked == {5}
    assert "parts that none has" in refusal(crl(KEY, CA, [5], version=b""))
    assert "another version" in refusal(crl(KEY, CA, version=der.integer(2)))


# --- Whose it is -----------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-049", "SEC-10")
def test_another_s_list() -> None:
    """A list of the CA's name but another key's signature is refused, and so is one of another name."""
    assert "does not verify" in refusal(crl(OTHER, CA))
    assert "no anchor" in refusal(crl(KEY, csrs.subject("Other CA")))
    assert "does not verify" in refusal(crl(KEY, CA, signature=b""))
    changed = bytearray(crl(KEY, CA, [0x1234567]))
    changed[changed.index(b"\x01\x23\x45\x67")] ^= 2
    assert "does not verify" in refusal(bytes(changed))


@pytest.mark.proves("AC-049")
def test_who_may_sign_lists() -> None:
    """The anchor is a CA and, if it has a keyUsage, one for lists."""
    device = certificate(KEY, "CA", extensions=())
    assert "no anchor" in refusal(crl(KEY, device), device)
    for_certificates = certificate(KEY, "CA", extensions=(ca_extensions()[0], csrs.key_usage(b"\x02\x04")))
    assert "may not sign any" in refusal(crl(KEY, CA), for_certificates)
    unlimited = certificate(KEY, "CA", extensions=(ca_extensions()[0],))
    assert read(crl(KEY, CA, [5]), unlimited).issuer is unlimited


def test_old_and_new_key_of_one_name() -> None:
    """Of anchors with one name the list's authorityKeyIdentifier tells whose key it is."""
    old = certificate(OTHER, "CA", extensions=(*ca_extensions(), key_identifier(b"\2" * 20)))
    new = certificate(KEY, "CA", extensions=(*ca_extensions(), key_identifier(b"\1" * 20)))
    naming = csrs.extension("2.5.29.35", der.sequence(der.tlv(0x80, b"\1" * 20)))
    for anchors in ((old, new), (new, old)):
        assert read(crl(KEY, CA, [5], naming), *anchors).issuer is new
    elsewhere = csrs.extension("2.5.29.35", der.sequence(der.tlv(0x82, b"\5")))
    assert "does not verify" in refusal(crl(KEY, CA, [5], elsewhere), old, new)
    assert "does not verify" in refusal(crl(KEY, CA, [5]), old, new)


@pytest.mark.proves("SEC-01")
def test_weak_signatures() -> None:
    """A list that SHA-1 signed counts only where that is accepted; two algorithms in one list never do."""
    weak = crl(KEY, CA, [5], digest=Digest.SHA1)
    with pytest.raises(ScepError) as caught:
        read(weak)
    assert caught.value.fail_info is FailInfo.BAD_ALG
    assert read(weak, digests=STRONG | {Digest.SHA1}).revoked == {5}
    lying = crl(KEY, CA, algorithm=csrs.algorithm(oid.ECDSA_SHA384))
    assert "two signature algorithms" in refusal(lying)


# --- What it is for --------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-049", "I12")
@pytest.mark.parametrize(
    ("extension", "said"),
    [
        (csrs.extension(crls.DELTA, der.integer(1), critical=True), "delta"),
        (csrs.extension(crls.DELTA, der.integer(1)), "delta"),
        (csrs.extension("1.2.3.4", der.NULL, critical=True), "not understood"),
        (crls.issuing_point(der.tlv(0x84, b"\xff")), "other issuers"),
        (crls.issuing_point(der.tlv(0x82, b"\xff")), "for CAs"),
        (crls.issuing_point(der.tlv(0x85, b"\xff")), "for CAs"),
        (crls.issuing_point(der.tlv(0x83, b"\x01\x40")), "some reasons"),
        (crls.issuing_point(der.tlv(0xA0, der.tlv(0xA1))), "without a full name"),
        (crls.issuing_point(der.tlv(0xA0)), "not exactly one"),
    ],
)
def test_lists_that_say_less(extension: bytes, said: str) -> None:
    """Delta and indirect lists, those for CAs or for some reasons, and what is not understood are refused."""
    assert said in refusal(crl(KEY, CA, [5], extension))


@pytest.mark.parametrize(
    "extension",
    [
        csrs.extension("1.2.3.4", der.NULL),
        csrs.extension("2.5.29.46", b"anything"),
        crls.issuing_point(),
        crls.issuing_point(der.tlv(0x81, b"\xff")),
        crls.issuing_point(der.tlv(0x81, b"\xff"), der.tlv(0x84, b"\0")),
    ],
)
def test_lists_for_all_devices(extension: bytes) -> None:
    """What restricts a list to certificates of devices, or restricts nothing, is no reason against it."""
    assert read(crl(KEY, CA, [5], extension)).points is None


@pytest.mark.proves("AC-049", "AC-062", "I11")
def test_lists_for_some_certificates() -> None:
    """A list for a distribution point is for the certificates that name it, and says nothing of others."""
    found = read(crl(KEY, CA, [5], crls.issuing_point(crls.full_name("http://ca.example/1.crl", "ldap://ca.example"))))

    def covers(*extensions: bytes) -> bool:
        return found.covers(certificate(OTHER, "device", extensions=extensions))

    assert covers(crls.distribution_points("http://ca.example/1.crl"))
    assert covers(crls.distribution_points("http://ca.example/0.crl", "ldap://ca.example"))
    assert not covers(crls.distribution_points("http://ca.example/2.crl"))
    assert not covers(crls.distribution_points("http://ca.example/1.CRL"))
    assert not covers()
    reasons = csrs.extension("2.5.29.31", der.sequence(der.sequence(der.tlv(0x81, b"\x01\x40"))))
    relative = csrs.extension("2.5.29.31", der.sequence(der.sequence(der.tlv(0xA0, der.tlv(0xA1)))))
    assert not covers(reasons)
    assert not covers(relative)
    with pytest.raises(ScepError):
        covers(csrs.extension("2.5.29.31", b"\x05"))


@pytest.mark.proves("AC-049", "I12")
@pytest.mark.parametrize(
    ("item", "said"),
    [
        (entry(5, csrs.extension(crls.CERTIFICATE_ISSUER, der.sequence(), critical=True)), "indirect"),
        (entry(5, csrs.extension(crls.CERTIFICATE_ISSUER, der.sequence())), "indirect"),
        (entry(5, csrs.extension("1.2.3.4", der.NULL, critical=True)), "not understood"),
        (entry(5, csrs.extension(crls.REASON, der.NULL)), "tag"),
        (entry(b""), "serial number"),
        (entry(der.tlv(der.INTEGER)), "serial number"),
        (entry(der.tlv(der.INTEGER, bytes(128))), "serial number"),
        (entry(5, date=b""), "cut short"),
        (entry(5, date=der.NULL), "date"),
        (der.sequence(), "serial number"),
        (der.tlv(der.SET, der.integer(5), crls.time(NOW)), "tag"),
        (der.tlv(der.SEQUENCE, b"\x02\x7f\x01"), "cut short"),
    ],
)
def test_entries_that_cannot_be_read(item: bytes, said: str) -> None:
    """One entry that is not understood makes the whole list useless, wherever it stands."""
    assert said in refusal(crl(KEY, CA, [item]))
    assert said in refusal(crl(KEY, CA, [1, item, 2]))


def test_entries_in_unusual_forms() -> None:
    """Entries with long lengths, padded numbers, other times and much to say are read."""
    padded = entry(der.tlv(der.INTEGER, b"\0\0\5"), date=der.tlv(der.GENERALIZED_TIME, b"20500101000000Z"))
    content = entry(6)[2:]
    spacious = b"\x30\x82\0" + bytes((len(content),)) + content
    talkative = entry(7, csrs.extension("1.2.3.4", bytes(300)))
    assert read(crl(KEY, CA, [padded, spacious, talkative])).revoked == {5, 6, 7}


def test_more_kinds_of_entries_than_are_remembered() -> None:
    """Entries that all say something else are each read for themselves."""
    entries = [entry(serial, csrs.extension("1.2.3.4", der.integer(serial))) for serial in range(1100)]
    assert read(crl(KEY, CA, entries), limit=1100).revoked == set(range(1100))


# --- What is no list -------------------------------------------------------------------------------------------------


@pytest.mark.proves("AC-041", "SEC-12")
def test_lists_beyond_the_limit() -> None:
    """A list may have so many entries and no more."""
    assert len(read(crl(KEY, CA, range(100))).revoked) == 100
    assert "more than 100" in refusal(crl(KEY, CA, range(101)))
    assert "more than 99" in refusal(crl(KEY, CA, range(100)), limit=99)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"next_update": b""}, "too short|next one comes"),
        ({"next_update": der.sequence()}, "next one comes"),
        ({"this_update": der.tlv(der.UTC_TIME, b"nonsense")}, "times cannot be read"),
        ({"next_update": der.tlv(der.UTC_TIME, b"nonsense")}, "times cannot be read"),
        ({"more": der.NULL}, "too many"),
        ({"more": der.NULL * 9}, "too many"),
        ({"more": der.NULL, "number": None}, "parts that none has"),
        ({"version": der.sequence()}, "."),
    ],
)
def test_frames_that_are_none(changes: dict[str, bytes], said: str) -> None:
    """A list says when it was made and when the next one comes, and has no parts that none has."""
    assert re.search(said, refusal(crl(KEY, CA, [5], **changes)))  # type: ignore[arg-type]


def test_octets_that_are_no_list() -> None:
    """What is no list at all, or more than one, is refused."""
    right = crl(KEY, CA, [5])
    for encoding in (
        b"",
        b"\x30",
        b"<html>",
        right[:-1],
        right + b"\0",
        b"\x31" + right[1:],
        b"\x30\x80" + right[2:],
        b"\x30\x85" + right[2:],
        b"\x30\x84\xff\xff\xff\xff" + right[2:],
        der.sequence(),
        der.sequence(der.NULL, der.NULL, der.NULL),
        der.sequence(der.sequence(), der.sequence(), der.bit_string(b"")),
        der.sequence(*[der.NULL] * 4),
        crls.pem(right) * 2,
        b"-----BEGIN X509 CRL-----\nabc\n-----END X509 CRL-----\n",
        b"-----BEGIN CERTIFICATE-----",
        CA.der,
    ):
        refusal(encoding)
    assert read(crls.pem(right)).revoked == {5}


SOUND = crl(
    KEY, CA, [5, entry(6, reason(1)), entry(7, reason(8))], crls.issuing_point(crls.full_name("http://ca.example"))
)


@given(st.binary(max_size=200))
def test_random_octets(encoding: bytes) -> None:
    """Octets of any kind are refused, and nothing else happens."""
    refusal(encoding)


@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255), st.integers(0, 3))
def test_mutations(position: int, octet: int, cut: int) -> None:
    """A list with any octet changed, left out or added is refused: what was signed is what is read."""
    changed = SOUND[:position] + bytes((octet,)) * (1 if cut < 2 else 0) + SOUND[position + (0 if cut == 1 else 1) :]
    if changed != SOUND:
        refusal(changed)


@given(st.lists(st.integers(-(2**159), 2**159), max_size=30), st.binary(max_size=60))
def test_any_entries(serials: list[int], noise: bytes) -> None:
    """Every serial number that is written is read, and what follows entries but is none is refused or read whole."""
    assert read(crl(KEY, CA, serials)).revoked == set(serials)
    mixed = crl(KEY, CA, [*(entry(serial) for serial in serials), noise])
    try:
        found = read(mixed)
    except ScepError:
        return
    assert found.revoked >= set(serials)


@pytest.mark.slow
@pytest.mark.proves("AC-049")
def test_a_million_entries() -> None:
    """A list of a million entries is read in seconds, and looked at in no time."""
    item = entry(1 << 120, reason(1))
    at = item.index((1 << 120).to_bytes(16, "big"))
    head, tail, first = item[:at], item[at + 16 :], 1 << 120
    encoding = crl(KEY, CA, [head + (first + serial).to_bytes(16, "big") + tail for serial in range(10**6)])
    begun = time.perf_counter()
    found = read(encoding, limit=10**6)
    assert time.perf_counter() - begun < 30
    assert len(found.revoked) == 10**6
    begun = time.perf_counter()
    assert all(first + serial in found.revoked for serial in range(0, 10**6, 1000))
    assert 5 not in found.revoked
    assert time.perf_counter() - begun < 0.1
    assert replace(found) == found
