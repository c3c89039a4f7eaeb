"""Processes of an RA over one database file and before one CA, that can be stopped at any of their steps, go on, or die
there; all of them in this process, and in time that the test turns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import event
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from scepra.config.store import Retention, Store
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Reservation, Verdict
from scepra.errors import FailInfo, ScepError
from scepra.housekeeper import Housekeeper
from scepra.http.connection import NotConnected
from scepra.lab import CertificationService
from scepra.lab.authority import Authority
from scepra.lab.behaviour import Duplicates, Fault
from scepra.lab.service import Outcome, Transaction
from scepra.reconciler import Reconciler
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.message import MessageType, PKIStatus
from scepra.signing import StoredKeys
from scepra.store import approvals, schema, tables
from scepra.store.database import Database
from scepra.store.engine import create_engine, create_file
from scepra.store.owner import new_owner
from scepra.upstream.client import Upstream
from scepra.upstream.signer import EphemeralSelfSigned
from tests import csrs
from tests.rig.device import rebuilt
from tests.rig.durable import begin
from tests.rig.house import PROFILE, VAULT, Day, House, house, run
from tests.web.wire import Answer, Connection

_HOLD = {"hold": {"when": {"subject": {"CN": "server-.*"}}, "approvals": 2, "expires": "1d"}}
_QUEUE = {"first-poll": "30s", "longest-poll": "5m", "give-up-after": "100d"}
_LOST = ResponseFailed([Failure(ConnectionLost())])


class CA(CertificationService):
    """A CA that counts what it issues; ``forgetful``: of what it has decided at once, it knows nothing when polled."""

    def __init__(self, *arguments: Any, forgetful: bool, duplicates: Duplicates) -> None:
        super().__init__(*arguments)
        self.behaviour = replace(self.behaviour, duplicates=duplicates)
        self.forgetful = forgetful
        self.certified: list[tuple[bytes, Certificate]] = []
        self._held_back: set[str] = set()

    @property
    def undecided(self) -> list[str]:
        """The transactionIDs of what it holds back."""
        return [name for name, each in self.transactions.items() if each.status is PKIStatus.PENDING]

    def _enrol(
        self, transaction_id: str, signer: Certificate, csr: CertificationRequest, authority: Authority
    ) -> Outcome:
        outcome = super()._enrol(transaction_id, signer, csr, authority)
        if outcome.status is PKIStatus.PENDING:
            self._held_back.add(transaction_id)
        return outcome

    def _poll(self, transaction_id: str, signer: Certificate) -> Outcome:
        if self.forgetful and transaction_id not in self._held_back:
            raise ScepError("never heard of", FailInfo.BAD_CERT_ID)
        return super()._poll(transaction_id, signer)

    def _issue(self, transaction: Transaction) -> Certificate:
        issued = super()._issue(transaction)
        self.certified.append((transaction.csr.der, issued))
        return issued


class Challenges:
    """A provider of challenges ``challenge NUMBER``, each for one key, good from ``oldest`` on."""

    def __init__(self) -> None:
        self.oldest = 0

    def expired(self, challenge: str) -> bool:
        """Whether a challenge is not good any more."""
        return int(challenge.split()[1]) < self.oldest

    async def check(self, request: EnrolmentRequest) -> Verdict:
        """As a provider."""
        challenge = request.csr.challenge_password or ""
        if self.expired(challenge):
            return ChallengeRefused("it has expired")
        return ChallengeAccepted(challenge, (Reservation(challenge),))


@dataclass(slots=True)
class Exchange:
    """One message that the CA got: from which process, what it said, and whether its answer came back. ``stored`` is
    what was on the disk of its transaction at that moment."""

    process: Instance
    transaction: str
    polled: bool
    status: PKIStatus
    request: bytes | None
    signer: bytes
    stored: Any
    arrived: bool


class Surroundings:
    """What processes share: the time, the CA and the way to it (``reachable``, ``losing``), the database file."""

    def __init__(self, lab: Path, directory: Path, ca: CA) -> None:
        self.lab, self.ca = lab, ca
        self.day = Day()
        self.challenges = Challenges()
        self.reachable, self.losing = True, False
        self.exchanges: list[Exchange] = []
        self.instances: list[Instance] = []
        self.file = directory / "scepra.db"
        shutil.copyfile(_empty(lab), self.file)
        self.database = Database(self.engine(), self.file)

    @property
    def running(self) -> list[Instance]:
        """The processes that are neither stopped nor dead."""
        return [each for each in self.instances if not each.stopped]

    @property
    def stopped(self) -> list[Instance]:
        """The processes that may go on."""
        return [each for each in self.instances if each.stopped and not each.dead]

    def engine(self) -> sa.Engine:
        """A way to the database file of one's own."""
        engine = create_engine(_store(self.file), 1)
        # Processes end here, and machines do not: nothing has to wait for the disk.
        event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous=OFF").close())
        return engine

    def start(self) -> Instance:
        """Another process."""
        self.instances.append(Instance(self, len(self.instances)))
        return self.instances[-1]

    def rows(self, table: sa.Table) -> list[Any]:
        """What is on the disk."""
        return run(self.database.read(lambda connection: list(connection.execute(sa.select(table)))))

    def say(self, transaction: str, person: str, approve: bool) -> None:
        """One person approves or denies what is held, as by the command."""

        def decide(connection: sa.Connection) -> None:
            shown = approvals.case(connection, transaction).digest
            approvals.say(
                connection,
                transaction,
                approve=approve,
                person=person,
                why="agreed",
                shown_digest=shown,
                now=self.day.now(),
            )

        self.database.call(decide)

    def keep_house(self) -> None:
        """End what has taken too long."""
        keeper = Housekeeper(self.database, Retention(), (), "keeper", self.day.now, self.day)
        keeper.startService()
        self.day.advance(0)
        keeper.stopService()

    def close(self) -> None:
        """Nothing goes on."""
        for each in self.instances:
            each.kill()
        self.database.close()


class Instance:
    """One process; ``number`` names it. ``waiting`` are its clients: their connections and messages."""

    def __init__(self, around: Surroundings, number: int) -> None:
        self.around, self.number = around, number
        self.stopped = self.dead = False
        self.steps: int | None = None
        self.waiting: list[tuple[Connection, bytes]] = []
        self._gates: list[Deferred[None]] = []
        day, config = around.day, _house(around.lab).config
        self._database = _Stepwise(self, around.engine(), around.file)
        keys = StoredKeys("ca", partial(_ready, 20 + number % 2), self._database, VAULT, day.now)
        self.house = rebuilt(
            _house(around.lab),
            upstream=Upstream("ca", config.upstreams["ca"], day, day.now, client=_Way(self)),
            signer=EphemeralSelfSigned(keys, timedelta(days=1), timedelta(days=200)),
            database=self._database,
            owner=new_owner(),
            now=day.now,
            reactor=day,
            pause=partial(deferLater, day),
            provider=around.challenges,
        )
        Reconciler(self.house.authority.forwarding).startService()

    def ask(self, message: bytes) -> tuple[Answer | None, bool]:
        """The answer to a message, if it does not stop before; and whether time had to pass for it."""
        connection = begin(self.house, message)
        day, answers, passed = self.around.day, connection.read(), 0
        while not answers and not self.stopped:
            assert passed < 60, "it never answers"
            day.advance(1)
            passed += 1
            answers = connection.read()
        if not answers:
            self.waiting.append((connection, message))
            return None, passed > 0
        return answers[0], passed > 0

    async def step(self, counts: bool = True) -> None:
        """Goes on, unless it is stopped here."""
        if self.steps is not None and counts:
            self.steps -= 1
            self.stopped = self.stopped or self.steps < 0
        if self.stopped:
            gate: Deferred[None] = Deferred()
            self._gates.append(gate)
            await gate

    def stop(self, steps: int | None) -> None:
        """Stop it after so many steps: each is a moment before or after a commit, or before or after the CA has got a
        message. None: let it be."""
        self.steps = steps

    def go_on(self) -> list[tuple[bytes, Answer]]:
        """It runs again; what clients are told who have waited."""
        self.stopped, self.steps = False, None
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.callback(None)
        told = [(message, connection.read()) for connection, message in self.waiting]
        self.waiting = [each for each, (_, answers) in zip(self.waiting, told, strict=True) if not answers]
        return [(message, answers[0]) for message, answers in told if answers]

    def kill(self) -> None:
        """It never does anything again."""
        self.stopped = self.dead = True
        self._database.close()


class _Stepwise(Database):
    """A store before and after each use of which the process can be stopped."""

    def __init__(self, instance: Instance, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._instance = instance

    async def read(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        await self._instance.step(False)
        result = await super().read(function, *arguments, **named)
        await self._instance.step(False)
        return result

    async def write(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        await self._instance.step()
        result = await super().write(function, *arguments, **named)
        await self._instance.step()
        return result


class _Way:
    """The way of a process to the CA, with the deadlines that the real one has."""

    def __init__(self, instance: Instance) -> None:
        self._instance, self._whole = instance, StubTreq(instance.around.ca)

    async def request(self, method: str, target: Any, **settings: Any) -> Any:
        """As treq's client."""
        instance, around = self._instance, self._instance.around
        limits, begun = instance.house.config.upstreams["ca"], around.day.seconds()
        operation = "PKIOperation" in target.to_text()
        await instance.step(operation)
        if not around.reachable or around.day.seconds() - begun > limits.timeout - limits.connect_timeout:
            raise NotConnected("no connection")
        response = await self._whole.request(method, target, **settings)
        if not operation:
            return response
        exchange = self._note()
        await instance.step()
        if around.losing or around.day.seconds() - begun > limits.timeout:
            exchange.arrived = False
            raise _LOST
        return response

    def _note(self) -> Exchange:
        around = self._instance.around
        got = around.ca.received[-1]
        assert got.transaction_id and got.status and got.signer
        stored = [row for row in around.rows(tables.transactions) if row.upstream_transaction == got.transaction_id]
        polled = got.message_type is MessageType.CERT_POLL
        request = None if got.csr is None else got.csr.der
        arrived = around.ca.behaviour.fault is not Fault.HTML
        exchange = Exchange(
            self._instance, got.transaction_id, polled, got.status, request, got.signer.der, stored, arrived
        )
        around.exchanges.append(exchange)
        return exchange


async def _ready(which: int) -> rsa.RSAPrivateKey:
    # Keys take their time to make.
    return csrs.rsa_key(which=which)


def _store(file: Path) -> Store:
    return Store.model_construct(url=f"sqlite:{file}", timeout=5.0)


@cache
def _house(lab: Path) -> House:
    """What is the same in all processes: read once, since OpenSSL takes its time to check each RSA key."""
    with house(lab, {"policy": [*PROFILE["policy"], _HOLD]}, {"retry-after": "30s", "queue": _QUEUE}) as made:
        return made


@cache
def _empty(lab: Path) -> Path:
    """A database file with the tables, to be copied."""
    file = lab / "empty.db"
    create_file(file)
    engine = create_engine(_store(file), 1)
    schema.upgrade(engine)
    engine.dispose()
    return file
