"""What a master tells its workers about the configuration, and what they answer: a line of JSON each.

A worker's first line makes it ready to start. Later ones come in two steps: all have to be ready for another
configuration before any of them goes by it (FT-51).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from scepra.config.source import Source
from scepra.errors import Problem
from scepra.workers.event import LONGEST

MARK = b"answer "
"""How a line begins that is an answer; an event is a JSON object, and begins otherwise."""

_LONGEST = 1000  # Characters; a problem of two such texts and the name of a file is still a line as JSON.


@dataclass(frozen=True, slots=True)
class Prepare:
    """Be ready to go by a configuration; answered when that is so, or cannot be. ``number`` is the attempt's."""

    number: int
    source: Source

    def encode(self) -> bytes:
        """As a line."""
        return _line(order="prepare", number=self.number, source=self.source.fields())


@dataclass(frozen=True, slots=True)
class Take:
    """Go by what was prepared; answered when that is so."""

    number: int

    def encode(self) -> bytes:
        """As a line."""
        return _line(order="take", number=self.number)


@dataclass(frozen=True, slots=True)
class Refuse:
    """Go on as before, and forget what was prepared, since somebody cannot take it: ``failure`` says why."""

    failure: str

    def encode(self) -> bytes:
        """As a line."""
        return _line(order="refuse", failure=self.failure)


Order = Prepare | Take | Refuse


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says to an attempt: all that is wrong with it, or nothing."""

    number: int
    problems: tuple[Problem, ...] = ()

    def encode(self) -> bytes:
        """As a line; of more problems than it can have, the first, and one at least."""
        problems = [
            asdict(replace(each, path=each.path[:_LONGEST], sentence=each.sentence[:_LONGEST]))
            for each in self.problems
        ]
        while len(line := MARK + _line(number=self.number, problems=problems)) > LONGEST:
            problems = problems[: len(problems) // 2]
        return line


def decode(line: bytes) -> Order:
    """The order in a line.

    Raises:
        ValueError: the master has ended before it had said all.
    """
    fields: dict[str, Any] = json.loads(line)
    match fields["order"]:
        case "prepare":
            return Prepare(fields["number"], Source.of(fields["source"]))
        case "take":
            return Take(fields["number"])
        case _:
            return Refuse(fields["failure"])


def decode_answer(line: bytes) -> Answer:
    """The answer in a line that begins with the mark."""
    fields = json.loads(line.removeprefix(MARK))
    return Answer(fields["number"], tuple(Problem(**each) for each in fields["problems"]))


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode("ascii") + b"\n"
