"""The pages that say what the tests prove."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.proofs import Proof, main, page_text, plain, problems, proofs_in

PAGE = {
    "title": "Cases",
    "intro": "What is asked for.",
    "section": [
        {"title": "First", "complete": True, "items": {"A-1": "One.", "A-2": "Two."}, "reasons": {}},
        {"title": "Second", "complete": False, "items": {"B-1": "Three.", "B-2": "Four."}},
    ],
}
PROOF = Proof("tests/test_x.py::test_y", "It does.", ("A-1",))


def page(reasons: dict[str, str]) -> dict[str, object]:
    """The page above with reasons in its first section."""
    return {**PAGE, "section": [{**PAGE["section"][0], "reasons": reasons}, PAGE["section"][1]]}


def test_pages_are_those_of_the_tests() -> None:
    """The committed pages say what the tests at hand prove, and every ID has a proof or a reason."""
    assert main(["--check"]) == 0


def test_marks_are_read_from_functions_classes_and_parameters() -> None:
    """A test proves what its own marks, its class's and its parameters' name; other functions prove nothing."""
    source = dedent('''
        @pytest.mark.proves("A-1", *("A-2", "A-4"), *MORE)
        @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.proves("A-3"))])
        def test_one(x):
            """It does
            one thing.

            And more.
            """

        @pytest.mark.proves("B-1")
        class TestTwo:
            def test_b(self):
                """It does two."""

            @pytest.mark.proves("B-2")
            async def test_c(self):
                pass

            def helper(self):
                """No test."""
    ''')
    assert list(proofs_in(source, "f.py")) == [
        Proof("f.py::test_one", "It does one thing.", ("A-1", "A-2", "A-4", "*MORE", "A-3")),
        Proof("f.py::TestTwo::test_b", "It does two.", ("B-1",)),
        Proof("f.py::TestTwo::test_c", "", ("B-1", "B-2")),
    ]


@pytest.mark.parametrize(
    ("reasons", "proofs", "wrong"),
    [
        ({"A-2": "Not yet: soon."}, [PROOF], []),
        ({"A-2": "Not yet: soon.", "A-1": "In part: half."}, [PROOF], []),
        ({}, [PROOF], ["A-2 has neither a test nor a reason"]),
        ({"A-2": "Soon."}, [PROOF], ["the reason of A-2 starts with none of"]),
        ({"A-2": "In part: half."}, [PROOF], ["A-2 has no test, and its reason says"]),
        ({"A-2": "Not yet: x.", "A-1": "Not yet: x."}, [PROOF], ["A-1 has a test, and its reason says"]),
        ({"A-2": "Not yet: x.", "B-1": "Not yet: x."}, [PROOF], ["there is a reason for B-1, which the list"]),
        ({"A-2": "Not yet: x."}, [PROOF, Proof("t", "Says.", ("A-9",))], ["t names A-9, which no list has"]),
        ({"A-2": "Not yet: x."}, [PROOF, Proof("t", "", ("A-1",))], ["t has no docstring"]),
    ],
)
def test_what_is_wrong_is_told(reasons: dict[str, str], proofs: list[Proof], wrong: list[str]) -> None:
    """Missing proofs, unknown IDs, silent tests, and reasons that contradict the tests are each reported."""
    told = list(problems({"cases": page(reasons)}, proofs))
    assert len(told) == len(wrong)
    assert all(sentence.startswith(start) for sentence, start in zip(told, wrong, strict=True))


def test_page_shows_proofs_and_reasons_and_hides_what_need_not_be_complete() -> None:
    """An ID stands with its tests or its reason; one of an incomplete section that has neither does not stand."""
    text = page_text(page({"A-2": "Not yet: soon."}), [PROOF, Proof("t", "B.", ("B-2",))])
    assert "**A-1** One.\n   * ``tests/test_x.py::test_y``:\n     It does.\n" in text
    assert "**A-2** Two.\n   Not yet: soon.\n" in text
    assert "**B-2** Four.\n" in text
    assert "B-1" not in text


def test_prose_is_shown_as_it_is() -> None:
    """Characters that mean something to reStructuredText are escaped, except in literals."""
    assert plain("a*b_ `c` ``d_*`` |e\\f") == "a\\*b\\_ \\`c\\` ``d_*`` \\|e\\\\f"
