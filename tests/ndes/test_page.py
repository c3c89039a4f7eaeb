"""What stands on NDES's administration page, in all the ways in which it is known to stand there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.ndes.page import LONGEST, Obstacle, Password, read, write, write_obstacle

THUMBPRINT = bytes.fromhex("a656fa66ab12b433a2da5cf7cc153d9a")
GIVEN = Password("8CE317021F690069", 60, reusable=False)
ENGLISH = write(GIVEN, THUMBPRINT).decode("utf-16-le")
# Words of this test's own, in the order that NDES keeps in every language.
GERMAN = (
    "<HTML><Head><Meta Content='text/html; charset=UTF-8'></Head><Body><P> Fingerabdruck des Zertifikats:"
    " <B> A656FA66 AB12B433 A2DA5CF7 CC153D9A </B> <P> Das Kennwort lautet: <B> 8CE317021F690069 </B> <P> {} </Body>"
)
ENGLISH_WORDS = "To enroll you need: thumbprint <b>A656FA66 AB12B433</b><p>The enrollment challenge password "


@pytest.mark.parametrize(
    "octets",
    [
        ENGLISH.encode("utf-16-le"),
        b"\xff\xfe" + ENGLISH.encode("utf-16-le"),
        b"\xfe\xff" + ENGLISH.encode("utf-16-be"),
        ENGLISH.encode("utf-8"),
        b"\xef\xbb\xbf" + ENGLISH.encode("utf-8"),
        ENGLISH.lower().replace("8ce3", "8CE3").replace("21f6", "21F6").encode("utf-16-le"),
        ENGLISH.replace(" ", "\r\n\t ").encode("utf-16-le"),
        GERMAN.format("Es ist einmal und für 60 Minuten gültig.").encode("utf-16-le"),
        GERMAN.format("Es ist einmal und für 60 Minuten gültig.").encode("utf-8"),
    ],
    ids=["bare", "mark", "big-endian", "utf-8", "utf-8-mark", "lower-case", "spaces", "german", "german-utf-8"],
)
@pytest.mark.proves("RA-11")
def test_encodings_and_languages(octets: bytes) -> None:
    """Whatever the page says of its encoding, the password is found, and how long it is good; the thumbprint that
    stands before it is none."""
    assert read(octets) == GIVEN


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("is: <B> hunter2 </B> only once, within 5 minutes", Password("hunter2", 5, reusable=False)),
        ("is: hunter2", Password("hunter2", None, reusable=False)),
        ("is <B>A&amp;B</B>", Password("A&B", None, reusable=False)),
        ("is shown here: <i>DEADBEEFCAFE1234</i>", Password("DEADBEEFCAFE1234", None, reusable=False)),
        ("is: <b> 0123456789ABCDEF0123456789ABCDEF </b>", Password("0123456789ABCDEF" * 2, None, reusable=False)),
        ("is: <B> X1 </B> It can be used many times and does not expire.", Password("X1", None, reusable=True)),
    ],
)
def test_imitations(words: str, expected: Password) -> None:
    """Those who imitate the page have other passwords than digits, in bold or not, and other lengths."""
    assert read((ENGLISH_WORDS + words).encode()) == expected


@pytest.mark.parametrize("length", [16, 32, 64])
@pytest.mark.parametrize("minutes", [1, 60, 525600])
def test_what_is_written_is_read(length: int, minutes: int) -> None:
    """The page that is written is the page that is read."""
    password = Password("F" * length, minutes, reusable=False)
    assert read(write(password, bytes(32))) == password


def test_one_password_for_everybody() -> None:
    """The page of a server with a single password says so, in English by its words, elsewhere by naming no time."""
    assert read(write(Password("8CE317021F690069", None, reusable=True), THUMBPRINT)) == Password(
        "8CE317021F690069", None, reusable=True
    )
    found = read(GERMAN.format("Es gilt für alle und immer.").encode())
    assert isinstance(found, Password)
    assert found.reusable


@pytest.mark.parametrize("obstacle", [Obstacle.CACHE_FULL, Obstacle.NO_PERMISSION])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-8"])
def test_obstacles(obstacle: Obstacle, codec: str) -> None:
    """NDES says with status 200 that there is no password, and why."""
    assert read(write_obstacle(obstacle).decode("utf-16-le").encode(codec)) is obstacle


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"<html>login</html>",
        ENGLISH_WORDS.encode(),
        f"{ENGLISH_WORDS}is: <B> {'x' * (LONGEST + 1)} </B>".encode(),
        f"{ENGLISH_WORDS}is: <B> two words </B>".encode(),
        f"{ENGLISH_WORDS}is: <B> \x07 </B>".encode(),
        b"<B> A656FA66 AB12B433 </B> and <B> nothing </B>",
        b"<B> A656FA66AB12B433 </B> and <B> 8CE317021F690069 </B>",
        b"<B> A656FA66 AB12B433 </B>",
        ENGLISH.encode("utf-16-be"),
    ],
)
def test_no_such_page(octets: bytes) -> None:
    """What is no such page has no password: nothing is taken for one that may be something else."""
    assert read(octets) is Obstacle.UNREADABLE


PIECES = st.sampled_from(
    [
        *(
            "<B>",
            "</B>",
            "<",
            ">",
            " ",
            "\0",
            "enrollment challenge password",
            " is: ",
            "within 60 minutes",
            "only once",
        ),
        *(
            "password cache is full",
            "A656FA66 AB12B433",
            "8CE317021F690069",
            "&amp;",
            "&#x110000;",
            "\ufeff",
            "9" * 300,
        ),
    ]
)


@pytest.mark.proves("AC-118")
@given(st.one_of(st.binary(max_size=400), st.lists(PIECES, max_size=30).map("".join).map(str.encode)), st.booleans())
def test_no_octets_raise_anything(octets: bytes, wide: bool) -> None:
    """Whatever comes is a password that can be one, or one of three reasons; and no password shows in a text form."""
    found = read(octets.decode("latin-1").encode("utf-16-le") if wide else octets)
    assert isinstance(found, Obstacle | Password)
    if isinstance(found, Password):
        assert 0 < len(found.text) <= LONGEST
        assert found.text.isprintable()
        assert len(found.text.split()) == 1
        assert f"text={found.text!r}" not in repr(found)


def test_large_pages_take_no_time() -> None:
    """Half a megabyte of what the reader looks for is read at once: nothing is looked at again and again."""
    for piece in ("<", "<b>", "<b>a</b>", "enrollment challenge password ", "A656FA66 ", "is:", "&amp", "9"):
        assert isinstance(read((piece * (500_000 // len(piece))).encode()), Obstacle | Password)


# --- As others read it ----------------------------------------------------------------------------------------------


def by_expression(octets: bytes) -> str | None:
    """An MDM's way: UTF-16, one regular expression."""
    found = re.search(r"(?i)The enrollment challenge password is: <B> (?P<password>\S*)", octets.decode("utf-16-le"))
    return None if found is None else found["password"]


def by_position(octets: bytes) -> str | None:
    """Another MDM's: several encodings in turn, then what stands between two texts."""
    begin, end = "The enrollment challenge password is: <B> ", " </B> <P> This password can be used only once"
    for codec in ("utf-16-be", "utf-8", "ascii", "utf-16-le", "latin-1"):
        text = octets.decode(codec, "replace")
        if begin in text and end in text:
            return text[text.index(begin) + len(begin) : text.index(end)]
    return None


def by_tokens(octets: bytes) -> str | None:
    """A script's: the first word that begins with as many digits as a password has."""
    words = octets.decode("utf-16").split()
    return next((word for word in words if re.match(r"[A-F0-9]{16}", word)), None)


OTHERS = (by_expression, by_position, by_tokens)


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.__name__)
def test_others_read_what_is_written(other: object) -> None:
    """Programs that read NDES's page read this one as they are, with a thumbprint of any length before the password."""
    assert callable(other)
    for thumbprint in (THUMBPRINT, bytes(20), bytes.fromhex("ab" * 32)):
        assert other(write(GIVEN, thumbprint)) == GIVEN.text
        assert other(write_obstacle(Obstacle.CACHE_FULL)) is None
