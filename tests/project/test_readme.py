"""The README and the pages do not promise what is not there."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path

import pytest

from scepra.audit import Record
from scepra.cli import LazyGroup
from scepra.config.load import load

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.rst").read_text()


def test_two_commands_of_one_line() -> None:
    """There are two commands: the demo and the tests; CI runs them as they stand here."""
    commands = re.findall(r"^ +(python3 -m venv .*)$", README, re.MULTILINE)
    assert [command.rpartition("/")[2].split()[0] for command in commands] == ["scepra", "pytest"]
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)


def test_short() -> None:
    """It can be read at one go."""
    assert len(README.splitlines()) <= 120


def test_links_lead_somewhere() -> None:
    """Every file that it links to exists."""
    links = re.findall(r"`[^`<]+ <([^>]+)>`_", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_configuration_fragment_is_a_configuration(tmp_path: Path) -> None:
    """The fragment is a whole configuration, once its fingerprint and its file with the challenge are there."""
    (fragment,) = re.findall(r"\.\. code-block:: yaml\n\n((?: +.*\n|\n)+)", README)
    file = tmp_path / "scepra.yaml"
    file.write_text(textwrap.dedent(fragment).replace("sha256:...", "sha256:" + "0" * 64))
    secret = tmp_path / "wifi.challenge"
    secret.touch(mode=0o600)
    secret.write_text("uKmdR0UPKYb3wJvsmM2uPA")
    assert set(load(file).profiles) == {"wifi"}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.rst")), ids=lambda path: path.name)
def test_pages_name_existing_commands(page: Path) -> None:
    """What the pages call ``scepra ...`` is a command."""
    words = set(re.findall(r"``scepra ([a-z][a-z-]*)", page.read_text() + README))
    assert words <= set(LazyGroup.modules)


def test_pages_name_every_field_of_the_audit_record() -> None:
    """docs/operations.rst says what each field of an audit record is."""
    page = (ROOT / "docs" / "operations.rst").read_text()
    assert [field.name for field in dataclasses.fields(Record) if f"``{field.name}``" not in page] == []
