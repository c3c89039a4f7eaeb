"""What all rigs share because it takes time to make: the lab's CA and RA certificates, and keys for devices."""

from __future__ import annotations

import fcntl
import shutil
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepra.lab import LabState
from scepra.lab.key import new_key, write_key
from scepra.scep.certificate import Certificate

KEYS = 24
_FOR_THE_RA = ("ca.crt", "ra.crt", "ra.key", "ra-signing.crt", "ra-signing.key", "challenge.txt")
_SEPARATOR = b"-----END PRIVATE KEY-----\n"


@dataclass(frozen=True, slots=True)
class Laboratory:
    """A directory with the lab's state; ``ca`` and ``ra`` are certificates, ``keys`` RSA-2048 keys of devices."""

    directory: Path
    challenge: str
    ca: Certificate
    ra: Certificate
    keys: tuple[rsa.RSAPrivateKey, ...]

    @classmethod
    def at(cls, directory: Path) -> Laboratory:
        """Read it, and make what is missing: processes that come at once wait for the first."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = LabState.load_or_create(directory)
            keys = directory / "devices.pem"
            if not keys.exists():
                with ThreadPoolExecutor() as pool:
                    made = list(pool.map(lambda _: write_key(new_key()), range(KEYS)))
                scratch = keys.with_suffix(".new")
                scratch.touch(mode=0o600)
                scratch.write_bytes(b"".join(made))
                scratch.replace(keys)
        ra = Certificate.parse(ssl.PEM_cert_to_DER_cert((directory / "ra.crt").read_text("ascii")))
        return cls(directory, state.challenge, state.authority.certificate, ra, _read(keys.read_bytes()))

    def equip(self, directory: Path) -> None:
        """Copy into an RA's directory what its configuration names: everything but the CA's key."""
        for name in _FOR_THE_RA:
            shutil.copy2(self.directory / name, directory / name)


def _read(pems: bytes) -> tuple[rsa.RSAPrivateKey, ...]:
    read = []
    for pem in pems.split(_SEPARATOR)[:-1]:
        # They are our own; to check each takes longer than all that a test does with it.
        key = load_pem_private_key(pem + _SEPARATOR, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey)
        read.append(key)
    return tuple(read)
