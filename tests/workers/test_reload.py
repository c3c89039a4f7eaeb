"""Reading the configuration again, whatever goes by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from scepra.config.source import Source
from scepra.lab import LabState
from scepra.reload import Reload

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text("utf-8")


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Desk:
    """A configuration file, and something that goes by it: ready when the test says so."""

    def __init__(self, directory: Path) -> None:
        LabState.load_or_create(directory / "lab")
        self.file = directory / "scepra.yaml"
        self.write(EXAMPLE)
        source = Source.read(self.file)
        self.settings: Any = source.parse().config
        self.asked: list[Deferred[None]] = []
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.reload = Reload(source, self, at_once)

    def write(self, text: str) -> None:
        self.file.write_text(text, "utf-8")
        self.file.chmod(0o600)

    async def prepare(self, source: Source, settings: Any) -> tuple[Source, Any]:
        self.asked.append(Deferred())
        await self.asked[-1]
        return source, settings

    async def take(self, ready: tuple[Source, Any]) -> None:
        source, self.settings = ready
        self.taken.append(source.content.decode())

    def refuse(self, failure: str) -> None:
        self.refused.append(failure)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.proves("FT-51")
def test_what_is_right_is_taken(desk: Desk) -> None:
    """What the file holds when it is read; being told meanwhile, however often, reads it once more."""
    desk.write(EXAMPLE + "# one\n")
    desk.reload()
    desk.write(EXAMPLE + "# two\n")
    for _ in range(5):
        desk.reload()
    desk.asked[0].callback(None)
    assert desk.taken == [EXAMPLE + "# one\n"]
    desk.asked[1].callback(None)
    assert desk.taken[1:] == [EXAMPLE + "# two\n"]
    assert (len(desk.asked), desk.refused, desk.reload.under_way) == (2, [], None)


@pytest.mark.proves("FT-51")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (EXAMPLE + "unknown: 1\n", "unknown"),
        (EXAMPLE[: len(EXAMPLE) // 2] + "\n: [", "scepra.yaml:"),
        (EXAMPLE.replace("\nworkers: 1 ", "\nworkers: 3 "), "needs a restart: workers"),
    ],
)
def test_what_is_wrong_is_refused(desk: Desk, text: str, sentence: str) -> None:
    """Nothing is made ready; who goes by the old one is told why, with the place."""
    desk.write(text)
    desk.reload()
    (failure,) = desk.refused
    assert sentence in failure
    assert str(desk.file) in failure
    assert (desk.asked, desk.taken) == ([], [])
    desk.file.unlink()
    desk.reload()
    assert "cannot be read" in desk.refused[1]


class BugTests(SynchronousTestCase):
    """What must not happen."""

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    @pytest.mark.proves("FT-51", "FT-59")
    def test_a_bug_changes_nothing(self) -> None:
        """Whatever is raised is logged by its kind, and refuses the configuration; the next one is read as ever."""
        desk = Desk(self.directory)
        desk.reload()
        desk.asked[0].errback(ZeroDivisionError("secret"))
        assert desk.refused == ["reloading failed (ZeroDivisionError)"]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        desk.reload()
        desk.asked[1].callback(None)
        assert len(desk.taken) == 1
