"""The file that stands in a directory in place of a key that is in a token: which one that is."""

from __future__ import annotations

import yaml
from pydantic import ValidationError

from scepra.config.token import KeyInToken

_FIRST = b"token:"


def write_reference(key: KeyInToken) -> bytes:
    """The content of a file that :func:`read_reference` reads."""
    return yaml.safe_dump(key.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True).encode()


def read_reference(content: bytes) -> KeyInToken | None:
    """Which key a file's content names; None if it is no such file, but perhaps one with a key in it.

    Raises:
        ValueError: it should be one, and cannot be read.
    """
    for line in content.splitlines():
        if line.strip() and not line.startswith(b"#"):
            if line.startswith(_FIRST):
                break
            return None
    else:
        return None
    try:
        return KeyInToken.model_validate(yaml.safe_load(content), by_alias=True, by_name=False)
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError):
        raise ValueError("names no key in a token that could be understood: token, and label or id") from None
