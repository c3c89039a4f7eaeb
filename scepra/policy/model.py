"""The rules of a profile as its file has them: a list of mappings with one key each.

Everything is refused that no rule names (I12). The descriptions become the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    model_validator,
)

from scepra.policy.value import (
    AttributeType,
    Characters,
    Count,
    Day,
    Distinct,
    DomainSID,
    ExtensionType,
    Hours,
    Identifier,
    KeyFingerprint,
    KeyList,
    Listed,
    ListedMappings,
    Network,
    PatternText,
    Purpose,
    RequestAttribute,
    Seconds,
    Suffix,
    Text,
    Zone,
)

PATIENCE = 7 * 86400.0
"""How long a request waits for people where nothing else is said, in seconds."""
LONGEST_WINDOW = 31 * 86400.0
"""Over how long a time new certificates may be counted, in seconds; what has ended is remembered for as long."""


class Spec(BaseModel):
    """A mapping in a rule. Unknown keys are refused; keys are kebab-case in the file and snake_case in Python."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _remember(cls, data: Any, info: ValidationInfo) -> Any:
        """Note for the loader, if it asks, which mapping became which model."""
        sections = getattr(info.context, "sections", None)
        if sections is not None and isinstance(data, Mapping):
            sections.append((data, cls))
        return data


class RSAKey(Spec):
    """RSA keys."""

    min: StrictInt = Field(2048, ge=1024, le=16384, description="Smallest modulus, in bits.")
    max: StrictInt = Field(8192, ge=1024, le=16384, description="Largest modulus, in bits.")
    exponent: StrictInt = Field(65537, ge=3, lt=2**32, description="Smallest public exponent; 3 admits old devices.")

    @model_validator(mode="after")
    def _ordered(self) -> RSAKey:
        if self.min > self.max:
            raise ValueError("min is larger than max")
        return self


class KeySpec(Spec):
    """The keys that may be certified; a kind that is not named is refused."""

    rsa: RSAKey | None = Field(None, description="RSA keys: their sizes; {} stands for 2048 to 8192 bits.")
    ec: Annotated[tuple[Literal["P-256", "P-384", "P-521"], ...], Listed, Distinct] = Field(
        (), description="The curves of elliptic-curve keys."
    )
    ed25519: StrictBool = Field(False, description="Whether Ed25519 keys are accepted.")
    refuse: Annotated[tuple[KeyFingerprint, ...], Listed, Distinct] = Field(
        (),
        description="Keys that are refused, by the SHA-256 of their SubjectPublicKeyInfo: compromised ones, test keys.",
    )
    refuse_file: KeyList = Field(
        default_factory=frozenset,
        description="Files of keys that are refused, one a line: 64 hexadecimal digits are the SHA-256 of a"
        " SubjectPublicKeyInfo, 20 an entry of Debian's openssl-blacklist.",
    )


class NameSpec(Spec):
    """What may stand in a distinguished name."""

    require: Annotated[tuple[AttributeType, ...], Listed, Distinct] = Field(
        (), description="Attribute types that must be there. They may have any text unless match says otherwise."
    )
    allow: Annotated[tuple[AttributeType, ...], Listed, Distinct] = Field(
        (), description="Attribute types that may be there. They may have any text unless match says otherwise."
    )
    match: Mapping[AttributeType, PatternText] = Field(
        default_factory=dict,
        description="Attribute types that may be there, with the pattern that each of their values must match in full.",
    )
    repeat: Annotated[tuple[AttributeType, ...], Listed, Distinct] = Field(
        (), description="Attribute types that may have more than one value, such as OU or DC."
    )
    characters: Characters = Field(
        "", description="Characters that values may have beyond printable ASCII, such as ÄÖÜäöüß."
    )

    @model_validator(mode="after")
    def _repeated_is_named(self) -> NameSpec:
        for name in self.repeat:
            if name not in (*self.require, *self.allow, *self.match):
                raise ValueError(f"{name} stands under repeat but not under require, allow or match")
        return self


class SubjectSpec(NameSpec):
    """The subject; an attribute type that is not named is refused."""

    empty: StrictBool = Field(False, description="Whether the subject may be empty where a subjectAltName is there.")


class DNSSpec(Spec):
    """DNS names."""

    match: PatternText | None = Field(None, description="A pattern that the whole name must match, in any letter case.")
    suffix: Annotated[tuple[Suffix, ...], Listed, Distinct] = Field(
        (),
        description="Domains below which the name must be; corp.example admits a.corp.example, but not itself.",
    )
    wildcard: StrictBool = Field(False, description="Whether the first label may be *.")
    idn: StrictBool = Field(
        False, description="Whether labels may be Punycode (xn--), which can look like other names."
    )
    max: Count = Field(10, description="How many there may be.")

    @model_validator(mode="after")
    def _one_restriction(self) -> DNSSpec:
        if (self.match is None) is (not self.suffix):
            raise ValueError("expected match or suffix, exactly one of them")
        return self


class MailboxSpec(Spec):
    """Mail addresses, or user principal names."""

    match: PatternText | None = Field(
        None, description="A pattern that the whole of it must match; its domain in lower case."
    )
    domains: Annotated[tuple[Suffix, ...], Listed, Distinct] = Field(
        (), description="Domains that it must have behind the @; those below them are others."
    )
    max: Count = Field(10, description="How many there may be.")

    @model_validator(mode="after")
    def _one_restriction(self) -> MailboxSpec:
        if (self.match is None) is (not self.domains):
            raise ValueError("expected match or domains, exactly one of them")
        return self


class URISpec(Spec):
    """URIs."""

    match: PatternText = Field(description="A pattern that the whole URI must match.")
    max: Count = Field(10, description="How many there may be.")


class IPSpec(Spec):
    """IP addresses."""

    networks: Annotated[tuple[Network, ...], Listed, Field(min_length=1)] = Field(
        description="Networks in one of which the address must be."
    )
    max: Count = Field(10, description="How many there may be.")


class DirectorySpec(NameSpec):
    """Directory names."""

    max: Count = Field(1, description="How many there may be.")


class IdentifierSpec(Spec):
    """Names that are known by an object identifier."""

    allow: Annotated[tuple[Identifier, ...], Listed, Field(min_length=1), Distinct] = Field(
        description="The dotted identifiers that may be there; of an otherName its type, whose value is not looked at."
    )
    max: Count = Field(10, description="How many there may be.")


class SANSpec(Spec):
    """The names in subjectAltName; a type that is not named is refused, x400Address and ediPartyName always."""

    dns: DNSSpec | None = Field(None, description="DNS names.")
    email: MailboxSpec | None = Field(None, description="Mail addresses.")
    upn: MailboxSpec | None = Field(None, description="Microsoft user principal names.")
    uri: URISpec | None = Field(None, description="URIs, but for security identifiers: see the rule microsoft.")
    ip: IPSpec | None = Field(None, description="IP addresses.")
    directory: DirectorySpec | None = Field(None, description="Directory names.")
    registered_id: IdentifierSpec | None = Field(None, description="Registered identifiers.")
    other: IdentifierSpec | None = Field(None, description="Other names, by their type.")


class ExtensionsSpec(Spec):
    """The extensions that may be asked for."""

    allow: Annotated[tuple[ExtensionType, ...], Listed, Distinct] = Field(
        (),
        description="Extensions that may be there, by name or dotted identifier. The rules san, eku and key-usage name"
        " theirs, and without these rules every value of theirs is refused.",
    )
    templates: Annotated[tuple[Text, ...], Listed, Distinct] = Field(
        (), description="Names or dotted identifiers of the certificate templates that a request may select."
    )


class AttributesSpec(Spec):
    """The attributes that a request may have beside the challenge and the extensions."""

    allow: Annotated[tuple[RequestAttribute, ...], Listed, Distinct] = Field(
        description="Attributes that may be there, by name or dotted identifier; their values are not looked at."
    )


class EKUSpec(Spec):
    """The purposes that may be asked for in extendedKeyUsage and Microsoft's application policies."""

    allow: Annotated[tuple[Purpose, ...], Listed, Field(min_length=1), Distinct] = Field(
        description="Purposes that may be there, by name or dotted identifier."
    )


class KeyUsageSpec(Spec):
    """The usages that may be asked for in keyUsage; keyCertSign and cRLSign are refused in every profile."""

    allow: Annotated[
        tuple[
            Literal[
                "digitalSignature",
                "nonRepudiation",
                "keyEncipherment",
                "dataEncipherment",
                "keyAgreement",
                "encipherOnly",
                "decipherOnly",
            ],
            ...,
        ],
        Listed,
        Field(min_length=1),
        Distinct,
    ] = Field(description="Usages that may be there.")


class SignatureSpec(Spec):
    """How the request's own signature may be made; without this rule, as the profile accepts signatures at all."""

    digests: Annotated[
        tuple[Literal["SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "MD5"], ...],
        Listed,
        Field(min_length=1),
        Distinct,
    ] = Field(description="The digests that are accepted.")


class SourceSpec(Spec):
    """Where requests may come from; without this rule, from anywhere."""

    networks: Annotated[tuple[Network, ...], Listed, Field(min_length=1)] = Field(
        description="Networks in one of which the client's address must be."
    )


class TimeSpec(Spec):
    """When requests are accepted; without this rule, at any time."""

    days: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Listed, Field(min_length=1), Distinct
    ] = Field(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), description="The days of the week.")
    hours: Hours | None = Field(
        None,
        description="The hours of those days, such as 08:00-18:00; 22:00-06:00 begins on one and ends on the next.",
    )
    zone: Zone = Field("UTC", description="The time zone of days, hours and dates, such as Europe/Berlin.")
    not_before: Day | None = Field(None, description="The first day, such as 2026-01-01.")
    not_after: Day | None = Field(None, description="The last day.")


class InfrastructureSpec(Spec):
    """Names that nobody gets, whatever the other rules allow: of CAs, of domain controllers, of the RA."""

    names: Annotated[tuple[PatternText, ...], Listed, Distinct] = Field(
        (),
        description="Patterns that no attribute of the subject and no name of any type may match, in any letter case;"
        " of addresses with an @, neither part, of URIs, not the host; wildcards must not stand for such a name.",
    )
    addresses: Annotated[tuple[Network, ...], Listed] = Field(
        (), description="Networks that no IP address may be in, and no text that is one."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> InfrastructureSpec:
        if not (self.names or self.addresses):
            raise ValueError("expected names or addresses")
        return self


class MicrosoftSpec(Spec):
    """Security identifiers (KB5014754: the extension, or the URI tag:microsoft.com,2022-09-14:sid:...) and UPNs.

    What stands in both places must be equal, and nobody gets one below 1000 in its domain: Administrator has 500.
    """

    sid: Literal["forbid", "allow", "require", "with-upn"] = Field(
        "forbid",
        description="Whether a request may have a security identifier, must have one, or must have one where it has a"
        " user principal name.",
    )
    domains: Annotated[tuple[DomainSID, ...], Listed, Distinct] = Field(
        (), description="The domains that it must be of, as S-1-5-21- and three numbers; without any, all domains."
    )
    upn_matches_cn: StrictBool = Field(
        False,
        description="Whether a user principal name must be the common name, or have it before the @; in any letter"
        " case.",
    )

    @model_validator(mode="after")
    def _domains_of_something(self) -> MicrosoftSpec:
        if self.domains and self.sid == "forbid":
            raise ValueError("domains are named, but sid is forbid")
        return self


class ValiditySpec(Spec):
    """How long certificates may be valid, which the CA decides; a longer one is not given to anybody."""

    most: Seconds = Field(gt=0, description="The longest validity, such as 398d.")


class LimitSpec(Spec):
    """How many certificates there may be; requests under way count, and what is refused or has expired does not.

    A renewal takes the place of the certificate that it renews: it is neither counted nor refused.
    """

    per: Literal["subject", "device", "challenge", "key", "profile"] = Field(
        description="What is counted by: the same subject, the device that challenges were given to, the same"
        " challenge, the same key, or the whole profile."
    )
    active: Count | None = Field(None, description="How many may be valid or under way at once.")
    new: Count | None = Field(None, description="How many may be enrolled within a time.")
    within: Annotated[Seconds, Field(gt=0, le=LONGEST_WINDOW)] | None = Field(
        None, description="The time that new is about, such as 1h or 1d; 31d at most."
    )
    then: Literal["refuse", "hold"] = Field(
        "refuse", description="Whether what is beyond the limit is refused, or waits until somebody has approved it."
    )

    @model_validator(mode="after")
    def _one_number(self) -> LimitSpec:
        if (self.active is None) is (self.new is None):
            raise ValueError("expected active or new, exactly one of them")
        if (self.new is None) is not (self.within is None):
            raise ValueError("new and within belong together")
        return self


class UniqueSpec(Spec):
    """Of what there is one only, among what is valid or under way."""

    keys: Literal["profile", "all-profiles"] | None = Field(
        None,
        description="Where a public key is certified once only; a renewal that may keep its key is no second time.",
    )
    names: Literal["profile", "all-profiles"] | None = Field(
        None,
        description="Where a name, common name or alternative, belongs to one key, or to one device that challenges"
        " were given to.",
    )
    takeover: Literal["refuse", "hold"] = Field(
        "refuse",
        description="Whether a name that somebody else has is refused, or waits until somebody has approved it.",
    )

    @model_validator(mode="after")
    def _not_empty(self) -> UniqueSpec:
        if self.keys is None and self.names is None:
            raise ValueError("expected keys or names")
        if self.takeover == "hold" and self.names is None:
            raise ValueError("takeover is about names")
        return self


class WhenSpec(Spec):
    """Which requests are meant: those that meet every condition that is given; without any, all of them.

    Patterns match in any letter case here, so that spelling a name otherwise does not lead past people.
    """

    subject: Annotated[Mapping[AttributeType, PatternText], Field(min_length=1)] | None = Field(
        None,
        description="Attribute types of the subject, with the pattern that a value of each must match, in any letter"
        " case.",
    )
    dns: PatternText | None = Field(None, description="A pattern that a DNS name must match, in any letter case.")
    email: PatternText | None = Field(None, description="A pattern that a mail address must match, in any letter case.")
    upn: PatternText | None = Field(
        None, description="A pattern that a user principal name must match, in any letter case."
    )
    uri: PatternText | None = Field(None, description="A pattern that a URI must match, in any letter case.")
    credential: Literal["initial", "renewal", "device", "on-behalf"] | None = Field(
        None,
        description="How the request is authorised: by a challenge, by the certificate that it renews, by the device's"
        " certificate from its manufacturer, or by an agent.",
    )
    source: Annotated[tuple[Network, ...], Listed, Field(min_length=1)] | None = Field(
        None, description="Networks in one of which the client's address must be."
    )


class HoldSpec(Spec):
    """The requests that wait for people, if nothing else is wrong with them."""

    when: WhenSpec = Field(
        default_factory=lambda: WhenSpec.model_validate({}),
        description="Conditions that a request must all meet to be held; without any, every request is held.",
    )
    approvals: StrictInt = Field(1, ge=1, le=2, description="How many different people must approve: 1 or 2.")
    expires: Seconds = Field(PATIENCE, gt=0, description="How long a request may wait for them before it is refused.")


class PolicyRule(Spec):
    """One rule: a mapping with exactly one of the keys that name rules, and perhaps its severity."""

    key: KeySpec | None = Field(None, description="The keys that may be certified.")
    subject: SubjectSpec | None = Field(None, description="What may stand in the subject.")
    san: SANSpec | None = Field(None, description="What may stand in subjectAltName.")
    extensions: ExtensionsSpec | None = Field(None, description="The extensions that may be asked for.")
    attributes: AttributesSpec | None = Field(None, description="The other attributes that a request may have.")
    eku: EKUSpec | None = Field(None, description="The purposes that may be asked for.")
    key_usage: KeyUsageSpec | None = Field(None, description="The key usages that may be asked for.")
    signature: SignatureSpec | None = Field(None, description="How the request's own signature may be made.")
    source: SourceSpec | None = Field(None, description="Where requests may come from.")
    time: TimeSpec | None = Field(None, description="When requests are accepted.")
    infrastructure: InfrastructureSpec | None = Field(None, description="Names that nobody gets.")
    microsoft: MicrosoftSpec | None = Field(None, description="Security identifiers and user principal names.")
    validity: ValiditySpec | None = Field(None, description="How long certificates may be valid.")
    limit: Annotated[tuple[LimitSpec, ...], ListedMappings, Field(min_length=1)] | None = Field(
        None, description="How many certificates there may be: one limit, or a list of them."
    )
    unique: UniqueSpec | None = Field(None, description="Of what there is one only.")
    hold: HoldSpec | None = Field(None, description="Which requests wait until people have approved them.")

    severity: Literal["enforce", "report"] = Field(
        "enforce",
        description="Whether what the rule objects to is refused, or only reported in the audit record; what is"
        " malformed, and powers that no rule names, are refused all the same.",
    )

    @model_validator(mode="after")
    def _one_key(self) -> PolicyRule:
        kinds = self.model_fields_set - {"severity"}
        if len(kinds) != 1 or getattr(self, self.kind) is None:
            names = ", ".join(name.replace("_", "-") for name in type(self).model_fields if name != "severity")
            raise ValueError(f"expected a mapping with exactly one of the keys {names}, and perhaps severity")
        return self

    @property
    def patience(self) -> float | None:
        """How long a request may wait for people because of it, in seconds; None where none does."""
        counted = any(each.then == "hold" for each in self.limit or ()) or (
            self.unique is not None and self.unique.takeover == "hold"
        )
        if self.severity == "report" or not (counted or self.hold is not None):
            return None
        return PATIENCE if self.hold is None else self.hold.expires

    @property
    def kind(self) -> str:
        """Which rule it is."""
        return next(iter(self.model_fields_set - {"severity"}))


def one_of_each(rules: tuple[PolicyRule, ...]) -> tuple[PolicyRule, ...]:
    """The rules, if there is at most one of each kind.

    Raises:
        ValueError: there are two.
    """
    kinds = [rule.kind for rule in rules]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f"more than one rule of the kind {kind.replace('_', '-')}; put them together")
    return rules


Policy = Annotated[tuple[PolicyRule, ...], AfterValidator(one_of_each)]
"""The rules of one profile: at most one of each kind, in any order; together they all must hold."""
