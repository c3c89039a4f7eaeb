"""One sandbox for the session, CAs in it that are started when first needed, and a fresh directory for each client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

from .authorities import AUTHORITIES, Authority, StepCA
from .clients import Client
from .peers import DEBIAN
from .ra import CHALLENGE, RegistrationAuthority
from .sandbox import Sandbox, SandboxUnavailable


def absent(what: str) -> NoReturn:
    """Skips the test on a developer's machine; where the peers are required, as in CI, fails it."""
    if os.environ.get("SCEPRA_REQUIRE_PEERS", "") not in ("", "0"):
        pytest.fail(f"{what}, and SCEPRA_REQUIRE_PEERS is set", pytrace=False)
    pytest.skip(what)


def require(peer: type[Client] | type[Authority]) -> None:
    if not peer.program.exists():
        absent(f"{peer.name} is not installed: run .ci/install-peers")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    libraries = DEBIAN / "lib"
    try:
        made = Sandbox(libraries if libraries.is_dir() else None)
    except SandboxUnavailable as reason:
        absent(f"peers need a private network here: {reason}")
    yield made
    made.close()


@pytest.fixture(scope="session", params=AUTHORITIES, ids=lambda kind: kind.name)
def authority(
    request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authority]:
    """A CA. micromdm's relies on nobody but the RA reaching it; step-ca compares the challenge once more."""
    kind = request.param
    require(kind)
    running = kind(sandbox, tmp_path_factory.mktemp(kind.name), CHALLENGE if kind is StepCA else None)
    yield running
    running.server.stop()


@pytest.fixture(scope="session")
def ra(
    authority: Authority, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistrationAuthority]:
    """The RA in front of this CA."""
    running = RegistrationAuthority(sandbox, tmp_path_factory.mktemp(f"ra-{authority.name}"), authority)
    yield running
    running.server.stop()


class MakeClient(Protocol):
    """Makes a client of the given kind, with a directory of its own."""

    def __call__(self, kind: type[Client], root: Path | None = None) -> Client: ...


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> MakeClient:
    """Makes clients."""
    numbers = count(1)

    def make(kind: type[Client], root: Path | None = None) -> Client:
        require(kind)
        directory = tmp_path / f"{kind.name}-{next(numbers)}"
        directory.mkdir()
        return kind(sandbox, directory, root)

    return make
