"""How open a policy is: what an administrator may not have meant (AC-077, design rule 19).

What can never happen is :mod:`scepra.policy.contradiction`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from scepra.policy.contradiction import contradictions
from scepra.policy.model import (
    AttributesSpec,
    EKUSpec,
    ExtensionsSpec,
    KeySpec,
    NameSpec,
    PolicyRule,
    SANSpec,
    SignatureSpec,
    SourceSpec,
)
from scepra.policy.opening import Opening, Path
from scepra.policy.pattern import Pattern
from scepra.policy.register import POWERFUL, name_of

# What other rules judge, or what grants nothing.
_HARMLESS = frozenset(
    (
        "keyUsage",
        "extendedKeyUsage",
        "subjectAltName",
        "basicConstraints",
        "subjectKeyIdentifier",
        "authorityKeyIdentifier",
        "applicationPolicies",
        "smimeCapabilities",
    )
)
_POWERFUL = {name_of(content): said for content, said in POWERFUL.items()}


def openness(policy: Iterable[PolicyRule]) -> tuple[Opening, ...]:
    """Everything about a policy that lets in more than it seems to, or nothing at all, or does nothing."""
    rules = tuple(policy)
    found = [*_missing(rules), *contradictions(rules)]
    return tuple(found + [opening for index, rule in enumerate(rules) for opening in _rule(index, rule)])


def _missing(rules: tuple[PolicyRule, ...]) -> Iterator[Opening]:
    kinds = {rule.kind for rule in rules}
    if "key" not in kinds:
        yield Opening((), "there is no key rule, so that every request is refused")
    if "subject" not in kinds:
        yield Opening((), "there is no subject rule, so that every request is refused")
    extensions = next((rule.extensions for rule in rules if rule.extensions), None)
    for kind, name in (
        ("san", "subjectAltName"),
        ("eku", "extendedKeyUsage"),
        ("eku", "applicationPolicies"),
        ("key_usage", "keyUsage"),
    ):
        if extensions is not None and name in extensions.allow and kind not in kinds:
            rule = kind.replace("_", "-")
            yield Opening((), f"{name} is allowed, but there is no {rule} rule, so that every value of it is refused")


def _rule(index: int, rule: PolicyRule) -> Iterator[Opening]:
    spec = getattr(rule, rule.kind)
    path: Path = (index, rule.kind.replace("_", "-"))
    if rule.severity == "report":
        yield Opening((index, "severity"), "what the rule objects to is reported and not refused")
    match spec:
        case KeySpec():
            yield from _key(path, spec)
        case NameSpec():
            yield from _name(path, spec)
        case SANSpec():
            yield from _san(path, spec)
        case ExtensionsSpec():
            for position, extension in enumerate(spec.allow):
                if extension not in _HARMLESS:
                    yield Opening((*path, "allow", position), f"{extension} is allowed with any value")
        case AttributesSpec():
            if "enrollmentNameValuePair" in spec.allow:
                position = spec.allow.index("enrollmentNameValuePair")
                said = "enrollmentNameValuePair may name other subjects, templates and times to Microsoft's CA"
                yield Opening((*path, "allow", position), said)
        case EKUSpec():
            for position, purpose in enumerate(spec.allow):
                if purpose in _POWERFUL:
                    yield Opening((*path, "allow", position), f"{purpose} makes {_POWERFUL[purpose]}")
        case SignatureSpec():
            for position, digest in enumerate(spec.digests):
                if digest in ("MD5", "SHA-1"):
                    yield Opening((*path, "digests", position), f"signatures with {digest} can be forged")
        case SourceSpec():
            yield from _networks((*path, "networks"), spec.networks)


def _key(path: Path, spec: KeySpec) -> Iterator[Opening]:
    if spec.rsa is not None and spec.rsa.min < 2048:
        yield Opening((*path, "rsa", "min"), "RSA keys below 2048 bits can be broken")
    if not (spec.rsa or spec.ec or spec.ed25519):
        yield Opening(path, "no kind of key is named, so that every request is refused")


def _name(path: Path, spec: NameSpec) -> Iterator[Opening]:
    for kind, names in (("require", spec.require), ("allow", spec.allow)):
        for position, name in enumerate(names):
            if name not in spec.match:
                yield Opening((*path, kind, position), f"{name} may have any text: there is no match for it")
    for name, text in spec.match.items():
        yield from _pattern((*path, "match", name), text)


def _san(path: Path, spec: SANSpec) -> Iterator[Opening]:
    if spec.dns is not None:
        dns = (*path, "dns")
        yield from _pattern((*dns, "match"), spec.dns.match)
        for position, suffix in enumerate(spec.dns.suffix):
            if "." not in suffix:
                yield Opening((*dns, "suffix", position), f"every name below {suffix} is accepted")
        if spec.dns.wildcard:
            yield Opening((*dns, "wildcard"), "wildcard names are accepted: one certificate stands for many hosts")
        if spec.dns.idn:
            yield Opening((*dns, "idn"), "Punycode names are accepted, which can look like other names")
    for kind in ("email", "upn", "uri"):
        part = getattr(spec, kind)
        if part is not None:
            yield from _pattern((*path, kind, "match"), part.match)
    if spec.ip is not None:
        yield from _networks((*path, "ip", "networks"), spec.ip.networks)
    if spec.directory is not None:
        yield from _name((*path, "directory"), spec.directory)
    if spec.other is not None:
        yield Opening((*path, "other"), "the values of other names are not looked at")


def _pattern(path: Path, text: str | None) -> Iterator[Opening]:
    if text is None:
        return
    pattern = Pattern(text)
    if pattern.matches_everything():
        yield Opening(path, "the pattern accepts everything")
    elif pattern.bare_dots:
        yield Opening(path, "a dot in the pattern stands for any character; a dot itself is \\.")


def _networks(path: Path, networks: tuple[IPv4Network | IPv6Network, ...]) -> Iterator[Opening]:
    for position, network in enumerate(networks):
        if not network.prefixlen:
            yield Opening((*path, position), f"{network} is every address")
