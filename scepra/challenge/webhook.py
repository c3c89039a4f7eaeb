"""A program of the administrator's is asked about every request, and told what became of it (AC-103, FT-57).

It gets a POST of JSON. Its header ``Scepra-Signature: t=SECONDS,v1=HEX`` holds the time since 1970 and the
HMAC-SHA-256, under the shared secret, of that number, a full stop and the body. Whatever is not exactly an answer about
this very request allows nothing: the client is told to come again, and nothing is used up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twisted.web.http_headers import Headers

from scepra.binding import Binding, NoBinding
from scepra.challenge.json_object import NoObject, parse_object
from scepra.challenge.protocol import Notice
from scepra.challenge.service import Service
from scepra.config.service import WebhookChallenge as Settings
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Hold, Verdict
from scepra.errors import ProviderError
from scepra.http.agent import Target
from scepra.http.request import Origin, Reply, Unanswered
from scepra.scep.certificate import Certificate

KIND = "webhook"
VERSION = 1
SIGNATURE = "Scepra-Signature"
_ID = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_KEYS = frozenset(("decision", "csr_sha256", "binding", "device", "id"))
_DECISIONS = ("allow", "deny", "hold")


class Unbelievable(Exception):
    """An answer that says nothing about the request; the text repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided: "allow", "deny" or "hold"; for whom; for which device; under which name in records."""

    decision: str
    binding: Binding
    device: str
    id: str


def describe(request: EnrolmentRequest) -> dict[str, Any]:
    """The facts of a request, with its challenge, as JSON values."""
    csr, signer = request.csr, request.signer
    return {
        "version": VERSION,
        "event": "request",
        "profile": request.profile,
        "credential": request.credential.value,
        "message_type": request.message_type.name,
        "transaction_id": request.transaction_id,
        "source": request.source,
        "received": request.received.astimezone(UTC).isoformat(timespec="milliseconds"),
        "csr": base64.b64encode(csr.der).decode("ascii"),
        "csr_sha256": hashlib.sha256(csr.der).hexdigest(),
        "subject": str(csr.subject),
        "names": [
            {"type": name.kind, "value": name.value if isinstance(name.value, str) else name.value.hex()}
            for name in csr.alternative_names
        ],
        "key": {"type": csr.public_key.kind, "bits": csr.public_key.bits},
        "signer": {"sha256": signer.fingerprint(), "subject": str(signer.subject)},
        "challenge": csr.challenge_password,
    }


def describe_end(notice: Notice) -> dict[str, Any]:
    """What became of a request, as JSON values."""
    said: dict[str, Any] = {
        "version": VERSION,
        "event": notice.event,
        "id": notice.id,
        "reason": notice.reason,
        "at": notice.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "profile": notice.profile,
        "enrolment": notice.enrolment,
        "transaction_id": notice.transaction_id,
        "csr_sha256": hashlib.sha256(notice.csr).hexdigest(),
    }
    if notice.certificate is not None:
        certificate = base64.b64encode(notice.certificate).decode("ascii")
        lines = "\n".join(certificate[index : index + 64] for index in range(0, len(certificate), 64))
        said |= {
            "serial": f"{Certificate.parse(notice.certificate).serial:x}",
            "certificate_sha256": hashlib.sha256(notice.certificate).hexdigest(),
            "certificate": f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n",
        }
    return said


def sign(secret: bytes, now: datetime, body: bytes) -> str:
    """The value of the header that a body is authenticated by."""
    seconds = str(int(now.timestamp()))
    digest = hmac.digest(secret, seconds.encode("ascii") + b"." + body, "sha256")
    return f"t={seconds},v1={digest.hex()}"


def read_answer(body: bytes, longest: int, csr_sha256: str) -> Answer:
    """What an answer says about the request with a digest.

    Raises:
        Unbelievable: it says nothing about that.
    """
    try:
        said = parse_object(body, longest)
    except NoObject as error:
        raise Unbelievable(f"an answer that is {error}") from None
    unknown = said.keys() - _KEYS
    if unknown:
        raise Unbelievable(f"an answer with {len(unknown)} keys that are not known")
    if said.get("csr_sha256") != csr_sha256:
        raise Unbelievable("an answer about another request, or about none")
    decision = said.get("decision")
    if decision not in _DECISIONS:
        raise Unbelievable("an answer without a decision that is known")
    return Answer(str(decision), _binding(said), _device(said), _id(said))


def _binding(said: Mapping[str, Any]) -> Binding:
    value = said.get("binding", {})
    if not isinstance(value, dict):
        raise Unbelievable("an answer whose binding is no object")
    try:
        binding = Binding.from_json(value)
    except NoBinding:
        raise Unbelievable("an answer whose binding nobody can be bound to") from None
    if "binding" in said and not (binding.names_somebody or binding.key_usage):
        raise Unbelievable("an answer whose binding binds nothing")
    return binding


def _device(said: Mapping[str, Any]) -> str:
    value = said.get("device", "")
    if not isinstance(value, str) or len(value) > 128 or not value.isprintable():
        raise Unbelievable("an answer whose device is no printable text of 128 characters at most")
    return value


def _id(said: Mapping[str, Any]) -> str:
    value = said.get("id", "")
    if not isinstance(value, str) or (value and not _ID.fullmatch(value)):
        raise Unbelievable("an answer whose id is no name of 64 characters at most")
    return value


class WebhookChallenge:
    """Asks a webhook, and tells it.

    Args:
        settings: its section.
        origin: the way to it.
        service: what keeps from asking too much.
        now: UTC.
    """

    def __init__(self, settings: Settings, origin: Origin, service: Service, now: Callable[[], datetime]) -> None:
        self.kind = KIND
        self.patience = settings.give_up_after
        self._settings = settings
        self._origin = origin
        self._service = service
        self._now = now
        self._target = Target("http://localhost/" if settings.url.startswith("unix:") else settings.url)

    async def check(self, request: EnrolmentRequest) -> Verdict:
        if not request.csr.challenge_password:
            return ChallengeRefused("no challenge", foreign=True)
        answer = await self._service.ask(lambda: self._ask(request))
        name = f"{KIND} {answer.id}".rstrip()
        if answer.decision == "deny":
            return ChallengeRefused(f"{name} denies it")
        wrong = answer.binding.violations(request.csr)
        if wrong:
            return ChallengeRefused(f"{name} allows something else: {'; '.join(wrong)}")
        settings = self._settings
        hold = None
        if answer.decision == "hold":
            hold = Hold(settings.hold_approvals, settings.hold_expires, f"{name} wants it looked at")
        device = answer.device or answer.binding.device
        return ChallengeAccepted(name, (), device, hold, (KIND,) if settings.events else ())

    async def _ask(self, request: EnrolmentRequest) -> Answer:
        said = describe(request)
        reply = await self._post(said)
        if reply.status != 200 or reply.media_type != "application/json":
            raise ProviderError(KIND, f"no decision but {reply}")
        try:
            return read_answer(reply.body, self._settings.answer, said["csr_sha256"])
        except Unbelievable as error:
            raise ProviderError(KIND, str(error)) from None

    async def notify(self, notice: Notice) -> None:
        """Tell it; any status of 2xx confirms.

        Raises:
            ProviderError: it has not confirmed.
        """
        try:
            reply = await self._post(describe_end(notice))
        except Unanswered as error:
            raise ProviderError(KIND, error.reason) from error
        if not 200 <= reply.status < 300:
            raise ProviderError(KIND, f"no confirmation but {reply}")

    async def _post(self, said: Mapping[str, Any]) -> Reply:
        body = json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode("ascii")
        signature = sign(self._settings.secret_file.reveal(), self._now(), body)
        headers = Headers({"Content-Type": ["application/json"], SIGNATURE: [signature]})
        return await self._origin.send("POST", self._target, headers, body)
