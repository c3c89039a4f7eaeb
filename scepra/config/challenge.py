"""Challenges: what an initial enrolment is authorised by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scepra.config.secret import InlineSecret, Secret, SecretEnvironment, SecretFile
from scepra.config.section import Section
from scepra.config.value import Count, Distinct, Listed, Seconds


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
    bind: Annotated[
        tuple[
            Literal["common-name", "serial-number", "dns", "email", "upn", "uri", "ip", "sid", "key-usage", "device"],
            ...,
        ],
        Distinct,
        Listed,
    ] = Field(default=(), description="What whoever mints a challenge must say of whom it is for.")


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


SingleChallenge = Annotated[StaticChallenge | MintedChallenge, Field(discriminator="type")]
Challenge = Annotated[StaticChallenge | NoChallenge | MintedChallenge | AnyOf | AllOf, Field(discriminator="type")]


def singles(challenge: Challenge) -> tuple[SingleChallenge | NoChallenge, ...]:
    """The kinds of challenge that a profile's consists of, each by itself."""
    return challenge.providers if isinstance(challenge, AnyOf | AllOf) else (challenge,)
