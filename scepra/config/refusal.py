"""What pydantic found wrong, as sentences at their places: no value is ever quoted, since it may be a secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scepra.config.document import Document, Path
from scepra.config.section import Surroundings
from scepra.errors import Problem
from scepra.policy.value import format_duration

_SENTENCES = {
    "missing": "required key is missing",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
}


def problems(error: ValidationError, document: Document, surroundings: Surroundings) -> Iterator[Problem]:
    """Every mistake in a validation, placed.

    What the document itself already complains about is left out: a key without a value has no right type either.
    """
    complained = {problem.path for problem in document.problems}
    for details in error.errors(include_url=False):
        # A list whose items are all wrong counts as empty, too.
        if details["type"] == "too_short" and details["input"]:
            continue
        path, rest = trace(details["loc"], document.data)
        sentence, beyond = _sentence(details, path, rest, document.data, surroundings)
        problem = document.problem((*path, *beyond), sentence)
        if problem.path not in complained:
            yield problem


def trace(location: Iterable[str | int], data: Any) -> tuple[Path, Path]:
    """pydantic's location without what stands nowhere in the data: the names of union members and of validators.

    Returns:
        The path to the deepest thing that is there, and the remaining items, which are not.
    """
    found: list[str | int] = []
    rest: list[str | int] = []
    for item in location:
        if isinstance(data, Mapping) and item in data:
            data = data[str(item)]
        elif isinstance(data, list) and isinstance(item, int):
            data = data[item]
        else:
            rest.append(item)
            continue
        found.append(item)
        rest.clear()
    return tuple(found), tuple(rest)


def _sentence(details: ErrorDetails, path: Path, rest: Path, data: Any, surroundings: Surroundings) -> tuple[str, Path]:
    """The sentence for one mistake, and what follows the path where the mistake is an absence."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "missing":
        return _SENTENCES[kind], rest[-1:]
    if kind == "extra_forbidden":
        return "unknown key" + suggestion(str(path[-1]), _known(at(data, path[:-1]), surroundings)), ()
    if kind == "union_tag_not_found":
        return _SENTENCES["missing"], (context["discriminator"].strip("'"),)
    if kind == "union_tag_invalid":
        key = context["discriminator"].strip("'")
        return _expected(context["expected_tags"].replace(", ", " or "), at(data, (*path, key))), (key,)
    if kind in ("literal_error", "enum"):
        return _expected(context["expected"].replace("True", "true"), details["input"]), ()
    if kind == "string_type":
        scalar = isinstance(details["input"], bool | int)
        return "expected text; put it in quotes" if scalar else "expected text", ()
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        return f"must be {words} {format_duration(bound) if isinstance(details['input'], float) else bound}", ()
    if kind == "value_error":
        return str(context["error"]), ()
    return _SENTENCES.get(kind) or details["msg"][:1].lower() + details["msg"][1:], ()


def _expected(choices: str, value: Any) -> str:
    """What may stand there, as pydantic lists it; if it is like what stands there, that is said too."""
    return f"expected {choices}" + suggestion(value, (choice for choice in choices.split("'")[1::2]))


def suggestion(value: Any, known: Iterable[str]) -> str:
    """``; did you mean ...?`` where one of *known* is much like *value*, else nothing."""
    close = difflib.get_close_matches(value, list(known), n=1, cutoff=0.65) if isinstance(value, str) else []
    return f"; did you mean '{close[0]}'?" if close else ""


def at(data: Any, path: Path) -> Any:
    """What stands at a path that exists."""
    for item in path:
        data = data[item]
    return data


def _known(mapping: Any, surroundings: Surroundings) -> set[str]:
    """The keys of the sections that a mapping was read as, in the file's spelling."""
    found: set[str] = set()
    for data, section in surroundings.sections:
        if data is mapping:
            found |= keys(section)
    return found


def keys(section: type[BaseModel]) -> set[str]:
    """The keys of a section, in the file's spelling."""
    return {str(field.alias or name) for name, field in section.model_fields.items()}
