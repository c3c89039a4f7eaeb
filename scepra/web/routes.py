"""Which authority a path leads to (HTTP-14, HTTP-15, CERT-20)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from scepra.errors import Refused
from scepra.scep.transport import ADMINISTRATION_PAGE, read_path


class Authority(Protocol):
    """What the front needs of a :class:`scepra.ra.RegistrationAuthority`.

    Each method may raise :class:`~scepra.errors.Refused`, which becomes a bare HTTP answer.
    """

    @property
    def name(self) -> str:
        """The profile's name, for the access log."""

    def ca_caps(self) -> bytes:
        """The body of a GetCACaps answer."""

    def ca_cert(self) -> tuple[str, bytes]:
        """Content type and body of a GetCACert answer."""

    def ca_cert_chain(self) -> tuple[str, bytes]:
        """Content type and body of a GetCACertChain answer."""

    async def next_ca_cert(self) -> tuple[str, bytes]:
        """Content type and body of a GetNextCACert answer."""

    async def pki_operation(self, message: bytes, source: str) -> bytes:
        """The CertRep that answers *message*, a pkiMessage from the address *source*."""


@dataclass(frozen=True, slots=True)
class Route:
    """An authority, the paths it is served at, and the CA identifiers that choose it where a path has several."""

    authority: Authority
    paths: Iterable[str]
    ca_identifiers: Iterable[str] = ()


class Routes:
    """Paths and CA identifiers to authorities: two dictionaries, filled once."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """
        Args:
            routes: in order; the first that lists a path is its default.

        Raises:
            ValueError: a path can never be reached, or cannot tell two authorities apart.
        """
        self._default: dict[tuple[str, ...], Authority] = {}
        self._named: dict[tuple[tuple[str, ...], str], Authority] = {}
        for route in routes:
            identifiers = tuple(route.ca_identifiers)
            for path in route.paths:
                try:
                    segments = read_path(path.encode())
                except Refused as refused:
                    raise ValueError(f"{path}: {refused.reason}") from None
                if segments == ADMINISTRATION_PAGE:
                    raise ValueError(f"{path}: NDES's administration page is not served")
                default = self._default.setdefault(segments, route.authority)
                if default is not route.authority and not identifiers:
                    raise ValueError(f"{path}: {route.authority.name} is shadowed by {default.name}")
                for identifier in identifiers:
                    named = self._named.setdefault((segments, identifier), route.authority)
                    if named is not route.authority:
                        raise ValueError(f"{path}: {route.authority.name} and {named.name} share {identifier!r}")

    def resolve(self, segments: tuple[str, ...], ca_identifier: str | None = None) -> Authority | None:
        """The authority at a path, as :func:`~scepra.scep.transport.read_path` gives it.

        An identifier that nobody at that path has, chooses its default and is no error (CERT-20).

        Returns:
            None when nobody lists the path.
        """
        default = self._default.get(segments)
        if default is None or not ca_identifier:
            return default
        return self._named.get((segments, ca_identifier), default)
