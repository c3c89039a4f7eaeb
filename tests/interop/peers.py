"""Where the programs are that others wrote."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
ORGANISATION = "interop"


def peers_directory() -> Path:
    """Where .ci/install-peers puts everything."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("SCEPRA_PEERS") or Path(cache) / "scepra-peers")


PEERS = peers_directory()
DEBIAN = PEERS / "root" / "usr"
