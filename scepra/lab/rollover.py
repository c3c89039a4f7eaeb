"""The lab's CA in its generations: the next one is made, announced and given the work by the clock, and kept as files.

The first is ``ca.crt``, those that follow ``ca-2.crt``, ``ca-3.crt`` and so on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from scepra.lab.authority import CA_LIFETIME, LIFETIME, Authority
from scepra.lab.files import read_identity, write_identity
from scepra.lab.key import new_key
from scepra.lab.service import CertificationService

CA = "ca"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long the lab's CAs and their certificates are good for.

    ``ca`` and ``certificate`` are lifetimes. ``before`` is how long before its end a CA announces the next, which takes
    over in the middle of that time; None: never.
    """

    ca: timedelta = CA_LIFETIME
    certificate: timedelta = LIFETIME
    before: timedelta | None = None


@dataclass(slots=True)
class Calendar:
    """What makes one CA follow another in time: called by a service before each operation.

    Attributes:
        directory: where the CAs are kept.
        plan: when which is made.
        authorities: all that there are, the oldest first.
    """

    directory: Path
    plan: Plan
    authorities: list[Authority] = field(default_factory=list)

    def current(self) -> Authority:
        """The last one whose time has come."""
        begun = [each for each in self.authorities if _begins(each) <= each.now]
        return begun[-1] if begun else self.authorities[0]

    def __call__(self, service: CertificationService) -> None:
        """Announce the next CA, or let it take over, if it is time."""
        last, before = self.authorities[-1], self.plan.before
        if before is not None and last is service.authority and last.now >= _ends(last) - before:
            self.authorities.append(self._make(last, before))
        if service.authority is not self.authorities[-1]:
            service.announce(self.authorities[-1])
            if self.current() is self.authorities[-1]:
                service.roll_over()

    def _make(self, last: Authority, before: timedelta) -> Authority:
        key, begins = new_key(), max(last.now, _ends(last) - before / 2)
        made = Authority.create(key=key, clock=lambda: last.now, begins=begins, lifetime=self.plan.ca)
        made.lifetime = self.plan.certificate
        write_identity(self.directory, f"{CA}-{len(self.authorities) + 1}", made.certificate, key)
        return made

    def read(self, first: Authority) -> None:
        """Find what is kept of the CAs that follow the first one.

        Raises:
            ConfigError: a file is not what its name says.
        """
        self.authorities = [first]
        while (self.directory / f"{(name := f'{CA}-{len(self.authorities) + 1}')}.crt").exists():
            identity = read_identity(self.directory, name)
            begins = identity.certificate.not_before
            self.authorities.append(
                Authority(identity, lambda: first.now, lifetime=self.plan.certificate, begins=begins)
            )


def _begins(authority: Authority) -> datetime:
    start = authority.certificate.not_before
    assert start is not None  # noqa: S101 - one of our own
    return start


def _ends(authority: Authority) -> datetime:
    end = authority.certificate.not_after
    assert end is not None  # noqa: S101 - one of our own
    return end
