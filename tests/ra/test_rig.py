"""The rig's own checks: a leak, a way out and a missing refusal are noticed, so that the tests on them can fail."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace

import pytest
from twisted.logger import Logger

from scepra.enrolment import ChallengeRefused
from scepra.errors import FailInfo
from scepra.store.rows import note
from scepra.upstream.client import utc_now
from tests.rig.denial import Denials, forms
from tests.rig.device import post, rebuilt, request, sound
from tests.rig.house import House
from tests.rig.outside import watched

SECRET = "Canary+Challenge/in=GET"


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_forms_of_a_secret(before: int, after: int) -> None:
    """A secret is found in base64 whatever stands around it, in hex, and in UTF-16, shown or not."""
    octets = bytes(before) + SECRET.encode() + b"z" * after
    wide = SECRET.encode("utf-16-le")
    for leaked in (
        base64.b64encode(octets).decode(),
        octets.hex(),
        octets.hex().upper(),
        repr(octets),
        repr(wide),
        wide.decode("latin-1"),
        repr(SECRET.encode("utf-16-be")),
    ):
        assert any(form in leaked for form in forms(SECRET))


class Leak:
    """A challenge provider that logs what it sees."""

    async def check(self, request: object) -> object:
        Logger().info("{password!r}", password=request.csr.challenge_password.encode("utf-16-be"))  # type: ignore[attr-defined]
        raise AssertionError("it would refuse now")


def test_leaks_are_noticed(shared: House) -> None:
    """A part that logs a challenge, in whatever form, fails the standard denial."""
    leaking = rebuilt(shared, provider=Leak())
    events = len(shared.events)
    response = post(leaking, sound(leaking).message())
    with pytest.raises(AssertionError, match="a secret leaked"):
        Denials(leaking)._no_secret(events, response)


class Scribble:
    """A challenge provider that leaves something in the store, and refuses."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def check(self, request: object) -> ChallengeRefused:
        self.house.database.call(lambda connection: note(connection, "0" * 16, "refused", utc_now(), {}))
        return ChallengeRefused("wrong challenge")


def test_what_is_stored_is_noticed(shared: House) -> None:
    """A refusal that leaves something in the store fails the standard denial."""
    scribbling = rebuilt(shared, provider=Scribble(shared))
    with pytest.raises(AssertionError, match="whether it was recorded"):
        Denials(scribbling)(sound(scribbling))


def test_grants_are_noticed(shared: House) -> None:
    """A message that is granted, or refused for another reason, fails the standard denial."""
    deny = Denials(shared)
    with pytest.raises(AssertionError, match="it was not refused"):
        deny(sound(shared))
    wrong = sound(shared, csr=request(shared, challenge="wrong"))
    with pytest.raises(AssertionError):
        deny(wrong, FailInfo.BAD_ALG)
    with pytest.raises(AssertionError):
        deny(wrong, because="the moon")
    with pytest.raises(AssertionError):
        deny(replace(wrong, sender_nonce=b"sent"), sender_nonce=b"expected")
    with pytest.raises(AssertionError):
        deny.bare(wrong)


def test_ways_out_are_noticed() -> None:
    """A connection and a file that a message names do not go unseen."""
    with watched() as tried:
        with pytest.raises(OSError), socket.socket() as connection:
            connection.settimeout(0.2)
            connection.connect(("127.0.0.9", 9))
        with pytest.raises(OSError), open("/nonexistent/evil"):
            pass
    assert len(tried) == 2
