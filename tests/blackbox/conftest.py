"""Rigs for the tests of the RA as a black box: what a test leaves behind is checked, unless it has failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.nursery import nursery
from tests.rig.blackbox.rig import Rig
from tests.rig.faketime import wall_clock
from tests.rig.postgres import postgres
from tests.rig.trace import inject

__all__ = ["inject", "laboratory", "nursery", "postgres", "rig", "rigs", "store", "wall_clock"]

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures know whether the test itself has failed."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Certificates and keys, made once for all processes of a test run."""
    ours = tmp_path_factory.getbasetemp()
    return Laboratory.at((ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "laboratory")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str | None:
    """What ``rigs(store=store)`` takes: each database in its turn."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").database()


@pytest.fixture
def rigs(request: pytest.FixtureRequest, tmp_path: Path, laboratory: Laboratory) -> Iterator[Callable[..., Rig]]:
    """Makes rigs, and starts them; keyword arguments are those of :class:`Rig`."""
    made: list[Rig] = []

    def make(**settings: Any) -> Rig:
        directory = tmp_path / f"rig{len(made) + 1}"
        directory.mkdir(mode=0o700)
        new = Rig(directory, laboratory, **settings)
        made.append(new)
        new.start()
        return new

    yield make
    try:
        if not request.node.stash.get(_FAILED, True):
            for each in made:
                each.leave()
    finally:
        for each in made:
            each.end()


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """The usual rig, started: SQLite, one process."""
    return rigs()
