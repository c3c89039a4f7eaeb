"""Files that name a key in a token, in place of holding one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scepra.config.model import KeyFile
from scepra.config.token import KeyInToken
from scepra.errors import ConfigError
from scepra.keys.private import resolve
from scepra.keys.reference import read_reference, write_reference
from tests.keys.material import key, key_file, write_private


@pytest.mark.parametrize(
    "reference",
    [
        KeyInToken(token="hsm", label="RA: 1 # signing", id="0a"),
        KeyInToken(token="hsm", id="00"),
        KeyInToken(token="hsm", label="'ü'"),
    ],
)
def test_what_is_written_is_read(reference: KeyInToken) -> None:
    """Every reference is read as it was written."""
    assert read_reference(write_reference(reference)) == reference
    assert read_reference(b"# of the first generation\n\n" + write_reference(reference)) == reference


@pytest.mark.parametrize(
    "content", [b"", b"# nothing\n", b"-----BEGIN PRIVATE KEY-----\n", b"\x30\x82\x01token:", b" token: x"]
)
def test_what_is_none(content: bytes) -> None:
    """Whatever else a key's file may hold is no reference."""
    assert read_reference(content) is None


@pytest.mark.parametrize(
    "content",
    [b"token: hsm\n", b"token: [\n", b"token: hsm\nid: xyz\n", b"token: hsm\npin: 1\nid: '01'\n", b"token:\xff"],
)
def test_what_should_be_one(content: bytes) -> None:
    """What begins as one and is none is an error, which quotes nothing."""
    with pytest.raises(ValueError, match=r"^names no key in a token that could be understood"):
        read_reference(content)


def test_files(tmp_path: Path) -> None:
    """A key's file leads to a token, or holds a key; what is wrong with it names the file."""
    reference = KeyInToken(token="hsm", id="01")
    assert resolve(reference) is reference
    named = KeyFile(file=write_private(tmp_path / "named", write_reference(reference)))
    assert resolve(named) == reference
    held = KeyFile(file=write_private(tmp_path / "held", key_file(key())))
    assert resolve(held) is held
    wrong = KeyFile(file=write_private(tmp_path / "wrong", b"token: 1\n"))
    with pytest.raises(ConfigError, match=r"wrong: names no key in a token"):
        resolve(wrong)
    with pytest.raises(ConfigError, match=r"absent: cannot be read"):
        resolve(KeyFile(file=tmp_path / "absent"))
