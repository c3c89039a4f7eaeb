"""What in a policy can never happen: patterns that nothing matches, rules of which one undoes another (DR-19).

What makes a rule idle that people rely on is an error; what only says too much, a warning.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from scepra.policy.model import (
    HoldSpec,
    InfrastructureSpec,
    KeySpec,
    LimitSpec,
    MicrosoftSpec,
    NameSpec,
    PolicyRule,
    SANSpec,
    SignatureSpec,
    SourceSpec,
    TimeSpec,
    UniqueSpec,
    WhenSpec,
)
from scepra.policy.opening import Opening, Path
from scepra.policy.pattern import Pattern
from scepra.policy.subject import BOUNDS, LONGEST
from scepra.policy.window import minutes

_LETTERS = string.ascii_letters + string.digits
_HOST = _LETTERS + "-."
_LOWER_HOST = string.ascii_lowercase + string.digits + "-."
_LOCAL = _LETTERS + "!#$%&'*+/=?^_`{|}~.-"
_VISIBLE = "".join(map(chr, range(33, 127)))
# The domain of an address is put into lower case before it is looked at.
_MAILBOX = (_LOCAL, "@", _LOWER_HOST)
_NEVER = "nothing that may stand there matches the pattern"


def contradictions(policy: Iterable[PolicyRule]) -> Iterator[Opening]:
    """Everything of the kind, with its place."""
    places = _placed(policy)
    for path, rule in places.values():
        yield from _alone(path, rule)
    if "hold" in places:
        path, rule = places["hold"]
        assert rule.hold is not None  # noqa: S101 - it is the place of one
        yield from _unmet((*path, "when"), rule.hold.when, places, "nothing is ever held")
    if "infrastructure" in places and "san" in places:
        yield from _addresses(places)
    if "limit" in places and "unique" in places:
        yield from _unreached(places)
    if "microsoft" in places:
        yield from _principals(places)
    if "signature" in places and "key" in places:
        yield from _ed25519(places)


def unmet(when: WhenSpec, policy: Iterable[PolicyRule]) -> Iterator[Opening]:
    """Why no request that a policy accepts meets the conditions of a route; places below the conditions."""
    yield from _conditions((), when)
    yield from _unmet((), when, _placed(policy), "nothing ever goes there")


def _placed(policy: Iterable[PolicyRule]) -> dict[str, tuple[Path, PolicyRule]]:
    return {rule.kind: ((index, rule.kind.replace("_", "-")), rule) for index, rule in enumerate(policy)}


def _error(path: Path, sentence: str) -> Opening:
    return Opening(path, sentence, "error")


def _alone(path: Path, rule: PolicyRule) -> Iterator[Opening]:
    match getattr(rule, rule.kind):
        case NameSpec() as spec:
            yield from _name(path, spec)
        case SANSpec() as spec:
            yield from _names(path, spec)
        case TimeSpec() as spec:
            yield from _time(path, spec)
        case InfrastructureSpec() as spec:
            for position, text in enumerate(spec.names):
                pattern = Pattern(text, ignore_case=True)
                if pattern.matches_everything():
                    said = "every name is the infrastructure's, so that every request is refused"
                    yield _error((*path, "names", position), said)
                elif text.isascii() and pattern.shortest([_VISIBLE + " "]) is None:
                    yield Opening((*path, "names", position), _NEVER)
        case HoldSpec() as spec:
            yield from _conditions((*path, "when"), spec.when)
        case tuple() as specs:
            yield from _limits(path, specs)


# --- Patterns --------------------------------------------------------------------------------------------------------


def _name(path: Path, spec: NameSpec) -> Iterator[Opening]:
    for kind, text in spec.match.items():
        yield from _text((*path, "match", kind), kind, Pattern(text), spec.characters)


def _text(path: Path, kind: str, pattern: Pattern, characters: str) -> Iterator[Opening]:
    """A value of a subject neither begins nor ends with a space, and has a largest length."""
    visible = string.ascii_letters if kind == "C" else _VISIBLE + characters
    forms = ([visible],) if kind == "C" else ([visible], [visible, visible + " ", visible])
    lengths = [length for parts in forms if (length := pattern.shortest(parts)) is not None]
    bound = 2 if kind == "C" else BOUNDS.get(kind, LONGEST)
    if not lengths:
        yield _error(path, _NEVER)
    elif min(lengths) > bound:
        yield _error(path, f"only texts of {min(lengths)} characters or more match, and {kind} has {bound} at most")


def _names(path: Path, spec: SANSpec) -> Iterator[Opening]:
    if spec.dns is not None and spec.dns.match is not None:
        pattern = Pattern(spec.dns.match, ignore_case=True)
        wild = pattern.shortest(["*", ".", _HOST]) is not None
        if pattern.shortest([_HOST]) is None and not (wild and spec.dns.wildcard):
            yield _error((*path, "dns", "match"), _NEVER)
        elif spec.dns.wildcard and not wild:
            yield Opening((*path, "dns", "wildcard"), "wildcards are accepted, but the pattern matches none")
    if spec.dns is not None and spec.dns.suffix and spec.dns.wildcard:
        for position, suffix in enumerate(spec.dns.suffix):
            if "." not in suffix:
                yield _error((*path, "dns", "suffix", position), f"with wildcard, *.{suffix} is accepted")
    for kind, part in (("email", spec.email), ("upn", spec.upn)):
        if part is not None and part.match is not None and Pattern(part.match).shortest(_MAILBOX) is None:
            yield _error((*path, kind, "match"), f"{_NEVER}: it is looked for with its domain in lower case")
    if spec.uri is not None:
        if spec.uri.match.lower().startswith("tag:microsoft"):
            yield _error((*path, "uri", "match"), "Microsoft's tags are judged by the rule microsoft, not here")
        elif Pattern(spec.uri.match).shortest([_VISIBLE]) is None:
            yield _error((*path, "uri", "match"), _NEVER)
    if spec.directory is not None:
        yield from _name((*path, "directory"), spec.directory)


def _conditions(path: Path, when: WhenSpec) -> Iterator[Opening]:
    """A condition that nothing meets leaves people out, or a CA."""
    for kind, wanted, parts in (
        ("dns", when.dns, ["*" + _HOST]),
        ("email", when.email, [_LOCAL, "@", _HOST]),
        ("upn", when.upn, [_LOCAL, "@", _HOST]),
        ("uri", when.uri, [_VISIBLE]),
    ):
        if wanted is not None and Pattern(wanted, ignore_case=True).shortest(parts) is None:
            yield _error((*path, kind), _NEVER)


# --- Rules by themselves ---------------------------------------------------------------------------------------------


def _time(path: Path, spec: TimeSpec) -> Iterator[Opening]:
    start, end = minutes(spec.hours)
    if start == end:
        yield _error((*path, "hours"), "the time between is empty, so that every request is refused")
    if spec.not_before is not None and spec.not_after is not None and spec.not_before > spec.not_after:
        yield _error((*path, "not-after"), "is before not-before, so that every request is refused")


def _limits(path: Path, specs: tuple[LimitSpec, ...]) -> Iterator[Opening]:
    for (index, spec), (other, smaller) in product(enumerate(specs), repeat=2):
        if index != other and _implies(smaller, spec) and not (index < other and _implies(spec, smaller)):
            yield Opening((*path, index), "is never reached: another limit is as small")


def _implies(one: LimitSpec, other: LimitSpec) -> bool:
    """Whether *one* is reached whenever *other* would be."""
    if one.per != other.per:
        return False
    if one.active is not None and other.active is not None:
        return one.active <= other.active
    if one.new is None or other.new is None or one.within is None or other.within is None:
        return False
    return one.new <= other.new and one.within >= other.within


# --- Rules together --------------------------------------------------------------------------------------------------

Places = Mapping[str, tuple[Path, PolicyRule]]


def _unmet(path: Path, when: WhenSpec, places: Places, so: str) -> Iterator[Opening]:
    """What is asked for, other rules refuse anyhow."""
    subject = places["subject"][1] if "subject" in places else None
    if subject is not None and subject.subject is not None and subject.severity == "enforce":
        accepted = {*subject.subject.require, *subject.subject.allow, *subject.subject.match}
        for kind in sorted(set(when.subject or ()) - accepted):
            yield _error((*path, "subject", kind), f"the rule subject accepts no {kind}: {so}")
    alphabet = _VISIBLE + " " + (subject.subject.characters if subject is not None and subject.subject else "")
    for kind, text in (when.subject or {}).items():
        if Pattern(text, ignore_case=True).shortest([alphabet]) is None:
            yield _error((*path, "subject", kind), _NEVER)
    names = places["san"][1] if "san" in places else None
    if names is None or names.severity == "enforce":
        for kind in ("dns", "email", "upn", "uri"):
            if getattr(when, kind) is not None and (names is None or getattr(names.san, kind) is None):
                yield _error((*path, kind), f"no rule san accepts names of the type {kind}: {so}")
    source = places["source"][1] if "source" in places else None
    if when.source is not None and source is not None and source.severity == "enforce":
        assert isinstance(source.source, SourceSpec)  # noqa: S101 - it is the place of one
        pairs = product(when.source, source.source.networks)
        if not any(one.version == other.version and one.overlaps(other) for one, other in pairs):
            yield _error((*path, "source"), f"the rule source accepts none of these addresses: {so}")


def _addresses(places: Places) -> Iterator[Opening]:
    """Addresses that one rule accepts are the infrastructure's by another."""
    infrastructure, san = places["infrastructure"][1].infrastructure, places["san"][1].san
    if infrastructure is None or san is None or san.ip is None:
        return
    for position, network in enumerate(san.ip.networks):
        if any(
            network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]  # one version
            for other in infrastructure.addresses
        ):
            path = (*places["san"][0], "ip", "networks", position)
            yield _error(path, "all of these addresses are the infrastructure's")


def _unreached(places: Places) -> Iterator[Opening]:
    """A key that is certified once never reaches a limit of two."""
    unique, (path, rule) = places["unique"][1].unique, places["limit"]
    if not isinstance(unique, UniqueSpec) or unique.keys is None or places["unique"][1].severity == "report":
        return
    for index, spec in enumerate(rule.limit or ()):
        if spec.per == "key":
            yield Opening((*path, index), "is never reached: the rule unique lets a key be certified once")


def _principals(places: Places) -> Iterator[Opening]:
    path, rule = places["microsoft"]
    spec = rule.microsoft
    san = places["san"][1].san if "san" in places else None
    if isinstance(spec, MicrosoftSpec) and (san is None or san.upn is None):
        if spec.sid == "with-upn":
            yield _error((*path, "sid"), "no rule san accepts a user principal name: no security identifier is needed")
        if spec.upn_matches_cn:
            yield Opening((*path, "upn-matches-cn"), "no rule san accepts a user principal name")


def _ed25519(places: Places) -> Iterator[Opening]:
    key, (path, rule) = places["key"][1].key, places["signature"]
    digests = rule.signature.digests if isinstance(rule.signature, SignatureSpec) else ()
    if isinstance(key, KeySpec) and key.ed25519 and "SHA-512" not in digests:
        yield _error((*path, "digests"), "requests of Ed25519 keys, which the rule key accepts, need SHA-512")
