"""Everything about one enrolment that is not sealed, for ``scepra transactions``: for people, and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scepra.cli.asn1_text import number, printable
from scepra.cli.pkix import attempt
from scepra.cli.table import facts, moment, table
from scepra.errors import ScepError
from scepra.scep.certificate import Certificate
from scepra.store import approvals, intents, listing
from scepra.store.approvals import Approval, NotPossible
from scepra.store.listing import Circumstances, Entry, Happening
from scepra.store.rows import Corrupt
from scepra.transaction import Transaction

_LABELS = {
    "attention": "needs somebody",
    "next_at": "next",
    "challenge": "authorised by",
    "client_transaction": "client's transactionID",
    "upstream_transaction": "transactionID at the CA",
    "message": "message, SHA-256",
    "request": "request, SHA-256",
    "public_key": "its key, SHA-256",
    "signer_key": "signer's key, SHA-256",
    "fail_info": "failInfo",
    "approvals": "approvals needed",
    "owner": "process at work on it",
    "lease_ends": "which may take until",
    "certificate": "certificate",
    "misissued": "certificate that the CA issued instead, given to nobody",
}
# What the records of the history repeat of what stands above it.
_REPEATED = {
    "profile",
    "source",
    "transaction",
    "signer_key",
    "request",
    "subject",
    "names",
    "credential",
    "challenge",
    "enrolment",
    "upstream",
    "upstream_transaction",
    # What `scepra policy explain` shows.
    "policy",
    "rules",
    "reported",
    "shadow",
}


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is stored of one enrolment; ``transaction`` is None if its row cannot be used, and ``problem`` says
    why."""

    entry: Entry
    transaction: Transaction | None
    problem: str | None
    circumstances: Circumstances
    said: tuple[Approval, ...]
    history: tuple[Happening, ...]


def dossier(connection: sa.Connection, identifier: str) -> Dossier:
    """Everything about a transaction.

    Raises:
        NotPossible: there is none.
    """
    entry, circumstances = listing.entry(connection, identifier), listing.circumstances(connection, identifier)
    if entry is None or circumstances is None:
        raise NotPossible(f"there is no transaction {identifier}")
    transaction, problem = None, None
    try:
        transaction = intents.get(connection, identifier)
    except Corrupt as error:
        problem = error.reason
    said, history = approvals.given(connection, identifier), listing.history(connection, identifier)
    return Dossier(entry, transaction, problem, circumstances, tuple(said), tuple(history))


def report(found: Dossier) -> dict[str, Any]:
    """Everything by names, in the order in which people want to know it."""
    entry, known, circumstances = asdict(found.entry), found.transaction, found.circumstances
    first = ("id", "state", "quarantine", "attention", "reason", "next_at")
    shown = {"problem": found.problem} | {name: entry.pop(name) for name in first} | entry
    if known is not None:
        shown |= {
            "expires": known.expires,
            "names": known.names,
            "credential": known.credential.value,
            "challenge": known.challenge,
            "source": known.source,
            "client_transaction": known.client_transaction,
            "upstream_transaction": known.upstream_transaction,
            "attempt": known.attempt,
            "message": known.message,
            "request": known.csr_digest,
            "public_key": known.public_key,
            "signer_key": known.signer_key,
            "fail_info": known.fail_info.name if known.fail_info is not None else None,
            "approvals": known.approvals,
            "certificate": _certificate(known.certificate),
        }
    return shown | {
        "misissued": _certificate(circumstances.misissued),
        "owner": circumstances.owner,
        "lease_ends": circumstances.lease_ends,
        "said": list(map(asdict, found.said)),
        "history": list(map(asdict, found.history)),
    }


def lines(found: Dossier) -> Iterator[str]:
    """The same for people."""
    shown = report(found)
    meaning = found.transaction.state.meaning if found.transaction is not None else "its row cannot be used"
    yield f"transaction {printable(shown.pop('id'))} is {printable(shown.pop('state'))}: {meaning}"
    yield ""
    nested = {name: shown.pop(name, None) for name in ("certificate", "misissued", "said", "history")}
    yield from facts(_labelled(shown))
    for name in ("certificate", "misissued"):
        if nested[name] is not None:
            yield ""
            yield _LABELS[name]
            yield from facts(_labelled(nested[name]))
    if found.said:
        yield ""
        yield "what people said"
        yield from map(remark, found.said)
    if found.history:
        rows = [(str(each.sequence), moment(each.at), each.event, _record(each.record)) for each in found.history]
        yield ""
        yield "history"
        yield from (f"  {line}" for line in table(("NUMBER", "AT", "EVENT", "RECORD"), rows))


def remark(said: Approval) -> str:
    """What one person said, as a line."""
    verdict = "approved" if said.approved else "denied"
    return f"  {moment(said.given)}  {verdict} by {printable(said.person)}: {printable(said.why)}"


def _certificate(encoding: bytes | None) -> dict[str, Any] | None:
    """What people compare of a certificate."""
    if encoding is None:
        return None
    try:
        certificate = Certificate.parse(encoding)
    except ScepError as error:
        return {"problem": error.reason}
    return {
        "serial": number(certificate.serial),
        "sha256": certificate.fingerprint(),
        "subject": attempt(lambda: str(certificate.subject)),
        "issuer": attempt(lambda: str(certificate.issuer)),
        "starts": attempt(lambda: certificate.not_before),
        "ends": attempt(lambda: certificate.not_after),
    }


def _labelled(values: Mapping[str, Any]) -> dict[str, str]:
    return {_LABELS.get(name, name): _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _record(record: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {_text(value)}" for name, value in record.items() if name not in _REPEATED)
