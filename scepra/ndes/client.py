"""Fetching NDES's administration page: credentials go to the configured host and nowhere else (AC-118).

Each draw has a connection of its own, on which the account shows itself without being asked, so that no probe without
it goes out first. Nothing is followed or decompressed, the answer is bounded, and one deadline is for all of it.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import treq
from cryptography import x509
from OpenSSL.SSL import Error as SSLError
from twisted.internet import ssl
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IPolicyForHTTPS

from scepra.config.model import NdesChallenge
from scepra.errors import ConfigError, Problem
from scepra.http.connection import Ended, Limits, NotConnected
from scepra.http.endpoint import OneOrigin
from scepra.keys.certificate import read_certificates
from scepra.ndes import authentication
from scepra.ndes.authentication import Refused
from scepra.ndes.connection import OneConnection
from scepra.ndes.page import Obstacle, Password, read

LARGEST = 64 * 1024
"""The largest page that is read, in octets."""
LEGS = 4
"""How many requests a conversation has at most: NTLM needs two, Negotiate perhaps one more."""
CONNECT = 5.0


class Trouble(enum.Enum):
    """What kind of reason there is for having no password."""

    FULL = "full"
    MISCONFIGURED = "misconfigured"
    UNAVAILABLE = "unavailable"


class NotDrawn(Exception):
    """There is no password; ``reason`` is a sentence for the log that holds nothing of what NDES wrote."""

    def __init__(self, trouble: Trouble, reason: str) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to NDES: what requests go through, who is at its other end by TLS, and how it ends."""

    agent: IAgent
    certificate: x509.Certificate | None
    close: Callable[[], Awaitable[object]]


class Client:
    """Draws passwords from one administration page with one account."""

    def __init__(
        self,
        settings: NdesChallenge,
        reactor: Any,
        connect: Callable[[], Awaitable[Session]] | None = None,
    ) -> None:
        """
        Args:
            reactor: connects and waits.
            connect: takes the place of the network.

        Raises:
            ConfigError: ``trust`` holds no certificates.
        """
        self._settings = settings
        self._uri = URI.fromBytes(settings.url.encode("ascii"))
        self._reactor = reactor
        self._connect = connect or self._session
        self._limits = Limits(connect=min(CONNECT, settings.timeout), total=settings.timeout)
        self._origin = OneOrigin(reactor, self._uri, _policy(settings), self._limits.connect)

    async def draw(self) -> Password:
        """A password that nobody else has; it takes a place in NDES's cache.

        Raises:
            NotDrawn: there is none to be had now.
        """
        try:
            session = await self._connect()
            try:
                status, body = await self._fetch(session)
            finally:
                await session.close()
        except (NotConnected, Ended) as error:
            raise NotDrawn(Trouble.UNAVAILABLE, str(error)) from error
        except Refused as error:
            raise NotDrawn(Trouble.MISCONFIGURED, str(error)) from error
        except NotDrawn:
            raise
        except Exception as error:
            reasons = [each.value for each in getattr(error, "reasons", ())]
            ended = next((str(each) for each in reasons if isinstance(each, Ended)), None)
            sentence = ended or f"the exchange failed ({type(error).__name__})"
            raise NotDrawn(Trouble.UNAVAILABLE, sentence) from error
        return _judged(status, body)

    async def _session(self) -> Session:
        pool = OneConnection(self._reactor, self._limits, secure=self._uri.scheme == b"https")
        await pool.open(self._origin.endpointForURI(self._uri))
        return Session(Agent.usingEndpointFactory(self._reactor, self._origin, pool), pool.certificate, pool.close)

    async def _fetch(self, session: Session) -> tuple[int, bytes]:
        """Status and body of the answer that the account gets in the end."""
        host = self._uri.host.decode("ascii")
        conversation = authentication.begin(self._settings, host, session.certificate)
        answers: list[bytes] = []
        status, body = 401, b""
        for _ in range(LEGS):
            said = conversation.step(answers)
            if said is None:
                break
            status, answers, body = await self._get(session.agent, said)
            if status != 401:
                break
        return status, body

    async def _get(self, agent: IAgent, said: bytes) -> tuple[int, list[bytes], bytes]:
        body = bytearray()

        def collect(data: bytes) -> None:
            body.extend(data)
            if len(body) > LARGEST:
                raise Ended(f"an answer of more than {LARGEST} octets")

        response = await agent.request(b"GET", self._settings.url.encode("ascii"), Headers({b"Authorization": [said]}))
        await treq.collect(response, collect)
        return response.code, list(response.headers.getRawHeaders(b"WWW-Authenticate", ())), bytes(body)


def _judged(status: int, body: bytes) -> Password:
    if status == 401:
        sentence = "it does not believe the account: user, password-file or authentication is wrong"
        raise NotDrawn(Trouble.MISCONFIGURED, sentence)
    if 300 <= status < 500:
        sentence = f"it answered with status {status}: url is not that of its administration page"
        raise NotDrawn(Trouble.MISCONFIGURED, sentence)
    if status != 200:
        raise NotDrawn(Trouble.UNAVAILABLE, f"it answered with status {status}")
    found = read(body)
    if found is Obstacle.CACHE_FULL:
        raise NotDrawn(Trouble.FULL, found.value)
    if isinstance(found, Obstacle):
        raise NotDrawn(Trouble.MISCONFIGURED, found.value)
    if found.reusable:
        sentence = "it has one password for everybody (UseSinglePassword): use a challenge of the type static"
        raise NotDrawn(Trouble.MISCONFIGURED, sentence)
    return found


def _policy(settings: NdesChallenge) -> IPolicyForHTTPS:
    """Whom TLS believes: the certificates of a file, and nobody else, or whom the system does."""
    if settings.trust is None:
        return BrowserLikePolicyForHTTPS()
    try:
        trusted = [ssl.Certificate.load(each.der) for each in read_certificates(settings.trust)]
    except SSLError:
        raise ConfigError(
            (Problem(str(settings.trust), 0, 0, "", "holds a certificate that TLS cannot use"),)
        ) from None
    return BrowserLikePolicyForHTTPS(trustRoot=ssl.trustRootFromCertificates(trusted))
