"""The story that the demonstration tells is true also where it is not the one that it wants to tell."""

from __future__ import annotations

import pytest
from treq.testing import StubTreq

from scepra.errors import FailInfo
from scepra.lab import Authority, Behaviour, CertificationService, Client
from scepra.lab.process import Decision
from scepra.lab.story import Step, Story
from scepra.scep.message import PKIStatus

from .conftest import CHALLENGE, NOW, URL, run

NAME = "laptop-1.devices.example"


class Records:
    """What an RA's records say of every request."""

    def __init__(self, outcome: str, *reasons: str) -> None:
        self._outcome, self._reasons = outcome, reasons

    async def decision(self, transaction_id: str) -> Decision:
        return Decision(transaction_id, self._outcome, "ab12", f"CN={NAME}", self._reasons)


def story(service: CertificationService, records: Records, in_front: CertificationService | None = None) -> Story:
    """A device that talks to *in_front*, or to the CA itself as if that were the RA."""
    return Story(service, records, Client(URL, StubTreq(in_front or service), clock=lambda: NOW))


def test_device_that_talks_to_the_ca_itself(service: CertificationService) -> None:
    """A certificate that came past the RA is not what should happen."""
    step = run(story(service, Records("issued")).enrol(NAME, CHALLENGE, "RSA-2048"))
    assert not step.ok
    assert "exactly the CSR" in step.details[1]


def test_certificate_that_the_ca_was_not_asked_for(service: CertificationService) -> None:
    """A certificate from somewhere else is not what should happen."""
    elsewhere = CertificationService(Authority.create(clock=lambda: NOW))
    step = run(story(service, Records("issued"), elsewhere).enrol(NAME, CHALLENGE, "RSA-2048"))
    assert not step.ok


def test_enrolment_that_is_refused(service: CertificationService) -> None:
    """A refusal where a certificate should come is shown as what it is."""
    service.behaviour = Behaviour(status=PKIStatus.FAILURE, fail_info=FailInfo.BAD_ALG, fail_info_text="no")
    step = run(story(service, Records("refused", "key: too short")).enrol(NAME, CHALLENGE, "RSA-2048"))
    assert not step.ok
    assert step.details == ('The device is told: FAILURE, badAlg, "no".', "The RA's record says: key: too short.")


@pytest.mark.parametrize(
    ("outcome", "reasons", "fail_info", "ok"),
    [
        ("refused", ("subject: not allowed",), FailInfo.BAD_REQUEST, True),
        ("refused", ("subject: not allowed", "challenge: wrong"), FailInfo.BAD_REQUEST, False),
        ("refused", ("key: too short",), FailInfo.BAD_REQUEST, False),
        ("refused", (), FailInfo.BAD_REQUEST, False),
        ("issued", ("subject: not allowed",), FailInfo.BAD_REQUEST, False),
        ("refused", ("subject: not allowed",), FailInfo.BAD_ALG, False),
    ],
)
def test_refusal_is_for_the_one_reason(
    outcome: str, reasons: tuple[str, ...], fail_info: FailInfo, ok: bool, service: CertificationService
) -> None:
    """A refusal is as it should be with the right failInfo and for the right reason alone, and the CA not asked."""
    elsewhere = CertificationService(service.authority)
    elsewhere.behaviour = Behaviour(status=PKIStatus.FAILURE, fail_info=fail_info)
    step = run(story(service, Records(outcome, *reasons), elsewhere).leave_policy(NAME, CHALLENGE))
    assert step.ok is ok
    assert step.details[-1] == "The CA was not asked."


def test_request_that_should_have_been_refused(service: CertificationService) -> None:
    """A certificate where a refusal should come, and a CA that was asked, are told."""
    service.challenge = None
    step = run(story(service, Records("issued")).guess_challenge(NAME, "let me in"))
    assert not step.ok
    assert step.details == ('The device is told: SUCCESS, no failInfo, "None".', "The CA was asked!")


def test_steps_take_the_time_of_the_exchange(service: CertificationService) -> None:
    """A step's time is that of the enrolment, without making the key."""
    step = run(story(service, Records("issued")).enrol(NAME, CHALLENGE, "EC-P-256"))
    assert isinstance(step, Step)
    assert 0 < step.seconds < 10
