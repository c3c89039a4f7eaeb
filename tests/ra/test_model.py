"""Any sequence of what clients, people, the CA, the network and time can do, against a pure model of it (security 6.5).

Several processes over one database file, each of which may be stopped at any step, go on or die there. After every
rule, what was told and what is stored must be possible by the model, and what may never happen must not have happened;
in the end everything heals, and every request must come to an end.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.logger import LogEvent, globalLogPublisher

from scepra.errors import FailInfo
from scepra.lab.behaviour import Duplicates, Fault
from scepra.scep import oid
from scepra.scep.message import PKIStatus
from scepra.store import tables
from tests import csrs
from tests.rig.device import KEY, NEW, THIEF, request, sound
from tests.rig.durable import poll
from tests.rig.forge import Forge, read_answer
from tests.rig.house import lab_state
from tests.rig.instances import CA, Exchange, Instance, Surroundings
from tests.rig.model import BEING_SENT, Case, Phase, Said, View
from tests.web.wire import Answer

KEYS = (KEY, NEW, THIEF)
FATES = (PKIStatus.SUCCESS, PKIStatus.PENDING, PKIStatus.FAILURE)
RETRIES = ("the same bytes", "a new message", "a new transactionID")
LINES = ("whole", "down", "losing", "garbage")
PHASES = {
    "held": frozenset((Phase.HELD,)),
    "queued": frozenset((Phase.OPEN,)),
    "sending": BEING_SENT,
    "waiting": frozenset((Phase.WAITING,)),
    "unknown": frozenset((Phase.LOST,)),
    "issued": frozenset((Phase.ISSUED,)),
    "refused": frozenset((Phase.REFUSED,)),
}
# One record of the decision, one of each thing that became of it, one of the end.
AUDIT = re.compile(
    "(authorised|held( approval)?( (approved|denied|expired))?)( not sent)*( (lost|pended))*"
    "( (granted|refused|misissued|expired))?"
)
ANY = st.integers(0, 63)
THEN = st.sampled_from(("stays", "dies", "is slow", "is late"))
WHO = st.integers(0, len(KEYS) - 1)


@dataclass(eq=False, slots=True)
class Asked(Case):
    """A request of one ``key``; ``certificate`` is what its client was told, ``approvals`` how many people approved."""

    key: Any = None
    csr: bytes = b""
    digest: bytes = b""
    challenge: str = ""
    certificate: bytes | None = None
    approvals: int = 0


class Enrolments(RuleBasedStateMachine):
    """The rules, and what must hold after each of them."""

    def __init__(self, lab: Path) -> None:
        super().__init__()
        self.lab = lab
        self.directory = tempfile.TemporaryDirectory()
        self.cases: list[Asked] = []
        self.messages: list[tuple[Asked, Forge, bytes]] = []
        self.routes: dict[tuple[Any, str], set[tuple[Asked, int] | None]] = {}
        self.stored: list[Any] = []
        self.failures: list[str] = []
        self.numbers = iter(range(1 << 30))
        self.nights = 0
        globalLogPublisher.addObserver(self.observe)

    def observe(self, event: LogEvent) -> None:
        """What fails unexpectedly is in the log only."""
        if "log_failure" in event:
            self.failures.append(event["log_failure"].getTraceback())

    @initialize(forgetful=st.booleans(), duplicates=st.sampled_from(Duplicates), fate=st.sampled_from(FATES))
    def begin(self, forgetful: bool, duplicates: Duplicates, fate: PKIStatus) -> None:
        """One process, and a CA of some kind."""
        self.ca = CA(lab_state(self.lab).authority, forgetful=forgetful, duplicates=duplicates)
        self.around = Surroundings(self.lab, Path(self.directory.name), self.ca)
        self.around.start()
        self.change(fate, "whole")

    # --- Clients -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.around.running)
    @rule(key=WHO, held=st.booleans(), shared=st.booleans(), which=ANY)
    def enrol(self, key: int, held: bool, shared: bool, which: int) -> None:
        """A new request; perhaps under a transactionID that this key or another has used already."""
        self.enrol_at(self.pick(self.around.running, which), key, held, shared, which)

    @precondition(lambda self: self.around.running and self.messages)
    @rule(how=st.sampled_from(RETRIES), which=ANY)
    def retry(self, how: str, which: int) -> None:
        """A request that was made before."""
        self.retry_at(self.pick(self.around.running, which), how, which)

    @precondition(lambda self: self.around.running and self.messages)
    @rule(which=ANY, key=st.none() | WHO)
    def poll(self, which: int, key: int | None) -> None:
        """A poll by whoever asked, or by somebody else under the same transactionID."""
        _, forge, _ = self.pick(self.messages, which)
        forge = poll(self.house, forge if key is None else replace(forge, key=KEYS[key]))
        exchanged = len(self.around.exchanges)
        answer, passed = self.pick(self.around.running, which).ask(forge.message())
        if answer is not None:
            assert not passed and len(self.around.exchanges) == exchanged, "a poll causes nothing"
            self.judge(answer, forge, *self.polled(forge))

    @precondition(lambda self: self.around.running and self.cases)
    @rule(which=ANY, key=WHO)
    def steal(self, which: int, key: int) -> None:
        """Another key enrols with a challenge that is somebody's, or that was never recorded as anybody's."""
        case = self.pick(self.cases, which)
        if KEYS[key] is case.key or any(attempt < 0 for attempt, _ in case.worlds):
            return
        number = next(self.numbers)
        name = csrs.subject(f"device-{number}.example")
        csr = request(self.house, key=KEYS[key], subject=name, challenge=case.challenge)
        forge = sound(self.house, key=KEYS[key], csr=csr, transaction_id=f"stolen {number}")
        answer, _ = self.pick(self.around.running, which).ask(forge.message())
        if answer is not None:
            self.judge(answer, forge, {View.FAILURE})

    @rule()
    def expire(self) -> None:
        """All challenges that were ever used expire; what comes with new ones is as good as ever."""
        self.around.challenges.oldest = next(self.numbers)

    # --- People ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(which=ANY, approve=st.booleans())
    def decide(self, which: int, approve: bool) -> None:
        """One person says what they think of what is held; two have to approve."""
        case = self.pick(self.held, which)
        row = self.rows(case)[-1]
        self.around.say(row.id, f"person {case.approvals}", approve)
        case.approvals += 1
        if not approve or case.approvals == 2:
            case.decided(approve)
            case.approvals = 0

    # --- The CA and the network --------------------------------------------------------------------------------------

    @rule(fate=st.sampled_from(FATES), line=st.sampled_from(LINES))
    def change(self, fate: PKIStatus, line: str) -> None:
        """What the CA answers to what is new, and what the network does."""
        fault = Fault.HTML if line == "garbage" else None
        self.ca.behaviour = replace(self.ca.behaviour, status=fate, fault=fault)
        self.around.reachable, self.around.losing = line != "down", line == "losing"

    @precondition(lambda self: self.ca.undecided)
    @rule(which=ANY, approve=st.booleans())
    def conclude(self, which: int, approve: bool) -> None:
        """The CA decides about what it holds back."""
        (self.ca.approve if approve else self.ca.deny)(self.pick(self.ca.undecided, which))

    # --- Time and processes ------------------------------------------------------------------------------------------

    @rule(step=st.sampled_from((0.1, 1, 6, 60)))
    def wait(self, step: float) -> None:
        """Some time passes."""
        self.around.day.pump([step] * 5)

    @precondition(lambda self: self.nights < 20)
    @rule()
    def sleep(self) -> None:
        """A night passes, and what nobody has decided is refused."""
        self.nights += 1
        self.around.day.advance(25 * 3600)
        self.settle()
        self.around.keep_house()
        for case in self.held:
            case.decided(False)
            case.approvals = 0

    @precondition(lambda self: len(self.around.running) + len(self.around.stopped) < 3)
    @rule()
    def start(self) -> None:
        """Another process, beside the others or after them."""
        self.around.start()

    @precondition(lambda self: self.around.running)
    @rule(steps=st.integers(0, 7), then=THEN, which=ANY)
    def interrupt_enrolment(self, steps: int, then: str, which: int) -> None:
        """A process is stopped, or dies, in the middle of a new request."""
        process = self.pick(self.around.running, which)
        process.stop(steps)
        self.enrol_at(process, which % len(KEYS), False, False, which)
        self.interrupted(process, then)

    @precondition(lambda self: self.around.running)
    @rule(steps=st.integers(0, 9), at=st.sampled_from(("hold", "retry", "wait")), then=THEN, which=ANY)
    def interrupt(self, steps: int, at: str, then: str, which: int) -> None:
        """The same in the middle of something else."""
        process = self.pick(self.around.running, which)
        process.stop(steps)
        if at == "hold":
            self.enrol_at(process, which % len(KEYS), True, False, which)
        elif at == "retry" and self.messages:
            self.retry_at(process, RETRIES[which % len(RETRIES)], which)
        else:
            self.wait(6)
        self.interrupted(process, then)

    def interrupted(self, process: Instance, then: str) -> None:
        """What becomes of a process that was told to stop: it stays so, it dies and there is another, or it goes on
        after less than the way to the CA allows, or after more than its leases last, with another one at work."""
        process.stop(None)
        if not process.stopped or then == "stays":
            return
        self.settle()
        if then == "dies":
            self.end(process)
        if not self.around.running:
            self.around.start()
        if then in ("is slow", "is late"):
            self.wait(2 if then == "is slow" else 15)
            self.settle()
            self.resume(process)

    @precondition(lambda self: self.around.stopped)
    @rule(which=ANY)
    def go_on(self, which: int) -> None:
        """A process that was stopped runs again."""
        self.resume(self.pick(self.around.stopped, which))

    @precondition(lambda self: self.around.instances and not all(each.dead for each in self.around.instances))
    @rule(which=ANY)
    def kill(self, which: int) -> None:
        """A process ends where it is: between two steps, or where it was stopped."""
        self.end(self.pick([each for each in self.around.instances if not each.dead], which))

    # --- What they share ---------------------------------------------------------------------------------------------

    @property
    def house(self) -> Any:
        """The house of any process: what clients know of the RA."""
        return self.around.instances[0].house

    @property
    def held(self) -> list[Asked]:
        """What waits for people."""
        return [case for case in self.cases if any(phase is Phase.HELD for _, phase in case.worlds)]

    def pick(self, items: Any, which: int) -> Any:
        """One of some things, the later ones first."""
        return items[-1 - which % len(items)]

    def end(self, process: Instance) -> None:
        """Kill a process: what it has learnt and not written is lost."""
        process.kill()
        for case in self.cases:
            case.late.pop(process.number, None)

    def resume(self, process: Instance) -> None:
        """Let a process go on: what it was asked it may do now, and write what it has learnt."""
        for case in self.cases:
            case.resumed(process.number)
        own = {octets: (case, forge) for case, forge, octets in self.messages}
        for _, octets in process.waiting:
            if octets in own:
                self.record(*own[octets], octets, False)
        answers = process.go_on()
        self.settle()
        for octets, answer in answers:
            if octets in own:
                # It may have been told of what was the case when it stopped.
                case, forge = own[octets]
                never = any(phase is Phase.REFUSED for _, phase in case.worlds) or self.expired(case)
                self.judge(answer, forge, {View.PENDING, *case.views(), *([View.FAILURE] if never else [])}, case)

    def expired(self, case: Asked) -> bool:
        """Whether its challenge is not good any more."""
        return self.around.challenges.expired(case.challenge)

    def enrol_at(self, process: Instance, key: int, held: bool, shared: bool, which: int) -> None:
        """Ask a process for something new."""
        number = next(self.numbers)
        challenge = f"challenge {number}"
        name = csrs.subject(f"{'server' if held else 'device'}-{number}.example")
        csr = request(self.house, key=KEYS[key], subject=name, challenge=challenge)
        case = Asked(held, key=KEYS[key], csr=csr, digest=sha256(csr).digest(), challenge=challenge)
        self.cases.append(case)
        forge = self.pick(self.messages, which)[1] if shared and self.messages else None
        self.make(process, case, f"transaction {number}" if forge is None else forge.transaction_id)

    def retry_at(self, process: Instance, how: str, which: int) -> None:
        """Ask a process for something again."""
        case, forge, octets = self.pick(self.messages, which)
        if how == RETRIES[0]:
            self.ask(process, case, forge, octets)
        else:
            number = next(self.numbers)
            self.make(process, case, forge.transaction_id if how == RETRIES[1] else f"transaction {number}")

    def make(self, process: Instance, case: Asked, transaction_id: str) -> None:
        """Ask for something in a new message."""
        nonce = b"%016d" % next(self.numbers)
        forge = sound(self.house, key=case.key, csr=case.csr, transaction_id=transaction_id, sender_nonce=nonce)
        octets = forge.message()
        self.messages.append((case, forge, octets))
        self.ask(process, case, forge, octets)

    def ask(self, process: Instance, case: Asked, forge: Forge, octets: bytes) -> None:
        """Ask a process, and judge what it says."""
        digest = sha256(octets).digest()
        new = all(phase is Phase.REFUSED and case.first.get(attempt) != digest for attempt, phase in case.worlds)
        expired = new and self.expired(case)
        before = case.views()
        answer, passed = process.ask(octets)
        if not expired:
            self.record(case, forge, octets, answer is not None)
            before |= case.views()
        self.settle()
        if answer is not None:
            views = {View.FAILURE} if expired else case.views()
            self.judge(answer, forge, views | before if passed else views, case)

    def record(self, case: Asked, forge: Forge, octets: bytes, answered: bool) -> None:
        """Tell the model that a message has come, and where polls for it lead from now on."""
        case.asked(sha256(octets).digest(), answered)
        there: set[tuple[Asked, int] | None] = {(case, attempt) for attempt, _ in case.worlds}
        where = (forge.key, forge.transaction_id)
        self.routes[where] = there if answered else there | self.routes.get(where, {None})

    def polled(self, forge: Forge) -> tuple[set[View], Asked | None]:
        """What may be told to a poll, and the request that it is for if that is certain."""
        leads = self.routes.get((forge.key, forge.transaction_id), {None})
        views = set()
        for lead in leads:
            views |= {View.STRANGER} if lead is None else lead[0].views(lead[1])
        cases = {lead[0] for lead in leads if lead is not None}
        return views, cases.pop() if len(cases) == 1 else None

    def judge(self, answer: Answer, forge: Forge, views: set[View], case: Asked | None = None) -> None:
        """Check an answer: what it says is possible, and a certificate is the same each time."""
        assert answer.status == 200
        read = read_answer(answer.body, self.house.authority.keyring.current.signing.certificate, forge.key)
        said = PKIStatus(read.text(oid.PKI_STATUS))
        view = {PKIStatus.SUCCESS: View.SUCCESS, PKIStatus.PENDING: View.PENDING}.get(said, View.FAILURE)
        if view is View.FAILURE and read.text(oid.FAIL_INFO) == str(int(FailInfo.BAD_CERT_ID)):
            view = View.STRANGER
        assert view in views, f"told {view}, and possible are {views}"
        if view is View.SUCCESS:
            issued = read.certificates()[0]
            (kept,) = [row for row in self.around.rows(tables.transactions) if row.certificate == issued]
            if case is not None:
                assert kept.csr_digest == case.digest
                assert case.certificate in (None, issued), "another certificate than before"
                case.certificate = issued

    def rows(self, case: Asked) -> list[Any]:
        """What is stored of a request, one row for each attempt."""
        return [row for row in self.stored if row.csr_digest == case.digest]

    # --- What must hold ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Tell the model what the CA was asked since, and compare what is stored."""
        by_digest = {case.digest: case for case in self.cases}
        exchanges, self.around.exchanges[:] = list(self.around.exchanges), []
        for each in exchanges:
            self.exchanged(each, by_digest)
        self.stored = sorted(self.around.rows(tables.transactions), key=lambda row: row.attempt)
        owners = {each.house.authority.forwarding.owner: each.number for each in self.around.instances}
        for case in self.cases:
            rows = self.rows(case)
            assert [row.attempt for row in rows] == list(range(len(rows)))
            assert all(row.state == "refused" for row in rows[:-1])
            if rows:
                last = rows[-1]
                sender = owners[last.owner] if last.state == "sending" else None
                case.stored(last.attempt, PHASES[last.state], last.message, sender)
            else:
                case.stored(-1, PHASES["refused"], None, None)

    def exchanged(self, each: Exchange, by_digest: dict[bytes, Asked]) -> None:
        """What the CA got was on the disk before, and is what the model allows."""
        assert len(each.stored) == 1, "sent, and not stored before"
        (row,) = each.stored
        case = by_digest[row.csr_digest]
        assert each.polled or each.request == case.csr
        assert each.signer == row.signer_certificate
        said = Said[each.status.name] if each.arrived else Said.LOST
        case.exchanged(each.process.number, row.attempt, each.polled, said, not each.process.stopped)

    @invariant()
    def all_is_well(self) -> None:
        """No program error, and whatever happened was possible."""
        if not hasattr(self, "around"):
            return
        self.settle()
        assert self.failures == []
        self.one_certificate_for_one_request()
        self.every_decision_is_noted_once()

    def one_certificate_for_one_request(self) -> None:
        """The CA has issued one, unless it issues again itself; a client that was told of one was told of that."""
        for csr, count in Counter(csr for csr, _ in self.ca.certified).items():
            assert count == 1 or self.ca.behaviour.duplicates is Duplicates.ISSUED, f"{count} for {csr.hex()}"
        for case in self.cases:
            issued = [certificate.der for csr, certificate in self.ca.certified if csr == case.csr]
            assert case.certificate is None or case.certificate in issued

    def every_decision_is_noted_once(self) -> None:
        """In the order in which they were made, and the last is what is stored."""
        noted: dict[str, list[str]] = {row.id: [] for row in self.stored}
        for record in sorted(self.around.rows(tables.audit), key=lambda row: row.sequence):
            if record.event != "surplus":
                noted[record.transaction].append(record.event)
        for row in self.stored:
            events = noted[row.id]
            assert AUDIT.fullmatch(" ".join(events)), events
            ended = events[-1] in ("granted", "refused", "misissued", "expired", "denied")
            assert ended == (row.state in ("issued", "refused")), (row.state, events)

    # --- The end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everything heals: every request ends, waits for people, or for somebody to look at it."""
        try:
            if hasattr(self, "around") and self.cases and sys.exc_info()[0] is None:
                self.heal()
        finally:
            globalLogPublisher.removeObserver(self.observe)
            if hasattr(self, "around"):
                self.around.close()
            self.directory.cleanup()

    def heal(self) -> None:
        """The CA and the network are well, one process runs, and time passes."""
        for process in self.around.instances[:]:
            process.kill()
        for case in self.cases:
            case.late.clear()
        self.change(PKIStatus.SUCCESS, "whole")
        for transaction in self.ca.undecided:
            self.ca.approve(transaction)
        process = self.around.start()
        for case, forge, _ in self.messages[:]:
            if case.worlds == {(-1, Phase.REFUSED)} and not self.expired(case):
                self.make(process, case, forge.transaction_id)
        for _ in range(30):
            self.around.day.advance(30)
        self.all_is_well()
        for case in self.cases:
            self.ended(case)
        for _, forge, _ in self.messages:
            asking = poll(self.house, forge)
            answer, _ = process.ask(asking.message())
            assert answer is not None
            self.judge(answer, asking, *self.polled(asking))
        self.all_is_well()

    def ended(self, case: Asked) -> None:
        """Check where a request is in the end."""
        ((_, phase),) = case.worlds
        if phase is Phase.LOST:
            assert case.stuck and self.rows(case)[-1].attention
        else:
            assert phase in (Phase.ISSUED, Phase.REFUSED, Phase.HELD)


def search(lab: Path, examples: int, steps: int) -> None:
    """Look for a sequence that breaks something."""
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    chosen = settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=slow)
    run_state_machine_as_test(lambda: Enrolments(lab), settings=chosen)


@pytest.mark.proves(
    "I1", "I2", "I4", "I5", "I7", "I13", "FT-13", "FT-21", "FT-23", "FT-25", "FT-43", "MSG-03", "SEC-08", "DR-10"
)
def test_no_sequence_loses_doubles_or_forgets_a_request(lab: Path) -> None:
    """Requests, retries, polls, decisions, outages, stops, deaths and restarts, in any order, as the model allows."""
    search(lab, 30, 20)


@pytest.mark.slow
@pytest.mark.proves(
    "I1", "I2", "I4", "I5", "I7", "I13", "FT-13", "FT-21", "FT-23", "FT-25", "FT-43", "MSG-03", "SEC-08", "DR-10"
)
def test_no_long_sequence_does_either(lab: Path) -> None:
    """The same, for longer and in more orders."""
    search(lab, 100, 30)
