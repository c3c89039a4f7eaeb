"""Profiles: what clients see at a path, who may enrol there and for what."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from scepra.config.challenge import Challenge
from scepra.config.identity import GenerationDirectory, RaIdentity
from scepra.config.legacy import Legacy, floor_with
from scepra.config.pin import Pin
from scepra.config.queries import Queries
from scepra.config.revocation import RevocationLists
from scepra.config.section import Section
from scepra.config.value import Count, Distinct, FilePath, Flag, Label, Listed, Octets, Seconds, Text
from scepra.policy.model import Policy, WhenSpec
from scepra.policy.value import KeyFingerprint
from scepra.scep.algorithm import Digest, Floor


class Renewal(Section):
    """How certificates are renewed by their own keys (RFC 8894, 2.3; MSG-31)."""

    trust: Annotated[tuple[FilePath, ...], Field(min_length=1), Listed] = Field(
        description="Files with the CA certificates that a renewing client's certificate must chain to."
    )
    window: Seconds = Field(
        default=2592000.0, gt=0, description="How long before its end a certificate may be renewed."
    )
    grace: Seconds = Field(default=0.0, ge=0, description="How long after its end a certificate may still be renewed.")
    names: Literal["same", "same-or-fewer"] = Field(
        default="same-or-fewer", description="What names the new certificate may have, compared with the old one."
    )
    same_key: Literal["refuse", "allow"] = Field(
        default="refuse", description="Whether the new certificate may keep the old key."
    )
    sha1: Literal["refuse", "allow"] = Field(
        default="refuse", description="Whether the chain of the old certificate may be signed with SHA-1."
    )
    profiles: Annotated[tuple[Label, ...], Distinct, Listed] = Field(
        default=(), description="Other profiles whose certificates are renewed here too, beside this one's."
    )
    outside: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="Whether certificates of these CAs are renewed too that the RA never issued, or has forgotten.",
    )
    renewals_per_certificate: Annotated[Count, Field(le=1000)] = Field(
        default=1, description="For how many different new keys one certificate may be renewed."
    )
    crl: RevocationLists | None = Field(
        default=None,
        description="The lists of what these CAs have revoked; without it, whatever they have issued and has not ended"
        " counts.",
    )


class OnBehalf(Section):
    """Agents, who may enrol others: their signature takes the place of a challenge. Each of them is listed."""

    certificates: Annotated[tuple[Pin, ...], Distinct, Listed] = Field(
        default=(), description="Agents' certificates: sha256:HEX of the whole certificate, or file:PATH of it."
    )
    keys: Annotated[tuple[KeyFingerprint, ...], Distinct, Listed] = Field(
        default=(),
        description="Agents' keys, by the SHA-256 of their SubjectPublicKeyInfo: whatever certificate they come with.",
    )

    @model_validator(mode="after")
    def _somebody(self) -> OnBehalf:
        if not (self.certificates or self.keys):
            raise ValueError("expected certificates or keys, or both")
        return self


class OfferedCapabilities(Section):
    """What is accepted, and therefore listed in GetCACaps (CAPS-03). The rest of the list follows from the profile."""

    post: Flag = Field(default=True, description="List POST (POSTPKIOperation); what comes by POST is answered anyway.")
    des3: Flag = Field(default=True, description="Accept and list triple DES (DES3).")
    sha1: Flag = Field(default=True, description="Accept and list SHA-1.")
    sha256: Flag = Field(
        default=True, description="Accept and list SHA-256; without it SCEPStandard is not listed either."
    )
    sha384: Flag = Field(
        default=True, description="Accept and list SHA-384: strongSwan uses AES only where it is listed."
    )
    sha512: Flag = Field(default=True, description="Accept and list SHA-512.")

    @property
    def refused_digests(self) -> frozenset[Digest]:
        """The digests that are switched off."""
        accepted = {
            Digest.SHA1: self.sha1,
            Digest.SHA256: self.sha256,
            Digest.SHA384: self.sha384,
            Digest.SHA512: self.sha512,
        }
        return frozenset(digest for digest, on in accepted.items() if not on)


class CACertificates(Section):
    """Which CA certificates GetCACert holds besides the RA's and the issuing CA's (CERT-02, CERT-09)."""

    intermediates: Flag = Field(default=True, description="Whether CAs between the issuing CA and the root are served.")
    root: Flag = Field(
        default=False,
        description="Whether the root is served, if it is pinned: some clients need it, some misbehave.",
    )


class Reply(Section):
    """How answers are made."""

    certificates: Literal["none", "issuer", "chain"] = Field(
        default="none",
        description="What comes with an issued certificate: Cisco VPN clients need the issuer, Juniper forbids it.",
    )
    empty_content: Literal["present", "absent"] = Field(
        default="present",
        description="Whether refusals carry empty content or none; certmonger and PyScep need it present.",
    )


class Held(Section):
    """How much may wait for people at once; what is more gets 429 (AC-061)."""

    requests: Count = Field(default=10000, description="How many requests of the profile may be held.")
    per_address: Count = Field(
        default=1000, description="How many of them from one address; of IPv6, see rates: ipv6-prefix."
    )
    octets: Octets = Field(default=67108864, description="How many octets they may have together.")


Upstreams = Annotated[tuple[Label, ...], Field(min_length=1), Distinct, Listed]


class UpstreamRoute(Section):
    """Requests that go to CAs of their own: those that meet every condition."""

    when: WhenSpec = Field(
        description="Conditions that a request must all meet, as those of the rule hold; names in any letter case."
    )
    upstream: Upstreams = Field(description="The upstream that issues for them; or several that are equal.")


class Profile(Section):
    """One face of the RA."""

    paths: Annotated[tuple[Text, ...], Field(min_length=1), Distinct, Listed] = Field(
        description="The URL paths it is served at; case, doubled slashes and a final pkiclient.exe do not matter."
    )
    ca_identifiers: Annotated[tuple[Text, ...], Distinct, Listed] = Field(
        default=(), description="CA identifiers (the message of GetCACert and GetCACaps) that mean this profile."
    )
    upstream: Upstreams = Field(
        description="The upstream that issues its certificates; or several that are equal, in order of preference."
    )
    balance: Literal["in-order", "evenly"] = Field(
        default="in-order",
        description="Which of several equal upstreams a new request goes to: the first that can be asked now, or each"
        " in turn.",
    )
    routes: tuple[UpstreamRoute, ...] = Field(
        default=(), description="Requests that go elsewhere: the first of these counts whose conditions are met."
    )
    ra: RaIdentity = Field(
        description="The RA's certificate and key, or those for signing and for encryption apart, or a directory of"
        " its own."
    )
    challenge: Challenge = Field(description="What an initial enrolment is authorised by.")
    renewal: Renewal | None = Field(default=None, description="How certificates are renewed; without it they are not.")
    on_behalf: OnBehalf | None = Field(default=None, description="Who may enrol others; without it, nobody may.")
    capabilities: OfferedCapabilities = Field(
        default_factory=OfferedCapabilities, description="What is accepted from clients and listed in GetCACaps."
    )
    ca_certificates: CACertificates = Field(
        default_factory=CACertificates, description="Which CA certificates GetCACert holds."
    )
    reply: Reply = Field(default_factory=Reply, description="How answers are made.")
    queries: Queries | None = Field(
        default=None, description="What GetCert and GetCRL are answered with; without it both are refused."
    )
    polling: Flag = Field(
        default=True,
        description="Whether its clients can poll: what cannot be answered at once is PENDING to them; to others, 503"
        " with Retry-After.",
    )
    policy: Policy = Field(default=(), description="The rules that every request must satisfy.")
    held: Held = Field(default_factory=Held, description="How much of what the policy holds back may wait at once.")
    observe: Flag = Field(
        default=False,
        description="Record what the policy objects to instead of refusing it, to learn from; whoever has the"
        " credential gets what it asks for.",
    )
    shadow: FilePath | None = Field(
        default=None,
        description="A file with a second policy that every request is judged by as well: differences are logged and"
        " recorded, and nothing of it is enforced.",
    )
    legacy: Annotated[tuple[Legacy, ...], Distinct] = Field(
        default=(), description="Broken algorithms that are accepted from clients nevertheless, one by one."
    )

    @property
    def upstream_groups(self) -> tuple[tuple[str, ...], ...]:
        """The names of all upstreams, those that are equal together: of the routes, and then of all other requests."""
        return (*(route.upstream for route in self.routes), self.upstream)

    @cached_property
    def upstream_names(self) -> tuple[str, ...]:
        """The names of all upstreams that a request may go to, each once, the most usual first."""
        return tuple(dict.fromkeys([*self.upstream, *(name for group in self.upstream_groups for name in group)]))

    @property
    def certifier(self) -> str:
        """The upstream that issues the RA's own certificates, where it enrols them itself."""
        own = self.ra.upstream if isinstance(self.ra, GenerationDirectory) else None
        return own if own is not None else self.upstream[0]

    @cached_property
    def floor(self) -> Floor:
        """What clients' messages may use: the digests and ciphers that are not switched off, and the legacy named."""
        return floor_with(self.legacy, self.capabilities.refused_digests, des3=self.capabilities.des3)
