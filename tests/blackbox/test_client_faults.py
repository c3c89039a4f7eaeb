"""What becomes of enrolments whose clients hang up, ask again, ask ten times at once, or come with another key
(FT-21 to FT-25)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scepra.errors import FailInfo
from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import LAZY, at_once, has_one, is_turned_away, issued_for, sent_for, started
from tests.rig.blackbox.device import Retry
from tests.rig.blackbox.event import Event
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig

Rigs = Callable[..., Rig]

NAME = "device.example"
COPIES = 10

pytestmark = pytest.mark.slow


@pytest.mark.proves("FT-21", "I4", "MSG-25")
def test_a_client_that_hangs_up_loses_nothing(rigs: Rigs, store: str | None) -> None:
    """While the CA works the client is gone: the certificate is fetched and stored all the same, and is there when the
    client comes back.
    """
    rig = rigs(store=store, extra=LAZY)
    devices = [rig.device("closes.example"), rig.device("resets.example")]
    with rig.upstream.hold(Event.HANDLED, count=2) as held:
        for device in devices:
            device.sent = device.message()
        talks = [device.begin(device.sent) for device in devices if device.sent is not None]
        held.wait(2)
        talks[0].close()
        talks[1].reset()
    rig.settle()
    assert [row["state"] for row in rig.database.transactions()] == ["issued", "issued"]
    has_one(rig, *devices)
    assert len(rig.upstream.operations()) == 2


@pytest.mark.proves("FT-22", "MSG-25", "SEC-07", "I4")
@pytest.mark.parametrize(("profile", "workers"), [("dev", 1), ("dev", 2), ("impatient", 2)])
def test_copies_of_a_request_wait_for_one_answer(profile: str, workers: int, rigs: Rigs) -> None:
    """Ten copies of a request, made at once: the CA sees one, and all get the same certificate, each in an answer of
    its own, whichever process they reach.
    """
    rig = started(rigs, workers, extra=LAZY)
    device = rig.device(NAME, profile)
    device.sent = device.message()
    with rig.upstream.hold(Event.HANDLED, NAME) as held:
        talks = [device.begin(device.sent) for _ in range(COPIES)]
        held.wait()
        assert [row["state"] for row in rig.database.transactions(NAME)] == ["sending"]
    answers = at_once([talk.answer for talk in talks])
    assert {answer.status for answer in answers} == {PKIStatus.SUCCESS}
    assert len({answer.certificate for answer in answers}) == 1
    assert len(rig.upstream.operations(NAME)) == 1
    has_one(rig, device)


@pytest.mark.proves("FT-22", "FT-21", "RA-24", "I4")
def test_copies_of_a_request_whose_answer_is_lost_share_that_too(rigs: Rigs) -> None:
    """The CA is cut off after it has issued: all ten are told to wait, or to come again, and the certificate that comes
    in the end is the same for all.
    """
    rig = started(rigs, 2, extra=LAZY)
    device, impatient = rig.device(NAME), rig.device("impatient.example", "impatient")
    device.sent, impatient.sent = device.message(), impatient.message()
    with rig.upstream.hold(Event.HANDLED, count=2) as held:
        talks = [each.begin(each.sent) for each in (device, impatient) for _ in range(COPIES // 2)]
        held.wait(2)
        held.cut()
        answers = at_once([talk.answer for talk in talks])
    # Some may have looked when the CA had been asked again already.
    assert {answer.status for answer in answers[:5]} <= {PKIStatus.PENDING, PKIStatus.SUCCESS}
    assert all(is_turned_away(answer) or answer.status is PKIStatus.SUCCESS for answer in answers[5:])
    has_one(rig, device, impatient)
    assert len(rig.upstream.requests()) == 2


@pytest.mark.proves("FT-23", "RA-22", "I4", "I5")
@pytest.mark.parametrize("how", list(Retry), ids=lambda how: how.name.lower())
def test_an_answer_that_was_lost_is_given_again(how: Retry, rigs: Rigs) -> None:
    """The client takes in nothing of the answer, or some of it, and the connection is reset: when it asks again it gets
    the same certificate, in an answer with a nonce of its own, and the CA is not asked.
    """
    rig = rigs(extra=LAZY)
    for octets in (0, 12, 1500):
        device = rig.device(f"reads-{octets}.example")
        device.sent = device.message()
        talk = device.begin(device.sent, receive_buffer=1)
        talk.read(octets)
        wait_until(lambda name=device.name: rig.database.state(name) == "issued", "it is issued")
        talk.reset()
        answer = device.retry(how)
        assert answer.certificate is not None
        assert issued_for(rig, device) == {answer.certificate.fingerprint()}
        assert len(rig.upstream.operations(device.name)) == 1
        has_one(rig, device)


@pytest.mark.proves("FT-25", "MSG-03", "SEC-08", "I4")
def test_a_device_with_a_new_key_is_another_one(rigs: Rigs) -> None:
    """A device that was wiped comes with a new key, under the name, the challenge and the transactionID that it had: it
    gets a certificate for the new key and learns nothing of the old one, which stays as it was.
    """
    rig = rigs(extra=LAZY)
    before = rig.device(NAME)
    old = before.enrol()
    assert before.sent is not None
    wiped = rig.device(NAME)
    strange = wiped.send(wiped.poll_message(before.sent.transaction))
    assert (strange.status, strange.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_CERT_ID)
    wiped.sent = wiped.message(before.sent.transaction)
    new = wiped.send(wiped.sent)
    assert new.status is PKIStatus.SUCCESS
    assert new.certificate != old.certificate
    assert before.poll().certificate == old.certificate
    assert wiped.poll().certificate == new.certificate
    has_one(rig, before, wiped)
    assert {*sent_for(rig, before)}.isdisjoint(sent_for(rig, wiped))
