"""The whole configuration: frozen models whose attributes the rest of the program reads.

Sections of one subject stand in modules of their own and are all importable from here. Every key has a description;
durations are seconds (float), sizes octets, paths absolute or relative to the configuration file's directory, secrets
:class:`~scepra.config.secret.Secret`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from scepra.config.challenge import (
    AllOf,
    AnyOf,
    CertificateChallenge,
    Challenge,
    MintedChallenge,
    NdesChallenge,
    NoChallenge,
    SignedChallenge,
    SingleChallenge,
    StaticChallenge,
    singles,
)
from scepra.config.identity import DualIdentity, GenerationDirectory, IdentityFiles, KeyFile, NewKeys, SplitIdentity
from scepra.config.legacy import Legacy
from scepra.config.pin import Fingerprint
from scepra.config.profile import CACertificates, OfferedCapabilities, OnBehalf, Profile, Renewal, Reply, UpstreamRoute
from scepra.config.queries import Queries
from scepra.config.rates import Rate, Rates
from scepra.config.revocation import ListSources, RevocationLists, ServedLists
from scepra.config.secret import Secret
from scepra.config.section import Section
from scepra.config.service import DirectoryChallenge, IntuneChallenge, WebhookChallenge
from scepra.config.store import Retention, Store
from scepra.config.token import KeyInToken, Token
from scepra.config.upstream import CertificateSigner, EphemeralSigner, Queue, Upstream
from scepra.config.value import Count, Distinct, Endpoint, Label, Listed, Network, Octets, Seconds, on_loopback

MOST_WORKERS = 64
Workers = Annotated[Count, Field(le=MOST_WORKERS)]


class Listen(Section):
    """Where the RA listens."""

    scep: Annotated[tuple[Endpoint, ...], Field(min_length=1), Distinct, Listed] = Field(
        default=("tcp:8080",),
        description="Endpoints for SCEP: tcp:PORT, ssl:PORT, unix:PATH or systemd:..., one or several.",
    )
    admin: Annotated[tuple[Endpoint, ...], Distinct, Listed] = Field(
        default=(),
        description="Endpoints for the administration, none by default; without an interface, tcp: and ssl: are on this"
        " machine only.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], Listed] = Field(
        default=(),
        description="Addresses of reverse proxies whose X-Forwarded-For is believed; from others it is ignored.",
    )

    @property
    def administration(self) -> tuple[str, ...]:
        """The endpoints for the administration as Twisted reads them, with the interface that they are on."""
        return tuple(on_loopback(endpoint) for endpoint in self.admin)

    @property
    def shareable(self) -> bool:
        """Whether several processes can listen there, each at a socket of its own."""
        return all(endpoint.startswith("tcp:") for endpoint in self.scep)


class Limits(Section):
    """What bounds a client, whoever it is."""

    request_target: Octets = Field(
        default=65536, ge=1024, description="Longest request target, in octets: GET carries a message in it."
    )
    headers: Octets = Field(default=16384, ge=1024, description="All header lines of a request together, in octets.")
    header_lines: Count = Field(default=100, description="How many header lines a request may have.")
    body: Octets = Field(default=262144, ge=1024, description="Largest body of a POST, in octets.")
    bodies: Octets = Field(
        default=33554432,
        description="All bodies together that one process holds, in octets; of each only what is beyond 16384 counts.",
    )
    request_deadline: Seconds = Field(
        default=10.0, gt=0, description="How long a request may take to arrive as a whole."
    )
    answer_deadline: Seconds = Field(
        default=60.0, gt=0, description="How long the RA may take to answer; longer than any upstream's timeout."
    )
    idle: Seconds = Field(default=30.0, gt=0, description="How long a connection may be silent between requests.")
    connections: Count = Field(default=1000, description="How many connections are open at once.")
    connections_per_address: Count = Field(
        default=100, description="How many of them from one address; with several workers, in each."
    )
    requests_per_connection: Count = Field(default=1000, description="After how many requests a connection is closed.")
    reserved_descriptors: Count = Field(
        default=128, description="File descriptors that connections leave to upstreams, logs and other listeners."
    )


class Config(Section):
    """A configuration file."""

    listen: Listen = Field(default_factory=Listen, description="Where the RA listens.")
    workers: Workers | None = Field(
        default=None,
        description="How many processes serve clients. Without this key: one for each processor core if all endpoints"
        " are tcp:PORT, else one; several processes need such endpoints.",
    )
    worker_deadline: Seconds = Field(
        default=30.0,
        ge=1,
        description="How long one of several processes may show no sign of life before it is replaced; when it starts,"
        " four times as long.",
    )
    shutdown_grace: Seconds = Field(
        default=25.0, ge=0, description="How long requests under way may take to end after SIGTERM."
    )
    limits: Limits = Field(default_factory=Limits, description="What bounds a client.")
    rates: Rates = Field(default_factory=Rates, description="How often may be asked.")
    # Made from nothing as if read from the file, so that paths start from its directory.
    store: Store = Field(
        default_factory=dict, validate_default=True, description="The database in which transactions are kept."
    )
    tokens: Mapping[Label, Token] = Field(
        default_factory=dict, description="The PKCS#11 tokens that keys may be in, by name."
    )
    upstreams: Annotated[Mapping[Label, Upstream], Field(min_length=1)] = Field(
        description="The SCEP CAs that requests are forwarded to, by name."
    )
    profiles: Annotated[Mapping[Label, Profile], Field(min_length=1)] = Field(
        description="The faces of the RA, by name: paths, credentials, policy."
    )

    @property
    def processes(self) -> int:
        """How many processes serve clients; cores are those that this process may run on."""
        if self.workers is not None:
            return self.workers
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS) if self.listen.shareable else 1


__all__ = [
    "AllOf",
    "AnyOf",
    "CACertificates",
    "CertificateChallenge",
    "CertificateSigner",
    "Challenge",
    "Config",
    "DirectoryChallenge",
    "DualIdentity",
    "EphemeralSigner",
    "Fingerprint",
    "GenerationDirectory",
    "IdentityFiles",
    "IntuneChallenge",
    "KeyFile",
    "KeyInToken",
    "Legacy",
    "Limits",
    "ListSources",
    "Listen",
    "MintedChallenge",
    "NdesChallenge",
    "NewKeys",
    "NoChallenge",
    "OfferedCapabilities",
    "OnBehalf",
    "Profile",
    "Queries",
    "Queue",
    "Rate",
    "Rates",
    "Renewal",
    "Reply",
    "Retention",
    "RevocationLists",
    "Secret",
    "Section",
    "ServedLists",
    "SignedChallenge",
    "SingleChallenge",
    "SplitIdentity",
    "StaticChallenge",
    "Store",
    "Token",
    "Upstream",
    "UpstreamRoute",
    "WebhookChallenge",
    "singles",
]
