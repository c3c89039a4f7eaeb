"""Patterns for names that cannot be made slow (AC-077).

An expression becomes Glushkov's automaton, whose states are sets of positions held as integers: each character costs
one step whatever the pattern, so that matching takes time linear in a text of at most :data:`LONGEST_TEXT` characters.
:mod:`scepra.policy.expression` has the language.
"""

from __future__ import annotations

import string
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field

from scepra.policy.expression import Choice, Class, Expression, PatternError, Reader, Sequence

LONGEST_TEXT = 2048
MAX_POSITIONS = 512
_CACHED = 4096
_LABEL = string.ascii_letters + string.digits + "-"
_PRINTABLE = [chr(code) for code in range(32, 127)]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A compiled expression: whether it matches nothing at all, where it may start and end (bit sets of positions)."""

    nullable: bool
    first: int
    last: int


@dataclass(eq=False, slots=True)
class _Automaton:
    classes: list[Class] = field(default_factory=list)
    follow: list[int] = field(default_factory=list)

    def compile(self, expression: Expression) -> _Piece:
        match expression:
            case Class():
                if len(self.classes) == MAX_POSITIONS:
                    raise PatternError(f"it stands for more than {MAX_POSITIONS} characters and classes")
                bit = 1 << len(self.classes)
                self.classes.append(expression)
                self.follow.append(0)
                return _Piece(False, bit, bit)
            case Sequence(parts):
                piece = self.compile(parts[0])
                for part in parts[1:]:
                    piece = self._join(piece, self.compile(part))
                return piece
            case Choice(parts):
                pieces = [self.compile(part) for part in parts]
                first = last = 0
                for piece in pieces:
                    first, last = first | piece.first, last | piece.last
                return _Piece(any(piece.nullable for piece in pieces), first, last)
            case _:
                return self._repeat(expression.child, expression.least, expression.most)

    def _repeat(self, child: Expression, least: int, most: int | None) -> _Piece:
        """``least`` copies, then an endless one, or optional ones up to ``most``."""
        piece = _Piece(True, 0, 0)
        for _ in range(max(least, 1) if most is None else most):
            copy = self.compile(child)
            optional = most is not None and least <= 0
            piece = self._join(piece, _Piece(copy.nullable or optional, copy.first, copy.last))
            least -= 1
        if most is None:
            self._link(copy.last, copy.first)
            if least < 0:
                piece = _Piece(True, piece.first, piece.last)
        return piece

    def _join(self, left: _Piece, right: _Piece) -> _Piece:
        self._link(left.last, right.first)
        return _Piece(
            left.nullable and right.nullable,
            left.first | right.first if left.nullable else left.first,
            left.last | right.last if right.nullable else right.last,
        )

    def _link(self, ends: int, starts: int) -> None:
        for position in _bits(ends):
            self.follow[position] |= starts


def _bits(mask: int) -> list[int]:
    positions = []
    while mask:
        low = mask & -mask
        positions.append(low.bit_length() - 1)
        mask ^= low
    return positions


class Pattern:
    """A compiled pattern.

    Args:
        text: the pattern.
        ignore_case: whether ASCII letters match in either case, as in DNS names.

    Raises:
        PatternError: what is wrong, and where.
    """

    __slots__ = (
        "_accepting",
        "_classes",
        "_follow",
        "_ignore_case",
        "_masks",
        "_nullable",
        "_reach",
        "_start",
        "bare_dots",
        "text",
    )

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        reader = Reader(text)
        expression = reader.read()
        automaton = _Automaton()
        piece = automaton.compile(expression)
        self.text = text
        self.bare_dots: bool = reader.bare_dots
        """Whether a dot stands for one arbitrary character, which is seldom meant (AC-077)."""
        self._classes = automaton.classes
        self._follow = automaton.follow
        self._start, self._accepting, self._nullable = piece.first, piece.last, piece.nullable
        self._reach: dict[int, int] = {}
        self._masks: dict[str, int] = {}
        self._ignore_case = ignore_case

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def matches(self, text: str) -> bool:
        """Whether it matches the whole of *text*; nothing longer than :data:`LONGEST_TEXT` matches."""
        if not text:
            return self._nullable
        if len(text) > LONGEST_TEXT:
            return False
        masks, reach, state = self._masks, self._reach, 0
        reachable = self._start
        for character in text:
            mask = masks.get(character)
            if mask is None:
                if len(masks) >= _CACHED:
                    masks.clear()
                mask = masks[character] = self._mask(character)
            state = reachable & mask
            if not state:
                return False
            following = reach.get(state)
            if following is None:
                if len(reach) >= _CACHED:
                    reach.clear()
                following = reach[state] = self._following(state)
            reachable = following
        return bool(state & self._accepting)

    def shortest(self, parts: Ordered[str]) -> int | None:
        """How long the shortest text is that matches and is made of one or more characters of each part, in their
        order; None if there is none."""
        letters = [self._letters(part) for part in parts]
        # What may come next, within each part; the first character is of the first.
        reachable = [self._start] + [0] * (len(parts) - 1)
        for length in range(1, len(self._classes) * len(parts) + 1):
            states = [positions & letter for positions, letter in zip(reachable, letters, strict=True)]
            if states[-1] & self._accepting:
                return length
            following = [self._following(state) for state in states]
            reachable = [one | other for one, other in zip(following, [0, *following[:-1]], strict=True)]
        return None

    def _letters(self, characters: str) -> int:
        """The positions that accept any of some characters."""
        accepted = 0
        for character in characters:
            accepted |= self._mask(character)
        return accepted

    def matches_below(self, suffix: str) -> bool:
        """Whether it matches some DNS label followed by *suffix*: a name that ``*`` before it would stand for."""
        label = self._letters(_LABEL)
        state, grown = 0, self._start & label
        while grown != state:
            state = grown
            grown |= self._following(state) & label
        for character in suffix:
            state = self._following(state) & self._mask(character)
        return bool(state & self._accepting)

    def matches_everything(self) -> bool:
        """Whether every text of printable ASCII matches, which makes the pattern no restriction at all.

        For patterns with very many states the answer is False.
        """
        letters = {self._mask(character) for character in _PRINTABLE}
        pending, seen = [self._start & letter for letter in letters], set[int]()
        while pending:
            state = pending.pop()
            if not state & self._accepting:
                return False
            if state not in seen:
                seen.add(state)
                following = self._following(state)
                pending.extend(following & letter for letter in letters)
                if len(seen) > _CACHED:
                    return False
        return True

    def _mask(self, character: str) -> int:
        """The positions that accept a character."""
        forms = {character, character.swapcase()} if self._ignore_case and character.isascii() else {character}
        return sum(
            1 << position
            for position, accepted in enumerate(self._classes)
            if any(accepted.accepts(form) for form in forms)
        )

    def _following(self, state: int) -> int:
        following = 0
        for position in _bits(state):
            following |= self._follow[position]
        return following
