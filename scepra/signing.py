"""The keys that sign to the CAs, kept sealed in the store: a poll may be another process's to make (RA-20, FT-43)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from scepra.errors import StoreError
from scepra.scep.identity import SoftwareKey
from scepra.store import signers
from scepra.store.database import Database
from scepra.store.intents import new_id
from scepra.store.vault import Vault

REMEMBERED = 64
"""How many keys stay in memory; the others are read again."""


class StoredKeys:
    """The signer keys of one upstream.

    Args:
        upstream: its name.
        make_key: makes an RSA key, away from the reactor's thread.
        database, vault: where the keys are kept, and what seals them.
        now: UTC.
    """

    def __init__(
        self,
        upstream: str,
        make_key: Callable[[], Awaitable[rsa.RSAPrivateKey]],
        database: Database,
        vault: Vault,
        now: Callable[[], datetime],
    ) -> None:
        self._upstream = upstream
        self._make_key = make_key
        self._database = database
        self._vault = vault
        self._now = now
        self._known: OrderedDict[str, SoftwareKey] = OrderedDict()

    async def make(self) -> tuple[str, SoftwareKey]:
        """A new key, stored before it is used, and its id.

        Raises:
            StoreError: it cannot be stored.
        """
        key = await self._make_key()
        encoding = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        key_id = new_id()
        await self._database.write(signers.keep, key_id, self._upstream, self._vault.seal(encoding), self._now())
        return key_id, self._remember(key_id, SoftwareKey(key))

    async def load(self, key_id: str) -> SoftwareKey:
        """The key with an id.

        Raises:
            LookupError: it is not there, or does not open.
            StoreError: the database does not answer.
        """
        if key_id in self._known:
            self._known.move_to_end(key_id)
            return self._known[key_id]
        sealed = await self._database.read(signers.load, key_id)
        if sealed is None:
            raise LookupError(f"signer key {key_id} is not stored")
        try:
            # The vault vouches for it; OpenSSL's check of an RSA key takes longer than a hundred signatures.
            key = load_der_private_key(self._vault.open(sealed), None, unsafe_skip_rsa_key_validation=True)
        except (StoreError, ValueError) as error:
            raise LookupError(f"signer key {key_id}: {error}") from error
        assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - no other is made
        return self._remember(key_id, SoftwareKey(key))

    def _remember(self, key_id: str, key: SoftwareKey) -> SoftwareKey:
        self._known[key_id] = key
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return key
