"""Where the RA's keys and certificates are: named here, read by :mod:`scepra.keys`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from cryptography import x509
from pydantic import AfterValidator, Discriminator, Field, GetJsonSchemaHandler, StrictStr, Tag, model_validator
from pydantic_core import CoreSchema

from scepra.config.secret import SecretFile
from scepra.config.section import Section
from scepra.config.token import KeyInToken
from scepra.config.value import FilePath, Label, Seconds


class KeyFile(Section):
    """A private key: PEM (PKCS#8 or traditional, perhaps encrypted), DER, or PKCS#12."""

    file: FilePath = Field(description="The file of the private key: PEM, DER or PKCS#12.")
    passphrase: SecretFile | None = Field(
        default=None, alias="passphrase-file", description="A file with the passphrase of the key's encryption."
    )

    @property
    def place(self) -> str:
        """Where the key is, for people."""
        return str(self.file)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        """A path alone is a key without a passphrase."""
        return {"file": data} if isinstance(data, str) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def _where(data: Any) -> str:
    """Where a key is. These tags must not be keys: they appear in pydantic's locations."""
    found = "token" in data if isinstance(data, Mapping) else isinstance(data, KeyInToken)
    return "in a token" if found else "in a file"


Key = Annotated[Annotated[KeyFile, Tag("in a file")] | Annotated[KeyInToken, Tag("in a token")], Discriminator(_where)]


class IdentityFiles(Section):
    """A certificate and its key."""

    certificate: FilePath | None = Field(
        default=None,
        description="The file of the certificate, PEM or DER; may be absent where the key's file is PKCS#12.",
    )
    key: Key = Field(
        description="The private key: the path of its file, or file and passphrase-file; or token, and label or id."
    )

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.certificate is None and isinstance(self.key, KeyInToken):
            raise ValueError("a key in a token needs the file of its certificate (certificate)")
        return self


class DualIdentity(IdentityFiles):
    """One certificate that both signs and decrypts."""

    @property
    def signing(self) -> IdentityFiles:
        """What signs answers."""
        return self

    @property
    def encryption(self) -> IdentityFiles:
        """What requests are encrypted to."""
        return self


class SplitIdentity(Section):
    """Two certificates (SEC-03)."""

    signing: IdentityFiles = Field(description="The certificate and key that sign answers.")
    encryption: IdentityFiles = Field(description="The certificate and key that requests are encrypted to.")


def _distinguished(text: str) -> str:
    try:
        named = len(x509.Name.from_rfc4514_string(text)) > 0
    except ValueError:
        named = False
    if not named:
        raise ValueError('expected a distinguished name such as "CN=scepra RA,O=Example"')
    return text


class NewKeys(Section):
    """How the RA makes a key for itself."""

    bits: Literal[2048, 3072, 4096] = Field(default=2048, description="The length of each RSA key, in bits.")
    token: Label | None = Field(
        default=None,
        description="The token in which keys are made, one of those under tokens; without it, they are files.",
    )


class GenerationDirectory(Section):
    """A directory in which the RA keeps certificates and keys of its own, generation after generation: made by
    ``scepra enroll-ra``, renewed by the RA itself."""

    directory: FilePath = Field(description="The directory, which nobody else may read.")
    subject: Annotated[StrictStr, AfterValidator(_distinguished)] = Field(
        description="The name that certificates are asked for, most specific part first: CN=scepra RA,O=Example."
    )
    keys: Literal["split", "dual"] = Field(
        default="split",
        description="Whether one certificate signs and another is encrypted to, or one does both (SEC-03).",
    )
    key: NewKeys = Field(default_factory=NewKeys, description="How each key is made, and where.")
    signing_key: NewKeys | None = Field(
        default=None, description="How the key that signs is made, if not as key says; with split only."
    )
    encryption_key: NewKeys | None = Field(
        default=None, description="How the key that requests are encrypted to is made, if not as key says."
    )
    challenge: SecretFile | None = Field(
        default=None,
        alias="challenge-file",
        description="A file with the challenge that the CA asks for; where it renews by certificate, needed once.",
    )
    upstream: Label | None = Field(
        default=None, description="The upstream that issues the certificates; without it, the profile's."
    )
    renew: Seconds = Field(
        default=2592000.0,
        gt=0,
        description="How long before the end the next generation is enrolled; at most a third of a lifetime.",
    )
    overlap: Seconds = Field(
        default=1209600.0,
        ge=0,
        description="How long a generation still opens requests when the next is served: clients keep what they got.",
    )
    settle: Seconds = Field(
        default=60.0,
        ge=0,
        description="How long after its installation a generation is not served yet, so that every process knows it.",
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.keys == "dual" and (self.signing_key or self.encryption_key):
            raise ValueError("with dual there is one key: expected key in place of signing-key and encryption-key")
        return self

    @property
    def subject_der(self) -> bytes:
        """The name, encoded."""
        return x509.Name.from_rfc4514_string(self.subject).public_bytes()

    @property
    def new_keys(self) -> Mapping[str, NewKeys]:
        """How the key of each certificate is made, by what the certificate is called."""
        if self.keys == "dual":
            return {"dual": self.key}
        return {"signing": self.signing_key or self.key, "encryption": self.encryption_key or self.key}


def _kind(data: Any) -> str:
    if isinstance(data, GenerationDirectory) or (isinstance(data, Mapping) and "directory" in data):
        return "kept"
    if isinstance(data, Mapping):
        return "split" if "signing" in data or "encryption" in data else "dual"
    return "split" if isinstance(data, SplitIdentity) else "dual"


RaIdentity = Annotated[
    Annotated[DualIdentity, Tag("dual")]
    | Annotated[SplitIdentity, Tag("split")]
    | Annotated[GenerationDirectory, Tag("kept")],
    Discriminator(_kind),
]
