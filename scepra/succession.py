"""The rollovers of the CAs, remembered in the store: for the next start, and for the other processes (AC-106)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twisted.logger import Logger

from scepra.errors import ScepError
from scepra.scep.certificate import Certificate
from scepra.scep.cms import degenerate, parse_degenerate
from scepra.store import successions
from scepra.store.database import Database
from scepra.store.successions import Row
from scepra.upstream.succession import Succession

log = Logger()


def parsed(rows: Iterable[Row], upstream: str) -> Iterator[Succession]:
    """What is stored of one upstream, unverified; what cannot be read is left out."""
    for row in rows:
        try:
            path = tuple(map(Certificate.parse, parse_degenerate(row.path).certificates))
            yield Succession(Certificate.parse(row.certificate), row.evidence, path, row.seen)
        except ScepError as error:
            log.error(
                "upstream {upstream}: a stored succession cannot be read: {reason}",
                upstream=upstream,
                reason=error.reason,
            )


class StoredSuccessions:
    """What is remembered of one upstream.

    Args:
        upstream: its name.
        database: where.
    """

    def __init__(self, upstream: str, database: Database) -> None:
        self._upstream = upstream
        self._database = database

    async def read(self) -> tuple[Succession, ...]:
        """All of it, unverified; what cannot be read is left out.

        Raises:
            StoreError: the database does not answer.
        """
        return tuple(parsed(await self._database.read(successions.load, self._upstream), self._upstream))

    async def keep(self, succession: Succession) -> bool:
        """Remember one more; False if it is known already, perhaps from another process.

        Raises:
            StoreError: the database does not answer.
        """
        row = Row(
            succession.certificate.der,
            succession.evidence,
            degenerate(item.der for item in succession.path),
            succession.seen,
        )
        fingerprint = bytes.fromhex(succession.certificate.fingerprint())
        return await self._database.write(successions.keep, self._upstream, fingerprint, row)
