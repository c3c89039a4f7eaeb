"""What providers of challenges are told in the end: noted with what they are told of, and told until they confirm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from scepra.challenge.protocol import Notice, Notified
from scepra.errors import ProviderError, StoreError
from scepra.notifier import AT_ONCE, DRIVER, FORGOTTEN, LEASE, LONGEST_PAUSE, TAKEN, TICK, Notifier
from scepra.store import approvals, housekeeping, leases, listing, notices
from scepra.store.database import Database
from scepra.store.notices import Due
from scepra.store.tables import transactions
from scepra.store.vault import Vault
from scepra.transaction import Event, State, Transaction
from tests.store.sample import DAY, HOUR, MINUTE, NOW, SECOND, Bench, certificate, just_before, together

CSR = b"the request as it came"
VAULT = Vault((Fernet.generate_key(),))


class Receiver:
    """A provider that is told; ``problem`` is why it does not confirm, ``gate`` what it waits for first."""

    kind = "webhook"

    def __init__(self, patience: float = DAY.total_seconds()) -> None:
        self.patience = patience
        self.told: list[Notice] = []
        self.problem: Exception | None = None
        self.gate: Deferred[None] | None = None

    async def notify(self, notice: Notice) -> None:
        """As a provider."""
        self.told.append(notice)
        if self.gate is not None:
            await self.gate
        if self.problem is not None:
            raise self.problem


class Post:
    """A process that delivers, in a time that the test turns."""

    def __init__(
        self, database: Database, providers: Mapping[tuple[str, str], Notified], owner: str = "process"
    ) -> None:
        self.clock = Clock()
        self.notifier = Notifier(database, VAULT, providers, owner, self.now, self.clock)

    def now(self) -> datetime:
        """The time of day."""
        return NOW + timedelta(seconds=self.clock.seconds())

    def run(self, seconds: float, step: float = TICK) -> None:
        """Let so much time pass, in such steps."""
        if not self.notifier.running:
            self.notifier.startService()
        for _ in range(round(seconds / step)):
            self.clock.advance(step)


def wanting(bench: Bench, *names: str, **changes: object) -> Transaction:
    """A transaction that providers want to hear of."""
    return bench.record(notify=list(names), csr=VAULT.seal(CSR), **changes)


def noted(bench: Bench) -> list[tuple[str, str, str]]:
    """What is to be told: to whom, what, and why."""
    return sorted((row["provider"], row["event"], row["reason"]) for row in bench.rows("notices"))


def refused(bench: Bench, **changes: object) -> Transaction:
    """A transaction of a provider's that the CA has refused."""
    return bench.happen(wanting(bench, "webhook", **changes), Event.REFUSED, reason="no")


ENDS: Mapping[str, tuple[State, str, Callable[[Bench, Transaction], object]]] = {
    "granted": (
        State.SENDING,
        "issued",
        lambda bench, made: bench.happen(made, Event.GRANTED, certificate=certificate()),
    ),
    "refused": (State.SENDING, "refused", lambda bench, made: bench.happen(made, Event.REFUSED)),
    "misissued": (
        State.SENDING,
        "refused",
        lambda bench, made: bench.happen(made, Event.MISISSUED, certificate=certificate()),
    ),
    "denied": (
        State.HELD,
        "refused",
        lambda bench, made: bench(
            approvals.say,
            made.id,
            approve=False,
            person="ann",
            why="unknown",
            shown_digest=approvals.digest(approvals.shown(made)),
            now=NOW,
        ),
    ),
    "expired": (State.QUEUED, "refused", lambda bench, made: bench(housekeeping.expire, NOW + 8 * DAY)),
    "closed": (
        State.QUEUED,
        "refused",
        lambda bench, made: bench(listing.close, made.id, person="ann", why="x", now=NOW),
    ),
}


@pytest.mark.proves("AC-103", "DR-7")
@pytest.mark.parametrize("reason", ENDS)
def test_every_end_is_noted_for_every_provider(bench: Bench, reason: str) -> None:
    """However a transaction ends, each provider that wants to know has one notice, in the commit of the end."""
    state, event, end = ENDS[reason]
    made = wanting(bench, "intune", "webhook", state=state)
    other = wanting(bench, request="other", state=State.QUEUED, routes=("elsewhere",), expires=NOW + 30 * DAY)
    assert noted(bench) == []
    end(bench, made)
    assert bench.get(made).state.final
    assert noted(bench) == [("intune", event, reason), ("webhook", event, reason)]
    bench.happen(bench.claim(other, NOW), Event.REFUSED)
    assert len(bench.rows("notices")) == 2


@pytest.mark.proves("DR-7", "FT-31")
def test_what_is_not_committed_is_not_told(bench: Bench) -> None:
    """Whoever was overtaken, or fails before the commit, leaves no notice."""
    made = wanting(bench, "webhook")

    def end_and_fail(connection: sa.Connection) -> None:
        notices.add(connection, made.id, ["webhook"], Event.REFUSED, NOW)
        raise StoreError("no")

    with pytest.raises(StoreError):
        bench(end_and_fail)
    bench.claim(made, NOW + HOUR, "another")
    assert bench.apply(made, Event.REFUSED) is None
    assert noted(bench) == []


def test_a_close_of_what_is_refused_already_tells_nothing_more(bench: Bench) -> None:
    """Looking at a refusal ends nothing a second time."""
    made = refused(bench)
    bench(listing.close, made.id, person="ann", why="seen", now=NOW)
    bench(listing.redrive, wanting(bench, "webhook", request="b", state=State.QUEUED).id, person="a", why="b", now=NOW)
    assert noted(bench) == [("webhook", "refused", "refused")]


@pytest.mark.proves("FT-58")
@pytest.mark.parametrize("product", ["sqlite"])
def test_a_row_that_cannot_be_read_keeps_no_other_from_expiring(bench: Bench) -> None:
    """Where it is not known who wants to be told, nobody is."""
    broken, sound = (
        wanting(bench, "webhook", request=name, state=State.QUEUED, routes=(name,)) for name in ("broken", "sound")
    )
    bench(
        lambda connection: (
            connection.execute(
                sa.update(transactions).where(transactions.c.id == broken.id).values(notify=sa.text("'{['"))
            )
            and None
        )
    )
    assert set(bench(housekeeping.expire, NOW + 8 * DAY)) == {broken.id, sound.id}
    assert [row["transaction"] for row in bench.rows("notices")] == [sound.id]


@pytest.mark.proves("AC-103", "FT-57")
def test_what_is_confirmed_is_told_once(bench: Bench) -> None:
    """A notice says what was decided, of which request; when it is confirmed it is gone, and the audit says so."""
    made, receiver = wanting(bench, "webhook"), Receiver()
    issued = certificate()
    bench.happen(made, Event.GRANTED, certificate=issued)
    post = Post(bench.database, {("wifi", "webhook"): receiver})
    post.run(20)
    (notice,) = receiver.told
    assert notice == Notice(
        notice.id, "issued", "granted", NOW, "wifi", made.id, made.client_transaction, CSR, issued.der
    )
    assert noted(bench) == []
    assert bench.events(made)[-1] == "told"
    assert bench.rows("audit", transaction=made.id)[-1]["record"] == {
        "provider": "webhook",
        "event": "issued",
        "notice": notice.id,
    }


@pytest.mark.proves("AC-103", "FT-57")
def test_what_is_not_confirmed_is_told_again_ever_less_often(bench: Bench) -> None:
    """The same notice by the same id, with growing pauses, until it is confirmed; other notices do not wait for it."""
    receiver, other = Receiver(), Receiver()
    receiver.problem = ProviderError("webhook", "status 500")
    made = refused(bench)
    other_made = bench.happen(wanting(bench, "intune", request="b", routes=("b",)), Event.REFUSED)
    post = Post(bench.database, {("wifi", "webhook"): receiver, ("wifi", "intune"): other})
    moments: list[float] = []
    for _ in range(300):
        before = len(receiver.told)
        post.run(30, 30)
        moments += [post.clock.seconds()] * (len(receiver.told) - before)
    assert len(other.told) == 1
    assert bench.events(other_made)[-1] == "told"
    assert {notice.id for notice in receiver.told} == {bench.rows("notices")[0]["id"]}
    pauses = [later - sooner for sooner, later in pairwise(moments)]
    assert 8 <= len(pauses) <= 14
    assert max(pauses) <= 1.2 * LONGEST_PAUSE + 60
    assert pauses[-1] > 20 * pauses[0]
    receiver.problem = None
    post.run(1.2 * LONGEST_PAUSE + 60, 60)
    assert bench.events(made)[-1] == "told"
    assert noted(bench) == []


@pytest.mark.proves("AC-103")
@pytest.mark.parametrize("known", [True, False])
def test_nobody_is_told_for_ever(bench: Bench, known: bool) -> None:
    """What is older than its provider wants it, or a day where that is configured no more, is given up loudly."""
    patience = 600.0 if known else FORGOTTEN
    receiver = Receiver(patience)
    receiver.problem = RuntimeError("a fault of ours")
    made = refused(bench)
    post = Post(bench.database, {("wifi", "webhook"): receiver} if known else {})
    with capturedLogs() as logs:
        post.run(0.9 * patience, 60 if known else 900)
        assert noted(bench) != []
        post.run(0.1 * patience + 1.2 * LONGEST_PAUSE + 900, 300)
    assert noted(bench) == []
    assert bench.events(made)[-1] == "not told"
    (said,) = [event for event in logs if event["log_level"].name == "error" and "never" in event["log_format"]]
    assert said["id"] == made.id


@pytest.mark.proves("AC-103", "FT-43")
def test_a_process_that_is_killed_in_between_loses_nothing(bench: Bench, other: Callable[..., Database]) -> None:
    """Taken up and never confirmed: another process tells it, under the same id, when the first one's time is over."""
    made, first, second = refused(bench), Receiver(), Receiver()
    first.gate = Deferred()
    killed = Post(bench.database, {("wifi", "webhook"): first}, "killed")
    killed.run(TICK)
    assert len(first.told) == 1
    heir = Post(other(), {("wifi", "webhook"): second}, "heir")
    heir.run(LEASE)
    assert second.told == []
    heir.run(TAKEN, 10)
    assert second.told == first.told
    assert bench.events(made).count("told") == 1
    # It was only stopped, and goes on: what it confirms then is confirmed already.
    first.gate.callback(None)
    assert bench.events(made).count("told") == 1
    assert noted(bench) == []


@pytest.mark.proves("FT-43")
def test_two_processes_take_nothing_twice(bench: Bench, other: Callable[..., Database]) -> None:
    """Even where both believe that they are the one that delivers."""
    for number in range(10):
        refused(bench, request=f"r{number}", routes=(f"r{number}",))
    databases = (bench.database, other())
    takers = [partial(each.call, notices.take, NOW, NOW + MINUTE, 6) for each in databases]
    taken = [due.id for each in together(*takers) if isinstance(each, list) for due in each]
    taken += [due.id for due in bench(notices.take, NOW, NOW + MINUTE, 100)]
    assert len(taken) == len(set(taken)) == 10
    assert bench(notices.take, NOW + MINUTE - SECOND, NOW + HOUR, 100) == []
    assert len(bench(notices.take, NOW + MINUTE, NOW + HOUR, 100)) == 10


@pytest.mark.proves("FT-43")
def test_one_process_at_a_time_delivers(bench: Bench, other: Callable[..., Database]) -> None:
    """The others look, and begin when it is gone; when it ends in good order, at once."""
    receivers = Receiver(), Receiver()
    posts = [
        Post(database, {("wifi", "webhook"): receiver}, f"process {index}")
        for index, (database, receiver) in enumerate(zip((bench.database, other()), receivers, strict=True))
    ]
    for post in posts:
        post.run(TICK)
    for number in range(AT_ONCE + 5):
        refused(bench, request=f"r{number}", routes=(f"r{number}",))
    for _ in range(15):
        for post in posts:
            post.run(TICK)
    assert [len(receiver.told) for receiver in receivers] == [AT_ONCE + 5, 0]
    assert bench(leases.driver, DRIVER, posts[0].now()) == "process 0"
    stopping = posts[0].notifier.stopService()
    assert stopping.called
    refused(bench, request="last", routes=("last",))
    posts[1].run(2 * TICK)
    assert len(receivers[1].told) == 1


def test_it_stops_when_what_is_being_told_is_told(bench: Bench) -> None:
    """A delivery under way is waited for, and its outcome written."""
    made, receiver = refused(bench), Receiver()
    receiver.gate = Deferred()
    post = Post(bench.database, {("wifi", "webhook"): receiver})
    post.run(TICK)
    stopped = post.notifier.stopService()
    assert not stopped.called
    receiver.gate.callback(None)
    assert stopped.called
    assert bench.events(made)[-1] == "told"


def test_what_is_sealed_under_a_lost_key_is_given_up(bench: Bench) -> None:
    """The request cannot be opened: nobody is told half of it."""
    bench.happen(bench.record(notify=["webhook"]), Event.REFUSED)
    receiver = Receiver(60.0)
    Post(bench.database, {("wifi", "webhook"): receiver}).run(200, 10)
    assert receiver.told == []
    assert noted(bench) == []


@pytest.mark.proves("FT-46")
def test_a_clock_that_is_set_back_puts_nothing_off(bench: Bench) -> None:
    """What was put off while the clock was years ahead is due at once, and by days sooner by as much."""
    refused(bench)
    (due,) = bench(notices.take, NOW, NOW, 1)
    assert isinstance(due, Due)
    bench(notices.put_off, due, NOW + 1000 * DAY)
    assert bench(notices.any_due, NOW)
    bench(notices.put_off, due, NOW + DAY + HOUR)
    bench(housekeeping.tick, NOW + DAY)
    bench(housekeeping.tick, NOW)
    assert not bench(notices.any_due, NOW + HOUR - SECOND)
    assert bench(notices.any_due, NOW + HOUR)


@pytest.mark.proves("FT-39")
@pytest.mark.parametrize("product", ["sqlite"])
@pytest.mark.parametrize("statement", ["SELECT drivers", "SELECT notices.id, ", "DELETE FROM notices"])
def test_a_database_that_is_away_delays_notices(bench: Bench, statement: str) -> None:
    """Whatever it fails at, the notice is told when it is back."""
    made, receiver = refused(bench), Receiver()
    post = Post(bench.database, {("wifi", "webhook"): receiver})

    def fail() -> None:
        raise StoreError("away")

    with just_before(bench.engine, statement, fail):
        post.run(2 * TICK)
    post.run(TAKEN + 20, 10)
    assert bench.events(made)[-1] == "told"
