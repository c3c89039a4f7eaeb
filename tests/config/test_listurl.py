"""LDAP URLs that name a revocation list."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.config.listurl import LIST, ListUrl, is_directory, parse_list_url
from tests.config.sample import altered, said

RENEWAL = "    renewal: {{trust: ca.crt, crl: {{urls: '{}'}}}}\n    policy:"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ldap://a.example/cn=CA,o=Example", ListUrl("a.example", 389, False, "cn=CA,o=Example", LIST)),
        ("LDAPS://A.example/cn=CA", ListUrl("a.example", 636, True, "cn=CA", LIST)),
        ("ldap://[::1]:1389/cn=CA", ListUrl("::1", 1389, False, "cn=CA", LIST)),
        ("ldap://a/CN=My%20CA,DC=%C3%A4", ListUrl("a", 389, False, "CN=My CA,DC=ä", LIST)),
        ("ldap://a/cn=A%3FB", ListUrl("a", 389, False, "cn=A?B", LIST)),
        (
            "ldap://a/cn=CA?certificateRevocationList;binary?base?(objectClass=*)",
            ListUrl("a", 389, False, "cn=CA", "certificateRevocationList;binary"),
        ),
        ("ldap://a/cn=CA?authorityRevocationList??", ListUrl("a", 389, False, "cn=CA", "authorityRevocationList")),
        ("ldap://a/cn=CA???", ListUrl("a", 389, False, "cn=CA", LIST)),
    ],
)
def test_what_a_url_says(text: str, read: ListUrl) -> None:
    """Host, port, entry and attribute; the attribute is certificateRevocationList;binary unless another is named."""
    assert is_directory(text)
    assert parse_list_url(text) == read


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http://a/cn=CA", "expected ldap"),
        ("ldap:///cn=CA", "expected ldap"),
        ("ldap:cn=CA", "expected ldap"),
        ("ldap://a:0/cn=CA", "expected ldap"),
        ("ldap://a:99999/cn=CA", "expected ldap"),
        ("ldap://[::1/cn=CA", "expected ldap"),
        ("ldap://user:secret@a/cn=CA", "no user name"),
        ("ldap://a", "distinguished name"),
        ("ldap://a/", "distinguished name"),
        ("ldap://a/CA", "distinguished name"),
        ("ldap://a/cn=CA ", "as %XX"),
        ("ldap://a/cn=ä", "as %XX"),
        ("ldap://a/cn=CA#b", "as %XX"),
        ("ldap://a/cn=%FF", "UTF-8"),
        ("ldap://a/cn=%00", "printable"),
        ("ldap://a/cn=CA?a,b", "one attribute"),
        ("ldap://a/cn=CA?*", "one attribute"),
        ("ldap://a/cn=CA??sub", "one entry"),
        ("ldap://a/cn=CA??base?(cn=*)", "one entry"),
        ("ldap://a/cn=CA????bindname=cn=admin", "one entry"),
        ("ldap://a/cn=CA?????", "one entry"),
    ],
)
def test_what_says_more_or_less(text: str, sentence: str) -> None:
    """What asks for anything but one attribute of one entry is refused."""
    with pytest.raises(ValueError, match=sentence):
        parse_list_url(text)


@given(st.text(max_size=80), st.sampled_from(["ldap://a/", "ldap://", "ldaps://a/cn=CA?", ""]))
def test_any_text(text: str, begun: str) -> None:
    """Whatever is written, it is read or refused with a sentence; what is read names a place."""
    try:
        read = parse_list_url(begun + text)
    except ValueError:
        return
    assert read.host
    assert "=" in read.entry
    assert read.entry.isprintable()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said at its place, with what to do; where clients are sent elsewhere nothing is missing."""
    place = "ldap://a.example/cn=CA"
    assert said(altered(("    policy:", RENEWAL.format(place)))) == []
    monkeypatch.setitem(sys.modules, "ldap3", None)
    (problem,) = said(altered(("    policy:", RENEWAL.format(place))))
    assert problem.endswith("crl.urls: lists in directories need the extra: pip install 'scepra[ldap]'")
    assert said(altered(("    policy:", f"    queries: {{location: '{place}'}}\n    policy:"))) == []
