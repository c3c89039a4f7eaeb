"""PKCS#11 tokens, in which keys of the RA's may live (security, finding 9)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictStr, model_validator

from scepra.config.secret import SecretFile
from scepra.config.section import Section
from scepra.config.value import FilePath, Label, Seconds, Text

MAXIMUM_ID = 64


def require_pkcs11() -> None:
    """Check that the library for PKCS#11 is there; it is imported where it is first needed.

    Raises:
        ValueError: it is not, and how it is had.
    """
    if find_spec("pkcs11") is None:
        raise ValueError("a token needs python-pkcs11: pip install 'scepra[hsm]'")


def _identifier(text: str) -> str:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if not 0 < len(octets) <= MAXIMUM_ID:
        raise ValueError(f"expected the key's identifier (CKA_ID) in hexadecimal, at most {MAXIMUM_ID} octets")
    return octets.hex()


class KeyInToken(Section):
    """A private key in a PKCS#11 token."""

    token: Label = Field(description="The token that the key is in, one of those under tokens.")
    label: Text | None = Field(default=None, description="The key's label (CKA_LABEL); label, id or both tell it.")
    id: Annotated[StrictStr, AfterValidator(_identifier)] | None = Field(
        default=None, description="The key's identifier (CKA_ID), in hexadecimal."
    )

    @model_validator(mode="after")
    def _named(self) -> KeyInToken:
        if self.label is None and self.id is None:
            raise ValueError("expected label or id, or both")
        return self

    @property
    def place(self) -> str:
        """Where the key is, for people."""
        return f"token {self.token}"


class Token(Section):
    """A PKCS#11 token."""

    module: FilePath = Field(description="The manufacturer's PKCS#11 library, a shared object.")
    token_label: Text | None = Field(default=None, description="The token's label; this, serial or both tell it.")
    serial: Text | None = Field(default=None, description="The token's serial number.")
    pin: SecretFile = Field(alias="pin-file", description="A file with the user's PIN.")
    timeout: Seconds = Field(
        default=5.0, gt=0, description="How long one operation may take before the token counts as gone."
    )
    retry: Seconds = Field(
        default=30.0, gt=0, description="How long at most a token that has gone is left alone between two attempts."
    )

    @model_validator(mode="before")
    @classmethod
    def _library(cls, data: Any) -> Any:
        require_pkcs11()
        return data

    @model_validator(mode="after")
    def _named(self) -> Token:
        if self.token_label is None and self.serial is None:
            raise ValueError("expected token-label or serial, or both")
        return self
