"""What is wrong with how a profile's RA keeps certificates of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from scepra.config.document import Path
from scepra.config.finding import Finding, Sections
from scepra.config.identity import GenerationDirectory
from scepra.config.profile import Profile
from scepra.config.refusal import suggestion


def check_generations(path: Path, profile: Profile, sections: Sections) -> Iterator[Finding]:
    """Every finding; none where its certificates are files that somebody else takes care of.

    Args:
        path: of its section ``ra``.
        sections: what else could be read.
    """
    ra = profile.ra
    if not isinstance(ra, GenerationDirectory):
        return
    if ra.upstream is not None and ra.upstream not in sections.upstream_names:
        sentence = "no upstream has this name" + suggestion(ra.upstream, sections.upstream_names)
        yield Finding((*path, "upstream"), sentence)
    upstream = sections.upstreams.get(profile.certifier)
    if upstream is not None and upstream.authorisation == "challenge" and ra.challenge is None:
        sentence = "the CA asks for a challenge: without challenge-file, certificates are put in by hand"
        yield Finding(path, sentence, "warning")
    for key, made in (("key", ra.key), ("signing-key", ra.signing_key), ("encryption-key", ra.encryption_key)):
        if made is not None and made.token is not None and made.token not in sections.token_names:
            sentence = "no token has this name" + suggestion(made.token, sections.token_names)
            yield Finding((*path, key, "token"), sentence)
    if ra.settle >= ra.renew:
        yield Finding((*path, "settle"), "not shorter than renew: a generation could end before the next is served")
    if ra.overlap < ra.settle:
        sentence = "shorter than settle: a process that is late would still give out what opens nothing any more"
        yield Finding((*path, "overlap"), sentence)
    # Of two profiles the later one is told.
    for name, other in takewhile(lambda item: item[1] is not profile, sections.profiles.items()):
        if isinstance(other.ra, GenerationDirectory) and other.ra.directory == ra.directory and other.ra != ra:
            yield Finding((*path, "directory"), f"the profile {name} has this directory too, with other settings")
