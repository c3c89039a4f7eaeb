"""What a kind of CA says of keys that its section leaves out."""

from __future__ import annotations

from typing import get_args

import pytest

from scepra.config.kind import KINDS, KindName, completed
from scepra.config.model import Upstream
from scepra.scep.algorithm import ContentCipher, Digest
from tests.config.sample import PIN, altered, reading, said

SECTION = {"url": "http://ca.example/scep", "ca-fingerprint": PIN}
URL = "    url: http://127.0.0.1:8089/scep\n"


def of_kind(name: str, **settings: object) -> Upstream:
    """An upstream of a kind, with some keys of its own in the file's spelling."""
    return Upstream.model_validate({**SECTION, "kind": name, **settings}, by_alias=True, by_name=False)


def test_the_kinds_are_a_closed_list() -> None:
    """Each name that a section may have stands for one kind, and no other does."""
    assert tuple(KINDS) == get_args(KindName)


@pytest.mark.proves("SEC-14")
@pytest.mark.parametrize("name", KINDS)
def test_no_kind_switches_on_what_is_broken(name: str) -> None:
    """Whatever the kind, legacy stays empty until the section names something, and no digest or cipher is below it."""
    upstream = of_kind(name)
    assert upstream.legacy == ()
    assert upstream.digest in upstream.floor.digests
    assert upstream.cipher in upstream.floor.ciphers
    assert upstream.authorisation == "network"


def test_a_kind_says_what_the_section_does_not() -> None:
    """The section has the last word about each key, by either spelling."""
    assert of_kind("ndes-2012").transport == "get"
    assert of_kind("ndes-2012", transport="post").transport == "post"
    assert of_kind("ndes-2008").digest is Digest.SHA1
    assert of_kind("ndes", cipher="AES-128-CBC").cipher is ContentCipher.AES128_CBC
    named = Upstream.model_validate({**SECTION, "kind": "ndes", "expect_capabilities": ["AES"]})
    assert named.expect_capabilities == ("AES",)


def test_a_kind_that_is_none_is_refused_at_its_place() -> None:
    """A misspelt kind is an error with a suggestion, and nothing is filled in; neither is where it is no text."""
    assert said(altered((URL, URL + "    kind: ndes-2021\n"))) == [
        "5:5: upstreams.lab.kind: expected " + listed() + "; did you mean 'ndes-2012'?"
    ]
    assert said(altered((URL, URL + "    kind: [ndes]\n"))) == ["5:5: upstreams.lab.kind: expected " + listed()]
    assert completed({"kind": "nothing"}) == {"kind": "nothing"}


def listed() -> str:
    """The kinds as a refusal lists them."""
    *names, last = (f"'{name}'" for name in KINDS)
    return f"{', '.join(names)} or {last}"


def test_a_misspelt_key_beside_a_kind_is_still_recognised() -> None:
    """What a kind fills in does not hide which section the file's mapping is."""
    text = altered((URL, URL + "    kind: ndes\n    ciphr: AES-128-CBC\n"))
    assert said(text) == ["6:5: upstreams.lab.ciphr: unknown key; did you mean 'cipher'?"]


@pytest.mark.proves("RA-18")
def test_what_a_kind_answers_in_is_asked_for_by_name() -> None:
    """check-config warns about a kind whose answers are broken, until legacy names their cipher."""
    text = altered((URL, URL + "    kind: ndes-2008\n"))
    assert reading(text).config is not None
    assert said(text) == [
        "5:5: upstreams.lab.kind: warning: ndes-2008 answers in DES-CBC as set up at first,"
        " which is read only where legacy names it"
    ]
    text = altered((URL, URL + "    kind: ndes-2008\n    legacy: [DES-CBC]\n"))
    assert said(text) == ["6:14: upstreams.lab.legacy[0]: warning: DES-CBC is accepted although it is broken (SEC-01)"]
