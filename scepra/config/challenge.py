"""Challenges: what an initial enrolment is authorised by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scepra.config.secret import InlineSecret, Secret, SecretEnvironment, SecretFile
from scepra.config.section import Section


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


Challenge = Annotated[StaticChallenge | NoChallenge, Field(discriminator="type")]
