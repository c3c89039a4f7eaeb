from __future__ import annotations

import json
from pathlib import Path

import pytest

from scepra.config.load import read
from scepra.config.source import Source
from scepra.errors import ConfigError
from scepra.lab import LabState

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def test_a_worker_reads_what_the_master_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has the configuration that the master read, though the file has changed and the directory too."""
    LabState.load_or_create(tmp_path / "lab")
    file = tmp_path / "scepra.yaml"
    file.write_text(EXAMPLE.read_text())
    file.chmod(0o640)
    monkeypatch.chdir(tmp_path)
    source = Source.read("scepra.yaml")
    file.write_text("changed: true")
    monkeypatch.chdir("/")
    again = Source.of(json.loads(json.dumps(source.fields())))
    assert again == source
    reading = again.parse()
    assert reading.config is not None
    file.write_text(EXAMPLE.read_text())
    assert reading.config == read(file).config


def test_octets_of_all_kinds_pass() -> None:
    """What is no text passes too, and is refused by whoever reads it."""
    source = Source("\udcff.yaml", "/", bytes(range(256)), 0o600)
    assert Source.of(json.loads(json.dumps(source.fields()))) == source
    assert source.parse().config is None


@pytest.mark.parametrize("path", ["missing.yaml", "a\0b"])
def test_a_file_that_cannot_be_read(path: str, tmp_path: Path) -> None:
    """A file that cannot be read is a mistake with its name."""
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read: No such file|cannot be read: no such name"):
        Source.read(str(tmp_path / path))
