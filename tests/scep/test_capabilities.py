"""GetCACaps: written strictly, read leniently."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.scep.algorithm import ContentCipher, Digest, Floor
from scepra.scep.capabilities import KEYWORDS, MAXIMUM, Capabilities, offered

FLOOR = Floor()
ALL = offered(FLOOR.digests, FLOOR.ciphers, post=True, renewal=True, rollover=True)


def offer(**changes: object) -> set[str]:
    """What a profile lists that differs from the default in one thing."""
    usual = {"digests": FLOOR.digests, "ciphers": FLOOR.ciphers, "post": True, "renewal": True, "rollover": True}
    return set(offered(**{**usual, **changes}).keywords)  # type: ignore[arg-type]


# --- Written ---------------------------------------------------------------------------------------------------------


@pytest.mark.proves("CAPS-01", "CAPS-02", "CAPS-05", "PEER-03")
def test_the_default_list_byte_for_byte() -> None:
    """In one order, one exact keyword a line, the single ones beside SCEPStandard."""
    assert ALL.encode() == (
        b"AES\nDES3\nGetNextCACert\nPOSTPKIOperation\nRenewal\nSHA-1\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard\n"
    )


@pytest.mark.proves("CAPS-02")
@given(st.sets(st.sampled_from(KEYWORDS)))
def test_a_strict_splitter_reads_every_list(keywords: set[str]) -> None:
    """No blank lines or stray spaces, ASCII, under a kilobyte: what is written is read by the simplest reader."""
    encoded = Capabilities(frozenset(keywords)).encode()
    assert encoded.isascii() and len(encoded) < 1024
    lines = encoded.decode().split("\n")
    assert lines.pop() == ""
    assert sorted(lines) == sorted(keywords)
    assert Capabilities.parse(encoded) == Capabilities(frozenset(keywords))


@pytest.mark.proves("CAPS-03", "CAPS-04", "CAPS-07", "SEC-01")
def test_each_switch_flips_its_keyword() -> None:
    """What a profile cannot do is not listed, and the rest stays."""
    listed = set(ALL.keywords)
    des = FLOOR.ciphers | {ContentCipher.DES_CBC}
    assert offer(renewal=False) == listed - {"Renewal"}
    assert offer(rollover=False) == listed - {"GetNextCACert"}
    assert offer(post=False) == listed - {"POSTPKIOperation", "SCEPStandard"}
    assert offer(ciphers=FLOOR.ciphers - {ContentCipher.DES_EDE3_CBC}) == listed - {"DES3"}
    assert offer(ciphers=FLOOR.ciphers - {ContentCipher.AES128_CBC}) == listed - {"AES", "SCEPStandard"}
    assert offer(digests=FLOOR.digests - {Digest.SHA1}) == listed - {"SHA-1"}
    assert offer(digests=FLOOR.digests - {Digest.SHA256}) == listed - {"SHA-256", "SCEPStandard"}
    assert offer(digests=FLOOR.digests - {Digest.SHA384}) == listed - {"SHA-384"}
    assert offer(digests=FLOOR.digests - {Digest.SHA512}) == listed - {"SHA-512"}
    assert offer(digests=FLOOR.digests | {Digest.MD5}) == offer(ciphers=des) == listed


@pytest.mark.proves("CAPS-03")
def test_sha224_and_update_are_never_listed() -> None:
    """Words that no RFC has, or that this product does not serve, do not appear whatever the profile."""
    for post, renewal, rollover in product((True, False), repeat=3):
        listed = offered(frozenset(Digest), frozenset(ContentCipher), post=post, renewal=renewal, rollover=rollover)
        assert not {"SHA-224", "Update"} & listed.keywords


# --- Read ------------------------------------------------------------------------------------------------------------


@pytest.mark.proves("CAPS-09", "PEER-11")
@pytest.mark.parametrize(
    "body",
    [
        b"AES\nSHA-256\n",
        b"AES\nSHA-256",
        b"AES\r\nSHA-256\r\n",
        b"AES\r\nSHA-256",
        b"AES\rSHA-256\r",
        b"\n\nAES\n\n\nSHA-256\n\n",
        b"  aes \n\tsha-256\t",
        b"SHA-256\nAES\nSHA-256",
        b"AES\nSHA-256\nDES\nMD5\nSHA-999\n\xff\xfe\0nonsense",
        b"\xef\xbb\xbfAES\nSHA-256",
    ],
)
def test_lists_are_read_as_servers_write_them(body: bytes) -> None:
    """Any line ends, any case, any order, blanks, unknown words and a byte order mark: the known words count."""
    assert Capabilities.parse(body).keywords == {"AES", "SHA-256"}


@pytest.mark.proves("CAPS-08", "CAPS-09", "AC-107")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"AES SHA-256",
        b"<html>\nAES\nSHA-256\n</html>",
        b"\xef\xbb\xbf \r\n<!DOCTYPE html>\nAES\n",
        b"x" * MAXIMUM + b"\nAES\n",
        b"AE\0S",
    ],
)
def test_what_is_no_list_lists_nothing(body: bytes) -> None:
    """Nothing, an error page, or words beyond the bound: no capability is taken from it."""
    capabilities = Capabilities.parse(body)
    assert capabilities == Capabilities()
    assert not capabilities.standard and not capabilities.post
    assert not any(capabilities.digest(digest) for digest in Digest)
    assert not any(capabilities.cipher(cipher) for cipher in ContentCipher)


@given(st.binary(max_size=400))
@pytest.mark.proves("CAPS-09")
def test_no_body_is_too_strange(body: bytes) -> None:
    """Reading never fails, and finds known words only."""
    assert Capabilities.parse(body).keywords <= set(KEYWORDS)


def test_scep_standard_stands_for_the_mandatory_set() -> None:
    """SCEPStandard alone says POST, AES and SHA-256, and nothing about the rest."""
    standard = Capabilities.parse(b"SCEPStandard")
    assert "SCEPStandard" in standard and "AES" not in standard
    assert standard.standard and standard.post
    assert [digest for digest in Digest if standard.digest(digest)] == [Digest.SHA256]
    assert [cipher.value for cipher in ContentCipher if standard.cipher(cipher)] == [
        "AES-128-CBC",
        "AES-192-CBC",
        "AES-256-CBC",
    ]


@pytest.mark.proves("CAPS-10", "CAPS-12")
def test_the_lists_of_known_cas() -> None:
    """NDES lists no AES, Dogtag no POST: the list is taken at its word here, configuration knows better."""
    ndes = Capabilities.parse(b"POSTPKIOperation\nRenewal\nSHA-512\nSHA-256\nSHA-1\nDES3\n")
    assert ndes.post and "Renewal" in ndes
    assert not ndes.cipher(ContentCipher.AES128_CBC) and ndes.cipher(ContentCipher.DES_EDE3_CBC)
    assert all(ndes.digest(digest) for digest in (Digest.SHA1, Digest.SHA256, Digest.SHA512))
    dogtag = Capabilities.parse(b"Renewal\nSHA-1\nSHA-256\nSHA-512\nDES3")
    assert not dogtag.post
    assert not dogtag.cipher(ContentCipher.DES_CBC)
