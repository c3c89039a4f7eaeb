"""What every RA is asked at the end of its scenario, whatever has happened to it: what nobody knows must be refused
(I12), refusals must look alike (I8), and a good client must not be turned away (I9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scepra.errors import FailInfo
from scepra.scep.message import PKIStatus
from tests import csrs
from tests.rig.blackbox.database import Database
from tests.rig.blackbox.device import Answer, Device
from tests.rig.blackbox.ra import RAProcess
from tests.rig.blackbox.recorder import RecordingUpstream

NOBODY = "nobody"
_UNKNOWN = "1.3.6.1.4.1.99999.1"
_VALUE = b"\x0c\x01x"
_TYPES = ("99", "18", "3", "-1", "19 ")


@dataclass(frozen=True, slots=True)
class Finale:
    """Asks one RA.

    ``device`` makes one of a common name, and with another challenge than the right one if one is given; ``upstream``
    is the CA, ``usual`` whether it serves all that it is asked for.
    """

    ra: RAProcess
    database: Database
    upstream: RecordingUpstream
    usual: bool
    device: Callable[..., Device]

    def play(self) -> None:
        """Ask everything.

        Raises:
            AssertionError: something was answered otherwise than it must be.
        """
        self._unknown()
        self._wrong()
        self._good()

    def _unknown(self) -> None:
        before = self._known()
        for text in _TYPES:
            self._refused(self._nobody(), f"message type {text!r}", message_type=text)
        challenge = csrs.challenge(self.ra_challenge)
        for what, attributes in {
            "attribute": (challenge, csrs.attribute(_UNKNOWN, _VALUE)),
            "extension": (challenge, csrs.carried(csrs.extension(_UNKNOWN, _VALUE))),
            "name type": (challenge, csrs.carried(csrs.san(csrs.other(_UNKNOWN, _VALUE)))),
        }.items():
            device = self._nobody()
            device.csr = csrs.build(*attributes, key=device.key, subject=csrs.subject(device.name))
            self._refused(device, what)
        status, body = self.ra.get("GetUnknown")
        assert (status, body) == (400, b""), f"I12: an unknown operation has got {status}"
        assert self._known() == before, "I12: what is unknown was recorded, or forwarded"

    def _known(self) -> tuple[int, int]:
        """How much is stored about nobody, and known of them at the CA."""
        name = f"{NOBODY}.example"
        return len(self.database.transactions(name)), len(self.upstream.operations(name))

    def _wrong(self) -> None:
        """Two more reasons that a client must not be able to tell from each other (I8)."""
        self._refused(self.device(f"{NOBODY}.example", challenge="wrong"), "challenge")
        self._refused(self.device("nobody.elsewhere"), "name")

    def _good(self) -> None:
        device = self.device("finale.example")
        if self.usual:
            answer = device.until_done()
            assert answer.status is PKIStatus.SUCCESS, f"I9: a good client has got {answer}"
            return
        # What becomes of it is the CA's to say, or nobody's yet.
        answer = device.enrol()
        assert answer.http in (200, 503), f"I9: a good client has got {answer}"

    @property
    def ra_challenge(self) -> str:
        """The right one."""
        challenge = self.device(f"{NOBODY}.example").challenge
        assert challenge is not None
        return challenge

    def _nobody(self) -> Device:
        return self.device(f"{NOBODY}.example")

    def _refused(self, device: Device, what: str, **changes: str) -> None:
        answer: Answer = device.send(device.message(**changes))
        told = (answer.http, answer.status, answer.fail_info)
        refused = (200, PKIStatus.FAILURE, FailInfo.BAD_REQUEST)
        # Nothing is decided while nothing can be recorded, or the clock is wrong.
        assert told == refused or answer.http in (400, 503), f"I12: an unknown {what} has got {answer}"
