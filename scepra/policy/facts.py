"""What occurs in names that were seen, and the rules about names that follow from it; memory is bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from scepra.policy.alternative import normal_address
from scepra.policy.generalisation import MEMBERS, Generalised, Texts, counted
from scepra.policy.networks import Addresses, AddressNetwork
from scepra.scep import der, oid
from scepra.scep.name import GeneralName, Name

Path = tuple[str | int, ...]

_MOST_DOMAINS = 16
_DOMAINS_KEPT = 1000


@dataclass(slots=True)
class NameFacts:
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

    ``members`` are the first names of each domain, ``parents`` the closest domain of each name. ``below`` is whether a
    rule about a domain is about those below it too.
    """

    below: bool
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
            domains = [".".join(labels[start:]) for start in range(len(labels) if self.below else 1)]
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
    domains: _Domains = field(init=False)
    wildcard: bool = False
    idn: bool = False

    def __post_init__(self) -> None:
        self.domains = _Domains(below=self.kind == "dns")

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
class AlternativeFacts:
    """What stood in subjectAltName."""

    requests: Counter[str] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)
    texts: dict[str, _TextNames] = field(default_factory=dict)
    addresses: Addresses = field(default_factory=Addresses)
    identifiers: dict[str, Counter[str]] = field(default_factory=dict)
    directory: NameFacts = field(default_factory=NameFacts)

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
                spec[kind] = {"networks": written(self.addresses.networks() or EVERYWHERE)}
            elif kind == "directory":
                spec[kind] = self.directory.spec(here, remarks)
            else:
                spec[kind] = {"allow": sorted(self.identifiers[kind])}
            spec[kind]["max"] = self.most[kind]
        return spec


EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def written(networks: tuple[AddressNetwork, ...]) -> list[str]:
    """Networks as people write them: one address without its length."""
    return [str(each.network_address if each.prefixlen == each.max_prefixlen else each) for each in networks]


def _loudly(found: Generalised) -> tuple[str, ...]:
    return ("TOO VARIED FOR A PATTERN: narrow this by hand",) if found.varied else ()
