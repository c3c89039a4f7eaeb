"""What is answered besides enrolments: GetCert and GetCRL (RFC 8894, 3.3.4 and 3.3.5; MSG-50 to MSG-52)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictStr

from scepra.config.listurl import is_directory, parse_list_url
from scepra.config.revocation import ServedLists
from scepra.config.section import Section
from scepra.config.value import Flag, document_url

LONGEST_LOCATION = 200
"""How many characters of an address a client can be told: failInfoText has 256 (RFC 8894, 3.2.1.4.1)."""


def _location(text: str) -> str:
    if len(text) > LONGEST_LOCATION:
        raise ValueError(f"expected at most {LONGEST_LOCATION} characters, which is what an answer has place for")
    if not is_directory(text):
        return document_url(text, "expected an http, https, ldap or ldaps URL")
    parse_list_url(text)
    return text


class Queries(Section):
    """What a profile tells the holders of its own certificates. Nobody else is told anything (AC-059)."""

    get_cert: Literal["off", "own"] = Field(
        default="off", description="Whether they may fetch certificates: those of the very key that asks, and no other."
    )
    crl: ServedLists | None = Field(
        default=None, description="The lists that they may fetch (GetCRL), served from a cache of the RA's own."
    )
    location: Annotated[StrictStr, AfterValidator(_location)] | None = Field(
        default=None,
        description="Where the list is to be fetched instead: its address is told in the text of a refusal, since SCEP"
        " has no other place for it.",
    )
    forward: Flag = Field(
        default=False,
        description="Whether what the RA cannot answer itself is asked of the upstream, which sees nobody but the RA"
        " ask.",
    )

    @property
    def certificates(self) -> bool:
        """Whether GetCert is answered."""
        return self.get_cert == "own"

    @property
    def lists(self) -> bool:
        """Whether GetCRL is answered."""
        return self.crl is not None or self.location is not None or self.forward
