"""A file of expected devices, read again when it changes (:mod:`scepra.config.devices`)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.config.devices import Device, Reading, read_devices
from scepra.enrolment import ChallengeAccepted, ChallengeRefused, EnrolmentRequest, Reservation, Verdict
from scepra.errors import ConfigError
from scepra.scep.csr import CertificationRequest

log = Logger()

EVERY = 1.0
"""How often at most it is looked whether the file has changed, in seconds."""


@dataclass(frozen=True, slots=True)
class _Index:
    """Devices by the digest of their challenge, and those without one by what they are called."""

    challenges: dict[bytes, Device]
    names: dict[str, list[Device]]


class DirectoryChallenge:
    """Knows devices by their challenges; where another kind judges those (``by_name``), by their names too.

    Args:
        file: of devices.
        digest: keyed, so that nobody learns a challenge from how long a look-up takes, or from records.
        reactor: the clock that nobody sets.
        slowly: calls a function with its arguments where it may take its time.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(
        self,
        file: Path,
        digest: Callable[[bytes], bytes],
        reactor: IReactorTime,
        slowly: Callable[..., Awaitable[Any]],
        *,
        by_name: bool,
    ) -> None:
        self._file = file
        self._digest = digest
        self._reactor = reactor
        self._slowly = slowly
        self._by_name = by_name
        # Looked at before it is read: what is written in between is read again.
        self._state = _state(file)
        self._looked = reactor.seconds()
        reading = read_devices(file)
        if not reading.usable:
            raise ConfigError(reading.problems)
        self._index = self._indexed(reading.devices)

    async def check(self, request: EnrolmentRequest) -> Verdict:
        await self._refresh()
        csr, index = request.csr, self._index
        if not csr.challenge_password:
            return ChallengeRefused("no challenge", foreign=True)
        digest = self._digest_of(csr.challenge_password)
        device = index.challenges.get(digest)
        if device is not None:
            name = f"directory {digest.hex()[:32]}"
            wrong = device.binding.violations(csr)
            if wrong:
                return ChallengeRefused(f"{name} is for something else: {'; '.join(wrong)}")
            return ChallengeAccepted(name, (Reservation(name, device.uses),), device.binding.device)
        if not self._by_name:
            return ChallengeRefused("unknown challenge", foreign=True)
        for candidate in (each for name in _called(csr) for each in index.names.get(name, ())):
            if not candidate.binding.violations(csr):
                return ChallengeAccepted("directory", (), candidate.binding.device)
        return ChallengeRefused("no device is expected by these names")

    async def _refresh(self) -> None:
        """Read the file again if it is another; a broken one changes nothing."""
        now = self._reactor.seconds()
        if now - self._looked < EVERY:
            return
        self._looked = now
        state = _state(self._file)
        if state == self._state:
            return
        self._state = state
        reading: Reading = await self._slowly(read_devices, self._file)
        unknown = not self._by_name and any(device.challenge is None for device in reading.devices)
        if reading.usable and not unknown:
            self._index = self._indexed(reading.devices)
            log.info("{file}: {count} devices are expected", file=str(self._file), count=len(reading.devices))
            return
        problems = [str(problem) for problem in reading.problems if problem.severity == "error"]
        for problem in problems or [f"{self._file}: devices without a challenge are for all-of"]:
            log.error("{problem}; the devices read last stay in force", problem=problem)

    def _indexed(self, devices: Iterable[Device]) -> _Index:
        index = _Index({}, {})
        for device in devices:
            if device.challenge is not None:
                index.challenges[self._digest_of(device.challenge)] = device
                continue
            binding = device.binding
            names = {binding.common_name, binding.serial_number, *binding.dns, *binding.email, *binding.upn}
            for name in {*names, *binding.uri, *binding.ip} - {""}:
                index.names.setdefault(name.lower(), []).append(device)
        return index

    def _digest_of(self, challenge: str) -> bytes:
        return self._digest(b"\0directory\0" + challenge.encode("utf-8", "surrogatepass"))


def _called(csr: CertificationRequest) -> list[str]:
    """What a request calls its device, as the index has it."""
    texts = [value.text for value in csr.subject.attributes if value.text is not None]
    for name in csr.alternative_names:
        if isinstance(name.value, str):
            texts.append(name.value)
        elif name.kind == "ip" and len(name.value) in (4, 16):
            texts.append(str(ip_address(name.value)))
    return list(dict.fromkeys(text.lower() for text in texts))


def _state(file: Path) -> tuple[int, ...] | None:
    """What differs when a file has changed; None while there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
