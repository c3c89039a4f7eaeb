"""A file with nothing in it but a policy: a second one that a profile is judged by beside its own, or a draft.

It holds the same list of rules as a profile, under the one key ``policy``, and is read, checked and located like the
configuration itself (design rule 19).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from scepra.config import refusal
from scepra.config.document import MAXIMUM, Document
from scepra.config.section import Section, Surroundings
from scepra.errors import ConfigError, Problem
from scepra.policy import Policy, PolicyRule, openness


class PolicyFile(Section):
    """The whole of such a file."""

    policy: Policy = Field(description="The rules that every request must satisfy.")


@dataclass(frozen=True, slots=True)
class PolicyReading:
    """What became of a file.

    ``policy`` is None if there are errors; ``problems`` are all of them, warnings too, in the order of their places;
    ``found`` is whether the file could be read at all.
    """

    policy: tuple[PolicyRule, ...] | None
    problems: tuple[Problem, ...]
    found: bool = True


def load_policy(path: Path) -> tuple[PolicyRule, ...]:
    """The rules in a file.

    Raises:
        ConfigError: with every problem found; warnings alone are none.
    """
    reading = read_policy(path)
    if reading.policy is None:
        raise ConfigError(reading.problems)
    return reading.policy


def read_policy(path: Path) -> PolicyReading:
    """As :func:`load_policy`, but problems are returned, warnings among them, instead of raised."""
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM + 1)
    except OSError as error:
        reason = f"cannot be read: {os.strerror(error.errno or 0)}"
        return PolicyReading(None, (Problem(str(path), 0, 0, "", reason),), found=False)
    return parse_policy(content, str(path))


def parse_policy(content: bytes, file: str) -> PolicyReading:
    """Read the content of a file.

    Args:
        content: what the file holds.
        file: its name, for the problems.
    """
    document = Document.parse(content, file)
    if document.data is None:
        return PolicyReading(None, document.problems)
    found, surroundings, policy = list(document.problems), Surroundings(environ={}), None
    try:
        policy = PolicyFile.model_validate(document.data, by_alias=True, by_name=False, context=surroundings).policy
        found += (document.problem(("policy", *each.path), each.sentence, each.severity) for each in openness(policy))
    except ValidationError as error:
        found += refusal.problems(error, document, surroundings)
    found.sort(key=lambda problem: (problem.line, problem.column))
    refused = any(problem.severity == "error" for problem in found)
    return PolicyReading(None if refused else policy, tuple(found))
