"""Patterns: what they match, what they refuse to be, and that they cannot be made slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.policy.expression import LONGEST, PatternError
from scepra.policy.pattern import LONGEST_TEXT, MAX_POSITIONS, Pattern

# Only what Python's engine, the oracle, reads in the same way and in a bearable time.
ATOMS = st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", "[a-c]", "[-a]", r"\d", r"\w", r"\.", r"[\d-]", r"[\]a]"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}", "{0,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.lists(st.text("ab-.c1_]", max_size=8), min_size=1, max_size=8))
@pytest.mark.proves("AC-077")
def test_means_what_python_means(text: str, candidates: list[str]) -> None:
    """A pattern matches what Python's full match of the same text matches."""
    pattern = Pattern(text)
    for candidate in candidates:
        assert pattern.matches(candidate) is (re.fullmatch(text, candidate, re.ASCII) is not None)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        (
            r".*\.corp\.example",
            ["x.corp.example", ".corp.example"],
            ["x.corp.example.evil.com", "xcorpXexample", "corp.example"],
        ),
        (r"^good\.example$", ["good.example"], ["good.example\n", "good.example ", "xgood.example", "good_example"]),
        ("^a|b$", ["a", "b"], ["ab", "ax", "xb"]),
        (r"a\$", ["a$"], ["a", "a\\"]),
        (r"a\\$", ["a\\"], ["a$", "a\\$"]),
        (r"\d{3}", ["123"], ["12", "1234", "١٢٣"]),
        (r"\w", ["a", "Z", "_", "7"], ["ä", "-", ""]),
        (r"[\w.-]+", ["a.b-c"], ["a b"]),
        (r"[a\-z]", ["a", "-", "z"], ["b"]),
        (r"[a-]", ["a", "-"], ["b"]),
        ("[^/]+", ["a b", "ä"], ["a/b"]),
        (r"[\--/]", ["-", ".", "/"], ["a"]),
        (r"[!-\]]", ["]", "A"], ["^"]),
        ("K", ["K"], ["k", "\u212a"]),
        ("x{3,}", ["xxx", "xxxx"], ["xx"]),
        ("x{0,1}y", ["y", "xy"], ["xxy"]),
        ("(?:ab)+c?", ["ab", "ababc"], ["aba", ""]),
        ("a?", ["", "a"], ["aa"]),
        ("ä+", ["ää"], ["a"]),
    ],
)
@pytest.mark.proves("AC-074", "AC-076", "AC-077")
def test_full_match(text: str, yes: list[str], no: list[str]) -> None:
    """The whole text has to match, in ASCII's sense of digits and letters, anchors or not."""
    pattern = Pattern(text)
    assert [candidate for candidate in yes if not pattern.matches(candidate)] == []
    assert [candidate for candidate in no if pattern.matches(candidate)] == []


@pytest.mark.proves("AC-076")
def test_ignoring_case() -> None:
    """Ignoring case concerns ASCII letters: the Kelvin sign is no k, nor is the long s an s."""
    pattern = Pattern("[a-z]+K", ignore_case=True)
    assert pattern.matches("aBk") and pattern.matches("ABK")
    assert not pattern.matches("ab\u212a") and not pattern.matches("\u017fk")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "at character 1: nothing to match"),
        ("a||b", "at character 3: nothing to match"),
        ("()", "at character 2: nothing to match"),
        ("(a", "at character 3: it ends too early"),
        ("(a|", "nothing to match"),
        ("(a]", "']' where it means nothing"),
        ("a)", "a closing parenthesis without its opening one"),
        ("[a", "it ends too early"),
        ("[]", "an empty class"),
        ("[[:alpha:]]", "[ inside a class"),
        ("[z-a]", "a range whose ends are the wrong way round"),
        ("[a-[b]", "a range whose ends"),
        ("\\", "it ends too early"),
        (r"(a)\1", r"\1 is not known"),
        (r"\bword", r"\b is not known"),
        (r"\s", r"\s is not known"),
        (r"\p{L}", r"\p is not known"),
        (r"\ä", "is not known"),
        ("(?=a)b", "only plain groups"),
        ("(?!a)b", "only plain groups"),
        ("(?<=a)b", "only plain groups"),
        ("(?P<n>a)", "only plain groups"),
        ("(?i)a", "only plain groups"),
        ("a+?", "a quantifier after a quantifier"),
        ("a*+", "a quantifier after a quantifier"),
        ("a**", "a quantifier after a quantifier"),
        ("a{2}{3}", "a quantifier after a quantifier"),
        ("*a", "'*' where it means nothing"),
        ("a^b", "'^' where it means nothing"),
        ("a$b", "'$' where it means nothing"),
        ("a{,3}", "expected {m}"),
        ("a{1000}", "expected {m}"),
        ("a{x}", "expected {m}"),
        ("a{3,2}", "bounds are the wrong way round"),
        ("a{0}", "bounds are the wrong way round"),
        ("a}", "'}' where it means nothing"),
        ("a" * (LONGEST + 1), f"longer than {LONGEST} characters"),
        (f"(a{{{MAX_POSITIONS}}}){{2}}", f"more than {MAX_POSITIONS}"),
        ("((a{99}){99}){99}", f"more than {MAX_POSITIONS}"),
        ("(" * 17 + "a" + ")" * 17, "nested too deeply"),
    ],
)
@pytest.mark.proves("AC-077")
def test_refused_pattern(text: str, sentence: str) -> None:
    """What is not of the language is refused when it is configured, with the place and what is wrong there."""
    with pytest.raises(PatternError, match=re.escape(sentence)):
        Pattern(text)


@pytest.mark.parametrize(
    ("text", "candidate"),
    [
        ("(a+)+b", "a" * LONGEST_TEXT),
        ("(a|a)*b", "a" * LONGEST_TEXT),
        ("(a*)*(a*)*(a*)*b", "a" * LONGEST_TEXT),
        ("(.?){250}(.?){250}b", "a" * LONGEST_TEXT),
        ("(a|b)*a(a|b){200}c", "abbabaab" * (LONGEST_TEXT // 8)),
        ("([a-z]+\\.)*[a-z]+@", "a.b" * (LONGEST_TEXT // 3)),
    ],
)
@pytest.mark.proves("AC-077")
def test_cannot_be_made_slow(text: str, candidate: str) -> None:
    """Patterns that make backtracking engines stand still, and texts made for that, take a moment."""
    pattern = Pattern(text)
    started = time.process_time()
    assert not pattern.matches(candidate)
    assert time.process_time() - started < 1


@pytest.mark.proves("AC-077")
def test_many_states_and_characters() -> None:
    """What is remembered of past texts is bounded, and forgetting changes no answer."""
    pattern = Pattern("(.*a.{11}|.*[^a]{3})b")
    text = "".join(chr(0x100 + index) for index in range(LONGEST_TEXT - 1))
    for shift in range(6):
        assert pattern.matches("".join(chr(ord(character) + 2048 * shift) for character in text) + "b")
    for number in range(9000):
        bits = f"{number:013b}".replace("0", "x").replace("1", "a")
        assert pattern.matches(bits + "b") is (bits[1] == "a" or "a" not in bits[-3:])


@pytest.mark.proves("AC-077")
def test_long_text() -> None:
    """A text beyond the bound matches nothing."""
    assert Pattern(".*").matches("a" * LONGEST_TEXT)
    assert not Pattern(".*").matches("a" * (LONGEST_TEXT + 1))


@pytest.mark.parametrize(
    ("text", "everything"),
    [
        (".*", True),
        (".+", True),
        (".", False),
        ("(.|a)*", True),
        ("[ -~]*", True),
        ("[^!]+", False),
        (".*a?", True),
        (".{1,500}", False),
        ("[a-z]+", False),
        ("(.*a.{9})|.*", True),
        ("a.*|[^a].*", True),
        (".*a.{12}|.?|..+", False),
    ],
)
@pytest.mark.proves("AC-077")
def test_matches_everything(text: str, everything: bool) -> None:
    """A pattern that restricts nothing is known as one, unless it takes too many states to find out."""
    assert Pattern(text).matches_everything() is everything


@pytest.mark.parametrize(
    ("text", "bare"), [("a.b", True), (r"a\.b", False), (".*", False), ("[.]", False), (".{3}", False), ("(.)+", True)]
)
@pytest.mark.proves("AC-077")
def test_bare_dots(text: str, bare: bool) -> None:
    """A dot that stands alone is noticed, since it is seldom meant."""
    assert Pattern(text).bare_dots is bare


def test_representation() -> None:
    """A pattern shows itself as it was written."""
    assert repr(Pattern("a+")) == "Pattern('a+')"
