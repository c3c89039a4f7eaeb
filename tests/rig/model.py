"""What may be known of requests, and told to whoever asks: a model of the RA that a whole search is compared with.

Nothing here is scepra's: the model knows what clients have asked, what people have said, and what the CA was asked and
answered, and says in which phases a request can be. A process that dies leaves several possible; what is stored
afterwards must be one of them, and decides.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, field


class Phase(enum.Enum):
    """Where a request can be. What was never recorded is as good as refused before its first attempt."""

    HELD = "waits for people"
    OPEN = "was never sent"
    LOST = "may have been sent, and nobody knows what the CA did"
    WAITING = "is held back by the CA"
    ISSUED = "has its certificate"
    REFUSED = "is refused"


class View(enum.Enum):
    """What a client is told."""

    SUCCESS = "success"
    PENDING = "pending"
    FAILURE = "failure"
    STRANGER = "there is no such transaction"


class Said(enum.Enum):
    """What a CA answered; LOST: the RA did not get it, or cannot believe it."""

    SUCCESS = "success"
    PENDING = "pending"
    FAILURE = "failure"
    LOST = "lost"


World = tuple[int, Phase]
BEING_SENT = frozenset((Phase.OPEN, Phase.LOST))
_VIEWS = {Phase.ISSUED: View.SUCCESS, Phase.REFUSED: View.FAILURE}
_ANSWERED = {Said.SUCCESS: Phase.ISSUED, Said.PENDING: Phase.WAITING}
# By phase and whether the CA was polled: what its FAILURE leads to, and an answer that is lost.
_UNANSWERED = {
    (Phase.OPEN, False): (Phase.REFUSED, Phase.LOST),
    (Phase.LOST, False): (Phase.LOST, Phase.LOST),
    (Phase.LOST, True): (Phase.LOST, Phase.LOST),
    (Phase.WAITING, True): (Phase.REFUSED, Phase.WAITING),
}


def after(phase: Phase, polled: bool, said: Said) -> Phase | None:
    """The phase after an exchange with the CA that the RA has learnt of; None: it must not ask in this phase."""
    if (phase, polled) not in _UNANSWERED:
        return None
    refused, lost = _UNANSWERED[phase, polled]
    return _ANSWERED.get(said, refused if said is Said.FAILURE else lost)


@dataclass(eq=False, slots=True)
class Case:
    """One request.

    Attributes:
        worlds: the attempts and phases that it can be in.
        first: the messages that began its attempts.
        late: what stopped processes may yet write, by process.
        sender: the process that was about to send it when it was stored last.
        asker: who has just polled for it, and was told that the CA knows no such thing, or refuses it.
        stuck: the CA refuses what it may have carried out.
    """

    needs_people: bool
    worlds: set[World] = field(default_factory=lambda: {(-1, Phase.REFUSED)})
    first: dict[int, Hashable] = field(default_factory=dict)
    late: dict[int, set[World]] = field(default_factory=dict)
    sender: int | None = None
    asker: int | None = None
    stuck: bool = False

    def asked(self, message: Hashable, answered: bool) -> None:
        """A client asks for it; without an answer it may not have been recorded."""
        began: set[World] = set()
        for attempt, phase in self.worlds:
            if phase is Phase.REFUSED and self.first.get(attempt) != message:
                began.add((attempt + 1, Phase.HELD if self.needs_people else Phase.OPEN))
            else:
                began.add((attempt, phase))
        self.worlds = began if answered else began | self.worlds

    def decided(self, approved: bool) -> None:
        """The last of the people who were needed has spoken; or nobody has in time."""
        ((attempt, phase),) = self.worlds
        assert phase is Phase.HELD, f"decided while it {phase.value}"
        self.worlds = {(attempt, Phase.OPEN if approved else Phase.REFUSED)}

    def exchanged(self, process: int, attempt: int, polled: bool, said: Said, learnt: bool) -> None:
        """A process asked the CA. Unless it is sure to have learnt the answer, it may yet, if nobody asks meanwhile."""
        found = {phase for number, phase in self.worlds if number == attempt}
        # What may have been sent is sent again only by whoever has just asked what became of it; and what another
        # process was about to send may have been sent.
        found -= set() if polled or self.asker == process else {Phase.LOST}
        found -= set() if self.sender in (None, process) else {Phase.OPEN}
        steps = {phase: after(phase, polled, said) for phase in found}
        learnt_of = {(attempt, step) for step in steps.values() if step}
        assert learnt_of, f"{'polled for' if polled else 'sent'} while it can only be {self.worlds}"
        self.stuck = not polled and Phase.LOST in found and said is Said.FAILURE
        self.asker = process if polled and said is Said.FAILURE else None
        self.worlds, self.late = learnt_of, {}
        if not learnt:
            self.late[process] = learnt_of
            self.worlds = learnt_of | {
                (attempt, lost) for phase, step in steps.items() if step and (lost := after(phase, polled, Said.LOST))
            }

    def resumed(self, process: int) -> None:
        """A process that was stopped goes on, and may write what it has learnt unless somebody has asked since."""
        for attempt, phase in self.late.pop(process, ()):
            if any(number == attempt and other not in _VIEWS for number, other in self.worlds):
                self.worlds = self.worlds | {(attempt, phase)}

    def stored(self, attempt: int, phases: frozenset[Phase], message: Hashable, sender: int | None) -> None:
        """What is stored is one of what is possible, and the others are not any more."""
        possible = {(attempt, phase) for phase in phases} & self.worlds
        assert possible, f"attempt {attempt} is stored as {phases}, and can only be {self.worlds}"
        if phases == BEING_SENT:
            possible.add((attempt, Phase.LOST))  # for others, once whoever is sending it takes too long
        self.worlds, self.first[attempt], self.sender = possible, message, sender

    def views(self, attempt: int | None = None) -> set[View]:
        """What may be told of it now, or of one of its attempts."""
        told: set[View] = set()
        for latest, phase in self.worlds:
            if attempt is None or attempt == latest:
                told.add(_VIEWS.get(phase, View.PENDING))
            else:
                told.add(View.FAILURE if attempt < latest else View.STRANGER)
        return told
