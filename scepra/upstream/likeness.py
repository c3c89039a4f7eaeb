"""Which kind of CA something is like, by what was seen of it: a closed table, and no protocol (CAPS-10)."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

from scepra.config.kind import KindName


class Trait(enum.Enum):
    """Something seen that tells kinds apart; the value says it to people."""

    IIS = "its web server says that it is Microsoft's IIS"
    NUMBER = "its refusals have Microsoft's error number"
    TWO_AGENTS = "it has two RA certificates, one that signs and one that decrypts"
    NO_LIST = "it lists no capabilities"
    POST_EMPTY = "it answers POST with nothing"
    POST_REFUSED = "it takes no messages by POST"
    GET_REFUSED = "it takes no messages by GET"
    NO_POLLS = "it answers polls with HTTP status 500"
    BAD_REQUESTS = "it says with HTTP status 400 what others say in a signed answer"
    CRLF = "its capabilities stand in lines of CR and LF, the last without an end"
    ALL_LISTED = "it lists SCEPStandard"
    ROLLOVER = "it lists GetNextCACert"
    BARE = "GetCACert has one certificate alone"
    ALONE_IN_BAG = "GetCACert has one certificate, and calls it those of a CA and its RA"
    NO_AES_256 = "it reads AES-128, and refuses AES-256"
    HEXADECIMAL = "it refuses a transactionID that is no hexadecimal number"


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is seen of a kind: every one of ``shows``, and one of ``perhaps`` where there are any."""

    kind: KindName
    shows: frozenset[Trait]
    perhaps: frozenset[Trait] = frozenset()


_MICROSOFT = frozenset((Trait.IIS, Trait.NUMBER, Trait.TWO_AGENTS))
# In this order: the first that fits is the verdict.
LIKENESSES = (
    Likeness("ndes-2008", frozenset((Trait.NO_LIST,)), _MICROSOFT),
    Likeness("ndes-2012", frozenset((Trait.POST_EMPTY,)), _MICROSOFT),
    Likeness("ndes", frozenset(), _MICROSOFT),
    Likeness("step-ca", frozenset((Trait.NO_POLLS, Trait.CRLF))),
    Likeness("micromdm", frozenset((Trait.NO_POLLS, Trait.ALL_LISTED))),
    Likeness("ejbca", frozenset((Trait.BAD_REQUESTS,))),
    Likeness("openxpki", frozenset((Trait.HEXADECIMAL,))),
    Likeness("openxpki", frozenset((Trait.ALONE_IN_BAG,))),
    Likeness("cisco-ios", frozenset((Trait.POST_REFUSED, Trait.ROLLOVER))),
    Likeness("openca", frozenset((Trait.POST_REFUSED, Trait.NO_LIST))),
    Likeness("dogtag", frozenset((Trait.POST_REFUSED, Trait.BARE))),
    Likeness("xipki", frozenset((Trait.NO_AES_256,))),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A kind, and what speaks for it; nothing where nothing speaks for another kind than "generic"."""

    kind: KindName
    evidence: tuple[Trait, ...]


def judge(seen: Collection[Trait]) -> Verdict:
    """What something is like that shows these traits."""
    for likeness in LIKENESSES:
        if likeness.shows <= set(seen) and (not likeness.perhaps or likeness.perhaps & set(seen)):
            spoken = likeness.shows | likeness.perhaps
            return Verdict(likeness.kind, tuple(trait for trait in Trait if trait in seen and trait in spoken))
    return Verdict("generic", ())
