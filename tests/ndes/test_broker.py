"""Drawing passwords before somebody asks for one: few, slowly, by one process, and not where NDES does not want it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, capturedLogs, eventAsText

from scepra.binding import Binding
from scepra.config.model import NdesChallenge, Profile
from scepra.errors import StoreError
from scepra.http.connection import NotConnected
from scepra.minting import Exhausted, NotMinted, Order, digest, give
from scepra.ndes.broker import LEASE, TICK, Broker, Pool, brokers
from scepra.ndes.client import Client, Session
from scepra.store import challenges, tables
from scepra.store.database import Database
from tests.ndes.administration import PASSWORD, Administration, settings
from tests.rig.house import VAULT, Day, in_memory, run
from tests.web.office import profiles

HOUR = 3600.0


class Desk:
    """A broker in front of the lab's NDES, in a time of its own."""

    def __init__(self, **changes: Any) -> None:
        self.day = Day()
        self.database = Database(in_memory())
        self.ndes = Administration()
        self.settings: NdesChallenge = settings(**changes)
        self.brokers: list[Broker] = []
        self.broker = self.another("process")

    def another(self, owner: str, *more: str) -> Broker:
        """The broker of a process; *more* are profiles beside ``wifi``."""
        pools = [Pool(name, self.settings, Client(self.settings, self.day, self.connect)) for name in ("wifi", *more)]
        made = Broker(pools, self.database, VAULT, owner, self.day.now, self.day)
        self.brokers.append(made)
        return made

    async def connect(self) -> Session:
        self.ndes.now = self.day.now()
        return await self.ndes.connect()

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        step = 0.5 if seconds < HOUR / 6 else 60.0
        for _ in range(round(seconds / step)):
            self.day.advance(step)

    @property
    def rows(self) -> list[Any]:
        """What is kept of challenges."""
        return self.database.call(lambda connection: list(connection.execute(tables.challenges.select())))

    def profile(self) -> dict[str, Profile]:
        """The profile that gives them out."""
        (name, made), *_ = profiles(wifi="{type: minted}").items()
        return {name: made.model_copy(update={"challenge": self.settings})}

    def give(self, name: str = "a.example", **order: Any) -> str:
        """A password for somebody."""
        wanted = Order("wifi", Binding(common_name=name), "mdm", **order)
        return self.database.call(give, wanted, self.profile(), VAULT, self.day.now()).text


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A desk at which the usual settings hold."""
    made = Desk()
    yield made
    for broker in made.brokers:
        if broker.running:
            run_off(broker)
    made.database.close()


def run_off(broker: Broker) -> None:
    """Stop a broker that has nothing under way."""
    done: list[object] = []
    Deferred.fromCoroutine(_stopped(broker)).addBoth(done.append)
    assert done == [None]


async def _stopped(broker: Broker) -> None:
    await broker.stopService()


def said(events: list[LogEvent], level: LogLevel = LogLevel.warn) -> list[str]:
    """What was logged, at a level or above."""
    return [
        eventAsText(each, includeSystem=False, includeTimestamp=False) for each in events if each["log_level"] >= level
    ]


@pytest.mark.proves("RA-11", "I10")
def test_the_pool_is_kept_filled(desk: Desk) -> None:
    """Two are drawn, a second apart; what is handed out is replaced; in the store they are sealed."""
    desk.broker.startService()
    desk.pass_time(0)
    desk.day.advance(0)
    assert len(desk.rows) == 1
    desk.pass_time(10)
    assert (len(desk.rows), desk.ndes.connections) == (2, 2)
    assert all(row.digest is None and row.expires - row.made == timedelta(minutes=57) for row in desk.rows)
    text = desk.give()
    assert text.encode() not in b"".join(row.sealed or b"" for row in desk.rows)
    desk.pass_time(10)
    assert (len(desk.rows), desk.ndes.connections) == (3, 3)
    found = desk.database.call(challenges.find, digest(VAULT, text))
    assert found is not None
    assert (found.origin, found.minter, found.binding) == ("ndes ndes.example", "mdm", {"common_name": "a.example"})
    assert desk.ndes.passwords.take(text)


@pytest.mark.proves("RA-11")
def test_no_more_are_drawn_than_ndes_keeps(desk: Desk) -> None:
    """Five that nobody has used are all that there may be, handed out or not; an hour later there is room again."""
    desk.broker.startService()
    given = set()
    for _ in range(5):
        desk.pass_time(5)
        given.add(desk.give())
    desk.pass_time(HOUR / 2)
    assert (len(given), desk.ndes.connections, desk.ndes.passwords.outstanding) == (5, 5, 5)
    with pytest.raises(Exhausted, match="no password of its NDES at hand"):
        desk.give()
    desk.pass_time(HOUR)
    assert desk.give() not in given


@pytest.mark.proves("RA-11")
def test_what_nobody_wants_is_drawn_again_in_time(desk: Desk) -> None:
    """Passwords that will not last are replaced before they expire: there is always one that is good for a while."""
    desk.broker.startService()
    for _ in range(30):
        desk.pass_time(HOUR / 5)
        assert desk.ndes.passwords.outstanding <= 5
        ready = [
            row for row in desk.rows if row.digest is None and row.expires > desk.day.now() + timedelta(minutes=20)
        ]
        assert ready


@pytest.mark.proves("RA-11", "FT-43")
def test_one_process_draws(desk: Desk) -> None:
    """Of two processes one draws; when it has ended, at once, and when it is gone, soon, the other one does."""
    other = desk.another("another process")
    for broker in (desk.broker, other):
        broker.startService()
    desk.pass_time(10)
    assert (len(desk.rows), desk.ndes.connections) == (2, 2)
    run_off(desk.broker)
    desk.give()
    desk.pass_time(2 * TICK)
    assert len(desk.rows) == 3
    other.running = 0  # as if it had been killed
    third = desk.another("a third process")
    third.startService()
    desk.give()
    desk.pass_time(LEASE + 2 * TICK)
    assert len(desk.rows) == 4


@pytest.mark.proves("RA-11")
def test_profiles_in_front_of_one_ndes_share_its_cache(desk: Desk) -> None:
    """Each has a pool of its own; together they draw no more than NDES keeps."""
    broker = desk.another("process", "vpn", "lan")
    broker.startService()
    desk.pass_time(60)
    counts = {name: sum(row.profile == name for row in desk.rows) for name in ("wifi", "vpn", "lan")}
    assert counts == {"wifi": 2, "vpn": 2, "lan": 1}
    assert desk.ndes.passwords.outstanding == 5


@pytest.mark.proves("RA-11")
def test_a_full_cache_is_waited_for(desk: Desk) -> None:
    """Others have filled it: it is asked again after a minute, then ever later, and warned about."""
    for _ in range(5):
        desk.ndes.passwords.draw()
    with capturedLogs() as events:
        desk.broker.startService()
        desk.pass_time(50)
        assert desk.ndes.connections == 1
        desk.pass_time(20)
        assert desk.ndes.connections == 2
        desk.pass_time(100)
        assert desk.ndes.connections == 2
        desk.ndes.passwords.forget()
        desk.pass_time(60)
    assert len(desk.rows) == 2
    assert said(events, LogLevel.error) == []
    assert "its cache of passwords is full; tried again in 60 s" in said(events)[0]


@pytest.mark.proves("AC-118")
@pytest.mark.parametrize("cause", ["permission", "password", "single"])
def test_a_mistake_is_an_alarm(cause: str) -> None:
    """No permission, a wrong password, one password for everybody: said loudly, tried again only after minutes, so that
    no account is locked by trying; and the account's password is in none of it."""
    desk = Desk(**({"user": "LAB\\somebody"} if cause == "password" else {}))
    if cause == "single":
        desk.ndes = Administration(single=True)
    desk.ndes.page.permitted = cause != "permission"
    with capturedLogs() as events:
        desk.broker.startService()
        desk.pass_time(280)
        assert desk.ndes.connections == 1
        desk.pass_time(30)
        assert desk.ndes.connections == 2
        desk.pass_time(5 * HOUR)
    assert desk.ndes.connections < 11
    assert desk.rows == []
    alarms = said(events, LogLevel.critical)
    assert {"permission": "permission Enroll", "password": "does not believe", "single": "type static"}[
        cause
    ] in alarms[0]
    assert PASSWORD not in "\n".join(map(str, events))
    run_off(desk.broker)
    desk.database.close()


@pytest.mark.proves("RA-11")
def test_passwords_too_short_lived_or_the_same_are_alarms(desk: Desk) -> None:
    """What can never be handed out is not drawn on and on; a page that says it is for one use and is not, is found."""
    desk.ndes.passwords.minutes = 20
    with capturedLogs() as events:
        desk.broker.startService()
        desk.pass_time(60)
    assert "good for 20 minutes: too short" in said(events, LogLevel.critical)[0]
    assert (desk.rows, desk.ndes.connections) == ([], 1)
    again = Desk()
    again.ndes.passwords.draw = lambda: again_and_again  # type: ignore[method-assign]
    again_and_again = Administration().passwords.draw()
    with capturedLogs() as events:
        again.broker.startService()
        again.pass_time(60)
    assert "the same password twice" in said(events, LogLevel.critical)[0]
    assert len(again.rows) == 1
    run_off(again.broker)
    again.database.close()


@pytest.mark.proves("FT-33")
def test_ndes_or_the_store_out_of_reach(desk: Desk) -> None:
    """Both are tried again; nothing is drawn that cannot be kept."""
    desk.ndes.broken = NotConnected("no connection: Connection refused")
    with capturedLogs() as events:
        desk.broker.startService()
        desk.pass_time(10)
    assert desk.ndes.connections == 2
    assert "Connection refused; tried again in 5 s" in said(events)[0]
    desk.ndes.broken = None
    desk.pass_time(30)
    assert len(desk.rows) == 2
    whole, desk.broker._database = desk.broker._database, Broken()  # type: ignore[assignment]
    with capturedLogs() as events:
        desk.pass_time(30)
        run_off(desk.broker)
    assert said(events, LogLevel.error)[0].endswith("waits: out of reach")
    desk.broker._database = whole
    assert desk.ndes.connections == 4


class Broken:
    """A store that is out of reach."""

    async def read(self, *arguments: Any) -> Any:
        raise StoreError("out of reach")

    write = read


@pytest.mark.proves("RA-11")
def test_stopping_waits_for_what_is_being_drawn(desk: Desk) -> None:
    """A password that is on its way is kept, so that its place at NDES is not lost."""
    gate: Deferred[None] = Deferred()

    async def slowly() -> Session:
        await gate
        return await desk.ndes.connect()

    client = Client(desk.settings, desk.day, slowly)
    broker = Broker([Pool("wifi", desk.settings, client)], desk.database, VAULT, "process", desk.day.now, desk.day)
    broker.startService()
    desk.day.advance(0)
    done: list[object] = []
    broker.stopService().addBoth(done.append)
    assert (done, desk.rows) == ([], [])
    gate.callback(None)
    assert done == [None]
    assert len(desk.rows) == 1
    assert not desk.day.getDelayedCalls()


@pytest.mark.proves("AC-104", "SEC-05", "DR-17")
def test_orders_that_are_refused(desk: Desk) -> None:
    """Brokered ones are bound as minted ones are, have one use, and live as long as NDES says."""
    desk.broker.startService()
    desk.pass_time(3)
    for sentence, order in (
        ("names nobody", {"name": ""}),
        ("has one use", {"uses": 2}),
        ("NDES says: ask for no lifetime", {"lifetime": 60.0}),
    ):
        with pytest.raises(NotMinted, match=sentence):
            desk.give(**order)
    desk.settings = settings(bind=["device"])
    with pytest.raises(NotMinted, match="say the device"):
        desk.give()
    assert all(row.digest is None for row in desk.rows)


def test_brokers_of_a_configuration() -> None:
    """One for each NDES, with a pool for each profile in front of it; what is not installed is said at once."""
    made = profiles(wifi="{type: minted}", vpn="{type: minted}", lan="{type: minted}", old="{type: minted}")
    urls = {"wifi": "https://one.example/a", "vpn": "https://ONE.example/b", "lan": "https://two.example/a"}
    named = {
        name: profile.model_copy(update={"challenge": settings(urls[name])}) if name in urls else profile
        for name, profile in made.items()
    }
    day, database = Day(), Database(in_memory())
    found = brokers(named, database, VAULT, "process", day.now, day)  # type: ignore[arg-type]
    assert [[pool.profile for pool in each._pools] for each in found] == [["wifi", "vpn"], ["lan"]]
    assert run(database.read(lambda connection: 1)) == 1
    database.close()
