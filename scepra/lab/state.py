"""The lab's directory: the CA, the RA's certificates and a challenge, made at the first start and used ever after.

``config.example.yaml`` names these files, so that the RA runs in front of this CA as it stands.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scepra.lab.authority import Authority, RAUsage, utc_now
from scepra.lab.behaviour import Behaviour
from scepra.lab.files import read_identity, write_identity, write_private
from scepra.lab.key import new_key
from scepra.lab.rollover import CA, Calendar, Plan
from scepra.lab.service import CertificationService

RA_CERTIFICATES = {
    "ra": ("scepra lab RA", RAUsage.DUAL),
    "ra-signing": ("scepra lab RA (signing)", RAUsage.SIGNING),
    "ra-encryption": ("scepra lab RA (encryption)", RAUsage.ENCRYPTION),
}
CHALLENGE = "challenge.txt"


@dataclass(frozen=True, slots=True)
class LabState:
    """What the directory holds: ``authority`` is the CA that issues now, ``calendar`` knows those before and after it;
    ``created`` is True where the CA is new."""

    directory: Path
    authority: Authority
    challenge: str
    created: bool
    calendar: Calendar

    @classmethod
    def load_or_create(
        cls,
        directory: Path,
        clock: Callable[[], datetime] = utc_now,
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> LabState:
        """Read the directory, and make what is missing in it.

        A start that was cut short is finished by the next; RA certificates are made anew when they have expired, or are
        another CA's.

        Raises:
            ConfigError: a file cannot be read, or is not what its name says.
            OSError: the directory cannot be written to.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        created = not (directory / f"{CA}.crt").exists()
        if created:
            key = new_key()
            write_identity(directory, CA, Authority.create(key=key, clock=clock, lifetime=plan.ca).certificate, key)
        calendar = Calendar(directory, plan)
        calendar.read(Authority(read_identity(directory, CA), clock, lifetime=plan.certificate))
        authority = calendar.current()
        for name, (common_name, usage) in RA_CERTIFICATES.items():
            if not _usable(directory, name, authority):
                key = new_key()
                identity = authority.issue_ra(common_name, usage, key)
                write_identity(directory, name, identity.certificate, key)
        if not (directory / CHALLENGE).exists():
            write_private(directory / CHALLENGE, secrets.token_hex(16).upper().encode("ascii") + b"\n")
        return cls(directory, authority, (directory / CHALLENGE).read_text("utf-8").rstrip("\r\n"), created, calendar)

    def serve(
        self,
        challenge: str | None = None,
        behaviour: Behaviour = Behaviour(),  # noqa: B008 - frozen
        one_time: Callable[[str], bool] | None = None,
    ) -> CertificationService:
        """The CA's face, see :class:`~scepra.lab.service.CertificationService`; it goes by the calendar."""
        service = CertificationService(self.authority, challenge, behaviour, one_time, self.calendar)
        service.former = tuple(self.calendar.authorities[: self.calendar.authorities.index(self.authority)])
        return service


def _usable(directory: Path, name: str, authority: Authority) -> bool:
    """Whether an RA certificate is there, is this CA's, and is still good."""
    if not (directory / f"{name}.crt").exists():
        return False
    certificate = read_identity(directory, name).certificate
    return authority.has_issued(certificate) and certificate.valid_at(authority.now)
