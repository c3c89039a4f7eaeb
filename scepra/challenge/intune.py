"""Microsoft Intune made the challenge and says whether it is good for a request (P10-11; AC-103, FT-57).

Written from Microsoft's public documentation ("Use APIs to add third-party CAs for SCEP to Intune", the reference
client Intune-Resource-Access, and Microsoft Graph's endpoints of a servicePrincipal); not yet tried against the live
service.

An application that is registered in the tenant signs in with its secret (OAuth 2.0 client credentials), asks Microsoft
Graph where Intune's validation service is, and asks that about the unmodified request and the client's transactionID.
What became of the request is told to the same service.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from scepra import __version__
from scepra.challenge.json_object import NoObject, parse_object
from scepra.challenge.protocol import Notice
from scepra.challenge.service import Service
from scepra.config.service import IntuneChallenge as Settings
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Reservation, Verdict
from scepra.errors import ProviderError
from scepra.http.agent import Target
from scepra.http.request import Origin, Reply, Unanswered
from scepra.scep.certificate import Certificate

KIND = "intune"
CALLER = f"scepra/{__version__}"
INTUNE = "0000000a-0000-0000-c000-000000000000"
"""The application id of Intune itself, in every tenant."""
SERVICE = "ScepRequestValidationFEService"
API_VERSION = "2018-02-20"
MARGIN = 300.0
"""How long before its end a token is used no more, in seconds."""
REMEMBERED = 3600.0
"""How long the address of the service is believed, in seconds."""

SUCCESS = "Success"
CODES: Mapping[str, str] = {
    "CertificateRequestDecodingFailed": "the request cannot be decoded",
    "ChallengePasswordMissing": "the challenge is missing",
    "ChallengeDeserializationError": "the challenge is none of Intune's",
    "ChallengeDecryptionError": "the challenge cannot be decrypted",
    "ChallengeDecodingError": "the challenge cannot be decoded",
    "ChallengeInvalidTimestamp": "the challenge has a wrong time",
    "ChallengeExpired": "the challenge has expired",
    "SubjectNameMissing": "the subject is missing",
    "SubjectNameMismatch": "the subject is another",
    "SubjectAltNameMissing": "the alternative names are missing",
    "SubjectAltNameMismatch": "the alternative names are others",
    "KeyUsageMismatch": "the key usage is another",
    "KeyLengthMismatch": "the key has another length",
    "EnhancedKeyUsageMissing": "the extended key usage is missing",
    "EnhancedKeyUsageMismatch": "the extended key usage is another",
    "AadKeyIdentifierListMissing": "the list of key identifiers is missing",
    "RegisteredKeyMismatch": "the key is not the registered one",
    "SigningCertThumbprintMismatch": "the signing certificate is another",
    "ScepProfileNoLongerTargetedToTheClient": "the profile is not for this device any more",
    "SignatureValidationFailed": "the challenge's signature is wrong",
    "BadCertificateRequestIdInChallenge": "the challenge is for another request",
    "BadDeviceIdInChallenge": "the challenge is for another device",
    "BadUserIdInChallenge": "the challenge is for another user",
}
"""The codes by which Intune refuses. Another code is no decision: the client is told to come again."""

FAILURES: Mapping[str, tuple[int, str]] = {
    "refused": (0xA0000001, "the CA refused the request"),
    "misissued": (0xA0000002, "the CA issued something else than was asked for"),
    "denied": (0xA0000003, "an operator denied the request"),
    "closed": (0xA0000004, "an operator ended the request"),
    "expired": (0xA0000005, "the request took too long"),
}
"""What Intune shows to administrators: an HRESULT of a customer's (bit 29), and a text of 255 characters at most."""

T = TypeVar("T")


@dataclass(slots=True)
class _Token:
    """A bearer token, and until when it is used on the reactor's clock."""

    text: str
    until: float


class IntuneChallenge:
    """Asks Intune, and tells it.

    Args:
        settings: its section.
        origin: the way to an https URL.
        service: what keeps from asking too much.
        reactor: the clock that nobody sets.
    """

    def __init__(
        self, settings: Settings, origin: Callable[[str], Origin], service: Service, reactor: IReactorTime
    ) -> None:
        self.kind = KIND
        self.patience = settings.give_up_after
        self._settings = settings
        self._make_origin = origin
        self._origins: dict[tuple[str, str], Origin] = {}
        self._service = service
        self._reactor = reactor
        self._tokens: dict[str, _Token] = {}
        self._address: tuple[str, float] | None = None

    async def check(self, request: EnrolmentRequest) -> Verdict:
        challenge = request.csr.challenge_password
        if not challenge:
            return ChallengeRefused("no challenge", foreign=True)
        said = {
            "request": {
                "transactionId": request.transaction_id,
                "certificateRequest": _base64(request.csr.der),
                "callerInfo": CALLER,
            }
        }
        code = await self._service.ask(lambda: self._bounded(self._act("validateRequest", said)))
        if code != SUCCESS:
            return ChallengeRefused(f"Intune: {CODES[code]} ({code})")
        digest = hashlib.sha256(challenge.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{KIND} {digest[:32]}"
        return ChallengeAccepted(name, (Reservation(name),), notify=(KIND,))

    async def notify(self, notice: Notice) -> None:
        """Tell it.

        Raises:
            ProviderError: it has not confirmed.
        """
        said: dict[str, Any] = {
            "transactionId": notice.transaction_id,
            "certificateRequest": _base64(notice.csr),
        }
        if notice.certificate is not None:
            certificate = Certificate.parse(notice.certificate)
            ends = certificate.not_after
            said |= {
                "certificateThumbprint": certificate.fingerprint("sha1").upper(),
                "certificateSerialNumber": f"{certificate.serial:X}",
                "certificateExpirationDateUtc": ends.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") if ends else "",
                "issuingCertificateAuthority": str(certificate.issuer),
            }
        else:
            result, description = FAILURES[notice.reason]
            said |= {"hResult": result, "errorDescription": description}
        action = "failureNotification" if notice.certificate is None else "successNotification"
        try:
            code = await self._bounded(self._act(action, {"notification": said | {"callerInfo": CALLER}}))
        except Unanswered as error:
            raise ProviderError(KIND, error.reason) from error
        if code != SUCCESS:
            raise ProviderError(KIND, f"no confirmation but {code}")

    async def _bounded(self, question: Coroutine[Any, Any, T]) -> T:
        """What comes of a question within the time for all of it.

        Raises:
            Unanswered: it took longer.
        """
        waiting: Deferred[T] = Deferred.fromCoroutine(question)
        waiting.addTimeout(self._settings.timeout, self._reactor, onTimeoutCancel=_late)
        return await waiting

    async def _act(self, action: str, said: Mapping[str, Any]) -> str:
        """The code that an action is answered with: success, or one of :data:`CODES`."""
        service = self._settings.service
        body = json.dumps(said, ensure_ascii=True).encode("ascii")
        url = f"{await self._find()}/ScepActions/{action}"
        headers = {"api-version": API_VERSION, "User-Agent": CALLER, "Content-Type": "application/json"}
        reply = await self._authorised(service, "POST", url, headers, body)
        if reply.status != 200:
            # It may have moved.
            self._address = None
        found = self._object(reply, "Intune's validation service")
        inner = said.get("request") or said["notification"]
        if found.get("transactionId", inner["transactionId"]) != inner["transactionId"]:
            raise ProviderError(KIND, "an answer about another transaction")
        code = found.get("code")
        if not isinstance(code, str) or code not in (SUCCESS, *CODES):
            raise ProviderError(KIND, "an answer without a code that is known")
        return code

    async def _find(self) -> str:
        """Where the validation service is."""
        now = self._reactor.seconds()
        if self._address is not None and now < self._address[1]:
            return self._address[0]
        graph = self._settings.graph
        url = f"{graph}/v1.0/servicePrincipals/appId={INTUNE}/endpoints"
        found = self._object(await self._authorised(graph, "GET", url, {"Accept": "application/json"}), "Graph")
        listed = found.get("value")
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, dict) and each.get("providerName") == SERVICE:
                address = self._believed(each.get("uri"))
                self._address = (address, now + REMEMBERED)
                return address
        raise ProviderError(KIND, f"Graph knows no {SERVICE}: may the application validate SCEP challenges?")

    def _believed(self, address: Any) -> str:
        """An address that Intune may have: https, and in one of the configured domains."""
        try:
            parts = urlsplit(address if isinstance(address, str) and address.isascii() else "")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ProviderError(KIND, "Graph says an address that is none") from None
        inside = any(host == domain or host.endswith(f".{domain}") for domain in self._settings.domains)
        if parts.scheme != "https" or not inside or port not in (None, 443) or parts.query or parts.username:
            raise ProviderError(KIND, "Graph says an address that is not in Intune's domains")
        return str(address).rstrip("/")

    def _to(self, url: str) -> Origin:
        """The way to a URL."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        if key not in self._origins:
            self._origins[key] = self._make_origin(url)
        return self._origins[key]

    async def _authorised(
        self, resource: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        """An answer to who is signed in: once more with a fresh token, if the first is not taken."""
        for attempt in range(2):
            token = await self._token(resource)
            sent = Headers({name: [value] for name, value in headers.items()})
            sent.addRawHeader("Authorization", f"Bearer {token}")
            sent.addRawHeader("client-request-id", str(uuid4()))
            reply = await self._to(url).send(method, Target(url), sent, body)
            if reply.status != 401 or attempt:
                return reply
            self._tokens.pop(resource, None)
        raise AssertionError  # pragma: no cover - the second attempt returns

    async def _token(self, resource: str) -> str:
        """A token for a resource."""
        known = self._tokens.get(resource)
        if known is not None and self._reactor.seconds() < known.until:
            return known.text
        settings = self._settings
        url = f"{settings.login}/{quote(settings.tenant, safe='')}/oauth2/v2.0/token"
        form = {
            "grant_type": "client_credentials",
            "client_id": settings.application_id,
            "client_secret": settings.secret_file.reveal().decode(),
            "scope": f"{resource}/.default",
        }
        headers = Headers({"Content-Type": ["application/x-www-form-urlencoded"], "Accept": ["application/json"]})
        begun = self._reactor.seconds()
        reply = await self._to(url).send("POST", Target(url), headers, urlencode(form).encode("ascii"))
        found = self._object(reply, "the login service")
        token, lasts = found.get("access_token"), found.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
            raise ProviderError(KIND, "the login service gives no token")
        seconds = float(lasts) if isinstance(lasts, int) and not isinstance(lasts, bool) and lasts < 1e6 else 0.0
        self._tokens[resource] = _Token(token, begun + seconds - MARGIN)
        return token

    def _object(self, reply: Reply, who: str) -> dict[str, Any]:
        if reply.status != 200 or reply.media_type != "application/json":
            raise ProviderError(KIND, f"{who} gives {reply}")
        try:
            return parse_object(reply.body, self._settings.answer)
        except NoObject as error:
            raise ProviderError(KIND, f"{who} gives {error}") from None


def _late(result: object, timeout: float) -> NoReturn:
    raise Unanswered(f"no whole answer within {timeout:g} s", sent=True)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
