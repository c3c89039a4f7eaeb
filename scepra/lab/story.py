"""What the device of the demo does, as it, the RA and the CA saw it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred

from scepra.errors import FailInfo
from scepra.lab.behaviour import Fault
from scepra.lab.client import Client, Enrolment
from scepra.lab.csr import build_csr
from scepra.lab.key import PrivateKey, new_key
from scepra.lab.process import Decision, Failed
from scepra.lab.service import CertificationService
from scepra.scep.certificate import Certificate
from scepra.scep.message import PKIStatus
from scepra.scep.transport import OperationKind

PATIENCE = 30.0
_PAUSE, _POLL = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: what, how it went in a few lines, how long it took, and whether it went as it should."""

    title: str
    details: tuple[str, ...]
    seconds: float
    ok: bool


class Records(Protocol):
    """Where the RA's decisions are read, and what waits."""

    async def decision(self, transaction_id: str) -> Decision:
        """What it decided about a request."""

    async def pause(self, seconds: float) -> None:
        """Wait so long."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A request whose answer was lost, and how many certificates the CA had issued then."""

    key: PrivateKey
    csr: bytes
    challenge: str
    issued: int


@dataclass(frozen=True, slots=True)
class Story:
    """What the device does, as it, the RA and the CA saw it."""

    service: CertificationService
    records: Records
    device: Client

    async def enrol(self, name: str, challenge: str, key: str) -> Step:
        """Everything is as it should be: a certificate comes."""
        asked = self._asked
        result = await self.device.enrol(name, names=[name], challenge=challenge, key=key)
        decision = await self.records.decision(result.transaction_id)
        title = f"A device enrols as {name}, with a key of {key}"
        if result.certificate is None or self._asked == asked:
            return Step(title, _refusal(result, decision), result.seconds, False)
        received = self.service.received[-1]
        unchanged = received.csr is not None and received.csr.der == result.csr
        sealed_anew = received.signer is not None and received.signer != result.signer.certificate
        encrypts = result.signer.key.public.encrypts
        details = (
            "The RA opened the request, found challenge and policy satisfied, and sealed it anew.",
            f"The CA got {'exactly the CSR that the device signed' if unchanged else 'another CSR'}.",
            *(() if encrypts else ("This key cannot decrypt: the RA sealed its answer with the challenge.",)),
            _description(result.certificate),
        )
        ok = unchanged and sealed_anew and self.service.authority.has_issued(result.certificate)
        return Step(title, details, result.seconds, ok)

    async def leave_policy(self, name: str, challenge: str) -> Step:
        """The challenge is right, the name is not."""
        return await self._refused(f"One asks for the name {name}", name, challenge, "subject")

    async def guess_challenge(self, name: str, challenge: str) -> Step:
        """The name is right, the challenge is not."""
        return await self._refused("One asks with a wrong challenge", name, challenge, "challenge")

    async def ask_for_approval(self, name: str, challenge: str) -> tuple[Enrolment | None, Step]:
        """Challenge and name are right, and the policy wants people to look at it."""
        asked = self._asked
        attributes = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "servers"), (NameOID.COMMON_NAME, name)]
        subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
        result = await self.device.enrol(subject, names=[name], challenge=challenge)
        decision = await self.records.decision(result.transaction_id)
        ok = result.status is PKIStatus.PENDING and decision.outcome == "held" and self._asked == asked
        details = (
            f"The device is told: {result.status.name}. It will ask again.",
            *(f"The RA's record says: held, since {reason}." for reason in decision.reasons),
            "The CA was not asked.",
        )
        step = Step("A server asks, which people have to approve", details, result.seconds, ok)
        return (result if ok else None), step

    async def fetch(self, pending: Enrolment, said: str, begun: float) -> Step:
        """Somebody has approved it: the RA sends it by itself, and the device's next poll gets the certificate."""
        result = await self._poll(pending)
        details = ("scepra pending approve --by alice --why 'it is in our list'", *said.splitlines()[:1])
        if result.certificate is not None:
            details += (f"The device asks again: {_description(result.certificate)}",)
        ok = result.certificate is not None
        return Step("Alice approves it", details, time.monotonic() - begun, ok)

    async def be_interrupted(self, name: str, challenge: str, kill: Callable[[], Awaitable[None]]) -> Interrupted:
        """The CA issues, and before its answer is there the RA is killed."""
        issued = len(self.service.authority.issued)
        before, self.service.behaviour = self.service.behaviour, replace(self.service.behaviour, fault=Fault.SILENCE)
        key = new_key()
        csr = build_csr(key, name, names=[name], challenge=challenge)
        lost = Deferred.fromCoroutine(self.device.enrol(key=key, csr=csr, challenge=challenge))
        lost.addBoth(lambda outcome: None)
        deadline = time.monotonic() + PATIENCE
        while len(self.service.authority.issued) == issued:
            if time.monotonic() > deadline:
                raise Failed("the CA was not asked")
            await self.records.pause(_PAUSE)
        await kill()
        await lost
        self.service.behaviour = before
        return Interrupted(key, csr, challenge, issued + 1)

    async def ask_again(self, interrupted: Interrupted, begun: float) -> Step:
        """The RA is back, and the device sends its request once more."""
        result = await self.device.enrol(key=interrupted.key, csr=interrupted.csr, challenge=interrupted.challenge)
        if result.status is PKIStatus.PENDING:
            result = await self._poll(result)
        again = len(self.service.authority.issued) - interrupted.issued
        details: tuple[str, ...] = (
            "The CA had issued, the answer was lost with the RA. Started again, the RA found what it had begun,",
            "and asked the CA under the same transactionID: "
            + ("it issued nothing more." if not again else f"it issued {again} more!"),
        )
        if result.certificate is not None:
            details += (f"The device asks again: {_description(result.certificate)}",)
        ok = result.certificate is not None and not again
        return Step("The RA is killed while the CA has its request", details, time.monotonic() - begun, ok)

    async def _poll(self, pending: Enrolment) -> Enrolment:
        """Poll until there is an answer, as a device does, but sooner."""
        result, deadline = pending, time.monotonic() + PATIENCE
        while result.status is PKIStatus.PENDING and time.monotonic() < deadline:
            await self.records.pause(_POLL)
            result = await self.device.poll(pending)
        return result

    async def _refused(self, title: str, name: str, challenge: str, rule: str) -> Step:
        asked = self._asked
        result = await self.device.enrol(name, challenge=challenge)
        decision = await self.records.decision(result.transaction_id)
        unheard = self._asked == asked
        details = (*_refusal(result, decision), *(("The CA was not asked.",) if unheard else ("The CA was asked!",)))
        ok = (
            unheard
            and result.status is PKIStatus.FAILURE
            and result.fail_info is FailInfo.BAD_REQUEST
            and decision.outcome == "refused"
            and [reason.partition(":")[0] for reason in decision.reasons] == [rule]
        )
        return Step(title, details, result.seconds, ok)

    @property
    def _asked(self) -> int:
        """How often the CA was asked for anything."""
        return sum(item.kind is OperationKind.PKI_OPERATION for item in self.service.received)


def _description(certificate: Certificate) -> str:
    ends = f"{certificate.not_after:%Y-%m-%d}" if certificate.not_after is not None else "whenever"
    return f"Certificate {certificate.serial:x} by {certificate.issuer}, good until {ends}."


def _refusal(result: Enrolment, decision: Decision) -> tuple[str, ...]:
    fail_info = result.fail_info.name.title().replace("_", "") if result.fail_info is not None else "no failInfo"
    return (
        f'The device is told: {result.status.name}, {fail_info[0].lower() + fail_info[1:]}, "{result.fail_info_text}".',
        *(f"The RA's record says: {reason}." for reason in decision.reasons),
    )
