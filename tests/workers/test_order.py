from __future__ import annotations

import pytest

from scepra.config.source import Source
from scepra.errors import Problem
from scepra.workers.event import LONGEST
from scepra.workers.order import MARK, Answer, Prepare, Refuse, Take, decode, decode_answer

SOURCE = Source("scepra.yaml", "/etc", bytes(range(256)), 0o600)


@pytest.mark.parametrize("order", [Prepare(3, SOURCE), Take(4), Refuse("several\nlines \u20ac")])
def test_orders_pass(order: Prepare | Take | Refuse) -> None:
    """What was ordered is what is heard, in one line."""
    line = order.encode()
    assert line.count(b"\n") == 1
    assert decode(line.rstrip(b"\n")) == order


@pytest.mark.proves("FT-55")
def test_a_master_that_has_ended_has_said_nothing() -> None:
    """An order that ends too early is none."""
    whole = Prepare(0, SOURCE).encode()
    for part in (b"", whole[:-2]):
        with pytest.raises(ValueError):
            decode(part)


def test_answers_pass() -> None:
    """With all that is wrong, or nothing."""
    for answer in (Answer(1), Answer(2, (Problem("f", 1, 2, "a.b", "no \u20ac", "warning"),))):
        assert decode_answer(answer.encode().rstrip(b"\n")) == answer


def test_an_answer_is_a_line_however_much_is_wrong() -> None:
    """Of more problems than a line has room for, the first are told."""
    problems = tuple(Problem("f", number, 1, "", "\u20ac" * 500) for number in range(1, 500))
    said = Answer(1, problems).encode()
    assert len(said) <= LONGEST
    heard = decode_answer(said.rstrip(b"\n"))
    assert said.startswith(MARK)
    assert heard.problems == problems[: len(heard.problems)] != ()
    # Whatever an administrator has written: one that is told at least, or it would be none.
    huge = Answer(1, (Problem("\u20ac" * 4096, 1, 1, "\u20ac" * 2**20, "\u20ac" * 2**20),) * 3).encode()
    assert len(huge) <= LONGEST
    assert len(decode_answer(huge.rstrip(b"\n")).problems) == 1
