"""Where lists of revoked certificates come from."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictStr, model_validator

from scepra.config.listurl import is_directory, parse_list_url
from scepra.config.section import Section
from scepra.config.value import Distinct, FilePath, Listed, Octets, Seconds, document_url
from scepra.scep.algorithm import Digest


def _place(text: str) -> str:
    if not is_directory(text):
        return document_url(text, "expected an http, https, ldap or ldaps URL")
    parse_list_url(text)
    if find_spec("ldap3") is None:
        raise ValueError("lists in directories need the extra: pip install 'scepra[ldap]'")
    return text


Place = Annotated[StrictStr, AfterValidator(_place)]


class ListSources(Section):
    """Revocation lists (CRLs) of some CAs: one for each of them."""

    urls: Annotated[tuple[Place, ...], Distinct, Listed] = Field(
        default=(),
        description="Where lists are fetched: by http, https, ldap or ldaps; no address in a certificate is ever looked"
        " at.",
    )
    files: Annotated[tuple[FilePath, ...], Distinct, Listed] = Field(
        default=(), description="Files with a list each, PEM or DER, read again when they change."
    )
    refresh: Seconds = Field(
        default=3600.0, gt=0, description="How often they are fetched anew; sooner if one ends before."
    )
    sha1: Literal["refuse", "allow"] = Field(default="refuse", description="Whether a list may be signed with SHA-1.")
    size: Octets = Field(default=67108864, description="Largest list that is read, in octets.")
    timeout: Seconds = Field(default=10.0, gt=0, description="How long fetching a list may take.")

    @model_validator(mode="after")
    def _somewhere(self) -> ListSources:
        if not (self.urls or self.files):
            raise ValueError("expected urls or files, or both")
        return self

    @property
    def digests(self) -> frozenset[Digest]:
        """Those that may have signed a list."""
        return frozenset(Digest) - {Digest.MD5} - (set() if self.sha1 == "allow" else {Digest.SHA1})


class RevocationLists(ListSources):
    """The revocation lists (CRLs) of the CAs that are trusted: one for each of them."""

    unknown: Literal["refuse", "retry", "allow"] = Field(
        default="refuse",
        description="What becomes of a request while there is no good list for its certificate: it is refused, told to"
        " come again (503), or let through as if nothing were revoked.",
    )


class ServedLists(ListSources):
    """The revocation lists that GetCRL is answered with."""

    trust: Annotated[tuple[FilePath, ...], Field(min_length=1), Listed] = Field(
        description="Files with the certificates of the CAs whose lists these are."
    )
    size: Octets = Field(
        default=1048576, description="Largest list that is read, and sent to whoever may ask, in octets."
    )
