"""The standard procedure of the faults (security, 5.2): who meets one, what each is told while it lasts, and what holds
when it is over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from tests.rig.blackbox.device import Answer, Device, Retry
from tests.rig.blackbox.journal import LEDGER, read_lines
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig

T = TypeVar("T")

START = 120.0
"""How long several processes may take to start, in seconds."""
LAZY: dict[str, Any] = {
    "shutdown-grace": "25s",
    "store": {"timeout": "20s"},
    "upstreams": {"ca": {"connect-timeout": "10s", "timeout": "20s"}},
}
"""Settings with which a busy machine ends nothing that a test holds up."""


def started(rigs: Callable[..., Rig], workers: int, **settings: Any) -> Rig:
    """A rig whose RA has so many processes; they take their time to start where there is much else to do."""
    rig = rigs(workers=workers, start=False, **settings)
    rig.ra.start(START)
    return rig


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of calls that are made at the same time, each in a thread."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def is_pending(answer: Answer) -> bool:
    """Whether a client that can poll was told to."""
    return answer.status is PKIStatus.PENDING


def is_turned_away(answer: Answer) -> bool:
    """Whether a client was told, without an answer to what it asks, when to come again."""
    return answer.http == 503 and answer.status is None and (answer.retry_after or 0) >= 1


def issued_for(rig: Rig, device: Device) -> set[str]:
    """The fingerprints of the certificates that the CA has issued for a device's request."""
    lines = read_lines(rig.upstream.journal.with_name(LEDGER))
    return {line["fingerprint"] for line in lines if line["csr"] == device.csr.hex() and line["fingerprint"]}


def sent_for(rig: Rig, device: Device) -> list[str]:
    """The transactionIDs of the PKCSReqs with a device's request that came to the CA, in order."""
    digest = hashlib.sha256(device.csr).hexdigest()
    return [line["transaction"] for line in rig.upstream.requests() if line["csr"] == digest]


def has_one(rig: Rig, *devices: Device) -> None:
    """Each device gets its certificate, and no other when it asks again: once with the same octets, and once under
    another transactionID. The CA has issued no other for its request, and has seen it in one transaction."""

    def ask(device: Device) -> None:
        first = device.until_done()
        assert first.status is PKIStatus.SUCCESS, first
        for how in (Retry.SAME_BYTES, Retry.NEW_TRANSACTION):
            again = device.retry(how)
            assert (again.status, again.certificate) == (PKIStatus.SUCCESS, first.certificate)

    at_once([lambda device=device: ask(device) for device in devices])
    for device in devices:
        assert device.certificate is not None
        assert issued_for(rig, device) == {device.certificate.fingerprint()}
        assert len(set(sent_for(rig, device))) == 1


class Company:
    """Those who meet a fault: ``first`` enrols with a challenge, ``renewal`` renews its certificate, ``pending`` is
    held back by the CA already, and ``impatient`` cannot poll."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        renewed = rig.device("renewed.example")
        self.first = rig.device("first.example")
        self.impatient = rig.device("impatient.example", "impatient")
        self.pending = rig.device("pending.example")
        rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), self.pending.name)
        assert renewed.until_done().status is PKIStatus.SUCCESS
        assert is_pending(self.pending.enrol())
        wait_until(lambda: rig.database.state(self.pending.name) == "waiting", "the CA holds it back")
        self.renewal = renewed.renewal(rig.key())

    def behave(self, behaviour: Behaviour) -> None:
        """Have the CA treat all of them so."""
        self._rig.upstream.behave(behaviour)
        self._rig.upstream.behave(replace(behaviour, status=PKIStatus.PENDING), self.pending.name)

    def meet(self) -> None:
        """All ask while the CA has a fault: nobody is refused, and what needs no CA is answered."""
        first, renewal, polled, impatient = at_once(
            [self.first.enrol, self.renewal.enrol, self.pending.poll, self.impatient.enrol]
        )
        assert is_pending(first) and is_pending(renewal) and is_pending(polled), (first, renewal, polled)
        assert is_turned_away(impatient), impatient
        assert self._rig.ra.get("GetCACert")[0] == 200

    def heal(self) -> None:
        """The CA is well, and decides: each gets its certificate."""
        self._rig.upstream.behave(Behaviour())
        self._rig.upstream.behave(Behaviour(), self.pending.name)
        assert self._rig.upstream.approve(self.pending.name) == 1
        has_one(self._rig, self.first, self.renewal, self.pending, self.impatient)
        self._rig.settle()
