"""The language of patterns, read into a tree (AC-077).

Literals, ``.``, classes (``[a-z0-9-]``, ``[^/]``, ``\\d``, ``\\w``: ASCII), groups, ``|`` and the quantifiers ``?``,
``*``, ``+``, ``{m}``, ``{m,}`` and ``{m,n}``. ``^`` at the start and ``$`` at the end are tolerated: a pattern has to
match the whole text anyhow. What backtracking engines offer beyond that (look-around, back-references, lazy and
possessive quantifiers, flags) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 1024
_MAX_DEPTH = 16
_QUANTIFIER = re.compile(r"\{([0-9]{1,3})(?:(,)([0-9]{0,3}))?\}")

Ranges = tuple[tuple[str, str], ...]
_DIGIT: Ranges = (("0", "9"),)
_WORD: Ranges = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))


class PatternError(ValueError):
    """A pattern that is not of the language."""


@dataclass(frozen=True, slots=True)
class Class:
    """The characters that one position accepts."""

    ranges: Ranges
    negated: bool = False

    def accepts(self, character: str) -> bool:
        return any(low <= character <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class Repeat:
    child: Expression
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    parts: tuple[Expression, ...]


Expression = Class | Repeat | Sequence | Choice
ANY = Class((), negated=True)


class Reader:
    """Reads the text of a pattern, once, from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise PatternError(f"it is longer than {LONGEST} characters")
        self.bare_dots = False
        self._text = text
        self._at = 0
        self._end = len(text)

    def read(self) -> Expression:
        if self._text.startswith("^"):
            self._at = 1
        if self._text.endswith("$") and (self._end - len(self._text[:-1].rstrip("\\"))) % 2:
            self._end -= 1
        expression = self._choice(0)
        if self._at < self._end:
            raise self._error("a closing parenthesis without its opening one")
        return expression

    def _error(self, what: str) -> PatternError:
        return PatternError(f"at character {self._at + 1}: {what}")

    def _peek(self) -> str:
        return self._text[self._at] if self._at < self._end else ""

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise self._error("it ends too early")
        self._at += 1
        return character

    def _choice(self, depth: int) -> Expression:
        parts = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self, depth: int) -> Expression:
        parts: list[Expression] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified(depth))
        if not parts:
            raise self._error("nothing to match; for something optional use ?")
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quantified(self, depth: int) -> Expression:
        atom = self._atom(depth)
        bounds = self._quantifier()
        if bounds is None:
            self.bare_dots = self.bare_dots or atom == ANY
            return atom
        if self._peek() in ("?", "*", "+", "{"):
            raise self._error("a quantifier after a quantifier")
        return Repeat(atom, *bounds)

    def _quantifier(self) -> tuple[int, int | None] | None:
        simple = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(self._peek())
        if simple is not None:
            self._at += 1
            return simple
        if self._peek() != "{":
            return None
        match = _QUANTIFIER.match(self._text, self._at, self._end)
        if match is None:
            raise self._error("expected {m}, {m,} or {m,n} with numbers below 1000; a brace itself is \\{")
        least = int(match[1])
        most = least if match[2] is None else int(match[3]) if match[3] else None
        if most is not None and (most < least or not most):
            raise self._error("a repetition whose bounds are the wrong way round, or none")
        self._at = match.end()
        return least, most

    def _atom(self, depth: int) -> Expression:
        character = self._next()
        if character == ".":
            return ANY
        if character == "[":
            return self._class()
        if character == "(":
            return self._group(depth + 1)
        if character == "\\":
            return Class(self._escape())
        if character in "?*+{}]^$":
            self._at -= 1
            raise self._error(f"{character!r} where it means nothing; the character itself is \\{character}")
        return Class(((character, character),))

    def _group(self, depth: int) -> Expression:
        if depth > _MAX_DEPTH:
            raise self._error("groups nested too deeply")
        if self._peek() == "?":
            if not self._text.startswith("?:", self._at):
                raise self._error("only plain groups (...) and (?:...) are known: no look-around, no flags, no names")
            self._at += 2
        expression = self._choice(depth)
        self._next()  # the closing parenthesis: nothing else ends a choice but the end
        return expression

    def _escape(self) -> Ranges:
        character = self._next()
        if character == "d":
            return _DIGIT
        if character == "w":
            return _WORD
        if character.isalnum() or not character.isascii():
            self._at -= 1
            raise self._error(f"\\{character} is not known; of the lettered escapes there are \\d and \\w")
        return ((character, character),)

    def _class(self) -> Class:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        ranges: list[tuple[str, str]] = []
        while (character := self._next()) != "]":
            if character == "[":
                self._at -= 1
                raise self._error("[ inside a class; the character itself is \\[")
            items = self._escape() if character == "\\" else ((character, character),)
            low = items[0][0]
            if (
                len(items) == 1
                and items[0][1] == low
                and self._peek() == "-"
                and self._text[self._at + 1 : self._at + 2] != "]"
            ):
                self._at += 1
                high = self._next()
                if high == "\\":
                    high = self._escape()[0][0]
                if high < low or high == "[":
                    raise self._error("a range whose ends are the wrong way round")
                items = ((low, high),)
            ranges.extend(items)
        if not ranges:
            raise self._error("an empty class")
        return Class(tuple(ranges), negated)
