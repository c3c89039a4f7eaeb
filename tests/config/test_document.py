"""YAML as the configuration reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.config.document import DEPTH, MAXIMUM, NODES, Document, dotted


def data(text: str) -> object:
    """The data of a text without problems."""
    document = Document.parse(text.encode(), "c.yaml")
    assert document.problems == ()
    return document.data


def said(content: str | bytes) -> list[str]:
    """Every problem of a content."""
    content = content.encode() if isinstance(content, str) else content
    return [str(problem) for problem in Document.parse(content, "c.yaml").problems]


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("1.3", "1.3"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("0755", "0755"),
        ("0x1F", "0x1F"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("22:30", "22:30"),
        ("2026-01-31", "2026-01-31"),
        ("=", "="),
        ("+5", "+5"),
        ("0", 0),
        ("-12", -12),
        ("2048", 2048),
        ("9" * 18, 10**18 - 1),
        ("9" * 5000, "9" * 5000),
        ("'2048'", "2048"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("''", ""),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("[a, 1, {b: false}]", ["a", 1, {"b": False}]),
    ],
)
def test_scalars(written: str, read: object) -> None:
    """Only true, false and decimal integers are no text: object identifiers, times and modes stay as written."""
    assert data(f"a: {written}") == {"a": read}


@pytest.mark.proves("DR-19")
@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["c.yaml: the file is empty"]),
        ("# nothing\n", ["c.yaml: the file is empty"]),
        ("- a\n", ["c.yaml:1:1: expected a mapping of sections such as listen, upstreams and profiles"]),
        ("a: 1\nb: 2\na: 3\n", ["c.yaml:3:1: a: duplicate key: the first is at line 1, column 1"]),
        (
            "a:\n  {b: 1, 'b': 2}\n",
            ["c.yaml:2:10: a.b: duplicate key: the first is at line 2, column 4"],
        ),
        ("1: x\n", ["c.yaml:1:1: a key must be text; put it in quotes"]),
        ("true: x\n", ["c.yaml:1:1: a key must be text; put it in quotes"]),
        ("a:\n  ~: x\n", ["c.yaml:2:3: a: a key must be text; put it in quotes"]),
        ("? [a]\n: b\n", ["c.yaml:1:3: a key must be text; put it in quotes"]),
        ("!x a: b\n", ["c.yaml:1:1: a key must be text; put it in quotes"]),
        ("a:\nb: ~\nc: [null]\n", [
            "c.yaml:1:1: a: has no value: give it one, or leave it out",
            "c.yaml:2:1: b: has no value: give it one, or leave it out",
            "c.yaml:3:5: c[0]: has no value: give it one, or leave it out",
        ]),
        ("a: !!python/object/apply:os.system [id]\n", ["c.yaml:1:1: a: tags (!...) are not used here"]),
        ("a: !!int 5\n", ["c.yaml:1:1: a: tags (!...) are not used here"]),
        ("a: !secret {b: c}\n", ["c.yaml:1:1: a: tags (!...) are not used here"]),
        ("!!set {a, b}\n", ["c.yaml:1:1: tags (!...) are not used here"]),
        ("a: [\n", ["c.yaml:2:1: not YAML: did not find expected node content"]),
        ("a: 1\n\tb: 2\n", ["c.yaml:2:1: not YAML: found a tab character that violates indentation"]),
        ("a: b: c\n", ["c.yaml:1:5: not YAML: mapping values are not allowed in this context"]),
        ("a: 1\n---\nb: 2\n", ["c.yaml:2:1: a second document: the configuration is one"]),
        (b"a: 1\nb: \xff\n", ["c.yaml:2:4: not UTF-8 text"]),
        ("a: 1\nb: x\x07\n", ["c.yaml:2:5: the character U+0007 is not allowed"]),
        ("a: *b\n", ["c.yaml:1:4: *b stands for nothing: no &b before it"]),
        ("a: &a [*a]\n", ["c.yaml:1:8: *a contains itself"]),
        ("a: &a {b: {c: *a}}\n", ["c.yaml:1:15: *a contains itself"]),
        ("a: {<<: 5}\n", ["c.yaml:1:9: a: a merge (<<) takes a mapping or a list of mappings"]),
        ("a: {<<: []}\n", ["c.yaml:1:9: a: a merge (<<) takes a mapping or a list of mappings"]),
        ("a: {<<: [{b: 1}, 5]}\n", ["c.yaml:1:9: a: a merge (<<) takes a mapping or a list of mappings"]),
        ("a: {<<: !x {b: 1}}\n", ["c.yaml:1:9: a: a merge (<<) takes a mapping or a list of mappings"]),
        ("a" * (MAXIMUM + 1), [f"c.yaml: larger than {MAXIMUM} octets"]),
    ],
)  # fmt: skip
def test_refusals(text: str | bytes, problems: list[str]) -> None:
    """What YAML allows and a configuration must not have is refused at its place."""
    assert said(text) == problems


@pytest.mark.proves("DR-19", "AC-095")
def test_all_at_once() -> None:
    """Mistakes do not hide each other, and what is right beside them is kept."""
    document = Document.parse(b"a: ~\nb: 1\nb: 2\nc: !x y\nd: {e: 5, 6: f}\n", "c.yaml")
    assert [problem.line for problem in document.problems] == [3, 1, 4, 5]
    assert document.data == {"a": None, "b": 1, "c": None, "d": {"e": 5}}


def test_aliases_and_merges() -> None:
    """Aliases repeat what an anchor names; own keys are stronger than merged ones, and earlier merges than later."""
    assert data("a: &x {p: 1, q: 2}\nb: *x\n") == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 2}}
    assert data("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3, r: 4}\n") == {
        "a": {"p": 1, "q": 2},
        "b": {"q": 3, "r": 4, "p": 1},
    }
    assert data("a: &x {p: 1}\nb: {<<: [*x, {p: 2, q: 3}]}\n") == {"a": {"p": 1}, "b": {"p": 1, "q": 3}}
    assert data("a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: *y, r: 3}\n") == {
        "a": {"p": 1},
        "b": {"p": 1, "q": 2},
        "c": {"p": 1, "q": 2, "r": 3},
    }


def test_merged_keys_are_placed_where_they_are_written() -> None:
    """A problem with a merged key points at the mapping that it comes from."""
    document = Document.parse(b"a: &x\n  p: 1\nb:\n  <<: *x\n", "c.yaml")
    assert str(document.problem(("b", "p"), "is wrong")) == "c.yaml:2:3: b.p: is wrong"


@pytest.mark.proves("DR-19")
def test_alias_bombs() -> None:
    """A small file cannot stand for a huge one: neither by aliases nor by merges, wide or deep."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert f"more than {NODES} values, counting what aliases repeat" in said("\n".join(lines))[0]
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 9)]
    assert "counting what aliases repeat" in said("\n".join(lines))[0]
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: *a{i - 1}}}" for i in range(1, DEPTH + 9)]
    assert f"nested deeper than {DEPTH} levels" in said("\n".join(lines))[0]
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{y: *a{i - 1}}}" for i in range(1, DEPTH + 9)]
    assert f"nested deeper than {DEPTH} levels" in said("\n".join(lines))[0]


@pytest.mark.proves("DR-19")
def test_bounds() -> None:
    """Nesting and the number of values are bounded while reading."""
    assert said("a: " + "[" * 900) == [f"c.yaml:1:35: nested deeper than {DEPTH} levels"]
    (deeper,) = said("a: " + "[" * 100_000)  # a parser that has a bound of its own meets that first
    assert deeper.startswith("c.yaml:1:") and "nest" in deeper
    assert said("a: [" + "x," * NODES + "]") == [f"c.yaml:1:{2 * NODES - 1}: more than {NODES} values"]


def test_byte_order_mark() -> None:
    """A byte order mark, as some editors write it, is no part of the text."""
    document = Document.parse("\ufeffa: 1".encode(), "c.yaml")
    assert (document.data, document.problems) == ({"a": 1}, ())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("profiles", "wifi", "policy", 2, "key"), "profiles.wifi.policy[2].key"),
        (("profiles", "a.b", "paths"), "profiles['a.b'].paths"),
        ((0, "a"), "[0].a"),
    ],
)
def test_dotted(path: tuple[str | int, ...], text: str) -> None:
    """Paths are shown as people write them, keys with odd characters in quotes."""
    assert dotted(path) == text


def test_problems_are_placed_at_the_nearest_thing_above() -> None:
    """What is missing is placed at what it is missing from."""
    document = Document.parse(b"a:\n  b: [x]\n", "c.yaml")
    assert str(document.problem(("a", "b", 0), "s")) == "c.yaml:2:7: a.b[0]: s"
    assert str(document.problem(("a", "c", "d"), "s")) == "c.yaml:1:1: a.c.d: s"
    assert str(document.problem(("z",), "s", "warning")) == "c.yaml:1:1: z: warning: s"


@given(st.text() | st.text(alphabet="ab:- \n[]{}&*!<'\"|>%@#,?~1"))
def test_any_text(text: str) -> None:
    """Any text is data or problems, never another exception."""
    document = Document.parse(text.encode("utf-8", "surrogatepass"), "c.yaml")
    assert document.problems or isinstance(document.data, dict)


@given(st.binary())
def test_any_octets(content: bytes) -> None:
    """The same for any octets."""
    document = Document.parse(content, "c.yaml")
    assert document.problems or isinstance(document.data, dict)
