"""What a process that serves cannot change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scepra.config.model import Config, Limits, Listen, Store
from scepra.config.restart import restarts


def config(**changes: Any) -> Config:
    """A configuration, as far as it matters here."""
    sections: dict[str, Any] = {
        "listen": Listen(),
        "workers": 1,
        "worker_deadline": 30.0,
        "shutdown_grace": 25.0,
        "tokens": {},
        "store": Store(url="sqlite:a.db", key_file=Path("a.key")),
        "limits": Limits(),
    }
    return Config.model_construct(**sections | changes)


@pytest.mark.proves("FT-51")
@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, []),
        ({"limits": Limits(connections=5)}, []),
        ({"listen": Listen(trusted_proxies=("10.0.0.0/8",))}, []),
        ({"listen": Listen(scep=("tcp:1",), admin=("tcp:2",))}, ["listen.scep", "listen.admin"]),
        ({"store": Store(url="sqlite:b.db", key_file=Path("b.key"), timeout=9.0)}, [
            "store.url", "store.key-file", "store.timeout",
        ]),
        ({"workers": 2}, ["workers"]),
        ({"shutdown_grace": 1.0}, ["shutdown-grace"]),
    ],
)  # fmt: skip
def test_what_ports_processes_and_the_store_are_made_of_needs_a_restart(
    changes: dict[str, Any], needed: list[str]
) -> None:
    """Each key that cannot change is named; all else can."""
    found = list(restarts(config(), config(**changes)))
    assert [".".join(map(str, each.path)) for each in found] == needed
    assert all(each.sentence == f"needs a restart: {name}" for each, name in zip(found, needed, strict=True))
