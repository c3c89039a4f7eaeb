"""Where lists of revoked certificates come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scepra.config.section import Section
from scepra.config.value import Distinct, DocumentUrl, FilePath, Listed, Octets, Seconds
from scepra.scep.algorithm import Digest


class RevocationLists(Section):
    """The revocation lists (CRLs) of the CAs that are trusted: one for each of them."""

    urls: Annotated[tuple[DocumentUrl, ...], Distinct, Listed] = Field(
        default=(), description="Where lists are fetched; no address in a certificate is ever looked at."
    )
    files: Annotated[tuple[FilePath, ...], Distinct, Listed] = Field(
        default=(), description="Files with a list each, PEM or DER, read again when they change."
    )
    refresh: Seconds = Field(
        default=3600.0, gt=0, description="How often they are fetched anew; sooner if one ends before."
    )
    unknown: Literal["refuse", "retry", "allow"] = Field(
        default="refuse",
        description="What becomes of a request while there is no good list for its certificate: it is refused, told to"
        " come again (503), or let through as if nothing were revoked.",
    )
    sha1: Literal["refuse", "allow"] = Field(default="refuse", description="Whether a list may be signed with SHA-1.")
    size: Octets = Field(default=67108864, description="Largest list that is read, in octets.")
    timeout: Seconds = Field(default=10.0, gt=0, description="How long fetching a list may take.")

    @model_validator(mode="after")
    def _somewhere(self) -> RevocationLists:
        if not (self.urls or self.files):
            raise ValueError("expected urls or files, or both")
        return self

    @property
    def digests(self) -> frozenset[Digest]:
        """Those that may have signed a list."""
        return frozenset(Digest) - {Digest.MD5} - (set() if self.sha1 == "allow" else {Digest.SHA1})
