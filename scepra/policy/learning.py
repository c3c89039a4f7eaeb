"""A policy proposed from requests that were seen: what occurs in them is allowed, and little else.

:class:`Learner` is shown requests one by one and keeps counts, never the requests; its memory is bounded. Its proposal
approves every request that it was shown and did not turn down: :meth:`Learner.add` turns down what no policy approves.
Nothing here looks at a challenge.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scepra.enrolment import Violation
from scepra.errors import Malformed
from scepra.policy.alternative import is_sid_uri, normal_address, unmapped
from scepra.policy.decision import build, decide
from scepra.policy.extension import purposes_of
from scepra.policy.generalisation import MEMBERS, Generalised, Texts, counted
from scepra.policy.microsoft import identifiers
from scepra.policy.model import Policy, PolicyRule
from scepra.policy.networks import Addresses, AddressNetwork
from scepra.policy.openness import openness
from scepra.policy.register import (
    ALWAYS_ALLOWED_ATTRIBUTES,
    ATTRIBUTES,
    CA_EXTENSIONS,
    EXTENSIONS,
    PURPOSES,
    SECURITY_IDENTIFIER,
    TEMPLATE_SELECTORS,
)
from scepra.policy.rule import Contents, Request
from scepra.policy.rule import Rules as Built
from scepra.scep import der, oid
from scepra.scep.name import GeneralName, Name

Path = tuple[str | int, ...]
Rules = list[dict[str, Any]]

_MOST_DOMAINS = 16
_DOMAINS_KEPT = 1000
_JUDGED = frozenset((oid.SUBJECT_ALT_NAME, oid.EXTENDED_KEY_USAGE, oid.KEY_USAGE))
_CA_USAGES = frozenset(("keyCertSign", "cRLSign"))
_POLICY: TypeAdapter[tuple[PolicyRule, ...]] = TypeAdapter(Policy)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed policy, as its file has it.

    ``remarks`` stand before what is at their path (keys as in the file, positions from 0): where it comes from and, in
    capitals, what somebody has to look at.
    """

    rules: Rules
    remarks: Mapping[Path, tuple[str, ...]]


@dataclass(slots=True)
class _NameFacts:
    """What stood in distinguished names of one kind."""

    count: int = 0
    types: Counter[str] = field(default_factory=Counter)
    texts: dict[str, Texts] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    characters: set[str] = field(default_factory=set)

    def add(self, name: Name) -> None:
        self.count += 1
        here = Counter(value.type_name for value in name.attributes)
        self.types.update(here.keys())
        self.repeated.update(kind for kind, times in here.items() if times > 1)
        for value in name.attributes:
            text = value.text or ""
            self.texts.setdefault(value.type_name, Texts()).add(text)
            self.characters.update(each for each in text if not each.isascii())

    def spec(self, at: Path, remarks: dict[Path, tuple[str, ...]]) -> dict[str, Any]:
        """A NameSpec."""
        spec: dict[str, Any] = {}
        always = [kind for kind, count in self.types.items() if count == self.count]
        if always:
            spec["require"] = always
        match: dict[str, str] = {}
        for kind, texts in self.texts.items():
            found = texts.generalise()
            match[kind] = found.pattern
            had = f"in {counted(self.types[kind])} of {counted(self.count)} requests"
            remarks[*at, "match", kind] = (had, *found.remarks, *_loudly(found))
        spec["match"] = match
        if self.repeated:
            spec["repeat"] = sorted(self.repeated)
        if self.characters:
            spec["characters"] = "".join(sorted(self.characters))
        return spec


@dataclass(slots=True)
class _Domains:
    """The domains that names were below or at; None once there are too many to keep.

    ``members`` are the first names of each domain, ``parents`` the closest domain of each name.
    """

    members: dict[str, set[str]] | None = field(default_factory=dict)
    parents: set[str] = field(default_factory=set)

    def add(self, domains: list[str], name: str) -> None:
        """Note a name and its domains, the closest one first."""
        if self.members is None:
            return
        self.parents.add(domains[0] if domains else "")
        for domain in domains:
            members = self.members.setdefault(domain, set())
            if len(members) < MEMBERS:
                members.add(name)
        if len(self.members) > _DOMAINS_KEPT:
            self.members = None

    def covering(self) -> list[str]:
        """A few domains with enough different members that together hold every name; none if there are no such.

        The closest ones, or the widest where the closest are too many.
        """
        common = {domain for domain, members in (self.members or {}).items() if len(members) >= MEMBERS}
        closest, widest = set(), set()
        for parent in self.parents:
            labels = parent.split(".")
            domains = [".".join(labels[start:]) for start in range(len(labels))]
            holding = [domain for domain in domains if domain in common]
            if not holding:
                return []
            closest.add(holding[0])
            widest.add(holding[-1])
        return next((sorted(found) for found in (closest, widest) if len(found) <= _MOST_DOMAINS), [])


@dataclass(slots=True)
class _TextNames:
    """Names of one type in subjectAltName that are texts."""

    kind: str
    texts: Texts = field(default_factory=Texts)
    domains: _Domains = field(default_factory=_Domains)
    wildcard: bool = False
    idn: bool = False

    def add(self, text: str) -> None:
        """Note one, in the form in which the rule looks at it."""
        if self.kind == "dns":
            text = text.lower()
            labels = text.split(".")
            self.wildcard |= labels[0] == "*"
            self.idn |= any(label.startswith("xn--") for label in labels)
            # One label alone, such as com, is nobody's.
            self.domains.add([".".join(labels[start:]) for start in range(1, len(labels) - 1)], text)
        elif self.kind != "uri":
            local, _, domain = text.rpartition("@")
            text = f"{local}@{domain.lower()}"
            self.domains.add([domain.lower()], text)
        self.texts.add(text)

    def spec(self, at: Path, remarks: dict[Path, tuple[str, ...]]) -> dict[str, Any]:
        """A DNSSpec, MailboxSpec or URISpec without its bound."""
        found = self.texts.generalise()
        domains = self.domains.covering() if found.varied and self.kind != "uri" else []
        spec: dict[str, Any]
        if domains:
            key, where = ("suffix", "below") if self.kind == "dns" else ("domains", "at")
            spec = {key: domains}
            remarks[*at, key] = (f"EVERY NAME {where} these is accepted: make sure that they are yours",)
        else:
            spec = {"match": found.pattern}
            if said := (*found.remarks, *_loudly(found)):
                remarks[*at, "match"] = said
        if self.wildcard:
            spec["wildcard"] = True
        if self.idn:
            spec["idn"] = True
        return spec


@dataclass(slots=True)
class _AlternativeFacts:
    """What stood in subjectAltName."""

    requests: Counter[str] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)
    texts: dict[str, _TextNames] = field(default_factory=dict)
    addresses: Addresses = field(default_factory=Addresses)
    identifiers: dict[str, Counter[str]] = field(default_factory=dict)
    directory: _NameFacts = field(default_factory=_NameFacts)

    def add(self, names: tuple[GeneralName, ...]) -> None:
        """Note the names of one request."""
        here = Counter(name.kind for name in names)
        self.requests.update(here.keys())
        for kind, times in here.items():
            self.most[kind] = max(times, self.most.get(kind, 0))
        for name in names:
            value = name.value
            if isinstance(value, str):
                self.texts.setdefault(name.kind, _TextNames(name.kind)).add(value)
            elif name.kind == "ip" and (address := normal_address(value)) is not None:
                self.addresses.add(address)
            elif name.kind == "directory":
                self.directory.add(Name.parse(der.parse(value)))
            else:
                identifier = oid.dotted(value if name.type_id is None else name.type_id)
                self.identifiers.setdefault(name.kind, Counter())[identifier] += 1

    def spec(self, total: int, at: Path, remarks: dict[Path, tuple[str, ...]]) -> dict[str, Any]:
        """A SANSpec."""
        spec: dict[str, Any] = {}
        for kind, requests in self.requests.most_common():
            here: Path = (*at, kind)
            remarks[here] = (f"in {counted(requests)} of {counted(total)} requests",)
            if kind in self.texts:
                spec[kind] = self.texts[kind].spec(here, remarks)
            elif kind == "ip":
                spec[kind] = {"networks": _written(self.addresses.networks() or _EVERYWHERE)}
            elif kind == "directory":
                spec[kind] = self.directory.spec(here, remarks)
            else:
                spec[kind] = {"allow": sorted(self.identifiers[kind])}
            spec[kind]["max"] = self.most[kind]
        return spec


_EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def _written(networks: tuple[AddressNetwork, ...]) -> list[str]:
    """Networks as people write them: one address without its length."""
    return [str(each.network_address if each.prefixlen == each.max_prefixlen else each) for each in networks]


class Learner:
    """Is shown requests, and proposes a policy that approves them."""

    def __init__(self) -> None:
        self.count = 0
        self._keys: Counter[tuple[str, int | str]] = Counter()
        self._exponent = 65537
        self._subjects = _NameFacts()
        self._empty = 0
        self._named = 0
        self._names = _AlternativeFacts()
        self._domains: Counter[str] = Counter()
        self._with_sid = 0
        self._sets: dict[str, Counter[str]] = {
            kind: Counter() for kind in ("extensions", "templates", "attributes", "eku", "key-usage", "signature")
        }
        self._sources = Addresses()
        self._nowhere = 0

    def add(self, request: Request) -> tuple[Violation, ...]:
        """Learn from a request.

        Returns:
            Nothing; or why no policy approves it: then nothing is learned from it.
        """
        try:
            rules = _most_open(json.dumps(_opening(request.csr)))
        except ValidationError:
            return (Violation("policy", "", "something in it that a policy has no name for"),)
        if objections := decide(rules, request).violations:
            return objections
        csr = request.csr
        self.count += 1
        key = csr.public_key
        self._keys[key.kind, key.bits if key.kind == "RSA" else key.curve or ""] += 1
        self._exponent = min(self._exponent, key.exponent or self._exponent)
        if csr.subject.rdns:
            self._subjects.add(csr.subject)
        else:
            self._empty += 1
        self._named += bool(csr.alternative_names)
        self._names.add(tuple(name for name in csr.alternative_names if not is_sid_uri(name)))
        domains = {sid.rpartition("-")[0] for _, sid in identifiers(csr) if sid is not None}
        self._domains.update(domains)
        self._with_sid += bool(domains)
        for kind, items in _sets(csr).items():
            self._sets[kind].update(items)
        try:
            self._sources.add(unmapped(ip_address(request.source)))
        except ValueError:
            self._nowhere += 1
        return ()

    def propose(self) -> Proposal:
        """A policy that approves every request that was learned from."""
        rules: Rules = []
        remarks: dict[Path, tuple[str, ...]] = {}

        def put(kind: str, spec: dict[str, Any], *said: str) -> None:
            remarks[len(rules),] = said
            rules.append({kind: spec})

        put("key", *self._key())
        at: Path = (len(rules), "subject")
        subject = self._subjects.spec(at, remarks) if self._subjects.count else {}
        if self._empty:
            subject["empty"] = True
            remarks[*at, "empty"] = (f"{counted(self._empty)} requests have no subject, but other names",)
        put("subject", subject)
        if self._named:
            at = (len(rules), "san")
            put("san", self._names.spec(self.count, at, remarks))
        extensions, templates = self._sets["extensions"], self._sets["templates"]
        if extensions or templates:
            spec = {key: sorted(found) for key, found in (("allow", extensions), ("templates", templates)) if found}
            put("extensions", spec, self._of(extensions | templates))
        for kind, key in (("attributes", "allow"), ("eku", "allow"), ("key-usage", "allow"), ("signature", "digests")):
            if found := self._sets[kind]:
                put(kind, {key: sorted(found)}, self._of(found))
        if self._domains:
            sid = "require" if self._with_sid == self.count else "allow"
            put("microsoft", {"sid": sid, "domains": sorted(self._domains)}, self._of(self._domains))
        networks = None if self._nowhere else self._sources.networks()
        if networks is not None:
            put("source", {"networks": _written(networks)}, f"where all {counted(self.count)} requests came from")
        else:
            remarks[len(rules),] = ("NO RULE ABOUT THE SOURCE: requests came from too many places, or from no address",)
        for opening in openness(_POLICY.validate_python(rules)):
            # What a list holds has its remark before the list, and what is missing before everything.
            place = (opening.path[:-1] if isinstance(opening.path[-1], int) else opening.path) if opening.path else (0,)
            remarks[place] = (*remarks.get(place, ()), f"OPEN: {opening.sentence}")
        return Proposal(rules, remarks)

    def _key(self) -> tuple[dict[str, Any], str]:
        sizes = [size for (kind, size), _ in self._keys.items() if kind == "RSA" and isinstance(size, int)]
        spec: dict[str, Any] = {}
        if sizes:
            spec["rsa"] = {"min": min(sizes)} | ({"max": max(sizes)} if max(sizes) > _LARGEST else {})
            if self._exponent < 65537:
                spec["rsa"]["exponent"] = self._exponent
        curves = sorted(str(curve) for kind, curve in self._keys if kind == "EC")
        if curves:
            spec["ec"] = curves
        if any(kind == "Ed25519" for kind, _ in self._keys):
            spec["ed25519"] = True
        names = Counter({f"{kind} {size}".strip(): count for (kind, size), count in self._keys.items()})
        return spec, self._of(names)

    def _of(self, found: Counter[str]) -> str:
        """How many requests had what, the most common first."""
        said = ", ".join(f"{name} {counted(count)}" for name, count in found.most_common(_MOST_SAID))
        more = f" and {len(found) - _MOST_SAID} more" if len(found) > _MOST_SAID else ""
        return f"of {counted(self.count)} requests: {said}{more}"


_LARGEST, _MOST_SAID = 8192, 8


def _loudly(found: Generalised) -> tuple[str, ...]:
    return ("TOO VARIED FOR A PATTERN: narrow this by hand",) if found.varied else ()


def _sets(csr: Contents) -> dict[str, set[str]]:
    """What a request has of the things that are allowed by name."""
    purposes: list[bytes] = []
    with suppress(Malformed):
        purposes = purposes_of(csr)
    judged = _JUDGED if csr.key_usage else _JUDGED - {oid.KEY_USAGE}
    unnamed = judged | TEMPLATE_SELECTORS | CA_EXTENSIONS.keys() | {SECURITY_IDENTIFIER}
    return {
        "extensions": {_EXTENSIONS(each.oid) for each in csr.extensions if each.oid not in unnamed},
        "templates": {template for template in csr.templates if template},
        "attributes": {_ATTRIBUTES(each.oid) for each in csr.attributes if each.oid not in _UNNAMED_ATTRIBUTES},
        "eku": set(map(_PURPOSES, purposes)),
        "key-usage": set(csr.key_usage or ()) - _CA_USAGES,
        "signature": {csr.signature_digest.value} if csr.signature_digest is not None else set(),
    }


def _naming(register: Mapping[str, bytes]) -> Callable[[bytes], str]:
    """What a policy calls an identifier (content octets) in the place where *register* has the names."""
    names = {content: name for name, content in register.items()}
    return lambda content: names.get(content) or oid.dotted(content)


_EXTENSIONS, _ATTRIBUTES, _PURPOSES = map(_naming, (EXTENSIONS, ATTRIBUTES, PURPOSES))
_UNNAMED_ATTRIBUTES = ALWAYS_ALLOWED_ATTRIBUTES | TEMPLATE_SELECTORS


def _opening(csr: Contents) -> Rules:
    """The most open policy that names everything in a request."""

    def name(subject: Name) -> dict[str, Any]:
        types = sorted({value.type_name for value in subject.attributes})
        beyond = {each for value in subject.attributes for each in value.text or "" if not each.isascii()}
        characters = "".join(sorted(each for each in beyond if each.isprintable() and not each.isspace()))
        return {"allow": types, "repeat": types, "characters": characters}

    sets = {kind: sorted(found) for kind, found in _sets(csr).items()}
    san: dict[str, Any] = {}
    for each in csr.alternative_names:
        match each.kind:
            case "dns":
                san["dns"] = {"match": ".+", "wildcard": True, "idn": True, "max": _PLENTY}
            case "email" | "upn" | "uri":
                san[each.kind] = {"match": ".+", "max": _PLENTY}
            case "ip":
                san["ip"] = {"networks": _written(_EVERYWHERE), "max": _PLENTY}
            case "directory" if isinstance(each.value, bytes):
                more = name(Name.parse(der.parse(each.value)))
                have = san.setdefault("directory", {"allow": [], "repeat": [], "characters": "", "max": _PLENTY})
                for key in ("allow", "repeat"):
                    have[key] = sorted({*have[key], *more[key]})
                have["characters"] = "".join(sorted({*have["characters"], *more["characters"]}))
            case "registered-id" | "other" if isinstance(each.value, bytes):
                identifier = oid.dotted(each.value if each.type_id is None else each.type_id)
                have = san.setdefault(each.kind, {"allow": [], "max": _PLENTY})
                have["allow"] = sorted({*have["allow"], identifier})
            case _:
                # No policy can name it.
                pass
    rules: Rules = [
        {
            "key": {
                "rsa": {"min": 1024, "max": 16384, "exponent": 3},
                "ec": ["P-256", "P-384", "P-521"],
                "ed25519": True,
            }
        },
        {"subject": {"empty": True, **name(csr.subject)}},
        {"san": san},
        {"extensions": {"allow": sets["extensions"], "templates": sets["templates"]}},
        {"attributes": {"allow": sets["attributes"]}},
    ]
    if any(True for _ in identifiers(csr)):
        rules.append({"microsoft": {"sid": "allow"}})
    rules += [{kind: {"allow": sets[kind]}} for kind in ("eku", "key-usage") if sets[kind]]
    return rules


_PLENTY = 10_000


@lru_cache(maxsize=64)
def _most_open(rules: str) -> Built:
    return build(_POLICY.validate_python(json.loads(rules)))
