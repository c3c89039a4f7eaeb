"""The page about transactions shows the table that the program runs by."""

from __future__ import annotations

from tests.domain.life import PAGE, written


def test_the_page_is_drawn_from_the_table() -> None:
    """The page is as `python -m tests.domain.life` writes it."""
    page = PAGE.read_text("utf-8")
    assert written(page) == page
