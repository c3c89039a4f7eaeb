"""A directory of generations: an RA's certificates and keys, old and new, and the generation that is under way.

::

    0001/              a generation: signing.crt, signing.key, encryption.crt, encryption.key (or dual.crt, dual.key),
                       generation.json with the time of its installation
    0002.new/          the next one, under way: its keys, its requests (signing.csr), request.json with how far each
                       has come, and the certificates that have come in
    .lock, .lead       held by whoever changes something; by whoever renews

A generation becomes one by a single rename, when everything in it is on the disk: whatever ends the program, a reader
finds the old state or the new one (CP15). A name that begins with a dot is scratch, and nobody's.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scepra.config.model import IdentityFiles, KeyFile
from scepra.config.private import NotPrivate, read_private
from scepra.errors import ScepError
from scepra.generation import Installed
from scepra.keys.certificate import pem, wrong
from scepra.keys.identity import read_identity
from scepra.keys.private import read_key
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Generation, Identity, SoftwareKey

ROLES = {"split": ("signing", "encryption"), "dual": ("dual",)}
"""The names of a generation's certificates, by the setting ``keys``."""
EMPTY = "holds no generation yet"
MAXIMUM = 64 * 1024
_INSTALLED, _REQUEST = "generation.json", "request.json"
_LOCK, _LEAD = ".lock", ".lead"


class Busy(Exception):
    """Somebody else changes the directory now."""


class Disk:
    """What is done to files, each step lasting when it returns."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a file, whole or not at all, that nobody else may read."""
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.rename(scratch, path)

    def make(self, path: Path) -> None:
        """Make a directory that nobody else may enter."""
        path.mkdir(mode=0o700)
        self.sync(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        """Rename within a directory."""
        old.rename(new)
        self.sync(new.parent)

    def remove(self, path: Path) -> None:
        """Remove a directory and what is in it."""
        shutil.rmtree(path)
        self.sync(path.parent)

    def sync(self, directory: Path) -> None:
        """Have the names in a directory on the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Order:
    """How far one certificate of a generation under way has come.

    Attributes:
        transaction: its transactionID at the CA.
        state: "new", nothing was sent; "sent", and there was no answer yet; "waiting", the CA holds it back.
        csr: the request.
        key: what it is for.
        certificate: what came in; None as long as nothing has.
    """

    transaction: str
    state: str
    csr: CertificationRequest
    key: SoftwareKey
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A generation that is not whole yet.

    Attributes:
        number: which it will be.
        begun: when, UTC.
        by_hand: somebody brings the requests to the CA.
        signed_by: the number of the generation whose certificate signs the requests; None: each is signed by its own
            key.
        orders: by role.
    """

    number: int
    begun: datetime
    by_hand: bool
    signed_by: int | None
    orders: Mapping[str, Order]

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.number:04}.new"


class DirectoryLead:
    """Which of all processes renews what is in a directory: whoever holds a lock in it, until it ends."""

    def __init__(self, path: Path) -> None:
        self._file = path / _LEAD
        self._descriptor: int | None = None

    def is_ours(self) -> bool:
        """Whether it is this process."""
        if self._descriptor is not None:
            return True
        descriptor = None
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Another has it, or the directory is gone, which is told where it is read.
            if descriptor is not None:
                os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def give_up(self) -> None:
        """Let another be it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class GenerationStore:
    """The generations in a directory.

    Args:
        path: the directory; it may be missing as long as nothing has been begun.
        disk: changes files.
    """

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or Disk()

    # Reading

    def installed(self, known: Iterable[Installed] = ()) -> tuple[Installed, ...]:
        """Every generation, the oldest first; those that are *known* are not read again, for they never change.

        Raises:
            ConfigError: one cannot be read or believed, or the directory is open to others.
        """
        before = {each.number: each for each in known}
        return tuple(before.get(number) or self._generation(number) for number in self._numbers(""))

    def under_way(self) -> UnderWay | None:
        """The generation that is not whole yet.

        Raises:
            ConfigError: it cannot be read.
        """
        numbers = self._numbers(".new")
        return self._under_way(numbers[-1]) if numbers else None

    def fingerprint(self) -> tuple[str, ...]:
        """What changes when a generation is added or taken away; nothing is opened."""
        try:
            return tuple(sorted(name for name in os.listdir(self.path) if name.isdecimal()))
        except OSError:
            return ()

    def file(self, under_way: UnderWay, name: str) -> Path:
        """A file of the generation under way."""
        return self.path / under_way.name / name

    def _numbers(self, suffix: str) -> list[int]:
        try:
            status = self.path.stat()
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise wrong(self.path, f"cannot be read: {os.strerror(error.errno or 0)}") from None
        if status.st_uid not in (0, os.geteuid()):
            raise wrong(self.path, "belongs to another user")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise wrong(self.path, f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}): chmod 700 it")
        stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal())

    def generation(self, number: int) -> Installed | None:
        """The generation of that number, if it is there.

        Raises:
            ConfigError: it cannot be read.
        """
        return self._generation(number) if number in self._numbers("") else None

    def newest(self) -> Installed | None:
        """The generation that was installed last.

        Raises:
            ConfigError: it cannot be read.
        """
        numbers = self._numbers("")
        return self._generation(numbers[-1]) if numbers else None

    def _generation(self, number: int) -> Installed:
        directory = self.path / f"{number:04}"
        installed = self._moment(directory / _INSTALLED, "installed")
        roles = ROLES["dual" if (directory / "dual.crt").exists() else "split"]
        read = [self._identity(directory, role) for role in roles]
        return Installed(number, Generation(read[0], read[-1]), installed)

    def _identity(self, directory: Path, role: str) -> Identity:
        """A certificate and its key. Where keys live elsewhere than in files, this is where that is told apart."""
        key = KeyFile(file=directory / f"{role}.key")
        return read_identity(IdentityFiles(certificate=directory / f"{role}.crt", key=key))

    def _under_way(self, number: int) -> UnderWay:
        directory = self.path / f"{number:04}.new"
        file = directory / _REQUEST
        data = self._json(file)
        try:
            begun = datetime.fromisoformat(data["begun"]).astimezone(UTC)
            orders = {role: self._order(directory, role, each) for role, each in data["orders"].items()}
            return UnderWay(number, begun, bool(data["by-hand"]), data["signed-by"], orders)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise wrong(file, "is not what this program has written") from None

    def _order(self, directory: Path, role: str, data: Mapping[str, Any]) -> Order:
        key = read_key(KeyFile(file=directory / f"{role}.key")).key
        try:
            csr = CertificationRequest.parse(read_private(directory / f"{role}.csr", MAXIMUM))
        except (NotPrivate, ScepError) as error:
            raise wrong(directory / f"{role}.csr", f"cannot be used: {error}") from None
        certificate = None
        if (directory / f"{role}.crt").exists():
            files = IdentityFiles(certificate=directory / f"{role}.crt", key=KeyFile(file=directory / f"{role}.key"))
            certificate = read_identity(files).certificate
        return Order(data["transaction"], data["state"], csr, key, certificate)

    def _moment(self, file: Path, key: str) -> datetime:
        try:
            return datetime.fromisoformat(self._json(file)[key]).astimezone(UTC)
        except (KeyError, TypeError, ValueError):
            raise wrong(file, "is not what this program has written") from None

    def _json(self, file: Path) -> dict[str, Any]:
        try:
            data = json.loads(read_private(file, MAXIMUM))
        except NotPrivate as error:
            raise wrong(file, str(error)) from None
        except ValueError:
            raise wrong(file, "is not what this program has written") from None
        if not isinstance(data, dict):
            raise wrong(file, "is not what this program has written")
        return data

    # Changing

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only one who changes the directory, which is made if it is missing.

        Raises:
            Busy: somebody else is.
            ConfigError: it cannot be made or written to.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise wrong(self.path, f"cannot be written to: {os.strerror(error.errno or 0)}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{self.path} is being changed by another process") from None
            yield
        finally:
            os.close(descriptor)

    def begin(
        self,
        keys: Mapping[str, bytes],
        requests: Mapping[str, bytes],
        now: datetime,
        *,
        by_hand: bool,
        signed_by: int | None,
    ) -> UnderWay:
        """Begin the next generation.

        Args:
            keys: by role, in PEM.
            requests: by role, in DER.
        """
        for name in os.listdir(self.path):
            # Nobody else changes anything now: this was left by somebody who was cut off.
            if name.startswith(".") and name not in (_LOCK, _LEAD):
                self._disk.remove(self.path / name)
        number = max((0, *self._numbers(""), *self._numbers(".new"))) + 1
        scratch = self.path / f".{number:04}.{secrets.token_hex(4)}"
        self._disk.make(scratch)
        for role, key in keys.items():
            self._disk.write(scratch / f"{role}.key", key)
            self._disk.write(scratch / f"{role}.csr", requests[role])
            self._disk.write(scratch / f"{role}.csr.pem", pem("CERTIFICATE REQUEST", requests[role]))
        orders = {role: {"transaction": secrets.token_hex(16).upper(), "state": "new"} for role in keys}
        data = {"begun": now.isoformat(), "by-hand": by_hand, "signed-by": signed_by, "orders": orders}
        self._disk.write(scratch / _REQUEST, _encode(data))
        self._disk.rename(scratch, self.path / f"{number:04}.new")
        return self._under_way(number)

    def note(self, under_way: UnderWay, role: str, state: str) -> UnderWay:
        """Note how far a request has come."""
        return self._rewrite(under_way, orders={role: state})

    def to_hand(self, under_way: UnderWay, by_hand: bool) -> UnderWay:
        """Note who brings the requests to the CA."""
        return self._rewrite(under_way, by_hand=by_hand)

    def keep(self, under_way: UnderWay, role: str, certificate: Certificate) -> UnderWay:
        """Keep a certificate that has come in."""
        self._disk.write(self.file(under_way, f"{role}.crt"), pem("CERTIFICATE", certificate.der))
        return self._under_way(under_way.number)

    def install(self, under_way: UnderWay, now: datetime) -> Installed:
        """Make it a generation; all its certificates are there and have been judged."""
        self._disk.write(self.file(under_way, _INSTALLED), _encode({"installed": now.isoformat()}))
        directory = self.path / f"{under_way.number:04}"
        self._disk.rename(self.path / under_way.name, directory)
        # Nobody asks any more; and a challenge may be in it.
        for path in (*directory.glob("*.csr"), *directory.glob("*.csr.pem"), directory / _REQUEST):
            path.unlink()
        self._disk.sync(directory)
        return self._generation(under_way.number)

    def discard(self, under_way: UnderWay) -> None:
        """Give it up, keys and all."""
        scratch = self.path / f".{under_way.name}"
        self._disk.rename(self.path / under_way.name, scratch)
        self._disk.remove(scratch)

    def _rewrite(
        self, under_way: UnderWay, *, by_hand: bool | None = None, orders: Mapping[str, str] | None = None
    ) -> UnderWay:
        data = {
            "begun": under_way.begun.isoformat(),
            "by-hand": under_way.by_hand if by_hand is None else by_hand,
            "signed-by": under_way.signed_by,
            "orders": {
                role: {"transaction": order.transaction, "state": (orders or {}).get(role, order.state)}
                for role, order in under_way.orders.items()
            },
        }
        self._disk.write(self.file(under_way, _REQUEST), _encode(data))
        return self._under_way(under_way.number)


def _encode(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, indent=2).encode() + b"\n"
