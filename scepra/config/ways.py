"""What is wrong with the upstreams that a profile's requests go to, together."""

from __future__ import annotations

from collections.abc import Iterator

from scepra.config.document import Path
from scepra.config.finding import Finding, Sections
from scepra.config.profile import Profile
from scepra.config.refusal import suggestion
from scepra.policy import unmet


def check_upstreams(path: Path, profile: Profile, sections: Sections) -> Iterator[Finding]:
    """Names of no upstream, CAs that are not equal, and routes that no request takes."""
    yield from _group((*path, "upstream"), profile.upstream, sections)
    for index, route in enumerate(profile.routes):
        where: Path = (*path, "routes", index)
        yield from _group((*where, "upstream"), route.upstream, sections)
        for opening in unmet(route.when, profile.policy):
            yield Finding((*where, "when", *opening.path), opening.sentence, opening.severity)
        if route.when.credential == "renewal" and profile.renewal is None:
            sentence = "this profile renews nothing: nothing ever goes there"
            yield Finding((*where, "when", "credential"), sentence)
        if not route.when.model_fields_set:
            sentence = "without a condition every request goes there: name these under upstream instead"
            yield Finding((*where, "when"), sentence)
        elif any(earlier.when == route.when for earlier in profile.routes[:index]):
            yield Finding((*where, "when"), "an earlier route has the same conditions: nothing ever goes there")
    several = any(len(group) > 1 for group in profile.upstream_groups)
    if profile.balance == "evenly" and not several:
        yield Finding((*path, "balance"), "there is only one upstream to go to", "warning")


def _group(path: Path, names: tuple[str, ...], sections: Sections) -> Iterator[Finding]:
    """Equal CAs: what was not sent to one is sent to another, as it is and with what it was authorised by."""
    for index, name in enumerate(names):
        where = (*path, index)
        if name not in sections.upstream_names:
            yield Finding(where, "no upstream has this name" + suggestion(name, sections.upstream_names))
        first, other = sections.upstreams.get(names[0]), sections.upstreams.get(name)
        if first is None or other is None:
            continue
        if other.authorisation != first.authorisation:
            yield Finding(where, f"is not equal to {names[0]}: its authorisation is another")
        if other.signer.strategy != first.signer.strategy:
            yield Finding(where, f"is not equal to {names[0]}: the strategy of its signer is another")
