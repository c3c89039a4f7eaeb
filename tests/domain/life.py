"""The drawing and the tables of docs/transactions.rst, made from the table of states and events itself.

``python -m tests.domain.life`` writes them between the page's markers; a test fails when they have drifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from scepra.transaction import INITIAL, TRANSITIONS, Event, State

PAGE = Path(__file__).parents[2] / "docs" / "transactions.rst"
_BEGIN, _END = ".. drawn from scepra.transaction", ".. end of what is drawn"


def listed(widths: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A list-table; its first row is the header."""
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for row in rows:
        for position, cell in enumerate(row):
            yield f"   {'*' if position == 0 else ' '} - {cell}"
    yield ""


def states() -> Iterator[tuple[str, ...]]:
    """What each state means, and what the client is told in it."""
    yield "State", "Meaning", "The client is told"
    for state in State:
        begins = " It may begin here." if state in INITIAL else ""
        yield f"``{state.value}``", f"{state.meaning[0].upper()}{state.meaning[1:]}.{begins}", state.status.name


def drawing() -> Iterator[str]:
    """What leads where, state by state."""
    yield from ("::", "")
    for state in State:
        leads: dict[State, list[str]] = {}
        for (origin, event), target in TRANSITIONS.items():
            if origin is state and target is not state:
                leads.setdefault(target, []).append(event.value)
        if state.final:
            yield f"    {state.name:8} (the end)"
        for position, (target, events) in enumerate(leads.items()):
            name = state.name if position == 0 else ""
            yield f"    {name:8} --{' or '.join(events):->42}--> {target.name}"
        yield ""


def events() -> Iterator[tuple[str, ...]]:
    """What each event means, and where it leads from where."""
    yield "Event", "Meaning", "From and to"
    for event in Event:
        ways = [f"{origin.value} to {target.value}" for (origin, each), target in TRANSITIONS.items() if each is event]
        yield event.value, f"{event.meaning[0].upper()}{event.meaning[1:]}.", "; ".join(ways)


def written(page: str) -> str:
    """A page with what is between the markers made anew."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    body = [*listed("14 62 24", states()), *drawing(), *listed("14 46 40", events())]
    return f"{before}{_BEGIN}\n\n" + "\n".join(body) + f"\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
