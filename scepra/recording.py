"""What is recorded of a request before anything is sent (RA-25, DR-7)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta

from scepra.audit import Record
from scepra.enrolment import ChallengeAccepted, Credential
from scepra.errors import UpstreamError
from scepra.forwarding import Forwarding
from scepra.judgement import Judgement
from scepra.policy.claim import Bound, claims
from scepra.reception import Reception
from scepra.scep.message import PKIMessage
from scepra.store.claims import Claimant
from scepra.store.holding import Room
from scepra.store.intents import Intent, new_id
from scepra.transaction import State, route, upstream_transaction_id
from scepra.upstream.signer import Signing


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that may be forwarded: where it came in, the way to its CA, what it is known by again, what was decided
    by which policy, what may not be exceeded by it, how much may wait for people, and why it cannot be sent at once, if
    it cannot."""

    profile: str
    forwarding: Forwarding
    message: PKIMessage
    digest_of_message: bytes
    request: bytes
    reception: Reception
    judgement: Judgement
    policy: str
    bounds: tuple[Bound, ...]
    room: Room
    obstacle: UpstreamError | None

    @property
    def state(self) -> State:
        """In which it begins; SENDING belongs to the process that records it."""
        if self.judgement.hold is not None:
            return State.HELD
        return State.SENDING if self.obstacle is None else State.QUEUED

    @property
    def reason(self) -> str:
        """Why it waits, for people."""
        hold = self.judgement.hold
        return hold.reason if hold is not None else "" if self.obstacle is None else str(self.obstacle)


def routes(profile: str, message: PKIMessage, reception: Reception) -> tuple[bytes, ...]:
    """Where polls for a request may come in: signed by its signer's key or by its own (MSG-42)."""
    keys = {reception.signer.public_key.sha256, reception.csr.public_key.sha256}
    return tuple(route(profile, message.transaction_id, key) for key in sorted(keys))


def build_intent(entry: Entry, signing: Signing, record: Record) -> Intent:
    """The intent that a request becomes.

    Args:
        signing: what will sign to the CA.
        record: for the audit.
    """
    reception, hold, state, forwarding = entry.reception, entry.judgement.hold, entry.state, entry.forwarding
    verdict = entry.judgement.verdict
    device = verdict.device if isinstance(verdict, ChallengeAccepted) else ""
    csr, now = reception.csr, forwarding.now()
    digest = hashlib.sha256(csr.der).digest()
    lease_ends = now + forwarding.lease if state is State.SENDING else None
    patience = hold.expires if hold is not None else forwarding.settings.queue.give_up_after
    passthrough = forwarding.settings.transaction_id == "passthrough"
    theirs = entry.message.transaction_id
    view, opener = forwarding.upstream.view, reception.generation.encryption.certificate
    identifier = new_id()
    # A copy: in the log it is no outcome yet, and there may be no such transaction in the end.
    stored = replace(record, enrolment=identifier, outcome="authorised" if hold is None else "held")
    values = {
        "id": identifier,
        "profile": entry.profile,
        "upstream": forwarding.upstream.name,
        "state": state.value,
        "credential": reception.credential.value,
        "message": entry.digest_of_message,
        "attempt": 0,
        "client_transaction": theirs,
        "signer_key": reception.signer.public_key.sha256,
        "public_key": csr.public_key.sha256,
        "csr": forwarding.vault.seal(csr.der),
        "csr_digest": digest,
        "subject": record.subject,
        "names": list(record.names),
        "source": record.source,
        "challenge": entry.judgement.credential_id,
        "upstream_transaction": theirs if passthrough else upstream_transaction_id(entry.request, theirs),
        "signer_key_id": signing.key_id,
        "signer_certificate": signing.identity.certificate.der if signing.key_id is not None else None,
        "sends": 0,
        "polls": 0,
        "received": now,
        "changed": now,
        "next_at": {State.HELD: None, State.QUEUED: now, State.SENDING: lease_ends}[state],
        "expires": now + timedelta(seconds=patience),
        "fence": 1,
        "reason": entry.reason,
        "attention": "",
        "approvals": hold.approvals if hold is not None else 0,
        "device": device,
        "notify": list(verdict.notify) if isinstance(verdict, ChallengeAccepted) else [],
        "policy": entry.policy,
        "authority": view.asked_by(opener) if view is not None else None,
        "neighbourhood": entry.room.neighbourhood,
    }
    return Intent(
        entry.request,
        values,
        routes(entry.profile, entry.message, reception),
        entry.judgement.reserve,
        forwarding.owner if state is State.SENDING else None,
        lease_ends,
        stored.known(),
        entry.room,
        _claimant(entry, device),
        passthrough=passthrough,
    )


def _claimant(entry: Entry, device: str) -> Claimant:
    """What a request stands for, and which certificate it renews."""
    reception = entry.reception
    renews = reception.credential is Credential.RENEWAL
    challenge = entry.judgement.credential_id if reception.credential is Credential.INITIAL else None
    found = claims(reception.csr, entry.profile, device=device, challenge=challenge)
    return Claimant(found, entry.bounds, bytes.fromhex(reception.signer.fingerprint()) if renews else None)
