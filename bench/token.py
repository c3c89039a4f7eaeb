"""A token that has the RA's key: SoftHSM's, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def token(key: Path, pin_file: Path) -> Mapping[str, Any] | None:
    """Its section in a configuration, with the key in it; None if there can be none here.

    Args:
        key: the private key, imported with the label "ra".
        pin_file: takes the PIN.
    """
    try:
        # Imported here: who runs the RA with its keys in files has no tools for tests.
        from tests.rig.programs import find
        from tests.rig.softhsm import new_token
    except ImportError:
        return None
    if find("softhsm2-util") is None:
        return None
    return new_token([(key, "ra", "01")]).settings(pin_file)
