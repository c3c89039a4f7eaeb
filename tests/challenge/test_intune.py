"""Microsoft Intune is asked and told, as its public documentation says: before a stand-in, not the live service."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scepra import __version__
from scepra.challenge.intune import CODES, FAILURES, REMEMBERED, IntuneChallenge
from scepra.challenge.service import Service
from scepra.config.secret import Secret
from scepra.config.service import IntuneChallenge as Settings
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, Reservation
from scepra.errors import ProviderError
from scepra.http.breaker import Breaker
from scepra.http.connection import Limits, NotConnected
from scepra.http.request import Origin
from tests.challenge.sample import NAME, request
from tests.challenge.test_webhook import notice
from tests.rig.house import run
from tests.rig.intune import APPLICATION, CLIENT_SECRET, TENANT, Intune
from tests.rig.material import ec_key, issued
from tests.rig.material import request as device_request
from tests.rig.service import Asked, Question, Reply

# Intune's challenges are signed and encrypted, and as long as this (P10-04).
CHALLENGE = base64.b64encode(hashlib.sha512(b"canary").digest() * 70).decode()


class Rig:
    """The provider in front of the stand-in."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.intune = Intune({CHALLENGE})
        self.asked = Asked(self.intune)
        settings: dict[str, Any] = {
            "type": "intune",
            "tenant": TENANT,
            "application_id": APPLICATION,
            "secret_file": Secret(CLIENT_SECRET.encode(), "a test"),
        }
        self.settings = Settings(**settings | changes)
        self.client: Any = self.asked.client("", Limits())
        self.provider = self.make(self.client)

    def make(self, client: Any) -> IntuneChallenge:
        """A provider over a client."""
        service = Service("intune", Breaker(self.clock, 30.0), self.settings.concurrency)

        def origin(url: str) -> Origin:
            return Origin(client, self.clock, self.settings.answer)

        return IntuneChallenge(self.settings, origin, service, self.clock)

    def check(self, challenge: str | None = CHALLENGE) -> Any:
        """The verdict."""
        return run(self.provider.check(request(challenge)))

    def problem(self) -> str:
        """Why there is none; it repeats no secret."""
        with pytest.raises(ProviderError) as caught:
            self.check()
        for secret in (CHALLENGE, CLIENT_SECRET, "canary"):
            assert secret not in str(caught.value)
        return caught.value.reason

    @property
    def calls(self) -> list[str]:
        """What was asked, by names."""
        return [name for name, _ in self.intune.calls]


@pytest.mark.proves("P10-11", "P10-04", "DR-8")
def test_what_it_is_asked() -> None:
    """The request, unmodified, and the client's transactionID; its challenge is good for one key then."""
    rig = Rig()
    asked = request(CHALLENGE)
    accepted = run(rig.provider.check(asked))
    assert rig.calls == ["token", "endpoints", "token", "validateRequest"]
    (said,) = rig.intune.named("validateRequest")
    assert said == {
        "request": {
            "transactionId": "4711",
            "certificateRequest": base64.b64encode(asked.csr.der).decode(),
            "callerInfo": f"scepra/{__version__}",
        }
    }
    name = f"intune {hashlib.sha256(CHALLENGE.encode()).hexdigest()[:32]}"
    assert accepted == ChallengeAccepted(name, (Reservation(name),), notify=("intune",))


def test_tokens_and_addresses_are_remembered() -> None:
    """The next request is one exchange; before a token ends there is a new one, and after an hour it is asked anew
    where the service is."""
    rig = Rig()
    rig.check()
    rig.intune.calls.clear()
    rig.check()
    assert rig.calls == ["validateRequest"]
    rig.clock.advance(3599 - 299)
    rig.intune.calls.clear()
    rig.check()
    assert rig.calls == ["token", "validateRequest"]
    rig.clock.advance(REMEMBERED - 3300)
    rig.intune.calls.clear()
    rig.check()
    assert "endpoints" in rig.calls


@pytest.mark.proves("AC-103")
def test_a_token_that_is_not_taken_any_more() -> None:
    """Once more with a fresh one, and no more often."""
    rig = Rig()
    rig.check()
    rig.intune.valid.clear()
    rig.intune.calls.clear()
    assert isinstance(rig.check(), ChallengeAccepted)
    assert rig.calls == ["token", "validateRequest"]

    def nobody(question: Question) -> Reply | None:
        return Reply.of({}, 401) if "validateRequest" in question.url else None

    rig.intune.instead = nobody
    rig.asked.questions.clear()
    assert "status 401" in rig.problem()
    assert sum("validateRequest" in question.url for question in rig.asked.questions) == 2


@pytest.mark.proves("AC-103", "P10-11")
@pytest.mark.parametrize("code", CODES)
def test_codes_that_refuse(code: str) -> None:
    """Each has its text; nobody else is asked about the challenge then."""
    rig = Rig()
    rig.intune.code = code
    refused = rig.check()
    assert isinstance(refused, ChallengeRefused)
    assert not refused.foreign
    assert CODES[code] in refused.reason
    assert CHALLENGE not in refused.reason


@pytest.mark.proves("AC-095")
@pytest.mark.parametrize("challenge", [None, ""])
def test_nothing_is_not_asked_about(challenge: str | None) -> None:
    """A request without a challenge is none of Intune's."""
    rig = Rig()
    refused = rig.check(challenge)
    assert isinstance(refused, ChallengeRefused)
    assert refused.foreign
    assert rig.asked.questions == []


def at(place: str, reply: Reply | Exception) -> Callable[[Question], Reply | Exception | None]:
    """Another answer at one of the services."""
    return lambda question: reply if place in question.url else None


VALID = {"code": "Success", "errorDescription": ""}
LOGIN, GRAPH, ACTION = "login.microsoftonline", "graph.microsoft", "ScepActions"
WORTHLESS: dict[str, tuple[str, Reply | Exception]] = {
    "login is away": (LOGIN, NotConnected("no connection")),
    "login refuses": (LOGIN, Reply.of({"error": "invalid_client"}, 401)),
    "login gives HTML": (LOGIN, Reply(200, b"<html>", {"content-type": "text/html"})),
    "login gives nothing": (LOGIN, Reply.of({})),
    "token of two lines": (LOGIN, Reply.of({"access_token": "a\r\nX: y", "expires_in": 3599})),
    "token that is a number": (LOGIN, Reply.of({"access_token": 1, "expires_in": 3599})),
    "empty token": (LOGIN, Reply.of({"access_token": "", "expires_in": 3599})),
    "Graph refuses": (GRAPH, Reply.of({}, 403)),
    "Graph knows none": (GRAPH, Reply.of({"value": []})),
    "Graph gives no list": (GRAPH, Reply.of({"value": {"uri": "x"}})),
    "Graph gives texts": (GRAPH, Reply.of({"value": ["x"]})),
    "service is away": (ACTION, ConnectionResetError()),
    "status 500": (ACTION, Reply.of(VALID, 500)),
    "status 302": (ACTION, Reply(302, b"", {"location": "https://evil.example"})),
    "HTML": (ACTION, Reply(200, b"<html>", {"content-type": "text/html"})),
    "nothing": (ACTION, Reply()),
    "empty object": (ACTION, Reply.of({})),
    "true": (ACTION, Reply.of({"code": True})),
    "allow false": (ACTION, Reply.of({"allow": "false"})),
    "another case": (ACTION, Reply.of({"code": "success"})),
    "unknown code": (ACTION, Reply.of({"code": "Unknown"})),
    "no code": (ACTION, Reply.of({"code": None})),
    "list of codes": (ACTION, Reply.of({"code": ["Success"]})),
    "cut": (ACTION, Reply(200, b'{"code":"Success"')),
    "key twice": (ACTION, Reply(200, b'{"code":"Unknown","code":"Success"}')),
    "10 MB": (ACTION, Reply(200, b" " * 10_000_000 + b'{"code":"Success"}')),
    "another transaction": (ACTION, Reply.of({**VALID, "transactionId": "4712"})),
}


@pytest.mark.proves("AC-103", "FT-57", "DR-6")
@pytest.mark.parametrize(("place", "reply"), WORTHLESS.values(), ids=WORTHLESS)
def test_answers_that_are_none(place: str, reply: Reply | Exception) -> None:
    """Whatever is not exactly Intune's word about this very request decides nothing."""
    rig = Rig()
    rig.intune.instead = at(place, reply)
    assert rig.problem()


@pytest.mark.proves("AC-103")
@pytest.mark.parametrize(
    "address",
    [
        None,
        7,
        "",
        "http://fef.manage.microsoft.com/x",
        "https://manage.microsoft.com.evil.example/x",
        "https://evilmanage.microsoft.com/x",
        "https://evil.example/x",
        "https://fef.manage.microsoft.com:8443/x",
        "https://u@fef.manage.microsoft.com/x",
        "https://fef.manage.microsoft.com/x?y=",
        "https://fef.manage.microsoft.com:x/",
        "https://fef.manage.microsoft.com\u2024/",
        "https://[fef.manage.microsoft.com/",
        "file:///etc/passwd",
    ],
)
def test_addresses_that_are_not_intune_s(address: Any) -> None:
    """Requests with their challenges go to Intune's domains, over TLS, and nowhere else."""
    rig = Rig()
    rig.intune.address = address
    assert "address" in rig.problem()
    assert not any("ScepActions" in question.url for question in rig.asked.questions)


def test_a_service_that_has_moved_is_looked_for_again() -> None:
    """After a status that is none of its answers."""
    rig = Rig()
    rig.check()
    rig.intune.instead = at(ACTION, Reply.of({}, 404))
    assert "status 404" in rig.problem()
    rig.intune.instead = lambda question: None
    rig.intune.calls.clear()
    rig.check()
    assert rig.calls == ["endpoints", "validateRequest"]


@pytest.mark.proves("FT-57")
def test_a_service_that_hangs_is_waited_for_no_longer_than_may_be() -> None:
    """However many exchanges a question takes, they have one deadline."""
    rig = Rig(timeout=10.0)

    class Hanging:
        async def request(self, *arguments: Any, **settings: Any) -> Any:
            await Deferred()

    found: list[Any] = []
    waiting = Deferred.fromCoroutine(rig.make(Hanging()).check(request(CHALLENGE)))
    waiting.addBoth(found.append)
    rig.clock.advance(9.9)
    assert found == []
    rig.clock.advance(0.2)
    assert found[0].value.reason == "no whole answer within 10 s"


@pytest.mark.proves("FT-57")
def test_it_is_left_alone_while_it_is_away() -> None:
    """When it cannot be reached nobody waits for it any more."""
    rig = Rig()
    rig.intune.instead = at("", NotConnected("no connection"))
    assert rig.problem() == "no connection"
    assert rig.problem() == "it has not answered lately"


@pytest.mark.proves("P10-11", "AC-103")
def test_what_it_is_told_of_a_success() -> None:
    """Thumbprint, serial number, end and issuer, in the documented form."""
    rig = Rig()
    certificate = issued(device_request(NAME, private_key=ec_key()))
    told = notice(event="issued", reason="granted", certificate=certificate.der)
    run(rig.provider.notify(told))
    (said,) = rig.intune.named("successNotification")
    ends = certificate.not_after
    assert ends is not None
    assert said["notification"] == {
        "transactionId": "4711",
        "certificateRequest": base64.b64encode(told.csr).decode(),
        "certificateThumbprint": hashlib.sha1(certificate.der, usedforsecurity=False).hexdigest().upper(),
        "certificateSerialNumber": f"{certificate.serial:X}",
        "certificateExpirationDateUtc": ends.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "issuingCertificateAuthority": str(certificate.issuer),
        "callerInfo": f"scepra/{__version__}",
    }


@pytest.mark.proves("P10-11", "AC-103")
@pytest.mark.parametrize("reason", FAILURES)
def test_what_it_is_told_of_a_failure(reason: str) -> None:
    """An HRESULT of ours and a text of bounded length."""
    rig = Rig()
    run(rig.provider.notify(notice(reason=reason)))
    (said,) = rig.intune.named("failureNotification")
    result, text = FAILURES[reason]
    assert (said["notification"]["hResult"], said["notification"]["errorDescription"]) == (result, text)
    assert result >> 29 == 0b101
    assert len(text) <= 255


@pytest.mark.proves("AC-103")
@pytest.mark.parametrize(
    "reply", [Reply.of({}, 500), Reply.of({"code": "ChallengeExpired"}), NotConnected("no connection")]
)
def test_what_it_does_not_confirm(reply: Reply | Exception) -> None:
    """It is told again."""
    rig = Rig()
    rig.intune.instead = at(ACTION, reply)
    with pytest.raises(ProviderError):
        run(rig.provider.notify(notice()))
