"""What came of every client with every CA through the RA: kept in docs/interoperability.json, shown on the page.

The tests of the matrix compare what comes of each pair with what is kept; with ``SCEPRA_RECORD=1`` they keep it
instead, with the day and the versions. ``python -m tests.interop.record`` makes the page's table of it; a test fails
when the two have drifted. Neither the day nor the versions are compared: other versions may come to the same.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from scepra.config.kind import KINDS

from .authorities import AUTHORITIES, Authority
from .clients import CLIENTS, Client
from .lab import LAB
from .peers import ROOT

KEPT = ROOT / "docs" / "interoperability.json"
PAGE = ROOT / "docs" / "interoperability.rst"
BEGIN, END = ".. matrix", ".. end of matrix"
RECORDING = os.environ.get("SCEPRA_RECORD", "") not in ("", "0")
ALL: tuple[type[Authority], ...] = (*AUTHORITIES, *LAB)
YES, NOT_TRIED, BAD_REQUEST = "yes", "not tried", "badRequest: "


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client and a CA come to through the RA: "yes", or what the client shows and the RA's reason.

    Attributes:
        methods: by which the RA sent its messages to the CA.
        wrong_challenge: a first certificate with a wrong challenge.
        enrols: a first certificate.
        renews: the next one, without a challenge.
        renews_with_challenge: the next one where it is refused without.
    """

    methods: str
    wrong_challenge: str
    enrols: str
    renews: str
    renews_with_challenge: str


def read() -> dict[str, Any]:
    """The whole record."""
    record: dict[str, Any] = json.loads(KEPT.read_text("utf-8"))
    return record


def kept(client: type[Client], authority: type[Authority]) -> Pair | None:
    """What came of a pair when it was recorded; None if it never was."""
    found = read()["pairs"].get(authority.name, {}).get(client.name)
    return Pair(**found) if found is not None else None


def keep(client: type[Client], authority: type[Authority], pair: Pair) -> None:
    """Record a pair. Several processes may do so at once."""
    with KEPT.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        record = json.load(file)
        record["date"] = datetime.now(UTC).date().isoformat()
        for peer in (client, authority):
            record["versions"][peer.name] = peer.version()
        record["pairs"].setdefault(authority.name, {})[client.name] = asdict(pair)
        file.seek(0)
        file.truncate()
        json.dump(record, file, indent=1, sort_keys=True)
        file.write("\n")


def table(record: dict[str, Any]) -> Iterator[str]:
    """The page's part: the date, a row for each CA with a column for each client, and why a renewal was refused."""
    versions, notes = record["versions"], list[str]()
    yield f"Tried on {record['date']}."
    yield from ("", ".. list-table::", "   :header-rows: 2", "   :stub-columns: 1", "")
    yield from _row("", "", "", *(f"{client.title} {versions[client.name]}" for client in CLIENTS))
    yield from _row("CA", "Played by", "Asked by", *(f"renews by {client.renews}" for client in CLIENTS))
    for authority in ALL:
        pairs = [Pair(**record["pairs"][authority.name][client.name]) for client in CLIENTS]
        title = ", ".join(filter(None, (KINDS[authority.kind].title, authority.variant)))
        player = "the lab" if authority in LAB else f"{authority.name} {versions[authority.name]}"
        yield from _row(title, player, pairs[0].methods, *(_cell(pair, notes) for pair in pairs))
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"({number}) *badRequest*; the RA's log says: {note}."
        yield ""


def _row(*cells: str) -> Iterator[str]:
    for number, cell in enumerate(cells):
        yield f"   {' ' if number else '*'} - {cell}".rstrip()


def _cell(pair: Pair, notes: list[str]) -> str:
    """In words; what the RA said against a renewal becomes a note."""
    if pair.enrols != YES:
        return f"does not enrol: {pair.enrols}"
    if pair.renews == YES:
        return "enrols, renews"
    note = pair.renews.removeprefix(BAD_REQUEST)
    if note not in notes:
        notes.append(note)
    number = notes.index(note) + 1
    if pair.renews_with_challenge == YES:
        return f"enrols, renews with a challenge ({number})"
    return f"enrols, does not renew ({number})"


def rendered(page: str, record: dict[str, Any]) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(f"{BEGIN}\n")
    _, _, after = rest.partition(f"{END}\n")
    return "\n".join((f"{before}{BEGIN}", "", *table(record), f"{END}\n{after}"))


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text("utf-8"), read()), "utf-8")
