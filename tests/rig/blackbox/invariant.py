"""The invariants of the security document, asserted of what the CA, the database, the logs and the devices have."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from tests.rig.blackbox.canary import Canary
from tests.rig.blackbox.database import Database, Row
from tests.rig.blackbox.diary import Diary, Entry
from tests.rig.blackbox.journal import LEDGER, read_lines
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.ra import RAProcess
from tests.rig.blackbox.recorder import RecordingUpstream
from tests.rig.denial import forms

STATES = frozenset(("held", "queued", "sending", "waiting", "unknown", "issued", "refused"))
BEGINNINGS = frozenset(("authorised", "held"))
ENDS = {"granted": "issued", "refused": "refused", "misissued": "refused", "denied": "refused", "expired": "refused"}
ENDS["closed"] = "refused"
"""The events of the audit that end a transaction, and where it stands then."""

_LEASE = 60.0
_DEADLINE = 30.0
# What the RA has no hand in writing, and what it is told its secrets by.
_GIVEN = frozenset(("scepra.yaml", "challenge.txt", "scepra.key", "ra.key", "ra-signing.key"))


def reaches_rest(database: Database) -> None:
    """I13, while the RA runs: whatever was being sent when a process died is taken up by another."""
    wait_until(
        lambda: not database.rows("transactions", state="sending"), "no transaction is left half-sent (I13)", _LEASE
    )


def answers_everybody(diary: Diary) -> None:
    """I9: every connection of the devices is answered or closed, be it without a whole request.

    Raises:
        AssertionError: one is not, within the time that a request may take to come and to be answered.
    """
    wait_until(
        lambda: all(wire.ended for wire in diary.wires), "every connection is answered or closed (I9)", _DEADLINE
    )


OWN = "scepra RA"
"""The common name of certificates that the RA enrols for itself: those are nobody's transactions."""


def check(
    *,
    database: Database,
    upstream: RecordingUpstream,
    ras: Sequence[RAProcess],
    diary: Diary,
    canary: Canary,
    canaries: Iterable[str],
) -> None:
    """Assert I1, I2, I4 to I8, I10, I11 and I13; I9 and I12 are asserted of an RA that runs.

    Raises:
        AssertionError: one does not hold.
    """
    transactions = database.rows("transactions")
    audit = _by(database.rows("audit"), "transaction")
    # A faked clock says nothing of what came before what.
    timely = not any("FAKETIME_TIMESTAMP_FILE" in ra.environment for ra in ras)
    forwarding(upstream, transactions, audit, timely)
    credentials(upstream, transactions, database.rows("reservations"))
    intents(upstream, transactions)
    successes(diary, transactions, database.rows("certificates"))
    decisions(transactions, audit)
    refusals(diary, ras)
    uniform(diary)
    states(transactions)
    secrets(database, upstream, ras, canaries)
    orderly(upstream, ras)
    assert not canary.calls, f"I11: {canary.calls}"


def forwarding(
    upstream: RecordingUpstream, transactions: list[Row], audit: dict[str, list[Row]], timely: bool = True
) -> None:
    """I1: whatever came to the CA was recorded, and audited, before; and approved, if it was held."""
    recorded = _by(transactions, "upstream_transaction")
    for line in upstream.operations():
        assert "unreadable" not in line, f"I1: {line}"
        if line.get("subject") == OWN:
            continue
        rows = recorded.get(line["transaction"], [])
        assert len(rows) == 1, f"I1: {line} belongs to {len(rows)} recorded transactions"
        (row,) = rows
        assert line.get("csr") in (None, row["csr_digest"].hex()), f"I1: {line} is another request than was recorded"
        when = datetime.fromtimestamp(line["wall"], UTC)
        before = [item["event"] for item in audit.get(row["id"], []) if not timely or item["at"] <= when]
        assert BEGINNINGS & set(before), f"I1: {line} has no audit record before it"
        assert "held" not in before or "approved" in before, f"I1: {line} was not approved"


def credentials(upstream: RecordingUpstream, transactions: list[Row], reservations: list[Row]) -> None:
    """I2: a credential that is good for some keys was used for no others."""
    by_credential = _by(transactions, "challenge")
    sent = _by(upstream.requests(), "transaction")
    for credential, reserved in _by(reservations, "credential").items():
        owners = {each["public_key"] for each in reserved}
        for row in by_credential.get(credential, []):
            assert row["public_key"] in owners, f"I2: {credential} for another key"
            for line in sent.get(row["upstream_transaction"], []):
                assert bytes.fromhex(line["spki"]) in owners, f"I2: {line}"


def intents(upstream: RecordingUpstream, transactions: list[Row]) -> None:
    """I4: an intent is one transaction at the CA, and one certificate; only what was refused is asked for anew."""
    for transaction, lines in _by(upstream.requests(), "transaction").items():
        assert len({line["csr"] for line in lines}) == 1, f"I4: {transaction} stands for several requests"
    for (profile, csr), rows in _intents(transactions).items():
        *before, _ = sorted(rows, key=lambda row: row["attempt"])
        assert all(row["state"] == "refused" for row in before), f"I4: {csr} in {profile} was begun twice"
        assert len({row["upstream_transaction"] for row in rows}) == len(rows)
    if not upstream.issues_again:
        issued = defaultdict(set)
        for line in read_lines(upstream.journal.with_name(LEDGER)):
            if line["fingerprint"] and line["subject"] != OWN:
                issued[hashlib.sha256(bytes.fromhex(line["csr"])).hexdigest()].add(line["fingerprint"])
        for csr, fingerprints in issued.items():
            profiles = {row["profile"] for row in transactions if row["csr_digest"].hex() == csr}
            assert len(fingerprints) <= len(profiles), f"I4: {len(fingerprints)} certificates for {csr}"


def successes(diary: Diary, transactions: list[Row], certificates: list[Row]) -> None:
    """I5, I6: what a device was given is stored, as what its request came to; and each got one certificate."""
    stored = {row["fingerprint"].hex() for row in certificates}
    issued = _intents([row for row in transactions if row["state"] == "issued"])
    told = defaultdict(set)
    for entry in diary.entries:
        assert entry.recipients == (entry.status == "SUCCESS"), f"I6: {entry}"
        if entry.status == "SUCCESS":
            told[entry.profile, entry.csr].add(entry.certificate)
            rows = issued.get((entry.profile, entry.csr), [])
            given = {hashlib.sha256(row["certificate"]).hexdigest() for row in rows}
            assert entry.certificate in given & stored, f"I5: {entry} is not what is stored"
    for (_, csr), given in told.items():
        assert len(given) == 1, f"I5: {csr} was given {len(given)} certificates"


def decisions(transactions: list[Row], audit: dict[str, list[Row]]) -> None:
    """I7: one record of how each transaction began, and one of how it ended, if it has; in this order."""
    for row in transactions:
        events = [item["event"] for item in sorted(audit.get(row["id"], []), key=lambda item: item["sequence"])]
        assert events and events[0] in BEGINNINGS, f"I7: {row['id']} began with {events}"
        assert sum(event in BEGINNINGS for event in events) == 1, f"I7: {row['id']} began twice: {events}"
        ends = [event for event in events if event in ENDS]
        final = row["state"] in ENDS.values()
        assert len(ends) == final, f"I7: {row['id']} is {row['state']} by {events}"
        assert not final or ENDS[ends[0]] == row["state"], f"I7: {row['id']} is {row['state']} by {events}"


def refusals(diary: Diary, ras: Sequence[RAProcess]) -> None:
    """I7: what a device was told when it was refused has one record."""
    records = _by([record for ra in ras for record in ra.records()], "reference")
    # Such a record is a line of the log, and what is on its way from a worker to its master is lost with both.
    lost = any(ra.killed and ra.settings["workers"] > 1 for ra in ras)
    for entry in diary.entries:
        if entry.reference:
            found = [(item["outcome"], item["transaction"]) for item in records.get(entry.reference, [])]
            assert found == [("refused", entry.transaction)] or (lost and not found), f"I7: {entry} has {found}"


def uniform(diary: Diary) -> None:
    """I8: whatever it is that a message is refused for once it was opened, the answer looks the same."""
    found: dict[int, dict[str, Entry]] = defaultdict(dict)
    for entry in diary.entries:
        if entry.looks:
            found[len(entry.transaction)].setdefault(entry.looks, entry)
    for looks in found.values():
        assert len(looks) == 1, f"I8: refusals that differ: {list(looks.values())}"


def states(transactions: list[Row]) -> None:
    """I13: every transaction is in a state that there is, and none was set aside."""
    for row in transactions:
        assert row["state"] in STATES, f"I13: {row}"
        assert (row["certificate"] is not None) == (row["state"] == "issued"), f"I13: {row['id']} is {row['state']}"


def secrets(database: Database, upstream: RecordingUpstream, ras: Sequence[RAProcess], canaries: Iterable[str]) -> None:
    """I10: no challenge and no request can be read in anything that the RA wrote."""
    ledger = read_lines(upstream.journal.with_name(LEDGER))
    requests = [bytes.fromhex(line["csr"]) for line in ledger if line["subject"] != OWN]
    # The signature: no two requests share it, and no certificate has it.
    hidden = {form.encode("latin-1") for canary in canaries for form in forms(canary)}
    hidden |= {csr[-64:] for csr in requests[:50]}
    for name, octets in _written(database, ras):
        for secret in hidden:
            assert secret not in octets, f"I10: a secret is in {name}"


def orderly(upstream: RecordingUpstream, ras: Sequence[RAProcess]) -> None:
    """Nothing went wrong that nobody has thought of (FT-59); nor in the rig itself."""
    assert not upstream.events("failed"), upstream.events("failed")
    for ra in ras:
        output = ra.output()
        for sign in ("Traceback (most recent call last)", "Unhandled"):
            assert sign not in output, f"{ra.name} said:\n{output[output.index(sign) - 200 :][:4000]}"


def _written(database: Database, ras: Sequence[RAProcess]) -> Iterator[tuple[str, bytes]]:
    for ra in ras:
        for path in ra.directory.rglob("*"):
            if path.is_file() and path.name not in _GIVEN:
                yield path.name, path.read_bytes()
    if database.file is None:
        yield "the database", b"\n".join(database.dump())


def _intents(transactions: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found = defaultdict(list)
    for row in transactions:
        found[row["profile"], row["csr_digest"].hex()].append(row)
    return found


def _by(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row.get(name)].append(row)
    return dict(found)
