"""What the tests of the protocol share."""

from __future__ import annotations


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Encodings with keys and signatures in them differ from run to run: they are numbered, so that workers agree."""
    if isinstance(val, bytes) and not (len(val) <= 20 and val.isascii() and val.decode().isprintable()):
        return argname
    return None
