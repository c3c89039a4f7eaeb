"""What a process that serves cannot change: a configuration that changes it needs a restart (FT-51)."""

from __future__ import annotations

from collections.abc import Iterator

from scepra.config.finding import Finding
from scepra.config.model import Config

_FIXED = (
    ("listen", "scep"),
    ("listen", "admin"),
    ("worker-deadline",),
    ("shutdown-grace",),
    ("tokens",),
    ("store", "url"),
    ("store", "password-file"),
    ("store", "key-file"),
    ("store", "timeout"),
)
"""What ports, processes, tokens and the store are made of."""


def restarts(before: Config, after: Config) -> Iterator[Finding]:
    """What keeps a configuration from taking the place of another one while clients are served."""
    for path in _FIXED:
        if _value(before, path) != _value(after, path):
            yield Finding(path, f"needs a restart: {'.'.join(path)}")
    if before.processes != after.processes:
        yield Finding(("workers",), "needs a restart: workers")


def _value(config: Config, path: tuple[str, ...]) -> object:
    found: object = config
    for key in path:
        found = getattr(found, key.replace("-", "_"))
    return found
