"""From texts that were seen to a pattern that matches all of them, and little else; memory is bounded.

A text is words (runs of letters and digits) with other characters between them. Texts with the same characters between
their words have one shape. A shape of which enough different texts were seen becomes a pattern, word by word: what is
the same everywhere is literal, what varies becomes a class of characters with the lengths that occurred. What is rare
stays as it was seen. Shapes are told apart by their letters too, where few letters come again and again. Where there
are too many shapes for anybody to read, the pattern says no more than which characters occur, and that it does so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from scepra.policy.expression import PatternError
from scepra.policy.pattern import Pattern

MEMBERS = 3
"""Of how many different texts something common is taken for a rule."""
MOST_SHAPES = 256
"""How many shapes are kept apart; texts of further ones count for the characters that occur only."""
MOST_PATTERNS, MOST_TEXTS = 12, 40
"""How many shapes a pattern may be made of, and how many texts that are no shape's."""
_COUNTED, _LONGEST_SHOWN = 16, 40
_HEXADECIMAL = 8
_WORD = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[^\W\d_]*")
_NUMBERED = re.compile(r"([^\W\d_]*)([0-9]*)")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_SPECIAL = frozenset(r".[](){}*+?|^$" + "\\")
_IN_CLASS = frozenset("[]^-\\")


@dataclass(frozen=True, slots=True)
class Generalised:
    """A pattern that matches every text that was seen; what it is made of, for people; whether it is so wide that
    somebody has to narrow it."""

    pattern: str
    remarks: tuple[str, ...]
    varied: bool


@dataclass(slots=True)
class _Word:
    """The texts that stood at one place of a shape; ``lead`` are the letters that all of them begin with."""

    texts: dict[str, int] | None = field(default_factory=dict)
    characters: set[str] = field(default_factory=set)
    behind_lead: set[str] = field(default_factory=set)
    lead: str | None = None
    shortest: int = 0
    longest: int = 0

    def add(self, text: str) -> None:
        """Note one."""
        match = _LETTERS.match(text)
        lead = match[0] if match is not None else ""
        self.shortest = len(text) if self.lead is None else min(self.shortest, len(text))
        self.longest = max(self.longest, len(text))
        self.lead = lead if self.lead in (None, lead) else ""
        self.characters.update(text)
        self.behind_lead.update(text[len(lead) :])
        if self.texts is not None:
            self.texts[text] = self.texts.get(text, 0) + 1
            if len(self.texts) > MOST_PATTERNS:
                self.texts = None

    def pattern(self, *, loose: bool) -> str:
        """What matches all of them."""
        if self.texts is not None and (len(self.texts) == 1 or _recur(self.texts)):
            literals = [literal(text) for text in sorted(self.texts)]
            return literals[0] if len(literals) == 1 else f"({'|'.join(literals)})"
        lead, characters = self.lead or "", self.behind_lead if self.lead else self.characters
        times = _times(self.shortest - len(lead), self.longest - len(lead), loose=loose)
        return literal(lead) + _class(characters, self.longest) + times


@dataclass(slots=True)
class _Shape:
    """The texts of one shape, as long as they are few; ``between`` are the characters between their words."""

    between: tuple[str, ...]
    words: tuple[_Word, ...]
    count: int = 0
    texts: dict[str, int] | None = field(default_factory=dict)

    @property
    def common(self) -> bool:
        """Whether enough different texts have it."""
        return self.texts is None or len(self.texts) >= MEMBERS

    def add(self, text: str) -> None:
        """Note one."""
        self.count += 1
        for word, found in zip(self.words, _WORD.findall(text), strict=True):
            word.add(found)
        if self.texts is not None:
            self.texts[text] = self.texts.get(text, 0) + 1
            if len(self.texts) >= MEMBERS:
                self.texts = None

    def pattern(self, *, loose: bool) -> str:
        """What matches all of them."""
        words = [word.pattern(loose=loose) for word in self.words]
        gaps = list(map(literal, self.between))
        return gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=True))


@dataclass(slots=True)
class _Shapes:
    """Texts by their shapes, as long as there are not too many: then ``complete`` is not so.

    Where they are ``fine``, texts with different letters at one place have different shapes.
    """

    fine: bool
    complete: bool = True
    _shapes: dict[tuple[str, ...], _Shape] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Note one."""
        between = tuple(_WORD.split(text))
        shape = (*between, *map(_kind, _WORD.findall(text))) if self.fine else between
        found = self._shapes.get(shape)
        if found is None:
            if len(self._shapes) >= MOST_SHAPES:
                self.complete = False
                return
            found = self._shapes[shape] = _Shape(between, tuple(_Word() for _ in between[1:]))
        found.add(text)

    def common(self) -> list[_Shape]:
        """Those of which enough different texts were seen, the most frequent first."""
        found = [(key, shape) for key, shape in self._shapes.items() if shape.common]
        return [shape for _, shape in sorted(found, key=lambda each: (-each[1].count, each[0]))]

    def rare(self) -> list[str]:
        """The texts that are no such shape's."""
        return sorted(text for shape in self._shapes.values() for text in (shape.texts or ()))


def _kind(word: str) -> str:
    """What words of one fine shape have in common: their letters, if digits follow at most."""
    if len(word) >= _HEXADECIMAL and _HEX.fullmatch(word):
        return "#"
    match = _NUMBERED.fullmatch(word)
    return "#" if match is None else match[1] + "0" * bool(match[2])


@dataclass(slots=True)
class Texts:
    """All texts of one kind, such as the values of CN."""

    count: int = 0
    _fine: _Shapes = field(default_factory=lambda: _Shapes(fine=True))
    _coarse: _Shapes = field(default_factory=lambda: _Shapes(fine=False))
    _characters: set[str] = field(default_factory=set)
    _ending: str = ""
    _shortest: int = 0
    _longest: int = 0

    def add(self, text: str) -> None:
        """Note one."""
        self._shortest = min(self._shortest, len(text)) if self.count else len(text)
        self._longest = max(self._longest, len(text))
        self._ending = _common_ending(self._ending, text) if self.count else text
        self._characters.update(text)
        self.count += 1
        self._fine.add(text)
        self._coarse.add(text)

    def generalise(self) -> Generalised:
        """The narrowest pattern that is still short enough to be read, and to be used."""
        for shapes in (self._fine, self._coarse):
            common, rare = shapes.common(), shapes.rare()
            if not shapes.complete or len(common) > MOST_PATTERNS or len(rare) > MOST_TEXTS:
                continue
            if shapes.fine and 2 * sum(shape.count for shape in common) < self.count:
                # Letters that hardly come again are no part of a shape.
                continue
            for loose in (False, True):
                patterns = [shape.pattern(loose=loose) for shape in common]
                whole = "|".join([*patterns, *map(literal, rare)])
                if _usable(whole):
                    return Generalised(whole, tuple(_remarks(common, patterns, rare, self.count)), varied=False)
        return Generalised(next(filter(_usable, self._wide())), (f"{counted(self.count)}, too varied to list",), True)

    def _wide(self) -> Iterator[str]:
        """Patterns of what characters occur, the narrower ones first."""
        characters = _class(self._characters)
        # What all end with, from a character between words on: a domain, mostly.
        match = re.search(r"[\W_]", self._ending)
        ending = self._ending[match.start() :] if match is not None and len(self._ending) < self._longest else ""
        least, most = self._shortest - len(ending), self._longest - len(ending)
        yield characters + _times(least, most, loose=False) + literal(ending)
        yield characters + ("+" if least else "*") + literal(ending)
        yield characters + "+"
        yield ".+"


def literal(text: str) -> str:
    """The pattern that matches one text."""
    return "".join("\\" + character if character in _SPECIAL else character for character in text)


def counted(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}".replace(",", " ")


def _recur(texts: dict[str, int]) -> bool:
    """Whether these are a few names that come again and again, and no numbers."""
    return not any(text.isdigit() for text in texts) and all(count >= MEMBERS for count in texts.values())


def _usable(pattern: str) -> bool:
    try:
        Pattern(pattern)
    except PatternError:
        return False
    return True


def _remarks(common: list[_Shape], patterns: list[str], rare: list[str], count: int) -> Iterator[str]:
    """What a pattern is made of, if that is more than one thing."""
    if len(common) + len(rare) == 1:
        return
    for shape, pattern in zip(common, patterns, strict=True):
        yield f"{counted(shape.count)} of {counted(count)}: {pattern}"
    if rare:
        left = count - sum(shape.count for shape in common)
        shown = ", ".join(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..." for text in rare[:3])
        more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
        others = ("other" if left == 1 else "others") if common else f"of {counted(count)}"
        yield f"{counted(left)} {others}: {shown}{more}"


def _times(least: int, most: int, *, loose: bool) -> str:
    """The quantifier for something that is there so many times."""
    if loose and most > _COUNTED:
        return "+" if least else "*"
    if least == most:
        return "" if most == 1 else f"{{{most}}}"
    return f"{{{least},{most}}}"


def _class(characters: Set[str], longest: int = 0) -> str:
    """A class of the characters: whole alphabets where letters or digits occur, everything else one by one.

    Args:
        longest: of the texts; long ones of nothing but hexadecimal digits are that.
    """
    digits = characters & set("0123456789")
    pieces = ["0-9"] if digits else []
    for first, last, hexadecimal in (("A", "Z", "F"), ("a", "z", "f")):
        letters = {each for each in characters if first <= each <= last}
        if letters:
            narrow = digits and longest >= _HEXADECIMAL and max(letters) <= hexadecimal
            pieces.append(f"{first}-{hexadecimal if narrow else last}")
    others = sorted(each for each in characters if not (each.isascii() and each.isalnum()))
    pieces += ["\\" + each if each in _IN_CLASS else each for each in others]
    return f"[{''.join(pieces)}]"


def _common_ending(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    return one[len(one) - length :]
