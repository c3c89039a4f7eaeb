"""A directory of generations: an RA's certificates and keys, old and new, and the generation that is under way.

::

    0001/              a generation: signing.crt, signing.key, encryption.crt, encryption.key (or dual.crt, dual.key),
                       generation.json with the time of its installation
    0002.new/          the next one, under way: its keys, its requests (signing.csr), request.json with how far each
                       has come, and the certificates that have come in
    .lock, .lead       held by whoever changes something; by whoever renews

A generation becomes one by a single rename, when everything in it is on the disk: whatever ends the program, a reader
finds the old state or the new one (CP15). A name that begins with a dot is scratch, and nobody's.

A key may be in a token: its file then says which one that is. It is written before the key is made, so that whatever
was made can be found, and destroyed there when it is given up. What was a generation once is never taken away here,
neither its files nor its keys.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from scepra.config.model import IdentityFiles, KeyFile
from scepra.config.private import NotPrivate, read_private
from scepra.config.token import KeyInToken
from scepra.errors import ConfigError, KeyUnavailable, ScepError
from scepra.generation import Installed
from scepra.keys.certificate import pem, wrong
from scepra.keys.disk import Disk
from scepra.keys.identity import NONE, read_identity, token_of
from scepra.keys.private import read_key, resolve
from scepra.keys.reference import write_reference
from scepra.keys.token import TokenKey, Tokens
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Generation, Identity, RAKey

EMPTY = "holds no generation yet"
MAXIMUM = 64 * 1024
_INSTALLED, _REQUEST = "generation.json", "request.json"
_LOCK, _LEAD = ".lock", ".lead"
log = Logger()


class Busy(Exception):
    """Somebody else changes the directory now."""


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
    key: RAKey
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A generation that is nothing yet, but the number that it will have and a place for its keys."""

    number: int
    path: Path


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
        tokens: where keys may be that are not in files.
        disk: changes files.
    """

    def __init__(self, path: Path, tokens: Tokens = NONE, disk: Disk | None = None) -> None:
        self.path = path
        self._tokens = tokens
        self._disk = disk or Disk()

    # Reading

    def installed(self, known: Iterable[Installed] = ()) -> tuple[Installed, ...]:
        """Every generation, the oldest first; those that are *known* are not read again, for they never change.

        Keys in tokens are looked for, which takes its time; nothing else that reads touches a token.

        Raises:
            ConfigError: one cannot be read or believed, or the directory is open to others.
        """
        before = {each.number: each for each in known}
        return tuple(before.get(number) or self._generation(number, find=True) for number in self._numbers(""))

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

    def _generation(self, number: int, *, find: bool = False) -> Installed:
        directory = self.path / f"{number:04}"
        installed = self._moment(directory / _INSTALLED, "installed")
        roles = ("dual",) if (directory / "dual.crt").exists() else ("signing", "encryption")
        read = [self._identity(directory, role, find) for role in roles]
        return Installed(number, Generation(read[0], read[-1]), installed)

    def _identity(self, directory: Path, role: str, find: bool) -> Identity:
        """A certificate and its key."""
        key = KeyFile(file=directory / f"{role}.key")
        files = IdentityFiles(certificate=directory / f"{role}.crt", key=key)
        return read_identity(files, self._tokens, find=find)

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
        try:
            csr = CertificationRequest.parse(read_private(directory / f"{role}.csr", MAXIMUM))
        except (NotPrivate, ScepError) as error:
            raise wrong(directory / f"{role}.csr", f"cannot be used: {error}") from None
        file = directory / f"{role}.key"
        found = resolve(KeyFile(file=file))
        key: RAKey
        if isinstance(found, KeyInToken):
            key = TokenKey(token_of(found, str(file), self._tokens), found, csr.public_key)
        else:
            key = read_key(found).key
        certificate = None
        if (directory / f"{role}.crt").exists():
            certificate = self._identity(directory, role, find=False).certificate
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

    def draft(self) -> Draft:
        """A place for the keys of the next generation. It may take its time: what was left is cleared away."""
        for name in os.listdir(self.path):
            # Nobody else changes anything now: this was left by somebody who was cut off, or had no token at hand.
            if name.startswith(".") and name not in (_LOCK, _LEAD):
                self._clear(self.path / name)
        number = max((0, *self._numbers(""), *self._numbers(".new"))) + 1
        scratch = self.path / f".{number:04}.{secrets.token_hex(4)}"
        self._disk.make(scratch)
        return Draft(number, scratch)

    def add_key(self, draft: Draft, role: str, key: bytes) -> None:
        """Put in a key, in PEM."""
        self._disk.write(draft.path / f"{role}.key", key)

    def make_key(self, draft: Draft, role: str, token: str, bits: int) -> TokenKey:
        """Make a key in a token, and put in which one it is; it takes its time.

        Raises:
            KeyUnavailable: it could not be made.
            ConfigError: the configuration has no such token.
        """
        found = self._tokens.get(token)
        if found is None:
            raise wrong(self.path, f"is to have a key in the token {token}, which the configuration has not")
        reference = found.new_reference(f"{self.path.name} {draft.number:04} {role}")
        self._disk.write(draft.path / f"{role}.key", write_reference(reference))
        return found.make(reference, bits)

    def begin(
        self, draft: Draft, requests: Mapping[str, bytes], now: datetime, *, by_hand: bool, signed_by: int | None
    ) -> UnderWay:
        """Begin a generation whose keys are there.

        Args:
            requests: by role, in DER.
        """
        for role, request in requests.items():
            self._disk.write(draft.path / f"{role}.csr", request)
            self._disk.write(draft.path / f"{role}.csr.pem", pem("CERTIFICATE REQUEST", request))
        orders = {role: {"transaction": secrets.token_hex(16).upper(), "state": "new"} for role in requests}
        data = {"begun": now.isoformat(), "by-hand": by_hand, "signed-by": signed_by, "orders": orders}
        self._disk.write(draft.path / _REQUEST, _encode(data))
        self._disk.rename(draft.path, self.path / f"{draft.number:04}.new")
        return self._under_way(draft.number)

    def drop(self, draft: Draft) -> None:
        """Make nothing of it, keys and all; it may take its time."""
        self._clear(draft.path)

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
        """Give it up, keys and all; it may take its time."""
        scratch = self.path / f".{under_way.name}"
        self._disk.rename(self.path / under_way.name, scratch)
        self._clear(scratch)

    def _clear(self, scratch: Path) -> None:
        """Take away scratch, and destroy the keys in tokens that it names; while one cannot be, the scratch stays."""
        try:
            for file in sorted(scratch.glob("*.key")):
                found = resolve(KeyFile(file=file))
                if isinstance(found, KeyInToken):
                    token_of(found, str(file), self._tokens).destroy(found)
        except (KeyUnavailable, ConfigError) as error:
            log.warn("a key that was given up is not destroyed yet: {error}", error=str(error))
        else:
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
