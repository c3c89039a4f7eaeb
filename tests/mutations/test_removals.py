"""Without any one of these checks the suite turns red: that is what shows that it guards them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations.removal import Removal
from tests.mutations.removals import REMOVALS

ROOT = Path(__file__).parents[2]
_PATIENCE = 600
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program and of its tests."""
    tree = tmp_path_factory.mktemp("copy")
    for name in ("scepra", "tests", "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=_LEFT_OUT)
    for name in ("pyproject.toml", "setup.cfg", "config.example.yaml"):
        shutil.copy(ROOT / name, tree)
    return tree


def test_there_are_enough() -> None:
    """At least twenty-five, each with a name of its own."""
    assert len({removal.name for removal in REMOVALS}) == len(REMOVALS) >= 25


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_each_is_a_line_of_the_program(removal: Removal) -> None:
    """What is taken out stands there once, so that something is taken out, and it is known what."""
    assert (ROOT / removal.file).read_text("utf-8").count(removal.line) == 1


@pytest.mark.slow
@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_a_test_notices(copy: Path, removal: Removal) -> None:
    """The named tests fail without the check, and not because nothing runs any more."""
    file = copy / removal.file
    whole = file.read_text("utf-8")
    file.write_text(whole.replace(removal.line, removal.instead), "utf-8")
    try:
        code, said = _run(copy, *removal.tests)
    finally:
        file.write_text(whole, "utf-8")
    assert code == 1, said
    assert " failed" in said, said
    assert "error during collection" not in said, said


def _run(tree: Path, *tests: str) -> tuple[int, str]:
    """What pytest says there, at the first failure."""
    # Without what measures coverage here: that is a copy.
    environment = {name: value for name, value in os.environ.items() if "COV" not in name and "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    return done.returncode, done.stdout[-4000:] + done.stderr[-2000:]
