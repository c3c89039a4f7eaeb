"""Which of an RA's generations serves, which ones still open requests, and which have retired (FT-49, FT-50, RA-31).

A function of what is installed and of the time: whoever asks at the same moment gets the same answer, in every process
and after every restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation, Keyring

_NEVER = datetime.max.replace(tzinfo=UTC)
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Installed:
    """A generation, its number (the newest has the highest) and when it was installed, UTC."""

    number: int
    generation: Generation
    installed: datetime

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Its certificates, each once."""
        return tuple(dict.fromkeys((self.generation.signing.certificate, self.generation.encryption.certificate)))

    @property
    def begins(self) -> datetime:
        """From when on all of its certificates are valid."""
        return max(item.not_before or _NEVER for item in self.certificates)

    @property
    def ends(self) -> datetime:
        """Until when all of them are."""
        return min(item.not_after or _ALWAYS for item in self.certificates)

    def valid_at(self, now: datetime) -> bool:
        """Whether all of them are valid."""
        return all(item.valid_at(now) for item in self.certificates)


@dataclass(frozen=True, slots=True)
class Terms:
    """How one generation follows another.

    ``settle`` is how long after its installation one is not served yet, so that everybody has seen it who may be asked
    for it; ``overlap`` how long one still opens requests after the next is served.
    """

    settle: timedelta
    overlap: timedelta


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What the generations of an RA are at a moment.

    ``current`` is served; ``opening`` open requests, the current one first, then from the newest to the oldest;
    ``upcoming`` is the next that will be served; ``retired`` are the others. Nothing changes before ``changes``.
    """

    current: Installed
    opening: tuple[Installed, ...]
    upcoming: Installed | None
    retired: tuple[Installed, ...]
    changes: datetime

    @property
    def keyring(self) -> Keyring:
        """What opens and signs."""
        return Keyring(each.generation for each in self.opening)


def arrange(installed: Iterable[Installed], terms: Terms, now: datetime) -> Arrangement:
    """What some generations are at a moment.

    One that nothing comes before has nobody to wait for: it is served at once. Where no generation that is served is
    valid, the newest of them stays current, and nothing new is begun (FT-49).

    Raises:
        ValueError: there is none.
    """
    ordered = sorted(installed, key=lambda each: each.number)
    if not ordered:
        raise ValueError("no generation")
    served = {each.number: _served_from(each, terms, ordered[0]) for each in ordered}
    ends = [_later(each.ends, timedelta(seconds=1)) for each in ordered]
    moments = sorted({*served.values(), *ends})
    line = [(moment, _serving(ordered, served, moment)) for moment in moments if moment <= now]
    current = _serving(ordered, served, now)
    retires = {each.number: _later(_superseded(each, line), terms.overlap) for each in ordered}
    opening = [each for each in reversed(ordered) if each is not current and retires[each.number] > now]
    waiting = [each for each in ordered if each.number > current.number and served[each.number] > now]
    return Arrangement(
        current,
        (current, *opening),
        waiting[0] if waiting else None,
        tuple(each for each in ordered if each is not current and each not in opening),
        min((moment for moment in (*moments, *retires.values()) if moment > now), default=_NEVER),
    )


def _serving(ordered: list[Installed], served: dict[int, datetime], now: datetime) -> Installed:
    """The generation that is served at a moment."""
    serving = [each for each in ordered if each is ordered[0] or served[each.number] <= now]
    return next((each for each in reversed(serving) if each.valid_at(now)), serving[-1])


def _superseded(each: Installed, line: list[tuple[datetime, Installed]]) -> datetime:
    """Since when newer ones are served instead, without a break.

    Args:
        line: what is served from which moment on, until now.
    """
    since = _NEVER
    for moment, serving in reversed(line):
        if serving.number <= each.number:
            break
        since = moment
    return since


def _served_from(each: Installed, terms: Terms, first: Installed) -> datetime:
    if each is first:
        return each.begins
    return max(each.begins, _later(each.installed, terms.settle))


def _later(moment: datetime, by: timedelta) -> datetime:
    return _NEVER if by > _NEVER - moment else moment + by
