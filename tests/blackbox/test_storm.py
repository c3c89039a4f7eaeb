"""A fleet that asks all at once, three times as much as its CA can issue, and again a second later (FT-26)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import at_once, has_one
from tests.rig.blackbox.device import Answer, Device
from tests.rig.blackbox.prober import Prober
from tests.rig.blackbox.rig import Rig

CLIENTS, TRIES, PAUSE = 480, 3, 1.0
"""As Apple's clients, which try three times, ten seconds apart: scaled down to what a test can wait for."""
STEADY, ABREAST = 120, 8
OVERLOAD = 3.0
GOODPUT = 0.8
ROUNDS = 2
"""A busy moment of the machine spoils a round, not the figure."""
AT_ONCE, LABOUR = 4, 0.16
"""A CA that issues 25 certificates in a second: neither the RA's processor nor the test's bounds the figures."""
BUSY: dict[str, Any] = {
    "upstreams": {
        "ca": {
            "concurrency": AT_ONCE,
            "timeout": "10s",
            "queue": {"concurrency": AT_ONCE, "waiting": 20, "patience": "1s"},
        }
    }
}

pytestmark = pytest.mark.slow


@dataclass(slots=True)
class Fleet:
    """Devices that ask for the first time, each with its message made beforehand; and what each was told, with the
    moment at which it was."""

    devices: Sequence[Device]
    told: list[tuple[float, Device, Answer]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, device: Device) -> bool:
        """Send a device's message; whether it has its certificate now."""
        assert device.sent is not None
        try:
            answer = device.send(device.sent)
        except (OSError, AssertionError) as error:
            self.failures.append(f"{device.name}: {type(error).__name__}: {error}")
            return True
        self.told.append((time.monotonic(), device, answer))
        return answer.status is PKIStatus.SUCCESS

    def granted(self, until: float = float("inf")) -> int:
        """How many had a certificate at a moment."""
        return sum(answer.status is PKIStatus.SUCCESS for at, _, answer in self.told if at <= until)


def fleet(rig: Rig, name: str, count: int) -> Fleet:
    """So many devices, each at an address of its own."""
    devices = []
    for number in range(count):
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        device = rig.device(f"{name}-{number}.example", "impatient", source=source)
        device.sent = device.message()
        devices.append(device)
    return Fleet(devices)


def capacity(rig: Rig, name: str) -> float:
    """How many certificates there are in a second when a few devices ask one after the other."""
    steady = fleet(rig, name, STEADY)
    share = len(steady.devices) // ABREAST

    def some(start: int) -> None:
        for device in steady.devices[start : start + share]:
            while not steady.ask(device):
                time.sleep(0.01)

    begun = time.monotonic()
    at_once([lambda start=start: some(start) for start in range(0, len(steady.devices), share)])
    elapsed = time.monotonic() - begun
    assert steady.failures == []
    return steady.granted() / elapsed


def storm(many: Fleet, duration: float) -> float:
    """Let a fleet ask, evenly spread over so many seconds, and again as often as it tries; the moment when it began."""
    begun = time.monotonic()

    def client(number: int, device: Device) -> None:
        time.sleep(max(0.0, begun + duration * number / len(many.devices) - time.monotonic()))
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE)
            if many.ask(device):
                return

    threads = [
        threading.Thread(target=client, args=(number, device), daemon=True)
        for number, device in enumerate(many.devices)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return begun


@pytest.mark.proves("FT-26", "DR-15", "I3", "I9", "FT-54")
def test_a_storm_leaves_the_ca_as_busy_as_it_can_be(rigs: Callable[..., Rig]) -> None:
    """A fleet asks for three times as many certificates as its CA can issue, and whoever is turned away asks again: the
    CA issues at least four fifths of what it issues in quiet; whoever has no certificate yet was told when to come
    again, and never that it has failed; what anyone may ask for is answered all the while. When it is over, those who
    were turned away get theirs with the very same message.
    """
    rig = rigs(extra=BUSY)
    rig.upstream.set_labour(LABOUR)
    prober = Prober(lambda: rig.ra.get("GetCACert"))
    ratios = []
    for number in range(ROUNDS):
        quiet = capacity(rig, f"quiet{number}")
        many = fleet(rig, f"storm{number}", CLIENTS)
        duration = CLIENTS / (OVERLOAD * quiet)
        if not number:
            prober.start()
        begun = storm(many, duration)
        assert many.failures == []
        goodput = many.granted(begun + duration) / duration
        ratios.append(goodput / quiet)
        for _, device, answer in many.told:
            if answer.status is not PKIStatus.SUCCESS:
                assert (answer.status, answer.http) == (None, 503), (device.name, answer)
                assert (answer.retry_after or 0) >= 1
        assert many.granted() < CLIENTS, "it was no storm"
        print(f"round {number}: {quiet:.0f}/s in quiet, {goodput:.0f}/s in the storm, {many.granted()} of {CLIENTS}")
        if ratios[-1] >= GOODPUT:
            break
    prober.stop()
    assert max(ratios) >= GOODPUT, ratios
    assert (prober.failures, prober.answers > 0) == (0, True)
    assert prober.worst < 2.0
    late = [device for device in many.devices if device.certificate is None][:20]
    for start in range(0, len(late), 5):
        has_one(rig, *late[start : start + 5])
