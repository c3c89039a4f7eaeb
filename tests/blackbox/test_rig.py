"""The black-box rig's own checks: that it does what it says, and that what must be noticed is noticed."""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from scepra.errors import FailInfo
from scepra.lab import Behaviour, Duplicates, Fault
from scepra.scep.message import PKIStatus
from tests.rig.blackbox import finale as last
from tests.rig.blackbox import invariant
from tests.rig.blackbox.canary import ADDRESS
from tests.rig.blackbox.control import Refusal
from tests.rig.blackbox.device import Retry, looks
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.finale import Finale
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import TooLate, wait_until
from tests.rig.blackbox.rig import Rig
from tests.rig.blackbox.wire import CutShort
from tests.rig.forge import read_answer

pytestmark = pytest.mark.slow

NAME = "device.example"

# --- The recording upstream ------------------------------------------------------------------------------------------


def test_journal_of_an_enrolment(rig: Rig) -> None:
    """One enrolment is one connection with all events in order, and is told by digests: no challenge, no request."""
    device = rig.device(NAME)
    answer = device.enrol()
    (request,) = rig.upstream.requests(NAME)
    lines = rig.upstream.events(connection=request["connection"])
    told = [Event(line["event"]) for line in lines if line["event"] != "closed"]
    assert told == [event for event in Event if event is not Event.HALF_REQUEST]
    assert [line["monotonic"] for line in lines] == sorted(line["monotonic"] for line in lines)
    assert request["csr"] == hashlib.sha256(device.csr).hexdigest()
    assert request["challenge"] == hashlib.sha256(rig.laboratory.challenge.encode()).hexdigest()
    assert answer.certificate is not None
    assert rig.upstream.issued(NAME) == [answer.certificate.fingerprint()]
    assert rig.laboratory.challenge not in rig.upstream.journal.read_text()


def test_exchanges_stop_at_every_event(rig: Rig) -> None:
    """An exchange stands still at the event until it is let go; the device then gets its certificate."""
    for event in Event:
        device = rig.device(f"{event.value}.example")
        with rig.upstream.hold(event) as held:
            talk = device.begin(device.message())
            connection = held.wait()["connection"]
            assert rig.upstream.events(connection=connection)[-1]["event"] == event.value
        assert talk.answer().status is PKIStatus.SUCCESS


def test_exchanges_stop_by_subject_and_number(rig: Rig) -> None:
    """Only what a test waits for is stopped: others pass, and so does the next of the same device."""
    with rig.upstream.hold(Event.REQUEST_COMPLETE, NAME) as held:
        assert rig.device("other.example").enrol().status is PKIStatus.SUCCESS
        device = rig.device(NAME)
        talk = device.begin(device.message())
        assert held.wait()["subject"] == NAME
    assert talk.answer().status is PKIStatus.SUCCESS
    with pytest.raises(Refusal, match="nobody knows yet"), rig.upstream.hold(Event.ACCEPTED, NAME):
        pass


def test_connections_are_cut(rig: Rig) -> None:
    """A connection that is cut while half of the request is there leaves no trace of it; the RA asks again."""
    device = rig.device(NAME)
    with rig.upstream.hold(Event.HALF_REQUEST) as held:
        talk = device.begin(device.message())
        held.wait()
        held.cut()
    assert rig.upstream.operations() == []
    assert talk.answer().status in (PKIStatus.PENDING, PKIStatus.SUCCESS)
    assert device.until_done().status is PKIStatus.SUCCESS


def test_upstream_keeps_what_it_knows_over_its_own_end(rig: Rig) -> None:
    """A CA that was killed behaves as before, knows what is pending and what it issued, and counts on."""
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), NAME)
    device = rig.device(NAME)
    assert device.enrol().status is PKIStatus.PENDING
    before = rig.upstream.events()[-1]["connection"]
    rig.upstream.restart()
    assert rig.upstream.approve(NAME) == 1
    answer = device.until_done()
    assert answer.certificate is not None
    assert rig.upstream.issued(NAME) == [answer.certificate.fingerprint()]
    assert rig.upstream.events()[-1]["connection"] > before
    rig.upstream.restart()
    second = rig.device(NAME)
    assert second.enrol().status is PKIStatus.PENDING
    assert rig.upstream.deny(NAME) == 1
    # Polls only: who asks anew is judged anew.
    wait_until(lambda: second.poll().status is PKIStatus.FAILURE, "it is refused")


def test_upstream_that_stands_still(rig: Rig) -> None:
    """A CA that is stopped accepts and answers nothing, and goes on where it stood."""
    rig.upstream.pause()
    device = rig.device(NAME)
    assert device.enrol().status is PKIStatus.PENDING
    assert rig.upstream.operations() == []
    rig.upstream.resume()
    assert device.until_done().status is PKIStatus.SUCCESS


def test_behaviour_by_subject(rig: Rig) -> None:
    """One subject is refused, the others are not."""
    rig.upstream.behave(Behaviour(status=PKIStatus.FAILURE, fail_info=FailInfo.BAD_REQUEST), NAME)
    assert rig.device(NAME).enrol().status is PKIStatus.FAILURE
    assert rig.device("other.example").enrol().status is PKIStatus.SUCCESS


# --- The RA ----------------------------------------------------------------------------------------------------------


def test_ra_is_killed_and_started(rig: Rig) -> None:
    """A killed RA is gone at once with all its sockets, and comes back at the same port with what it has stored."""
    device = rig.device(NAME)
    first = device.enrol()
    rig.ra.kill()
    assert not rig.ra.running and rig.ra.exit_code == -9
    with pytest.raises(ConnectionRefusedError):
        device.retry(Retry.SAME_BYTES)
    rig.ra.start()
    assert [device.retry(how).certificate for how in Retry] == [first.certificate] * 3
    assert len(rig.upstream.requests(NAME)) == 1
    assert [record["outcome"] for record in rig.ra.records(subject=f"CN={NAME}")] == ["issued"] * 4


def test_ra_of_several_processes(rigs: Callable[..., Rig]) -> None:
    """All of its processes are known, stand still together, and are gone together."""
    rig = rigs(workers=2)
    assert len(rig.ra.workers) == 2
    rig.ra.pause()
    assert rig.ra.get("GetCACaps", patience=0.2)[0] == 0
    rig.ra.resume()
    assert rig.device(NAME).enrol().status is PKIStatus.SUCCESS
    pids = rig.ra.pids()
    rig.ra.kill()
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)
    rig.ra.start()
    assert rig.ra.terminate() == 0


def test_ra_that_does_not_start(rigs: Callable[..., Rig]) -> None:
    """What it says when it ends instead of starting is in the error."""
    with pytest.raises(AssertionError, match="certificates-of-nobody"):
        rigs(extra={"certificates-of-nobody": True})


def test_another_ra_on_the_same_database(rigs: Callable[..., Rig]) -> None:
    """Two RAs share what they store: the second answers what the first was asked."""
    rig = rigs()
    device = rig.device(NAME)
    first = device.enrol()
    second = rig.another_ra()
    second.start()
    device.port = second.port
    assert device.retry(Retry.NEW_TRANSACTION).certificate == first.certificate


# --- Devices ---------------------------------------------------------------------------------------------------------


def test_device_withholds_and_reads_what_it_wants(rig: Rig) -> None:
    """Nothing happens before the last octet; an answer is read piece by piece, or not at all."""
    device = rig.device(NAME)
    talk = device.begin(device.message(), withhold=1)
    assert rig.upstream.operations() == []
    talk.finish()
    assert talk.read(12) == b"HTTP/1.1 200"
    assert talk.answer().status is PKIStatus.SUCCESS
    silent = device.begin(device.message(), receive_buffer=1)
    silent.reset()
    cut = device.begin(device.message(), withhold=10)
    cut.wire._socket.shutdown(socket.SHUT_WR)
    with pytest.raises((CutShort, ConnectionResetError)):
        cut.answer()


def test_device_renews(rig: Rig) -> None:
    """A certificate is renewed for another key, with it and without a challenge."""
    device = rig.device(NAME)
    device.enrol()
    answer = device.renewal(rig.key()).enrol()
    assert answer.certificate is not None and answer.certificate != device.certificate


def test_device_believes_nothing_that_is_not_for_it(rig: Rig) -> None:
    """An answer to another message, of another RA or for another key is noticed; so is one that comes twice."""
    device, other = rig.device(NAME), rig.device(NAME)
    message = device.message()
    talk = device.begin(message)
    response = talk.wire.response()
    for wrong in (
        replace(message, nonce=b"another"),
        replace(message, transaction="another"),
    ):
        with pytest.raises(AssertionError):
            device.judge(wrong, response)
    with pytest.raises((AssertionError, ValueError)):
        other.judge(message, response)
    assert device.judge(message, response).status is PKIStatus.SUCCESS
    with pytest.raises(AssertionError, match="used twice"):
        device.judge(message, response)


def test_load_goes_on_over_a_restart(rig: Rig) -> None:
    """Each of many devices ends with its certificate, although the RA is killed meanwhile; an outage is measured."""
    with rig.probing() as prober, rig.load(4, pause=0.02) as load:
        wait_until(lambda: len(load.done) > 8, "devices have certificates")
        prober.reset()
        rig.ra.kill()
        wait_until(lambda: prober.failures > 2, "the outage is noticed")
        rig.ra.start()
        count = len(load.done)
        wait_until(lambda: len(load.done) > count + 8, "devices have certificates again")
        assert 0.1 < prober.outage < 20
        assert prober.answers > 0 and prober.worst > 0
    assert len({device.certificate.fingerprint() for device in load.done if device.certificate}) == len(load.done)


def test_load_with_a_failure(rig: Rig) -> None:
    """A device that is refused is a failure of the load."""
    rig.upstream.behave(Behaviour(status=PKIStatus.FAILURE))
    with pytest.raises(AssertionError, match="FAILURE"), rig.load(1) as load:
        wait_until(lambda: load.failures, "one is refused")


# --- The database ----------------------------------------------------------------------------------------------------


def test_database_is_read_and_locked(rigs: Callable[..., Rig], store: str | None) -> None:
    """The rig sees what is stored; while it holds the lock nothing is recorded, so nothing is sent either."""
    rig = rigs(store=store)
    with rig.database.locked():
        assert rig.device(NAME).enrol().http == 503
        assert rig.database.state(NAME) == ""
    assert rig.upstream.operations() == []
    assert rig.device(NAME).enrol().status is PKIStatus.SUCCESS
    assert rig.database.state(NAME) == "issued"
    rig.settle()


# --- What must be noticed --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, laboratory: Laboratory) -> Iterator[Rig]:
    """A rig whose RA has ended after an enrolment and a refusal; what tests do to it they undo."""
    with Rig(tmp_path_factory.mktemp("finished"), laboratory) as rig:
        device = rig.device(NAME)
        device.enrol()
        rig.device(NAME, challenge="wrong").enrol()
        assert rig.ra.terminate() == 0
        (rig.directory / "csr.der").write_bytes(device.csr)
        rig.check()
        yield rig


TAMPERINGS = {
    "I1: a request that was never recorded": ("UPDATE transactions SET upstream_transaction = 'x'", "I1"),
    "I1: another request than was recorded": ("UPDATE transactions SET csr_digest = zeroblob(32)", "I1"),
    "I1: no audit record": ("DELETE FROM audit", "I1"),
    "I1: an audit record that comes too late": ("UPDATE audit SET at = at + 60000", "I1"),
    "I1: a held request that nobody has approved": ("UPDATE audit SET event = 'held' WHERE event = 'authorised'", "I1"),
    "I2: one credential for two keys": (
        "INSERT INTO reservations VALUES ('static', 0, zeroblob(32), 'x', 0)",
        "I2",
    ),
    "I4: an intent that was begun twice": (
        "INSERT INTO transactions SELECT 'second', profile, upstream, state, credential, NULL, message, attempt + 1,"
        " client_transaction, signer_key, public_key, csr, csr_digest, subject, names, source, challenge, 'x',"
        " signer_key_id, signer_certificate, sends, polls, received, changed, next_at, expires, owner, lease_ends,"
        " fence, certificate, certificate_ends, misissued, fail_info, reason, attention, approvals, quarantine,"
        " device, notify, policy, neighbourhood, authority"
        " FROM transactions",
        "I4",
    ),
    "I5: a certificate that is not stored": ("DELETE FROM certificates", "I5"),
    "I5: another certificate than is stored": ("UPDATE transactions SET certificate = zeroblob(9)", "I5"),
    "I7: a decision without a record": ("DELETE FROM audit WHERE event = 'granted'", "I7"),
    "I7: a decision with two records": (
        'INSERT INTO audit (at, "transaction", event, record) SELECT at, "transaction", event, record FROM audit',
        "I7",
    ),
    "I13: a state that there is not": ("UPDATE transactions SET state = 'lost', certificate = NULL", "I"),
}


@pytest.mark.parametrize(("sql", "invariant_name"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_broken_invariants_are_noticed(sql: str, invariant_name: str, finished: Rig) -> None:
    """Whoever changes what is stored, so that it contradicts what was seen, is found out."""
    file = finished.database.file
    assert file is not None
    shutil.copy2(file, file.with_suffix(".sound"))
    with finished.database._engine.begin() as connection:
        connection.execute(sa.text(sql))
    with pytest.raises(AssertionError, match=invariant_name):
        finished.check()
    file.with_suffix(".sound").replace(file)


def test_second_certificate_is_noticed(rig: Rig) -> None:
    """A CA that issues twice for one intent is noticed, unless the test has told it to."""
    rig.upstream.behave(Behaviour(duplicates=Duplicates.ISSUED, fault=Fault.RESET), NAME)
    device = rig.device(NAME)
    assert device.enrol().status is PKIStatus.PENDING
    rig.ra.kill()
    wait_until(lambda: rig.upstream.requests(NAME), "it was sent")
    ledger = rig.upstream.journal.with_name("ledger.jsonl")
    first = ledger.read_text()
    line = first.splitlines()[-1]
    fingerprint = line.split('"fingerprint": "')[1][:64]
    ledger.write_text(first + line.replace(fingerprint, "0" * 64) + "\n")
    rig.check()
    rig.upstream.issues_again = False
    with pytest.raises(AssertionError, match="I4: 2 certificates"):
        rig.check()
    ledger.write_text(first)


@pytest.mark.parametrize("form", ["plain", "hex", "base64", "UTF-16"])
def test_secrets_are_noticed(form: str, finished: Rig) -> None:
    """A challenge that is written anywhere, in whatever form, is found."""
    secret = finished.laboratory.challenge.encode()
    written = {
        "plain": secret,
        "hex": secret.hex().encode(),
        "base64": base64.b64encode(b"x" + secret),
        "UTF-16": secret.decode().encode("utf-16-le"),
    }[form]
    leak = finished.ra.directory / "leak.txt"
    leak.write_bytes(b"something " + written + b" else")
    with pytest.raises(AssertionError, match="I10"):
        finished.check()
    leak.unlink()


def test_requests_in_plain_are_noticed(finished: Rig) -> None:
    """A request that is stored unsealed is found."""
    leak = finished.ra.directory / "leak.der"
    shutil.copy2(finished.directory / "csr.der", leak)
    with pytest.raises(AssertionError, match="I10"):
        finished.check()
    leak.unlink()


def test_calls_of_the_canary_are_noticed(finished: Rig) -> None:
    """Whoever connects to the address that nobody may connect to is found."""
    with socket.create_connection((ADDRESS, finished.ra.port), 5):
        wait_until(lambda: finished.canary.calls, "the call is noted")
    with pytest.raises(AssertionError, match="I11"):
        finished.check()
    finished.canary.calls.clear()


def test_what_goes_wrong_in_the_ra_is_noticed(finished: Rig) -> None:
    """A traceback in the RA's output is found."""
    before = finished.ra.log.read_bytes()
    finished.ra.log.write_bytes(before + b"Unhandled error in Deferred:\n")
    with pytest.raises(AssertionError, match="Unhandled"):
        finished.check()
    finished.ra.log.write_bytes(before)


def test_refusals_without_a_record_are_noticed(finished: Rig) -> None:
    """A refusal that is recorded nowhere, or twice, is found."""
    before = finished.ra.log.read_text()
    (record,) = (line for line in before.splitlines() if '"outcome": "refused"' in line)
    for after in (before.replace(record, ""), f"{before}{record}\n"):
        finished.ra.log.write_text(after)
        with pytest.raises(AssertionError, match="I7"):
            finished.check()
    finished.ra.log.write_text(before)


def test_transactions_without_an_end_are_noticed(finished: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left half-sent is found."""
    with finished.database._engine.begin() as connection:
        connection.execute(sa.text("UPDATE transactions SET state = 'sending'"))
    monkeypatch.setattr(invariant, "_LEASE", 0.1)
    begun = time.monotonic()
    with pytest.raises(TooLate, match="I13"):
        invariant.reaches_rest(finished.database)
    assert time.monotonic() - begun < 10
    with finished.database._engine.begin() as connection:
        connection.execute(sa.text("UPDATE transactions SET state = 'issued'"))


def test_refusals_that_differ_are_noticed(finished: Rig) -> None:
    """A refusal that looks otherwise than another one is found."""
    (refusal,) = (entry for entry in finished.diary.entries if entry.looks)
    finished.diary._entries.append(replace(refusal, looks="otherwise", reference=""))
    with pytest.raises(AssertionError, match="I8"):
        finished.check()
    finished.diary._entries.pop()


def test_what_makes_refusals_differ_is_seen(rig: Rig) -> None:
    """Refusals look alike but for what is fresh in each or echoed; a status, a type or a text would show."""
    answers = []
    for _ in range(2):
        device = rig.device(NAME, challenge="wrong")
        message = device.message()
        answers.append(device.begin(message).wire.response().body)
    read = [read_answer(answer, rig.laboratory.ra, None) for answer in answers]
    first, second = (looks(answer, each) for answer, each in zip(answers, read, strict=True))
    assert answers[0] != answers[1]
    assert first == second
    assert looks(answers[0].replace(b"refused, ref", b"refused; ref"), read[0]) != first


def test_connections_that_are_left_waiting_are_noticed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose connection is neither answered nor closed is found; one that is answered late enough is not."""
    monkeypatch.setattr(invariant, "_DEADLINE", 0.3)
    rig.ra.pause()
    talk = rig.device(NAME).begin(rig.device(NAME).message())
    with pytest.raises(TooLate, match="I9"):
        invariant.answers_everybody(rig.diary)
    rig.ra.resume()
    monkeypatch.undo()
    invariant.answers_everybody(rig.diary)
    talk.close()
    assert talk.wire not in rig.diary.wires


def test_what_is_unknown_and_granted_is_noticed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An RA that grants what it should not know is found; so is one that refuses a good client."""
    finale = Finale(rig.ra, rig.database, rig.upstream, True, rig.device)
    with monkeypatch.context() as changed:
        changed.setattr(last, "_TYPES", ("19",))
        with pytest.raises(AssertionError, match="I12: an unknown message type '19'"):
            finale.play()
    rig.upstream.behave(Behaviour(status=PKIStatus.FAILURE))
    with pytest.raises(AssertionError, match="I9: a good client"):
        finale.play()
    rig.upstream.behave()
