"""A webhook that is asked and told: what it is sent, and what its answer is worth."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.server import NOT_DONE_YET, Site

from scepra.challenge.protocol import Notice
from scepra.challenge.service import Service
from scepra.challenge.webhook import Unbelievable, WebhookChallenge, read_answer, sign
from scepra.config.secret import Secret
from scepra.config.service import WebhookChallenge as Settings
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest
from scepra.errors import ProviderError
from scepra.http.agent import http_client
from scepra.http.breaker import LOST_IN_A_ROW, Breaker
from scepra.http.connection import Limits, NotConnected
from scepra.http.request import Origin
from tests import csrs
from tests.challenge.sample import NAME, NOW, request
from tests.challenge.test_signed import JSON
from tests.rig.house import run
from tests.rig.material import ec_key, issued
from tests.rig.material import request as device_request
from tests.rig.service import Asked, Reply, Script

KEY = b"a secret that both know, 0123456789"
CHALLENGE = "canary-6Zq2LmX8"
REQUEST = request(CHALLENGE)


def sha256(asked: EnrolmentRequest) -> str:
    """What an answer must repeat."""
    return hashlib.sha256(asked.csr.der).hexdigest()


def answering(**said: Any) -> Script:
    """A script that answers about the request that it was asked about, with these keys beside."""
    return lambda question: Reply.of({"csr_sha256": question.json["csr_sha256"]} | said)


class Rig:
    """A webhook provider in front of a script."""

    def __init__(self, script: Script, **changes: Any) -> None:
        self.clock = Clock()
        self.asked = Asked(script)
        settings: dict[str, Any] = {
            "type": "webhook",
            "url": "https://inventory.example/scep",
            "secret_file": Secret(KEY, "a test"),
        }
        self.settings = Settings(**settings | changes)
        self.client: Any = self.asked.client(self.settings.url, Limits())
        self.provider = webhook(self.settings, self.client, self.clock)

    def check(self, asked: EnrolmentRequest | None = None) -> Any:
        """The verdict."""
        return run(self.provider.check(asked or REQUEST))

    def problem(self, asked: EnrolmentRequest | None = None) -> str:
        """Why there is none."""
        with pytest.raises(ProviderError) as caught:
            self.check(asked)
        assert caught.value.provider == "webhook"
        assert CHALLENGE not in str(caught.value)
        return caught.value.reason


def webhook(settings: Settings, client: HTTPClient, clock: Any) -> WebhookChallenge:
    """A provider over a client."""
    service = Service("webhook", Breaker(clock, settings.retry_after), settings.concurrency)
    return WebhookChallenge(settings, Origin(client, clock, settings.answer), service, lambda: NOW)


@pytest.mark.proves("AC-103", "AC-101")
def test_what_it_is_asked() -> None:
    """The facts of the request as JSON, whatever characters stand in them, authenticated with the time."""
    rig = Rig(answering(decision="allow"))
    hostile = '"}\u2028\\u0000{"decision":"allow"}'
    asked = request(
        CHALLENGE,
        csrs.dns("a.example"),
        csrs.upn("ann@corp.example"),
        subject=csrs.name(csrs.value(csrs.CN, hostile), csrs.value(csrs.UNIT, "x")),
    )
    assert isinstance(rig.check(asked), ChallengeAccepted)
    (question,) = rig.asked.questions
    assert (question.method, question.url) == ("POST", "https://inventory.example/scep")
    assert question.headers["content-type"] == "application/json"
    said = question.json
    assert base64.b64decode(said["csr"]) == asked.csr.der
    assert {name: said[name] for name in said if name not in ("csr", "signer", "subject")} == {
        "version": 1,
        "event": "request",
        "profile": "dev",
        "credential": "initial",
        "message_type": "PKCS_REQ",
        "transaction_id": "4711",
        "source": "192.0.2.1",
        "received": "2026-05-04T12:00:00.000+00:00",
        "csr_sha256": sha256(asked),
        "names": [{"type": "dns", "value": "a.example"}, {"type": "upn", "value": "ann@corp.example"}],
        "key": {"type": "EC", "bits": 256},
        "challenge": CHALLENGE,
    }
    assert said["signer"]["sha256"] == asked.signer.fingerprint()
    assert said["subject"] == str(asked.csr.subject)
    signature = question.headers["scepra-signature"]
    seconds = str(int(NOW.timestamp()))
    expected = hmac.new(KEY, seconds.encode() + b"." + question.body, "sha256").hexdigest()
    assert signature == f"t={seconds},v1={expected}"
    assert sign(KEY, NOW + timedelta(seconds=1), question.body) != signature
    assert KEY not in question.body


@pytest.mark.proves("SEC-05")
def test_what_it_decides() -> None:
    """Allow, deny and hold; whom it allows is enforced; device and name go into the records."""
    asked = request(CHALLENGE)
    assert Rig(answering(decision="allow")).check() == ChallengeAccepted("webhook", notify=("webhook",))
    said: dict[str, Any] = {"binding": {"common_name": NAME, "device": "d0"}, "id": "order/17"}
    accepted = Rig(answering(decision="allow", **said), events=False).check()
    assert accepted == ChallengeAccepted("webhook order/17", device="d0")
    assert Rig(answering(decision="allow", device="d1", **said)).check().device == "d1"
    held = Rig(answering(decision="hold", id="17"), hold_approvals=2, hold_expires=60.0).check()
    assert (held.hold.approvals, held.hold.expires) == (2, 60.0)
    assert held.hold.reason == "webhook 17 wants it looked at"
    for decision, binding in (("deny", {}), ("allow", {"common_name": "x"}), ("hold", {"dns": ["x.example"]})):
        more = {"binding": binding} if binding else {}
        refused = Rig(answering(decision=decision, **more)).check(asked)
        assert isinstance(refused, ChallengeRefused)
        assert not refused.foreign


@pytest.mark.proves("AC-095", "DR-6")
@pytest.mark.parametrize("challenge", [None, ""])
def test_nothing_is_not_asked_about(challenge: str | None) -> None:
    """A request without a challenge is no webhook's."""
    rig = Rig(answering(decision="allow"))
    refused = rig.check(request(challenge))
    assert isinstance(refused, ChallengeRefused)
    assert refused.foreign
    assert rig.asked.questions == []


HTML = {"content-type": "text/html"}
ALLOW: Any = {"decision": "allow", "csr_sha256": sha256(REQUEST)}
WORTHLESS: dict[str, Reply | Exception] = {
    "status 500": Reply.of(ALLOW, 500),
    "status 201": Reply.of(ALLOW, 201),
    "status 302": Reply(302, b"", {"location": "https://evil.example/allow", **Reply().headers}),
    "status 403": Reply.of({**ALLOW, "decision": "deny"}, 403),
    "HTML": Reply(200, b"<html>allow</html>", HTML),
    "JSON as HTML": Reply(200, json.dumps(ALLOW).encode(), HTML),
    "nothing": Reply(),
    "empty object": Reply.of({}),
    "text false": Reply.of({"allow": "false"}),
    "true": Reply.of(True),
    "one": Reply.of({**ALLOW, "decision": 1}),
    "decision true": Reply.of({**ALLOW, "decision": True}),
    "another word": Reply.of({**ALLOW, "decision": "Allow"}),
    "a list of words": Reply.of({**ALLOW, "decision": ["allow"]}),
    "no decision": Reply.of({"csr_sha256": ALLOW["csr_sha256"]}),
    "no digest": Reply.of({"decision": "allow"}),
    "no digest, deny": Reply.of({"decision": "deny"}),
    "another digest": Reply.of({**ALLOW, "csr_sha256": "0" * 64}),
    "digest in capitals": Reply.of({**ALLOW, "csr_sha256": ALLOW["csr_sha256"].upper()}),
    "list of digests": Reply.of({**ALLOW, "csr_sha256": [ALLOW["csr_sha256"]]}),
    "cut": Reply(200, json.dumps(ALLOW).encode()[:-1]),
    "two objects": Reply(200, json.dumps(ALLOW).encode() * 2),
    "key twice": Reply(200, b'{"decision":"deny",' + json.dumps(ALLOW).encode()[1:]),
    "10 MB": Reply(200, b" " * 10_000_000 + json.dumps(ALLOW).encode()),
    "deep": Reply(200, b"[" * 50_000),
    "unknown key": Reply.of({**ALLOW, "approved": False}),
    "binding that is a text": Reply.of({**ALLOW, "binding": "x"}),
    "binding that is nothing": Reply.of({**ALLOW, "binding": None}),
    "empty binding": Reply.of({**ALLOW, "binding": {}}),
    "unknown binding": Reply.of({**ALLOW, "binding": {"cn": NAME}}),
    "number as device": Reply.of({**ALLOW, "device": 7}),
    "long device": Reply.of({**ALLOW, "device": "x" * 129}),
    "device that ends a line": Reply.of({**ALLOW, "device": "a\nb"}),
    "number as id": Reply.of({**ALLOW, "id": 7}),
    "long id": Reply.of({**ALLOW, "id": "x" * 65}),
    "id that ends a line": Reply.of({**ALLOW, "id": "a\nb"}),
    "no connection": NotConnected("no connection: refused"),
    "lost": ConnectionResetError(),
}


@pytest.mark.proves("AC-103", "FT-57", "DR-6")
@pytest.mark.parametrize("reply", WORTHLESS.values(), ids=WORTHLESS)
def test_answers_that_are_none(reply: Reply | Exception) -> None:
    """Whatever is not exactly a decision about this very request decides nothing."""
    assert Rig(lambda question: reply).problem()


@pytest.mark.proves("AC-103", "DR-5")
@given(st.dictionaries(st.sampled_from(["decision", "csr_sha256", "binding", "device", "id", "x"]), JSON))
def test_no_answer_breaks_it(said: dict[str, Any]) -> None:
    """Whatever JSON comes, it is a decision about the request, or unbelievable."""
    try:
        answer = read_answer(json.dumps(said).encode(), 10_000, "5a" * 32)
    except Unbelievable as error:
        assert str(error)
    else:
        assert said["csr_sha256"] == "5a" * 32
        assert answer.decision == said["decision"]


@pytest.mark.proves("FT-57")
def test_it_is_left_alone_while_it_is_away() -> None:
    """When it cannot be reached nobody waits for it any more; when a pause is over one request tries."""
    rig = Rig(lambda question: NotConnected("no connection"))
    assert rig.problem() == "no connection"
    assert rig.problem() == "it has not answered lately"
    assert len(rig.asked.questions) == 1
    rig.asked.script = answering(decision="allow")
    rig.clock.advance(2)
    assert isinstance(rig.check(), ChallengeAccepted)
    assert isinstance(rig.check(), ChallengeAccepted)
    rig.asked.script = lambda question: ConnectionResetError()
    for _ in range(LOST_IN_A_ROW):
        assert "failed" in rig.problem()
    assert rig.problem() == "it has not answered lately"


def test_a_webhook_that_talks_nonsense_is_asked_again() -> None:
    """It is there: who wrote it can mend it."""
    rig = Rig(lambda question: Reply.of({}))
    for _ in range(2 * LOST_IN_A_ROW):
        assert "another request" in rig.problem()


def test_no_more_is_asked_at_once_than_may_be() -> None:
    """The others are told to come again."""
    rig = Rig(answering(decision="allow"), concurrency=2)
    waiting: list[Deferred[None]] = []

    class Slow:
        async def request(self, *arguments: Any, **settings: Any) -> Any:
            waiting.append(Deferred())
            await waiting[-1]
            return await rig.client.request(*arguments, **settings)

    slow = webhook(rig.settings, Slow(), rig.clock)  # type: ignore[arg-type]
    begun = [Deferred.fromCoroutine(slow.check(request(CHALLENGE))) for _ in range(2)]
    with pytest.raises(ProviderError, match="at once"):
        run(slow.check(request(CHALLENGE)))
    for each in waiting:
        each.callback(None)
    assert all(isinstance(each.result, ChallengeAccepted) for each in begun)
    begun = [Deferred.fromCoroutine(slow.check(request(CHALLENGE)))]
    assert not begun[0].called


def notice(**changes: Any) -> Notice:
    """What became of a request."""
    said: dict[str, Any] = {
        "id": "0123456789abcdef",
        "event": "refused",
        "reason": "denied",
        "at": NOW,
        "profile": "dev",
        "enrolment": "fedcba9876543210",
        "transaction_id": "4711",
        "csr": request(CHALLENGE).csr.der,
        "certificate": None,
    }
    return Notice(**said | changes)


@pytest.mark.proves("AC-103")
def test_what_it_is_told() -> None:
    """What became of the request, which it knows by its digest; the certificate as PEM; and the challenge no more."""
    rig = Rig(lambda question: Reply(204))
    certificate = issued(device_request(NAME, private_key=ec_key()))
    told = notice()
    run(rig.provider.notify(told))
    run(rig.provider.notify(notice(event="issued", reason="granted", certificate=certificate.der)))
    first, second = rig.asked.questions
    assert first.json == {
        "version": 1,
        "event": "refused",
        "id": "0123456789abcdef",
        "reason": "denied",
        "at": "2026-05-04T12:00:00.000+00:00",
        "profile": "dev",
        "enrolment": "fedcba9876543210",
        "transaction_id": "4711",
        "csr_sha256": hashlib.sha256(told.csr).hexdigest(),
    }
    said = second.json
    assert (said["event"], said["serial"]) == ("issued", f"{certificate.serial:x}")
    assert said["certificate_sha256"] == certificate.fingerprint()
    assert x509.load_pem_x509_certificate(said["certificate"].encode()).serial_number == certificate.serial
    assert CHALLENGE.encode() not in first.body + second.body
    assert first.headers["scepra-signature"] == sign(KEY, NOW, first.body)


@pytest.mark.proves("AC-103")
@pytest.mark.parametrize("reply", [Reply(500), Reply(302), Reply(404), NotConnected("no connection")])
def test_what_it_does_not_confirm(reply: Reply | Exception) -> None:
    """It is told again."""
    rig = Rig(lambda question: reply)
    with pytest.raises(ProviderError):
        run(rig.provider.notify(notice()))


class Real(TestCase):
    """Over real sockets of this machine."""

    timeout = 60

    def serve(self, script: Script, path: Path | None = None) -> str:
        """The URL of a webhook that listens."""
        site = Site(Asked(script))
        if path is not None:
            port = reactor.listenUNIX(str(path), site)
            self.addCleanup(port.stopListening)
            return f"unix:{path}"
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}/scep"

    def provider(self, url: str, **changes: Any) -> WebhookChallenge:
        """The provider, as the RA makes it."""
        settings = Settings(type="webhook", url=url, secret_file=Secret(KEY, "a test"), **changes)
        limits = Limits(settings.connect_timeout, settings.timeout)
        if url.startswith("unix:"):
            client = http_client(reactor, "http://localhost/", limits, socket=url.removeprefix("unix:"))
        else:
            client = http_client(reactor, url, limits)
        return webhook(settings, client, reactor)

    async def reason(self, provider: WebhookChallenge) -> str:
        """Why there is no verdict."""
        try:
            found = await provider.check(request(CHALLENGE))
        except ProviderError as error:
            return error.reason
        raise AssertionError(found)

    @pytest.mark.proves("AC-103", "FT-57")
    async def test_loopback(self) -> None:
        """A decision comes over HTTP of this machine; no redirect is followed, and no answer is read without end."""
        asked = request(CHALLENGE)
        script: Script = lambda question: Reply.of({**ALLOW, "csr_sha256": question.json["csr_sha256"]})  # noqa: E731 - the type says what it is
        provider = self.provider(self.serve(script), timeout=30.0, connect_timeout=30.0)
        self.assertIsInstance(await provider.check(asked), ChallengeAccepted)
        redirect = Reply(302, b"", {"location": self.serve(script)})
        assert "status 302" in await self.reason(self.provider(self.serve(lambda question: redirect), timeout=30.0))
        large = Reply(200, b" " * 10_000_000)
        said = await self.reason(self.provider(self.serve(lambda question: large), timeout=30.0))
        assert said == "an answer of more than 65536 octets"

    @pytest.mark.proves("AC-103", "FT-57")
    async def test_socket(self) -> None:
        """A decision over a Unix socket; one that is not there cannot be asked."""
        # The path of a socket may have some hundred characters only.
        short = Path(mkdtemp()) / "socket"
        script: Script = lambda question: Reply.of({**ALLOW, "csr_sha256": question.json["csr_sha256"]})  # noqa: E731 - the type says what it is
        provider = self.provider(self.serve(script, short), timeout=30.0)
        self.assertIsInstance(await provider.check(request(CHALLENGE)), ChallengeAccepted)
        assert "no connection" in await self.reason(self.provider(f"unix:{short}.other"))

    @pytest.mark.proves("AC-103", "FT-57")
    async def test_deadline(self) -> None:
        """An answer that does not come, or comes octet by octet, is not waited for."""

        class Silent(Asked):
            def render(self, request: Any) -> Any:
                request.notifyFinish().addErrback(lambda failure: None)
                return NOT_DONE_YET

        port = reactor.listenTCP(0, Site(Silent(lambda question: Reply())), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/"
        assert await self.reason(self.provider(url, timeout=0.5)) == "no whole answer within 0.5 s"
