"""YAML as data with the place of everything in it; whatever YAML is refused is refused with its place.

The reading is deliberately poorer than YAML 1.1: ``no``, ``0755``, ``1.3``, ``22:30`` and dates are text; keys are text
and stand once; tags are refused; a key without a value is a mistake; anchors, aliases and merges (``<<``) work within
bounds.
The security document's design rule 19; AC-095.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from scepra.errors import Problem

MAXIMUM = 1024 * 1024
DEPTH = 32
NODES = 50_000

Path = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "false": False}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STR = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data and the place of every key and item in it; ``data`` is None where nothing could be read."""

    file: str
    data: Any
    places: dict[Path, Place]
    problems: tuple[Problem, ...]

    @classmethod
    def parse(cls, content: bytes, file: str) -> Document:
        """Read YAML. Never raises: what is wrong stands in ``problems``, and ``data`` is what remains without it.

        Args:
            content: the whole file.
            file: its name, for the problems.
        """
        composer = _Composer(file)
        data = composer.read(content)
        return cls(file, data, composer.places, tuple(composer.problems))

    def problem(self, path: Path, sentence: str, severity: str = "error") -> Problem:
        """A problem at *path*, placed at the nearest thing above it that stands in the file."""
        above = path
        while above and above not in self.places:
            above = above[:-1]
        place = self.places.get(above, Place(0, 0))
        return Problem(self.file, place.line, place.column, dotted(path), sentence, severity)


def dotted(path: Path) -> str:
    """A path as people write it: ``profiles.wifi.policy[2].key``."""
    text = ""
    for item in path:
        if isinstance(item, int):
            text += f"[{item}]"
        elif _PLAIN_KEY.fullmatch(item):
            text += f".{item}" if text else item
        else:
            text += f"[{item!r}]"
    return text


@dataclass(slots=True)
class _Node:
    """A scalar (``children`` is None) with its value, or a collection; a mapping's children are key, value, key, ..."""

    place: Place
    value: Any = None
    children: list[_Node] | None = None
    mapping: bool = False
    merge: bool = False
    complaint: str = ""


@dataclass(slots=True)
class _Stop(Exception):
    """Reading cannot go on."""

    place: Place
    sentence: str


@dataclass(slots=True)
class _Composer:
    """One reading: the problems met and the places seen so far."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, Place] = field(default_factory=dict)
    visited: int = 0

    def read(self, content: bytes) -> Any:
        """The data of a file, or None."""
        try:
            root = _compose(_text(content))
            if not root.mapping:
                raise _Stop(root.place, "expected a mapping of sections such as listen, upstreams and profiles")
            self.places[()] = root.place
            return self._build(root, ())
        except _Stop as stop:
            self.problems.append(Problem(self.file, stop.place.line, stop.place.column, "", stop.sentence))
            return None

    def _refuse(self, place: Place, path: Path, sentence: str) -> None:
        self.problems.append(Problem(self.file, place.line, place.column, dotted(path), sentence))

    def _build(self, node: _Node, path: Path) -> Any:
        """The data that a node stands for; aliases make a node stand for data in several places."""
        self._visit(node, len(path))
        if node.complaint:
            self._refuse(self.places[path], path, node.complaint)
            return None
        if node.children is None:
            return node.value
        if node.mapping:
            return self._mapping(node, path)
        items = []
        for index, child in enumerate(node.children):
            self.places[*path, index] = child.place
            items.append(self._build(child, (*path, index)))
        return items

    def _mapping(self, node: _Node, path: Path) -> dict[str, Any]:
        own: dict[str, _Node] = {}
        inherited: list[_Node] = []
        for key, value in _pairs(node):
            if key.merge:
                inherited += self._merged(value, path, len(path))
            elif not isinstance(key.value, str) or key.complaint:
                self._refuse(key.place, path, "a key must be text; put it in quotes")
            elif key.value in own:
                first = self.places[*path, key.value]
                self._refuse(
                    key.place,
                    (*path, key.value),
                    f"duplicate key: the first is at line {first.line}, column {first.column}",
                )
            else:
                own[key.value] = value
                self.places[*path, key.value] = key.place
        for mapping in inherited:
            for key, value in _pairs(mapping):
                if isinstance(key.value, str) and not key.merge and key.value not in own:
                    own[key.value] = value
                    self.places[*path, key.value] = key.place
        return {key: self._build(value, (*path, key)) for key, value in own.items()}

    def _merged(self, value: _Node, path: Path, depth: int) -> list[_Node]:
        """The mappings that a merge key names, the strongest first, and what these merge in turn."""
        sources = [value] if value.mapping else value.children or [value]
        if not all(source.mapping and not source.complaint for source in sources):
            self._refuse(value.place, path, "a merge (<<) takes a mapping or a list of mappings")
            return []
        found = []
        for source in sources:
            self._visit(source, depth)
            found.append(source)
            for key, inner in _pairs(source):
                self._visit(key, depth)
                if key.merge:
                    found += self._merged(inner, path, depth + 1)
        return found

    def _visit(self, node: _Node, depth: int) -> None:
        """Count what was read: aliases can make a small file stand for a huge one."""
        self.visited += 1
        if self.visited > NODES:
            raise _Stop(node.place, f"more than {NODES} values, counting what aliases repeat")
        if depth > DEPTH:
            raise _Stop(node.place, f"nested deeper than {DEPTH} levels")


def _text(content: bytes) -> str:
    """The file as text, without a byte order mark."""
    if len(content) > MAXIMUM:
        raise _Stop(Place(0, 0), f"larger than {MAXIMUM} octets")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Stop(_place_at(content[: error.start].decode()), "not UTF-8 text") from None
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        raise _Stop(_place_at(text[: unprintable.start()]), f"the character U+{ord(unprintable[0]):04X} is not allowed")
    return text


def _place_at(before: str) -> Place:
    """The place of what follows *before*."""
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _pairs(mapping: _Node) -> Iterator[tuple[_Node, _Node]]:
    children = iter(mapping.children or ())
    return zip(children, children, strict=True)


def _compose(text: str) -> _Node:
    """The tree of the one document in a text."""
    root: _Node | None = None
    anchors: dict[str, _Node] = {}
    open_nodes: list[_Node] = []
    count = 0
    event: Any
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise _Stop(place, "a second document: the configuration is one")
            if isinstance(event, yaml.CollectionEndEvent):
                open_nodes.pop()
            if not isinstance(event, yaml.NodeEvent):
                continue
            count += 1
            if count > NODES:
                raise _Stop(place, f"more than {NODES} values")
            if isinstance(event, yaml.AliasEvent):
                node = anchors.get(str(event.anchor))
                if node is None:
                    raise _Stop(place, f"*{event.anchor} stands for nothing: no &{event.anchor} before it")
                if any(node is other for other in open_nodes):
                    raise _Stop(place, f"*{event.anchor} contains itself")
            else:
                node = _node(event, place)
                if event.anchor:
                    anchors[event.anchor] = node
            if open_nodes:
                children = open_nodes[-1].children
                assert children is not None  # noqa: S101 - only collections are opened
                children.append(node)
            else:
                root = node
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append(node)
                if len(open_nodes) > DEPTH:
                    raise _Stop(place, f"nested deeper than {DEPTH} levels")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        assert mark is not None  # noqa: S101 - the scanner and the parser always give one
        raise _Stop(Place(mark.line + 1, mark.column + 1), f"not YAML: {error.problem or error.context}") from None
    if root is None:
        raise _Stop(Place(0, 0), "the file is empty")
    return root


def _node(event: Any, place: Place) -> _Node:
    """The node that an event begins."""
    complaint = "" if event.tag in (None, "!", _STR) else "tags (!...) are not used here"
    if isinstance(event, yaml.CollectionStartEvent):
        return _Node(place, children=[], mapping=isinstance(event, yaml.MappingStartEvent), complaint=complaint)
    plain = event.implicit[0] and event.tag is None
    if not plain:
        return _Node(place, event.value, complaint=complaint)
    if event.value in _NULLS:
        return _Node(place, complaint="has no value: give it one, or leave it out")
    if event.value in _BOOLEANS:
        return _Node(place, _BOOLEANS[event.value])
    if _INTEGER.fullmatch(event.value):
        return _Node(place, int(event.value))
    return _Node(place, event.value, merge=event.value == "<<")
