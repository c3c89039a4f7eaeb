"""From a file to a :class:`~scepra.config.model.Config`, or to every problem in it at once (design rule 19)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from scepra.config import refusal
from scepra.config.challenge import StaticChallenge
from scepra.config.check import Sections, check
from scepra.config.document import MAXIMUM, Document
from scepra.config.model import Config, Limits, Listen, Store, Workers
from scepra.config.policyfile import read_policy
from scepra.config.profile import Profile
from scepra.config.section import Surroundings
from scepra.config.token import Token
from scepra.config.upstream import Upstream
from scepra.errors import ConfigError, Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file.

    ``config`` is None if there are errors; ``sections`` are those that are right by themselves even then; ``problems``
    are all of them, warnings too, in the order of their places, those of another file after those of its own.
    """

    config: Config | None
    document: Document
    problems: tuple[Problem, ...]
    sections: Sections = field(default_factory=Sections)

    def problem(self, path: tuple[str | int, ...], sentence: str, severity: str = "error") -> Problem:
        """A problem at a place of this file."""
        return self.document.problem(path, sentence, severity)

    def in_order(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems in the order of their places: this file's, then those of others."""
        return sorted(problems, key=lambda each: (each.file != self.document.file, each.file, each.line, each.column))


def load(path: str | Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration.

    Args:
        path: the file; relative paths in it start from its directory.
        environ: where the environment variables that it names are looked up.

    Raises:
        ConfigError: with every problem found; warnings alone are none.
    """
    reading = read(path, environ)
    if reading.config is None:
        raise ConfigError(reading.problems)
    return reading.config


def read(path: str | Path, environ: Mapping[str, str] = os.environ) -> Reading:
    """As :func:`load`, but problems are returned, warnings among them, instead of raised."""
    path = Path(path)
    try:
        content, mode = read_file(path)
    except ConfigError as error:
        return Reading(None, Document(str(path), None, {}, error.problems), error.problems)
    return parse(content, str(path), Surroundings(path.parent, environ), mode)


def read_file(path: Path) -> tuple[bytes, int]:
    """What a file holds, and its permissions; of one that is too long, the beginning.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAXIMUM + 1), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no such name is possible"
        raise ConfigError((Problem(str(path), 0, 0, "", f"cannot be read: {reason}"),)) from error


def parse(content: bytes, file: str, surroundings: Surroundings, mode: int = 0o600) -> Reading:
    """Read the content of a file.

    Args:
        content: what the file holds.
        file: its name, for the problems.
        surroundings: what it refers to beyond itself.
        mode: its permissions; others may not read a file with a secret in it (AC-130).
    """
    document = Document.parse(content, file)
    if document.data is None:
        return Reading(None, document, document.problems)
    found = list(document.problems)
    config = None
    try:
        config = Config.model_validate(document.data, by_alias=True, by_name=False, context=surroundings)
        sections = Sections(
            listen=config.listen,
            workers=config.workers,
            limits=config.limits,
            store=config.store,
            tokens=config.tokens,
            upstreams=config.upstreams,
            profiles=config.profiles,
            token_names=config.tokens,
            upstream_names=config.upstreams,
            profile_names=config.profiles,
            complete=True,
        )
    except ValidationError as error:
        found += refusal.problems(error, document, surroundings)
        sections = _readable(document.data, surroundings)
    found += (document.problem(each.path, each.sentence, each.severity) for each in check(sections))
    found += _exposed(sections, document, mode)
    found += _shadows(document, surroundings)
    refused = any(problem.severity == "error" for problem in found)
    reading = Reading(None if refused else config, document, (), sections)
    return replace(reading, problems=tuple(reading.in_order(found)))


def _readable(data: Mapping[str, object], surroundings: Surroundings) -> Sections:
    """Those sections of refused data that are right by themselves."""
    tokens, upstreams, profiles = data.get("tokens"), data.get("upstreams"), data.get("profiles")
    return Sections(
        listen=_valid(TypeAdapter(Listen), data.get("listen", {}), surroundings),
        workers=_valid(TypeAdapter(Workers), data.get("workers"), surroundings),
        limits=_valid(TypeAdapter(Limits), data.get("limits", {}), surroundings),
        store=_valid(TypeAdapter(Store), data.get("store", {}), surroundings),
        tokens=dict(_valid_values(TypeAdapter(Token), tokens, surroundings)),
        upstreams=dict(_valid_values(TypeAdapter(Upstream), upstreams, surroundings)),
        profiles=dict(_valid_values(TypeAdapter(Profile), profiles, surroundings)),
        token_names=tuple(tokens) if isinstance(tokens, Mapping) else (),
        upstream_names=tuple(upstreams) if isinstance(upstreams, Mapping) else (),
        profile_names=tuple(profiles) if isinstance(profiles, Mapping) else (),
    )


def _valid_values(kind: TypeAdapter[T], data: object, surroundings: Surroundings) -> Iterator[tuple[str, T]]:
    for name, value in data.items() if isinstance(data, Mapping) else ():
        section = _valid(kind, value, surroundings)
        if section is not None:
            yield name, section


def _valid(kind: TypeAdapter[T], data: object, surroundings: Surroundings) -> T | None:
    try:
        return kind.validate_python(data, by_alias=True, by_name=False, context=surroundings)
    except ValidationError:
        return None


def _exposed(sections: Sections, document: Document, mode: int) -> Iterator[Problem]:
    """Secrets in a file that others may read (AC-130)."""
    if not mode & 0o077:
        return
    for name, profile in sections.profiles.items():
        if isinstance(profile.challenge, StaticChallenge) and profile.challenge.insecure_inline is not None:
            yield document.problem(
                ("profiles", name, "challenge", "insecure-inline"),
                f"a secret in a file that others can read (mode {mode:04o}): chmod 600 it",
            )


def _shadows(document: Document, surroundings: Surroundings) -> Iterator[Problem]:
    """What is wrong in the files with second policies, at their own lines, whatever else is wrong with a profile."""
    seen = set()
    profiles = document.data.get("profiles")
    for name, profile in profiles.items() if isinstance(profiles, Mapping) else ():
        value = profile.get("shadow") if isinstance(profile, Mapping) else None
        # What is no path is refused where the profile is read.
        if not isinstance(value, str) or not value or "\0" in value or value in seen:
            continue
        seen.add(value)
        reading = read_policy(surroundings.base / value)
        if reading.found:
            yield from reading.problems
        else:
            yield document.problem(("profiles", name, "shadow"), reading.problems[0].sentence)
