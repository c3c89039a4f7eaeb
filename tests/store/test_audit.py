"""Decisions and their audit records: both, or neither (DR-16, FT-29, I7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from scepra.errors import StoreError
from scepra.store import approvals, housekeeping, intents, listing, outcomes
from scepra.store.outcomes import Outcome
from scepra.transaction import Event, State
from tests.store.sample import DAY, NOW, Bench, certificate, intent

Decision = tuple[str, Callable[[], Any]]

_FULL = {
    "sqlite": ("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END",),
    "postgresql": (
        "CREATE FUNCTION no_room() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$ LANGUAGE plpgsql",
        'CREATE TRIGGER "full" BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION no_room()',
    ),
}
_EMPTY = {
    "sqlite": ("DROP TRIGGER full",),
    "postgresql": ('DROP TRIGGER "full" ON audit', "DROP FUNCTION no_room"),
}


@contextmanager
def no_audit(bench: Bench) -> Iterator[None]:
    """The database takes no audit record, for the duration of the block, and everything else."""
    kind = bench.engine.dialect.name

    def execute(statements: tuple[str, ...]) -> None:
        with bench.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    execute(_FULL[kind])
    try:
        yield
    finally:
        execute(_EMPTY[kind])


def decisions(bench: Bench) -> Iterator[Decision]:
    """Everything that takes effect, each about transactions of its own."""

    def sending(name: str) -> Any:
        return bench.record(request=name, routes=(name,))

    def held(name: str, **changes: Any) -> Any:
        return bench.record(request=name, routes=(name,), state=State.HELD, **changes)

    def say(name: str, approve: bool, of: int = 1) -> Callable[[], Any]:
        shown = held(name, approvals=of)
        digest = approvals.digest(approvals.shown(shown))
        words = {"approve": approve, "person": "alice", "why": "ordered", "shown_digest": digest, "now": NOW}
        return partial(bench, approvals.say, shown.id, **words)

    yield "authorised", partial(bench, intents.record, intent("new", routes=("new",), once="once"), NOW)
    yield "held", partial(bench, intents.record, intent("asked", routes=("asked",), state=State.HELD), NOW)
    for event in (Event.GRANTED, Event.PENDED, Event.REFUSED, Event.MISISSUED, Event.LOST, Event.NOT_SENT):
        issued = certificate(event.value) if event in (Event.GRANTED, Event.MISISSUED) else None
        outcome = Outcome(event, NOW, "so it is", certificate=issued)
        yield event.value, partial(bench, outcomes.apply, sending(event.value), outcome, NOW)
    yield "approved", say("approved", approve=True)
    yield "approval", say("first of two", approve=True, of=2)
    yield "denied", say("denied", approve=False)
    stuck = bench.happen(sending("stuck"), Event.LOST)
    yield "redriven", partial(bench, listing.redrive, stuck.id, person="alice", why="again", now=NOW)
    closed = bench.happen(sending("closed"), Event.LOST)
    yield "closed", partial(bench, listing.close, closed.id, person="alice", why="never", now=NOW)
    broken = sending("broken")
    yield "quarantined", partial(bench, outcomes.quarantine, broken.id, "no such state", NOW)
    double = sending("double")
    yield "surplus", partial(bench, outcomes.surplus, double, certificate("double"), NOW)
    held("old", expires=NOW - DAY)
    yield "expired", partial(bench, housekeeping.expire, NOW)


@pytest.mark.proves("DR-16", "FT-29", "DR-7", "I7")
def test_what_cannot_be_audited_does_not_happen(bench: Bench) -> None:
    """While the database takes no audit record nothing else of a decision is stored either: no intent, no reservation,
    no certificate, no approval, no state. When it does, each decision has its effect, and one record.
    """
    prepared = list(decisions(bench))
    with no_audit(bench):
        before = bench.content()
        for event, decide in prepared:
            with pytest.raises(StoreError, match="no room"):
                decide()
            assert bench.content() == before, event
    for event, decide in prepared:
        known = {row["sequence"] for row in bench.rows("audit")}
        decide()
        assert [row["event"] for row in bench.rows("audit") if row["sequence"] not in known] == [event]
