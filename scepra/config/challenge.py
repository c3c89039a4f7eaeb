"""Challenges: what an initial enrolment is authorised by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import AfterValidator, Field, StrictStr, model_validator

from scepra.config.revocation import RevocationLists
from scepra.config.secret import InlineSecret, Secret, SecretEnvironment, SecretFile
from scepra.config.section import Section
from scepra.config.service import DirectoryChallenge, IntuneChallenge, WebhookChallenge
from scepra.config.strength import strength
from scepra.config.value import Count, Distinct, FilePath, Flag, Listed, Seconds, Text, Url
from scepra.config.verification import PublicKeyFile, require_joserfc
from scepra.manufacturer import PLACE
from scepra.policy.value import AttributeType, PatternText

SHORTEST, STRONG, SMALLEST = 32, 100, 2048
"""Octets and bits that a secret for HS256 has at least, and bits that an RSA key has."""


def _name_form(text: str) -> str:
    if text.count(PLACE) != 1 or not text.isprintable() or len(text) > 200 or text.strip() != text:
        raise ValueError(f"expected a name in which {PLACE} stands once for the serial number")
    return text


NameForm = Annotated[StrictStr, AfterValidator(_name_form)]
Bind = Annotated[
    tuple[
        Literal["common-name", "serial-number", "dns", "email", "upn", "uri", "ip", "sid", "key-usage", "device"],
        ...,
    ],
    Distinct,
    Listed,
]


class StaticChallenge(Section):
    """One password that all devices of the profile share."""

    type: Literal["static"] = Field(description="What kind of challenge the profile asks for.")
    file: SecretFile | None = Field(
        default=None, description="A file with the password; a line end after it is no part of it."
    )
    environment: SecretEnvironment | None = Field(
        default=None, description="The environment variable that holds the password."
    )
    insecure_inline: InlineSecret | None = Field(
        default=None, description="The password itself, for trials: whoever reads this file knows it."
    )

    @model_validator(mode="after")
    def _one_source(self) -> StaticChallenge:
        if sum(source is not None for source in (self.file, self.environment, self.insecure_inline)) != 1:
            raise ValueError("a static challenge has exactly one of file, environment and insecure-inline")
        return self

    @property
    def secret(self) -> Secret:
        """The password, from wherever it is."""
        secret = self.file or self.environment or self.insecure_inline
        assert secret is not None  # noqa: S101 - checked when the section was read
        return secret


class NoChallenge(Section):
    """Nothing is asked for: whoever reaches the profile enrols, as far as the policy lets them."""

    type: Literal["none"] = Field(description="What kind of challenge the profile asks for.")
    anyone_may_enrol_without_a_challenge: Literal[True] = Field(
        description="Must be true: the policy and the network are all that stands between anyone and a certificate."
    )


class MintedChallenge(Section):
    """Challenges that the RA gives out itself, each for somebody (``scepra challenge mint``, or the administration)."""

    type: Literal["minted"] = Field(description="What kind of challenge the profile asks for.")
    lifetime: Seconds = Field(
        default=3600.0, gt=0, description="How long a challenge is good, unless whoever mints it says otherwise."
    )
    longest: Seconds = Field(default=2592000.0, gt=0, description="The longest lifetime that may be asked for.")
    most_uses: Annotated[Count, Field(le=1000)] = Field(
        default=1, description="For how many keys a challenge may be made good at most."
    )
    outstanding: Count = Field(default=10000, description="How many challenges of the profile may be good at once.")
    bind: Bind = Field(default=(), description="What whoever mints a challenge must say of whom it is for.")


class NdesChallenge(Section):
    """One-time passwords that NDES makes: the RA draws them from its administration page, gives each to somebody, and
    passes it on (RA-11)."""

    type: Literal["ndes"] = Field(description="What kind of challenge the profile asks for.")
    url: Url = Field(description="NDES's administration page, such as https://ndes.example/certsrv/mscep_admin/.")
    user: Text = Field(description="The account that may see it: DOMAIN\\user or user@domain, with Enroll permission.")
    password_file: SecretFile = Field(description="A file with the account's password.")
    authentication: Literal["ntlm", "negotiate", "basic"] = Field(
        default="ntlm", description="How the account shows itself; basic only over https."
    )
    trust: FilePath | None = Field(
        default=None,
        description="A file with the certificates that NDES's TLS certificate must be one of, or chain to; without it,"
        " whom the system trusts.",
    )
    credentials_may_travel_without_tls: Flag = Field(
        default=False, description="Whether the url may be http: whoever is on the way can then misuse the account."
    )
    timeout: Seconds = Field(default=20.0, gt=0, description="How long fetching a password may take as a whole.")
    pool: Annotated[Count, Field(le=5)] = Field(
        default=2, description="How many passwords are kept ready for those who will ask for one."
    )
    cache: Count = Field(
        default=5, description="How many unused passwords NDES keeps (its PasswordMax): no more are drawn."
    )
    margin: Seconds = Field(
        default=180.0, ge=0, le=3600, description="How long before NDES forgets a password it counts as expired here."
    )
    remaining: Seconds = Field(
        default=1200.0, gt=0, description="How long a password is still good at least when it is handed out."
    )
    bind: Bind = Field(default=(), description="What whoever asks for a password must say of whom it is for.")

    @property
    def broker(self) -> str:
        """What draws them, in records and in the store: the same for all profiles in front of one NDES."""
        return f"ndes {urlsplit(self.url).netloc.lower()}"[:64]


class SerialMapping(Section):
    """The serial number of a device, in its manufacturer's certificate and in the names that it may ask for."""

    attribute: AttributeType = Field(
        default="serialNumber", description="The attribute of the certificate's subject that has it; just one."
    )
    after: Annotated[StrictStr, Field(max_length=64)] = Field(
        default="", description="What stands before it there, such as SN: in PID:C9300 SN:FOC1234."
    )
    common_name: NameForm | None = Field(default=None, description="The common name that it gives.")
    serial_number: NameForm | None = Field(default=None, description="The serialNumber of the subject that it gives.")
    dns: Annotated[tuple[NameForm, ...], Distinct, Listed] = Field(
        default=(), description="The DNS names that it gives."
    )
    upn: Annotated[tuple[NameForm, ...], Distinct, Listed] = Field(
        default=(), description="The user principal names that it gives."
    )
    uri: Annotated[tuple[NameForm, ...], Distinct, Listed] = Field(default=(), description="The URIs that it gives.")

    @model_validator(mode="after")
    def _some_name(self) -> SerialMapping:
        if not self.names:
            raise ValueError("expected at least one of common-name, serial-number, dns, upn and uri")
        return self

    @property
    def names(self) -> Mapping[str, str | tuple[str, ...]]:
        """The names that it gives, by the parts of a binding."""
        found = {name: getattr(self, name) for name in ("common_name", "serial_number", "dns", "upn", "uri")}
        return {name: value for name, value in found.items() if value}


class CertificateChallenge(Section):
    """The certificate that a device's manufacturer gave it signs the request, in place of a self-signed one."""

    type: Literal["certificate"] = Field(description="What kind of challenge the profile asks for.")
    anchors: Annotated[tuple[FilePath, ...], Field(min_length=1), Listed] = Field(
        description="Files with the manufacturers' CA certificates; no others are trusted."
    )
    subject: Mapping[AttributeType, PatternText] = Field(
        default_factory=dict,
        description="Attributes that the certificate's subject must have, with the pattern that each of their values"
        " must match in full.",
    )
    serial: SerialMapping | None = Field(
        default=None,
        description="Which names its serial number gives; without it, every such device may ask for every name that the"
        " policy lets through.",
    )
    keys: Annotated[Count, Field(le=1000)] = Field(
        default=1,
        description="For how many different keys one such certificate may enrol its device, as long as challenges are"
        " kept (store: retention).",
    )
    sha1: Literal["refuse", "allow"] = Field(
        default="refuse", description="Whether the certificate, or the message, may be signed with SHA-1."
    )
    crl: RevocationLists | None = Field(
        default=None, description="The lists of what the manufacturers have revoked; without it, nothing is."
    )


class SignedKey(Section):
    """A key that tokens are signed with; a token names it by its ``kid``."""

    id: Text | None = Field(
        default=None, description="The kid that tokens name it by; may be left out where there is one key only."
    )
    algorithm: Literal["HS256", "ES256", "RS256"] = Field(description="The only algorithm that it is good for.")
    secret_file: SecretFile | None = Field(
        default=None, description="HS256: a file with the secret, one line whose octets are the key."
    )
    public_key: PublicKeyFile | None = Field(
        default=None, description="ES256, RS256: a file with the public key, as PEM or as one JWK."
    )

    @model_validator(mode="after")
    def _fits(self) -> SignedKey:
        key = self.public_key
        if (self.secret_file is not None, key is not None) != (self.algorithm == "HS256", self.algorithm != "HS256"):
            raise ValueError("HS256 has a secret-file, ES256 and RS256 have a public-key, and nothing else")
        if self.secret_file is not None:
            secret = self.secret_file.reveal()
            if len(secret) < SHORTEST or strength(secret.decode()) < STRONG:
                raise ValueError(
                    f"the secret can be guessed: HS256 needs {SHORTEST} random octets or more (RFC 7518, 3.2)"
                )
        if self.algorithm == "ES256" and not (
            isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            raise ValueError("ES256 needs a key on the curve P-256")
        if self.algorithm == "RS256" and not (isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST):
            raise ValueError(f"RS256 needs an RSA key of {SMALLEST} bits or more")
        return self


class SignedChallenge(Section):
    """Tokens that somebody else signs, each for somebody and for one key (a compact JWS; RFC 7515, RFC 7519)."""

    type: Literal["signed"] = Field(description="What kind of challenge the profile asks for.")
    issuer: Text = Field(description="What a token's iss must be.")
    audience: Text = Field(description="What a token's aud must be, or have in it.")
    keys: Annotated[tuple[SignedKey, ...], Field(min_length=1)] = Field(description="Whose signatures are believed.")
    longest: Seconds = Field(default=86400.0, gt=0, description="The longest lifetime that a token may have.")
    skew: Seconds = Field(default=60.0, ge=0, description="How far the signer's clock may be off.")
    bind: Bind = Field(default=(), description="What a token must say of whom it is for.")
    unbound: Literal["refuse", "allow"] = Field(
        default="refuse", description="Whether a token may name nobody, and so be good for every name."
    )

    @model_validator(mode="after")
    def _distinct(self) -> SignedChallenge:
        require_joserfc()
        names = [key.id for key in self.keys]
        if len(names) > 1 and (None in names or len(set(names)) < len(names)):
            raise ValueError("where there are several keys, each has an id of its own")
        return self


class AnyOf(Section):
    """Several kinds of challenge: good is what one of them accepts; what one knows and refuses, no other makes good."""

    type: Literal["any-of"] = Field(description="What kind of challenge the profile asks for.")
    providers: Annotated[tuple[SingleChallenge, ...], Field(min_length=2)] = Field(
        description="The kinds of challenge, in the order in which they are asked."
    )


class AllOf(Section):
    """Several kinds of challenge that must all accept the request."""

    type: Literal["all-of"] = Field(description="What kind of challenge the profile asks for.")
    providers: Annotated[tuple[SingleChallenge, ...], Field(min_length=2)] = Field(
        description="The kinds of challenge, in the order in which they are asked."
    )


SingleChallenge = Annotated[
    StaticChallenge
    | MintedChallenge
    | NdesChallenge
    | CertificateChallenge
    | SignedChallenge
    | WebhookChallenge
    | IntuneChallenge
    | DirectoryChallenge,
    Field(discriminator="type"),
]
Challenge = Annotated[
    StaticChallenge
    | NoChallenge
    | MintedChallenge
    | NdesChallenge
    | CertificateChallenge
    | SignedChallenge
    | WebhookChallenge
    | IntuneChallenge
    | DirectoryChallenge
    | AnyOf
    | AllOf,
    Field(discriminator="type"),
]


def singles(challenge: Challenge) -> tuple[SingleChallenge | NoChallenge, ...]:
    """The kinds of challenge that a profile's consists of, each by itself."""
    return challenge.providers if isinstance(challenge, AnyOf | AllOf) else (challenge,)
