"""One record for every decision, written as one JSON object in one log event (RA-33, I7, AC-028).

A record names the peer, both transactions, the request by digests and names, what was decided and why. It never holds a
challenge, a key or a message: there is no field to put one in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from twisted.logger import Logger

from scepra.errors import Throttled
from scepra.transaction import Transaction

log = Logger(namespace="scepra.audit")

RECORDED, RECORDED_NAMES = 512, 16
"""How many characters of a name are recorded, and how many names: the digests name the rest."""


@dataclass(slots=True)
class Record:
    """What became known of one request, in the order in which it did; empty fields are left out when it is written.

    ``outcome`` is "issued", "answered" (a query), "refused", "held", "pending" or "unavailable", and "error" where none
    of these came of it; where it is stored before anything is sent, "authorised"; ``request`` is the digest of the CSR,
    or of what a query says; ``policy`` is the version of the policy that judged it,
    ``rules`` what each of its rules said: "ok", what is waited for, or sentences that object; ``reported`` what
    rules object to that only report; ``shadow`` what another policy would have said;
    ``reference`` is what the client is told, so that its user can ask; ``enrolment`` names the stored transaction,
    ``sequence`` the place of its record among all that are stored; digests are lower-case hex of SHA-256.
    """

    profile: str
    source: str
    outcome: str = "error"
    reference: str = field(default_factory=lambda: os.urandom(6).hex())
    reasons: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    message_type: str = ""
    transaction: str = ""
    signer_key: str = ""
    algorithms: str = ""
    request: str = ""
    subject: str = ""
    names: tuple[str, ...] = ()
    credential: str = ""
    challenge: str = ""
    policy: str = ""
    rules: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    shadow: Mapping[str, Any] = field(default_factory=dict)
    enrolment: str = ""
    sequence: int | None = None
    upstream: str = ""
    upstream_transaction: str = ""
    upstream_status: str = ""
    serial: str = ""
    certificate: str = ""

    @classmethod
    def of(cls, transaction: Transaction) -> Record:
        """What is known of a stored transaction that goes on by itself."""
        return cls(
            transaction.profile,
            transaction.source,
            transaction=transaction.client_transaction,
            signer_key=transaction.signer_key.hex(),
            request=transaction.csr_digest.hex(),
            subject=transaction.subject,
            names=transaction.names,
            credential=transaction.credential.value,
            challenge=transaction.challenge,
            enrolment=transaction.id,
            upstream=transaction.upstream,
            upstream_transaction=transaction.upstream_transaction,
        )

    def known(self) -> dict[str, Any]:
        """The fields that are not empty."""
        return {name: value for name in _FIELDS if (value := getattr(self, name))}

    def __enter__(self) -> Record:
        """What happens from here on is written down at its end, however it ends."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What is abandoned together with its process was not decided: it is asked again. Nor was what came too often;
        # that is logged more sparingly.
        if kind is None or not issubclass(kind, (GeneratorExit, Throttled)):
            self.write()

    def write(self) -> None:
        """Log the record, as one line whatever it holds; what each rule said is left to the stored one, if there is
        one."""
        emit = log.info if self.outcome in _EXPECTED else log.warn
        known = self.known()
        if self.sequence is not None:
            known.pop("rules", None)
        emit("{record}", record=json.dumps(known, ensure_ascii=True))


_EXPECTED = ("issued", "answered", "pending", "held")
_FIELDS = tuple(each.name for each in fields(Record))
