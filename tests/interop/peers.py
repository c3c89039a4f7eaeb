"""Where the programs are that others wrote."""

from __future__ import annotations

import os
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ORGANISATION = "interop"


def peers_directory() -> Path:
    """Where .ci/install-peers puts everything."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("SCEPRA_PEERS") or Path(cache) / "scepra-peers")


PEERS = peers_directory()
DEBIAN = PEERS / "root" / "usr"


def debian_version(package: str) -> str:
    """The version of a package that .ci/install-peers has unpacked: what its authors call it, without Debian's part."""
    version = (PEERS / "versions" / package).read_text("ascii").strip()
    return re.sub(r"^[0-9]+:|-[^-]+$", "", version)
