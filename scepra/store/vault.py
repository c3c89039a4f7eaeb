"""What is stored and must not be read from the database alone: sealed under keys of a file outside of it (I10, RA-20).

The file holds one key a line, each 32 octets in URL-safe base64, as Fernet has them. The first seals; all open. The
last one also keys the digests that requests are found by, so it stays the last when keys are added above it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from scepra.config.private import NotPrivate, read_private
from scepra.errors import ConfigError, Problem, StoreError

_MAXIMUM = 16 * 1024


class Vault:
    """Seals and opens octets, and makes digests that nobody can try out without the key.

    Args:
        keys: as in the file, the newest first.

    Raises:
        ValueError: one of them is no key.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._index = hashlib.sha256(b"scepra index\0" + base64.urlsafe_b64decode(keys[-1])).digest()

    def seal(self, content: bytes) -> bytes:
        """Encrypted and authenticated."""
        return self._fernet.encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed.

        Raises:
            StoreError: it was not sealed under any of the keys, or was changed since.
        """
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise StoreError("sealed octets that do not open: changed, or sealed under another key") from None

    def digest(self, content: bytes) -> bytes:
        """32 octets that are the same for the same content."""
        return hmac.digest(self._index, content, "sha256")


def read_vault(path: Path, *, create: bool = False) -> Vault:
    """The vault whose keys are in a file that nobody else may read (AC-130).

    Args:
        create: make the file, with one new key, if it is not there.

    Raises:
        ConfigError: it is not there, not private, or holds something else.
    """
    if create and not path.exists():
        _create(path)
    try:
        lines = read_private(path, _MAXIMUM).split()
        if not lines:
            raise ValueError
        return Vault(tuple(lines))
    except NotPrivate as error:
        raise _problem(path, str(error)) from None
    except ValueError:
        raise _problem(path, "holds something else than keys, one a line, each 32 octets in URL-safe base64") from None


def _create(path: Path) -> None:
    """Whole or not at all: another process that starts at once reads what the first one wrote."""
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
        # What is sealed under it is on the disk sooner than the directory may be.
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _problem(path, f"cannot be made: {os.strerror(error.errno or 0)}") from None


def _problem(path: Path, sentence: str) -> ConfigError:
    return ConfigError((Problem(str(path), 0, 0, "store.key-file", sentence),))
