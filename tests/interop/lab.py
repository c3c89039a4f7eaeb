"""CAs that cannot be run here, imitated by scepra's lab as far as they are documented; none of this is the product."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509

from scepra import __version__
from scepra.config.kind import KINDS, KindName

from .authorities import AUTHORITIES, Authority, read_key, write_key, write_pem
from .peers import ROOT
from .sandbox import Sandbox


class LabCA(Authority):
    """The lab as a CA of a kind, which believes whoever reaches it."""

    program = Path(sys.executable)
    asked = re.compile(r" by (GET|POST): (?:SUCCESS|PENDING|FAILURE)")
    module: ClassVar[tuple[str, ...]] = ("scepra", "lab-ca")

    def __init__(self, sandbox: Sandbox, directory: Path, challenge: str | None = None) -> None:
        self.challenge = challenge
        port, self._state = sandbox.free_port(), directory / "lab"
        self.server = sandbox.serve(
            [
                *(self.program, "-m", *self.module, "--state", self._state, "--kind", self.kind),
                *("--listen", f"tcp:{port}:interface=127.0.0.1"),
            ],
            directory=directory,
            ready=port,
            environment={"PYTHONPATH": str(ROOT)},
            name="lab-ca",
        )
        self.root_file = self._state / "ca.crt"
        self.root = self.issuer = x509.load_pem_x509_certificate(self.root_file.read_bytes())
        self.key = read_key((self._state / "ca.key").read_bytes())
        self._origin = f"http://127.0.0.1:{port}"
        self.url = f"{self._origin}/scep"

    @property
    def upstream(self) -> dict[str, Any]:
        """The kind says everything, but what is broken: that is named by whoever configures it."""
        return {"kind": self.kind, "authorisation": "network", "legacy": list(KINDS[self.kind].answers)}

    @classmethod
    def version(cls) -> str:
        """The lab's."""
        return __version__


class LabNDESWithPasswords(LabCA):
    """NDES as it is set up at first: it asks for passwords from its page, each good once. The RA draws them."""

    name = "lab-ndes-passwords"
    kind = "ndes"
    variant = "with one-time passwords"
    module = (*LabCA.module, "--ndes")

    @property
    def upstream(self) -> dict[str, Any]:
        """The password goes on to it."""
        return super().upstream | {"authorisation": "challenge"}

    @property
    def broker(self) -> dict[str, Any]:
        """Its page and its account."""
        return {
            "type": "ndes",
            "url": f"{self._origin}/certsrv/mscep_admin/",
            "user": "LAB\\ndes",
            "password-file": str(self._state / "ndes-password.txt"),
            "credentials-may-travel-without-tls": True,
            # Several profiles share the five places that it has for passwords.
            "pool": 1,
        }


class LabIOS(LabCA):
    """Cisco IOS with ``grant ra-auto``: it grants what an RA has signed that it knows by its certificate's subject."""

    name = "lab-cisco-ios"
    kind = "cisco-ios"
    variant = "with grant ra-auto"

    def __init__(self, sandbox: Sandbox, directory: Path, challenge: str | None = None) -> None:
        super().__init__(sandbox, directory, challenge)
        certificate, key = self.certify_ra("signer", sign=True, decrypt=True, unit="ioscs RA")
        self._files = {"certificate": str(directory / "signer.crt"), "key": str(directory / "signer.key")}
        write_pem(Path(self._files["certificate"]), certificate)
        write_key(Path(self._files["key"]), key)

    @property
    def upstream(self) -> dict[str, Any]:
        """With a signer of its own."""
        signer = {"strategy": "ra-certificate", **self._files}
        return super().upstream | {"authorisation": "ra-certificate", "signer": signer}


class LabIOSByHand(LabCA):
    """Cisco IOS as it is set up at first: somebody grants each request, here by the time that it is polled for."""

    name = "lab-cisco-ios-by-hand"
    kind = "cisco-ios"
    variant = "granted by hand"
    module = ("tests.interop.granting",)

    @property
    def upstream(self) -> dict[str, Any]:
        """Polled for soon."""
        return super().upstream | {"queue": {"first-poll": "1s"}}


def imitated(kind: KindName) -> type[LabCA]:
    """The lab as a CA of a kind, set up so that the RA needs nothing from it."""
    variant = "without passwords" if kind.startswith("ndes") else ""
    return type(f"Lab{kind}", (LabCA,), {"name": f"lab-{kind}", "kind": kind, "variant": variant})


REAL = {authority.kind for authority in AUTHORITIES}
SET_UP: tuple[type[LabCA], ...] = (LabNDESWithPasswords, LabIOS, LabIOSByHand)
LAB: tuple[type[LabCA], ...] = tuple(
    sorted(
        (*SET_UP, *(imitated(kind) for kind in KINDS if kind not in {*REAL, LabIOS.kind})),
        key=lambda authority: (tuple(KINDS).index(authority.kind), authority.variant),
    )
)
"""Of every kind that is not among the real ones, in the order of the kinds."""
