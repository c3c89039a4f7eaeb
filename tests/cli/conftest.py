"""A desk for the tests of commands on stored enrolments."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scepra.config.store import Store
from scepra.store.database import Database
from scepra.store.engine import create_engine, create_file
from scepra.store.schema import upgrade
from tests.rig.enrolments import Desk
from tests.rig.postgres import Postgres
from tests.store.sample import Bench


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables and nothing in them."""
    path = tmp_path_factory.mktemp("tables") / "scepra.db"
    create_file(path)
    engine = create_engine(Store(url=f"sqlite:{path}"), 1)
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def desk(tables: Path, tmp_path: Path) -> Iterator[Desk]:
    """A desk with an empty store in a file."""
    shutil.copy(tables, tmp_path)
    settings = Store(url=f"sqlite:{tmp_path}/scepra.db")
    engine = create_engine(settings, 1)
    yield Desk.furnish(Bench(settings, engine, Database(engine, settings.sqlite_path)), tmp_path)
    engine.dispose()


@pytest.fixture
def remote_desk(postgres: Postgres, tmp_path: Path) -> Iterator[Desk]:
    """A desk with an empty store on a server."""
    settings = Store(url=postgres.database())
    engine = create_engine(settings, 1)
    upgrade(engine)
    yield Desk.furnish(Bench(settings, engine, Database(engine, None)), tmp_path)
    engine.dispose()
