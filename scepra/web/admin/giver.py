"""Who gives out challenges over the administration, whatever the page or API that asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from scepra import minting
from scepra.config import model
from scepra.minting import Exhausted, Minted, Order
from scepra.store.database import Database
from scepra.store.vault import Vault

PATIENCE = 15.0
"""For how many seconds somebody waits for a password that a broker still has to draw: MDMs wait for 30."""
LOOK = 0.5


@dataclass(frozen=True, slots=True)
class Giver:
    """Gives out challenges.

    ``profiles`` are those of the configuration, by name; ``database`` and ``vault`` are where challenges are kept, and
    what keys their digests; ``now`` is UTC; ``pause`` waits for so many seconds.
    """

    profiles: Mapping[str, model.Profile]
    database: Database
    vault: Vault
    now: Callable[[], datetime]
    pause: Callable[[float], Awaitable[object]]

    async def give(self, order: Order) -> Minted:
        """A challenge; where a broker has none ready, it is waited for.

        Raises:
            NotMinted: it may not be made.
            Exhausted: there is none now.
        """
        waited = 0.0
        while True:
            try:
                return await self.database.write(minting.give, order, self.profiles, self.vault, self.now())
            except Exhausted:
                brokered = isinstance(minting.settings_of(order.profile, self.profiles), model.NdesChallenge)
                if not brokered or waited >= PATIENCE:
                    raise
            await self.pause(LOOK)
            waited += LOOK
