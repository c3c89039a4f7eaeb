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
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from pydantic import TypeAdapter

from scepra.enrolment import Violation
from scepra.errors import Malformed
from scepra.policy.alternative import is_sid_uri, unmapped
from scepra.policy.decision import build, decide
from scepra.policy.extension import purposes_of
from scepra.policy.facts import EVERYWHERE, AlternativeFacts, NameFacts, Path, written
from scepra.policy.generalisation import counted
from scepra.policy.microsoft import identifiers
from scepra.policy.model import Policy, PolicyRule
from scepra.policy.networks import Addresses
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
from scepra.scep.name import Name

Rules = list[dict[str, Any]]

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


class Learner:
    """Is shown requests, and proposes a policy that approves them."""

    def __init__(self) -> None:
        self.count = 0
        self._keys: Counter[tuple[str, int | str]] = Counter()
        self._exponent = 65537
        self._subjects = NameFacts()
        self._empty = 0
        self._named = 0
        self._names = AlternativeFacts()
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
        if objections := decide(_most_open(json.dumps(_opening(request.csr))), request).violations:
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
            put("source", {"networks": written(networks)}, f"where all {counted(self.count)} requests came from")
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
                san["ip"] = {"networks": written(EVERYWHERE), "max": _PLENTY}
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
