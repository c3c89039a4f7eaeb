"""The two databases that every test of the store runs on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scepra.config.store import Store
from scepra.store.database import Database
from scepra.store.engine import create_engine, create_file
from scepra.store.schema import upgrade
from scepra.store.tables import metadata
from tests.rig.postgres import Postgres
from tests.store.sample import Bench


@pytest.fixture(params=["sqlite", "postgresql"])
def product(request: pytest.FixtureRequest) -> str:
    """The database that a test runs on; a test of one of them is parametrized with that alone."""
    return str(request.param)


@pytest.fixture
def empty(product: str, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The settings of a database without tables."""
    if product == "sqlite":
        create_file(tmp_path / "scepra.db")
        return Store(url=f"sqlite:{tmp_path}/scepra.db", key_file=tmp_path / "scepra.key")
    server: Postgres = request.getfixturevalue("postgres")
    return Store(url=server.database(), key_file=tmp_path / "scepra.key")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables."""
    path = tmp_path_factory.mktemp("store") / "scepra.db"
    create_file(path)
    _migrate(Store(url=f"sqlite:{path}"))
    return path


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The URL of a database with all tables, which the tests take turns with."""
    url = postgres.database()
    _migrate(Store(url=url))
    return url


def _migrate(settings: Store) -> None:
    engine = create_engine(settings, 1)
    upgrade(engine)
    engine.dispose()


@pytest.fixture
def settings(product: str, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The settings of a new store: all tables, nothing in them."""
    if product == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path)
        return Store(url=f"sqlite:{tmp_path}/scepra.db", key_file=tmp_path / "scepra.key")
    url: str = request.getfixturevalue("migrated")
    server: Postgres = request.getfixturevalue("postgres")
    server.start()
    # Faster than TRUNCATE where there is little, and much faster than a database for each.
    server.execute(url, "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))  # noqa: S608 - nothing in it comes from outside
    return Store(url=url, key_file=tmp_path / "scepra.key")


@pytest.fixture
def bench(settings: Store) -> Iterator[Bench]:
    """A new store, opened."""
    engine = create_engine(settings, 16)
    yield Bench(settings, engine, Database(engine, settings.sqlite_path))
    engine.dispose()


@pytest.fixture
def other(bench: Bench) -> Iterator[Callable[..., Database]]:
    """Opens the store once more, as another process would; keyword arguments change its settings."""
    opened: list[Database] = []

    def open_it(**changes: object) -> Database:
        opened.append(bench.other(**changes))
        return opened[-1]

    yield open_it
    for database in opened:
        database.close()
