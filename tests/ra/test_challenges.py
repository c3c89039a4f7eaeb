"""The shared challenge, through the whole RA: every spelling of the right one, and no other (security 4.5)."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from scepra.lab.files import write_private
from scepra.scep import der, oid
from tests import csrs
from tests.rig.denial import Denials
from tests.rig.device import THIEF, granted, post, request_without_challenge, sound
from tests.rig.house import House, house

SECRET = "Pä$$-1 für Geräte"
ENCODINGS = {
    der.UTF8_STRING: "utf-8",
    der.T61_STRING: "latin-1",
    der.IA5_STRING: "latin-1",
    der.PRINTABLE_STRING: "latin-1",
    der.BMP_STRING: "utf-16-be",
    der.UNIVERSAL_STRING: "utf-32-be",
}


def with_challenge(*values: bytes) -> bytes:
    """A CSR whose challengePassword has these values."""
    return request_without_challenge(csrs.attribute(oid.CHALLENGE_PASSWORD, *values))


@pytest.mark.proves("AC-097", "P10-03", "P10-04", "DR-6", "I3")
def test_spellings_of_a_challenge(lab: Path) -> None:
    """The right text counts in every string type and normal form; another text, and what is no text, does not."""
    file = lab / "umlauts.txt"
    write_private(file, f"{SECRET}\n".encode())
    with house(lab, {"challenge": {"type": "static", "file": "umlauts.txt"}}) as built:
        for tag, codec in ENCODINGS.items():
            granted(built, sound(built, csr=with_challenge(der.tlv(tag, SECRET.encode(codec)))))
        decomposed = unicodedata.normalize("NFD", SECRET).encode()
        granted(built, sound(built, csr=with_challenge(der.tlv(der.UTF8_STRING, decomposed))))
        right, deny = SECRET.encode(), Denials(built, SECRET)
        for value in (
            der.octet_string(right),
            der.tlv(der.UTF8_STRING, SECRET.encode("latin-1")),
            der.tlv(der.BMP_STRING, right),
            der.tlv(der.BMP_STRING, SECRET.encode("utf-16-be")[:-1]),
            der.tlv(der.UTF8_STRING, SECRET.upper().encode()),
            der.tlv(der.UTF8_STRING, right + b"\0"),
            der.tlv(der.UTF8_STRING, right + b"\n"),
            der.tlv(der.UTF8_STRING, b" " + right),
            der.tlv(der.UTF8_STRING, right[:-1]),
            der.tlv(der.UTF8_STRING, right * 2),
            der.tlv(der.UTF8_STRING, b"x" * 100_000),
            der.tlv(der.UTF8_STRING, b"\xff\xfe"),
            der.tlv(der.UTF8_STRING, ("a" + "\u0301" * 10_000).encode()),
            der.tlv(der.UTF8_STRING, "Pä$$-1 für Geräte".replace("ü", "u\u0308\u0308").encode()),
            der.sequence(der.tlv(der.UTF8_STRING, right)),
            der.integer(1),
            der.NULL,
        ):
            deny(sound(built, csr=with_challenge(value)))
        granted(built, sound(built, csr=with_challenge(der.tlv(der.UTF8_STRING, right))))


@pytest.mark.proves("AC-095", "AC-101", "DR-6", "I3", "SEC-17")
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\0",
        "' OR 1=1--",
        "%",
        "_",
        "*",
        "*)(uid=*",
        "${jndi:ldap://127.0.0.9/evil}",
        "$(id)",
        "{0}",
        "\\u0000",
        "null",
    ],
)
def test_text_that_means_something_elsewhere(shared: House, deny: Denials, text: str) -> None:
    """No challenge is a pattern, a command or nothing: it is wrong, or absent."""
    deny(sound(shared, csr=with_challenge(der.tlv(der.UTF8_STRING, text.encode()))), because="challenge")


@pytest.mark.proves("P10-03", "AC-095", "AC-025")
def test_number_of_challenges(shared: House, deny: Denials) -> None:
    """There is one challenge of one value: two are refused even where both are right, and none is none."""
    right = der.tlv(der.UTF8_STRING, shared.challenge.encode())
    twice = csrs.attribute(oid.CHALLENGE_PASSWORD, right)
    for csr, because in (
        (with_challenge(right, right), "number"),
        (with_challenge(right, der.tlv(der.UTF8_STRING, b"other")), "number"),
        (with_challenge(), "number"),
        (request_without_challenge(twice, twice), "repeated"),
        (request_without_challenge(), "no challenge"),
    ):
        deny(sound(shared, csr=csr), because=because)


@pytest.mark.proves("AC-100", "I3", "AC-044")
def test_a_stranger_s_challenge_cannot_be_burnt(shared: House, deny: Denials) -> None:
    """Whatever a thief does with a recorded message, the device enrols afterwards with what it knows."""
    victim = sound(shared)
    for change in (
        {"key": THIEF},
        {"key": THIEF, "message_type": "17"},
        {"message_type": "18"},
        {"signature": lambda signed: bytes(256)},
        {"transaction_id": "other", "key": THIEF},
    ):
        for _ in range(20):
            post(shared, replace(victim, envelope=victim.enveloped(), **change).message())
    deny(replace(victim, envelope=victim.enveloped(), key=THIEF), because="another key")
    granted(shared, victim)
