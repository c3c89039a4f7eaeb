"""A CA, its SCEP face and clients of it, all in memory; time stands still."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepra.lab import Authority, CertificationService, Client, Enrolment, new_key
from scepra.lab.key import PrivateKey

T = TypeVar("T")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CHALLENGE = "5e55ame"
URL = "http://ca.example/scep"


def run(coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
    """The result of a coroutine that waits for nothing outside this process."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


class OneKey(Client):
    """A client whose devices all have the same RSA key, unless a test says otherwise: making keys takes time."""

    key: PrivateKey

    async def enrol(self, *arguments: Any, key: PrivateKey | str | None = None, **said: Any) -> Enrolment:
        return await super().enrol(*arguments, key=self.key if key is None else key, **said)


@pytest.fixture(scope="session")
def keys() -> list[PrivateKey]:
    """Three RSA-2048 keys; making them takes time."""
    return [new_key() for _ in range(3)]


@pytest.fixture(scope="session")
def authority(keys: list[PrivateKey]) -> Authority:
    return Authority.create("Test CA", keys[0], clock=lambda: NOW)


@pytest.fixture
def service(authority: Authority) -> CertificationService:
    return CertificationService(authority, CHALLENGE)


@pytest.fixture
def connect(service: CertificationService, keys: list[PrivateKey]) -> Callable[..., Client]:
    """Makes a client of the service; keyword arguments are the client's."""

    def connected(**settings: Any) -> Client:
        client = OneKey(URL, StubTreq(service), **{"clock": lambda: NOW, **settings})
        client.key = keys[1]
        return client

    return connected


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()
