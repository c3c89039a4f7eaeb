"""Fetching NDES's page: what is sent to whom, and what becomes of every answer (AC-118)."""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor, ssl
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from scepra.errors import ConfigError
from scepra.http.connection import Ended, NotConnected
from scepra.lab import AdministrationPage, Passwords
from scepra.lab.ndes import write_users
from scepra.ndes import page
from scepra.ndes.authentication import require
from scepra.ndes.client import LARGEST, Client, NotDrawn, Trouble
from scepra.ndes.page import Password
from tests.ndes.administration import PASSWORD, USER, Administration, settings
from tests.rig.house import run
from tests.rig.material import authority
from tests.upstream.hostile import Conversation, Hostile, Script
from tests.upstream.test_endpoint import certificate

BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Answering(Resource):
    """Answers with a status, a body and header fields."""

    isLeaf = True

    def __init__(self, status: int = 200, body: bytes = b"", **fields: str) -> None:
        super().__init__()
        self.status, self.body, self.fields = status, body, fields
        self.requests: list[dict[str, list[str]]] = []

    def render(self, request: Request) -> bytes:
        found = request.requestHeaders.getAllRawHeaders()
        self.requests.append({key.decode().lower(): [each.decode() for each in values] for key, values in found})
        request.setResponseCode(self.status)
        for name, value in self.fields.items():
            request.setHeader(name.replace("_", "-"), value)
        return self.body


def trouble(client: Client) -> NotDrawn:
    """Why there is no password."""
    with pytest.raises(NotDrawn) as caught:
        run(client.draw())
    return caught.value


def answered(status: int = 200, body: bytes = b"", **fields: str) -> tuple[NotDrawn, Answering]:
    """What becomes of an answer."""
    administration = Administration()
    administration.resource = answering = Answering(status, body, **fields)
    return trouble(administration.client()), answering


@pytest.mark.proves("RA-11", "AC-118")
def test_a_password_is_drawn_with_one_request() -> None:
    """The account shows itself without having been asked to, and without asking for anything to be compressed."""
    administration = Administration()
    administration.resource = answering = Answering(200, page.write(Password("A" * 16, 60, reusable=False), bytes(16)))
    assert run(administration.client().draw()) == Password("A" * 16, 60, reusable=False)
    (sent,) = answering.requests
    assert sent.keys() <= {"host", "authorization", "connection"}
    assert (sent["host"], sent["authorization"]) == (["ndes.example"], [BASIC])
    assert administration.connections == 1


@pytest.mark.proves("RA-11")
def test_each_draw_takes_a_place_in_the_cache() -> None:
    """Five are drawn, no two the same; then the page says that there is no room, until one has expired."""
    administration = Administration()
    client = administration.client()
    assert len({run(client.draw()).text for _ in range(5)}) == 5
    assert trouble(client).trouble is Trouble.FULL
    administration.passwords.forget()
    assert run(client.draw()).minutes == 60


@pytest.mark.proves("AC-118", "DR-13")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nothing_is_followed(status: int) -> None:
    """A redirect leads nowhere, wherever it points: the account is shown to the configured host, once."""
    found, answering = answered(status, Location="https://thief.example/certsrv/mscep_admin/")
    assert found.trouble is Trouble.MISCONFIGURED
    assert f"status {status}" in found.reason
    assert "thief" not in found.reason
    assert len(answering.requests) == 1


@pytest.mark.proves("AC-118")
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"", Trouble.MISCONFIGURED),
        (403, b"", Trouble.MISCONFIGURED),
        (404, b"", Trouble.MISCONFIGURED),
        (500, b"", Trouble.UNAVAILABLE),
        (503, b"", Trouble.UNAVAILABLE),
        (204, b"", Trouble.UNAVAILABLE),
        (200, b"", Trouble.MISCONFIGURED),
        (200, b"<html>Please log in</html>", Trouble.MISCONFIGURED),
        (200, page.write_obstacle(page.Obstacle.CACHE_FULL), Trouble.FULL),
        (200, page.write_obstacle(page.Obstacle.NO_PERMISSION), Trouble.MISCONFIGURED),
        (200, page.write(Password("SECRET-SECRET-1", None, reusable=True), bytes(16)), Trouble.MISCONFIGURED),
        (200, b"x" * (LARGEST + 1), Trouble.UNAVAILABLE),
    ],
)
def test_what_becomes_of_answers(status: int, body: bytes, expected: Trouble) -> None:
    """Each is one of three kinds of trouble; the sentence repeats nothing of it, nor anything of the account."""
    found, answering = answered(status, body, WWW_Authenticate='Basic realm="SECRET"')
    assert found.trouble is expected
    assert len(answering.requests) <= 2
    for secret in ("SECRET", PASSWORD, "xxx", BASIC.split()[1]):
        assert secret not in str(found)


def test_a_single_password_is_for_another_kind_of_challenge() -> None:
    """A server with one password for everybody is told from others by its page, and the administrator what to do."""
    administration = Administration(single=True)
    assert "use a challenge of the type static" in trouble(administration.client()).reason


@pytest.mark.proves("AC-118")
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotConnected("no connection: Connection refused"), "no connection: Connection refused"),
        (Ended("no whole answer within 1 s"), "no whole answer within 1 s"),
        (RuntimeError(PASSWORD), "the exchange failed (RuntimeError)"),
    ],
)
def test_no_connection(error: Exception, sentence: str) -> None:
    """Whoever cannot be reached is unavailable; texts of unknown exceptions are not repeated."""
    administration = Administration()
    administration.broken = error
    found = trouble(administration.client())
    assert (found.trouble, found.reason) == (Trouble.UNAVAILABLE, sentence)


def test_without_pyspnego(monkeypatch: pytest.MonkeyPatch) -> None:
    """NTLM and Negotiate without the extra are a mistake in the configuration, found at the start; Basic is none."""
    monkeypatch.setitem(sys.modules, "spnego", None)
    for authentication in ("ntlm", "negotiate"):
        with pytest.raises(ConfigError, match=r"profiles\.wifi\.challenge\.authentication: .*scepra\[ndes\]"):
            require(settings(authentication=authentication), "profiles.wifi.challenge")
    require(settings(), "profiles.wifi.challenge")


def test_trust_that_is_none(tmp_path: Path) -> None:
    """A file that is not there or holds something else is a mistake in the configuration."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name, sentence in (("empty.pem", "holds no certificate"), ("absent.pem", "cannot be read")):
        with pytest.raises(ConfigError, match=f"{name}: {sentence}"):
            Client(settings(trust=tmp_path / name), Clock())


# --- On loopback ----------------------------------------------------------------------------------------------------


class LoopbackCase(TestCase):
    """The lab's NDES on a port, whose acceptor is pyspnego's."""

    timeout = 60

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        previous = dict(os.environ)
        write_users(self.directory / "users.txt", {USER: PASSWORD})
        self.addCleanup(restore, previous)
        self.passwords = Passwords(most=100)
        self.page = AdministrationPage(authority(), self.passwords, {USER: PASSWORD}, ntlm=True)

    def listen(self, resource: Resource, secured: Any = None) -> int:
        """The port that it is on."""
        site = Site(resource)
        port: IListeningPort
        if secured is None:
            port = reactor.listenTCP(0, site, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, site, secured, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def hostile(self, script: Script) -> tuple[Hostile, int]:
        """A server that does what a script says."""
        server = Hostile(script)
        port = reactor.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(server.hang_up)
        return server, port.getHost().port

    def client(self, port: int, scheme: str = "http", host: str = "127.0.0.1", **changes: Any) -> Client:
        """A client of it."""
        return Client(settings(f"{scheme}://{host}:{port}/certsrv/mscep_admin/", **changes), reactor)

    async def trouble(self, client: Client) -> NotDrawn:
        """Why there is no password."""
        try:
            raise AssertionError(repr(await client.draw()))
        except NotDrawn as error:
            return error


def restore(environment: dict[str, str]) -> None:
    """As it was before."""
    os.environ.clear()
    os.environ.update(environment)


class ConversationTests(LoopbackCase):
    """NTLM and Negotiate as the other side of them sees it."""

    @pytest.mark.proves("AC-118", "RA-11")
    async def test_ntlm_and_negotiate(self) -> None:
        """Two requests on one connection, the first with the first message: there is no probe without an account."""
        port = self.listen(self.page)
        for scheme in ("ntlm", "negotiate"):
            for _ in range(2):
                password = await self.client(port, authentication=scheme).draw()
                assert self.passwords.take(password.text)
        assert len(self.page.visits) == 8
        assert set(self.page.visits) == {"NTLM", "Negotiate"}

    @pytest.mark.proves("AC-118")
    async def test_a_wrong_password(self) -> None:
        """The account is not believed: that is said once, and it is not tried again."""
        port = self.listen(self.page)
        for scheme in ("ntlm", "negotiate", "basic"):
            self.page.visits.clear()
            wrong = settings(f"http://127.0.0.1:{port}/", user="LAB\\somebody", authentication=scheme)
            found = await self.trouble(Client(wrong, reactor))
            assert found.trouble is Trouble.MISCONFIGURED
            assert "does not believe the account" in found.reason
            assert len(self.page.visits) <= 2

    @pytest.mark.proves("AC-118")
    async def test_ntlm_belongs_to_its_connection(self) -> None:
        """A server that closes between the two steps gets no second one on another connection."""

        def close(conversation: Conversation) -> None:
            conversation.say(b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM TlRMTVNTUAACAAAA\r\nConnection: close\r\n\r\n")
            conversation.close()

        server, port = self.hostile(close)
        found = await self.trouble(self.client(port, authentication="ntlm"))
        assert len(server.requests) == 1
        assert found.trouble in (Trouble.UNAVAILABLE, Trouble.MISCONFIGURED)

    @pytest.mark.proves("AC-118", "DR-13")
    async def test_challenges_that_are_none(self) -> None:
        """Whatever a server says in place of the second message, nothing but the first has been told to it."""
        for said in (b"NTLM", b"NTLM ", b"NTLM !", b"NTLM AAAA", b"Basic realm=x"):

            def answer(conversation: Conversation, said: bytes = said) -> None:
                conversation.say(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: %b\r\n\r\n" % said)

            server, port = self.hostile(answer)
            found = await self.trouble(self.client(port, authentication="ntlm"))
            assert found.trouble is Trouble.MISCONFIGURED, found
            (request,) = server.requests
            # The first message names nobody: it is the same for all accounts.
            (line,) = [each for each in request.split(b"\r\n") if each.lower().startswith(b"authorization:")]
            first = base64.b64decode(line.split(b" ")[2])
            assert USER.split("\\")[1].encode() not in first.replace(b"\0", b"")

    @pytest.mark.proves("DR-13", "I9")
    async def test_a_server_that_takes_its_time(self) -> None:
        """One deadline is for everything, an octet at a time does not put it off; so much is read before the page."""
        cases: list[tuple[Script, str]] = [
            (lambda conversation: None, "no whole answer within 1 s"),
            (lambda conversation: conversation.drip(b"HTTP/1.1 200 OK\r\nX: xxxxxxx"), "no whole answer within 1 s"),
            (lambda conversation: conversation.pour(b"X" * 65536), "the exchange failed"),
        ]
        for script, sentence in cases:
            _, port = self.hostile(script)
            found = await self.trouble(self.client(port, timeout="1s"))
            assert found.trouble is Trouble.UNAVAILABLE
            assert sentence in found.reason or "too many octets" in found.reason


class SecuredTests(LoopbackCase):
    """To whom an account is shown over TLS."""

    def secured(self, name: str = "localhost") -> tuple[Any, Path]:
        """What a server with a new certificate for a name listens with, and the certificate's file; the page wants to
        be shown accounts on connections with that certificate only."""
        made, key = certificate(name)
        file = self.directory / f"{name}.pem"
        file.write_bytes(made.public_bytes(Encoding.PEM))
        users = {USER: PASSWORD}
        self.page = AdministrationPage(authority(), self.passwords, users, ntlm=True, certificate=made)
        return ssl.CertificateOptions(key, made), file

    @pytest.mark.proves("AC-118", "DR-13")
    async def test_the_certificate_is_the_pinned_one(self) -> None:
        """Whoever has another certificate than the trusted one is told nothing at all."""
        options, file = self.secured()
        port = self.listen(self.page, options)
        client = self.client(port, "https", "localhost", trust=file)
        assert self.passwords.take((await client.draw()).text)
        self.page.visits.clear()
        other = self.directory / "other.pem"
        other.write_bytes(certificate("localhost")[0].public_bytes(Encoding.PEM))
        for changes in ({"trust": other}, {}):
            for authentication in ("ntlm", "basic"):
                client = self.client(port, "https", "localhost", authentication=authentication, **changes)
                found = await self.trouble(client)
                assert found.trouble is Trouble.UNAVAILABLE
                assert "no TLS" in found.reason
        assert self.page.visits == []

    @pytest.mark.proves("AC-118", "AC-014")
    async def test_ntlm_is_bound_to_the_certificate(self) -> None:
        """What was said on one connection is not believed on another, whose certificate is another (a relay)."""
        options, file = self.secured()
        port = self.listen(self.page, options)
        self.secured("other.example")
        elsewhere = self.listen(self.page, options)
        for authentication in ("ntlm", "negotiate"):
            settings = {"trust": file, "authentication": authentication}
            assert self.passwords.take((await self.client(port, "https", "localhost", **settings).draw()).text)
            found = await self.trouble(self.client(elsewhere, "https", "localhost", **settings))
            assert "does not believe the account" in found.reason

    @pytest.mark.proves("AC-118")
    async def test_the_name_is_the_configured_one(self) -> None:
        """A certificate that is trusted for another name is none."""
        options, file = self.secured("other.example")
        port = self.listen(self.page, options)
        found = await self.trouble(self.client(port, "https", "localhost", trust=file))
        assert "its certificate is for another name" in found.reason
        assert self.page.visits == []
