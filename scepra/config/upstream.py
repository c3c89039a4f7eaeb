"""Upstreams: the SCEP CAs that requests are forwarded to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from scepra.config.identity import IdentityFiles
from scepra.config.kind import KindName, completed
from scepra.config.legacy import Legacy, floor_with
from scepra.config.pin import Pin
from scepra.config.section import Section
from scepra.config.value import Count, Distinct, Listed, Octets, Seconds, Url
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, Floor, KeyTransport


def _by_certificate(transport: KeyTransport) -> KeyTransport:
    if transport is KeyTransport.PASSWORD:
        raise ValueError("expected 'RSA-v1.5', 'RSA-OAEP-SHA-1' or 'RSA-OAEP-SHA-256'")
    return transport


Transported = Annotated[
    KeyTransport,
    AfterValidator(_by_certificate),
    WithJsonSchema({"enum": [transport.value for transport in KeyTransport if transport is not KeyTransport.PASSWORD]}),
]
Unless = Annotated[Seconds | None, BeforeValidator(lambda value: None if value == "off" else value)]
"""A duration, or the word off."""
Keyword = Literal[
    "AES",
    "DES3",
    "GetNextCACert",
    "POSTPKIOperation",
    "Renewal",
    "SHA-1",
    "SHA-224",
    "SHA-256",
    "SHA-384",
    "SHA-512",
    "SCEPStandard",
    "Update",
]


class EphemeralSigner(Section):
    """Requests are signed with self-signed certificates over keys that live for a period (RA-13)."""

    strategy: Literal["ephemeral-self-signed"] = Field(description="How the RA signs what it sends to the CA.")
    key_bits: Literal[2048, 3072, 4096] = Field(default=2048, description="Size of the RSA key.")
    period: Seconds = Field(default=86400.0, gt=0, description="How long one key serves before the next is made.")


class CertificateSigner(IdentityFiles):
    """Requests are signed with an RA certificate that the CA issued (RA-13)."""

    strategy: Literal["ra-certificate"] = Field(description="How the RA signs what it sends to the CA.")


class Queue(Section):
    """How long new requests wait for a busy CA, and how the RA itself asks for what could not be answered at once
    (MSG-44, FT-17, FT-26)."""

    waiting: Count = Field(
        default=100,
        description="How many new requests may wait until fewer exchanges than concurrency are under way, in one"
        " process; the profiles take turns.",
    )
    patience: Seconds = Field(
        default=3.0,
        gt=0,
        description="How long a new request waits at most; then it is PENDING, or 503 where clients cannot poll.",
    )

    rate: Count = Field(
        default=20, description="How many exchanges per second the backlog may cause, over all processes of the RA."
    )
    concurrency: Count = Field(
        default=8, description="How many exchanges of the backlog may be under way at once; part of concurrency."
    )
    first_poll: Seconds = Field(
        default=60.0, gt=0, description="How long after the CA's first PENDING it is polled; then ever less often."
    )
    longest_poll: Seconds = Field(default=3600.0, gt=0, description="How long at most between two polls.")
    give_up_after: Seconds = Field(
        default=604800.0, gt=0, description="How old a transaction may become before it is asked for no more."
    )


class Upstream(Section):
    """One SCEP CA."""

    url: Url = Field(description="Where the CA answers SCEP; operations are appended as the query.")
    ca_fingerprint: Annotated[tuple[Pin, ...], Field(min_length=1), Distinct, Listed] = Field(
        description="The CA certificate, compared out of band: sha256:HEX, or file:PATH of it; one or several."
    )
    kind: KindName = Field(
        default="generic",
        description="What CA it is: what it does in its own way stands in for keys that are left out.",
    )
    rollover: Literal["refuse", "ca", "ra"] = Field(
        default="ca",
        description="Whose word is taken for the CA that follows a pinned one: nobody's, the CA's own key's, or that of"
        " a trusted RA certificate too.",
    )
    authorisation: Literal["network", "challenge", "ra-certificate"] = Field(
        default="network",
        description="Why the CA believes the RA: where it is, the challenge in the CSR, or its certificate.",
    )
    signer: Annotated[EphemeralSigner | CertificateSigner, Field(discriminator="strategy")] = Field(
        default_factory=lambda: EphemeralSigner(strategy="ephemeral-self-signed"),
        description="With what the RA signs its requests to the CA.",
    )
    transport: Literal["auto", "post", "get"] = Field(
        default="auto", description="How messages are sent; auto follows the CA's capabilities."
    )
    content_type: Literal["application/x-pki-message", "application/octet-stream"] = Field(
        default="application/x-pki-message", description="As what messages are labelled that go by POST."
    )
    transaction_id: Literal["derived", "passthrough"] = Field(
        default="derived",
        description="The transactionID at the CA: the RA's own, or the client's where the CA gives it a meaning.",
    )
    poll_issuer: Literal["ca-subject", "ca-issuer"] = Field(
        default="ca-subject", description="Which name of the CA's certificate polls have as issuer."
    )
    renewal: Literal["none", "pkcs-req", "renewal-req"] = Field(
        default="renewal-req",
        description="How the CA renews the RA's own certificates: not, by PKCSReq as of old, or by RenewalReq.",
    )
    digest: Digest = Field(default=Digest.SHA256, description="Digest of what is sent to the CA.")
    cipher: ContentCipher = Field(
        default=ContentCipher.AES128_CBC, description="Content cipher of what is sent to the CA."
    )
    key_transport: Transported = Field(
        default=KeyTransport.RSA_V15, description="How the content key is sent to the CA."
    )
    legacy: Annotated[tuple[Legacy, ...], Distinct] = Field(
        default=(), description="Broken algorithms that are accepted in the CA's answers nevertheless, one by one."
    )
    tolerate: Annotated[tuple[Literal["subject", "names", "extensions", "validity", "sha1"], ...], Distinct] = Field(
        default=(),
        description="How a certificate may differ from the request: other subject, other names (which the policy must"
        " allow), extensions that no rule names, not valid now, SHA-1.",
    )
    expect_capabilities: Annotated[tuple[Keyword, ...], Distinct] = Field(
        default=(),
        description="Capabilities that the CA must list; if one is missing that is logged, and nothing is lowered.",
    )
    connect_timeout: Seconds = Field(default=5.0, gt=0, description="How long connecting may take.")
    timeout: Seconds = Field(default=20.0, gt=0, description="How long a whole exchange with the CA may take.")
    answer: Octets = Field(default=1048576, description="Largest answer that is read, in octets.")
    concurrency: Count = Field(
        default=64, description="How many exchanges with the CA one process may have under way at once."
    )
    queue: Queue = Field(
        default_factory=Queue,
        description="How requests wait for the CA, and how it is asked for what could not be answered at once.",
    )
    refresh: Seconds = Field(
        default=3600.0, gt=0, description="How often certificates and capabilities are fetched anew."
    )
    health: Unless = Field(
        default=300.0,
        description="After how long without an answer that was believed the CA is polled for what cannot be there, to"
        " see whether it is well; off: never, for a CA whose answer to such a poll cannot be believed.",
    )
    retry_after: Seconds = Field(
        default=30.0, gt=0, description="When clients are told to come back while it cannot be reached."
    )

    @model_validator(mode="before")
    @classmethod
    def _remember(cls, data: Any, info: ValidationInfo) -> Any:
        """As of every section; then what its kind says of the keys that are left out."""
        data = super()._remember(data, info)  # type: ignore[operator]  # pydantic hands the call on
        return completed(data) if isinstance(data, Mapping) else data

    @property
    def algorithms(self) -> Algorithms:
        """What requests to the CA use."""
        return Algorithms(self.digest, self.cipher, self.key_transport)

    @cached_property
    def floor(self) -> Floor:
        """What the CA's answers may use."""
        return floor_with(self.legacy)
