"""Secrets: where they come from, and that they are never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from scepra.config.challenge import StaticChallenge
from scepra.config.secret import MAXIMUM, Secret
from tests.config.sample import PASSWORD, altered, reading, said

OLD = "environment: CHALLENGE"
PLACE = "11:31: profiles.wifi.challenge"


def secret_of(text: str, base: Path) -> Secret:
    """The challenge of a configuration without problems but warnings."""
    config = reading(text, base).config
    assert config is not None
    challenge = config.profiles["wifi"].challenge
    assert isinstance(challenge, StaticChallenge)
    return challenge.secret


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A private file."""
    path = tmp_path / "challenge.txt"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file(file: Path, end: str) -> None:
    """A secret is a file's content without the line end that editors add."""
    file.write_bytes((PASSWORD + end).encode())
    secret = secret_of(altered((OLD, "file: challenge.txt")), file.parent)
    assert secret.reveal() == PASSWORD.encode()
    assert repr(secret) == "<Secret from the file challenge.txt>"


def test_text_beyond_ascii_and_spaces(file: Path) -> None:
    """A secret may have any printable text, and no space of it is lost."""
    file.write_text("  Schlüsselwort äöü 12 ", "utf-8")
    assert secret_of(altered((OLD, "file: challenge.txt")), file.parent).reveal().decode() == "  Schlüsselwort äöü 12 "


@pytest.mark.proves("AC-095")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \t \n", "is empty"),
        (b"one\ntwo\n", "holds more than one line, or control characters"),
        (b"a\0b", "holds more than one line, or control characters"),
        (b"a\x7f", "holds more than one line, or control characters"),
        (b"\xff\xfe\xfd", "does not hold UTF-8 text"),
        (b"x" * (MAXIMUM + 1), f"holds more than {MAXIMUM} octets"),
        (b"x" * (MAXIMUM + 3), f"is larger than {MAXIMUM + 2} octets"),
    ],
)
def test_files_that_hold_no_secret(file: Path, content: bytes, sentence: str) -> None:
    """An empty file, and one that is not one line of text, stops the start."""
    file.write_bytes(content)
    assert said(altered((OLD, "file: challenge.txt")), file.parent) == [
        f"{PLACE}.file: the file challenge.txt {sentence}"
    ]


@pytest.mark.proves("AC-095", "AC-130")
def test_files_that_cannot_be_believed(file: Path) -> None:
    """A file that is absent, or that others can read, stops the start."""
    file.write_text(PASSWORD)
    file.chmod(0o644)
    assert said(altered((OLD, "file: challenge.txt")), file.parent) == [
        f"{PLACE}.file: the file challenge.txt is open to others (mode 0644): chmod 600 it"
    ]
    assert said(altered((OLD, "file: absent.txt")), file.parent) == [
        f"{PLACE}.file: the file absent.txt cannot be read: No such file or directory"
    ]


@pytest.mark.proves("AC-095")
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("environment: ABSENT", "environment: the environment variable ABSENT is not set"),
        ("environment: ''", "environment: expected the name of an environment variable"),
        ("environment: 5", "environment: expected the name of an environment variable"),
        ("file: ''", "file: expected the path of a file"),
        ("file: 5", "file: expected the path of a file"),
        ("insecure-inline: ''", "insecure-inline: the configuration is empty"),
        ("insecure-inline: '  '", "insecure-inline: the configuration is empty"),
        ("insecure-inline: 5", "insecure-inline: expected text; put it in quotes"),
    ],
)
def test_sources_without_a_secret(source: str, sentence: str) -> None:
    """An unset variable and an empty text are no secret, and stop the start."""
    assert said(altered((OLD, source))) == [f"{PLACE}.{sentence}"]


@pytest.mark.proves("AC-095")
@pytest.mark.parametrize("sources", ["", ", environment: CHALLENGE, insecure-inline: kX7-mQ2vRz9_TbW4nLp8"])
def test_exactly_one_source(sources: str) -> None:
    """A static challenge without a source is no open door, and two sources are a mistake."""
    assert said(altered((", " + OLD, sources))) == [
        "11:5: profiles.wifi.challenge: a static challenge has exactly one of file, environment and insecure-inline"
    ]


@pytest.mark.proves("AC-130")
def test_an_inline_secret_in_a_file_that_others_can_read() -> None:
    """A configuration with a secret in it is refused while others can read it."""
    text = altered((OLD, f"insecure-inline: {PASSWORD}"))
    assert reading(text).config is not None
    for mode in (0o640, 0o644, 0o604):
        assert reading(text, mode=mode).config is None
        assert said(text, mode=mode)[-1] == (
            f"{PLACE}.insecure-inline: a secret in a file that others can read (mode 0{mode:03o}): chmod 600 it"
        )
    assert reading(altered(), mode=0o644).config is not None


@pytest.mark.proves("AC-131")
def test_secrets_are_not_shown() -> None:
    """No text form of a configuration, and no problem with it, holds a secret."""
    text = altered((OLD, f"insecure-inline: {PASSWORD}"))
    found = reading(text)
    assert found.config is not None
    shown = [repr(found.config), str(found.config), found.config.model_dump_json(), str(found.config.model_dump())]
    for wrong in ("type: statik", "type: static, file: x", "type: static, zzz: y", "type: none", "type: 5"):
        shown += said(text.replace("type: static", wrong))
    shown += said(text.replace("type: static, insecure-inline: ", "type: "))
    shown += said(text.replace("{type: static, insecure-inline: ", "{ ").replace("}", ""))
    shown += said(text.replace("challenge: {type: static, insecure-inline: ", "challenge: ").replace("8}", "8"))
    assert PASSWORD not in "".join(shown)
    assert "<Secret from the configuration>" in shown[0]


def test_comparison() -> None:
    """Secrets are compared by what they hold, survive to another process, and equal nothing else."""
    one, same, other = Secret(b"a", "here"), Secret(b"a", "there"), Secret(b"b", "here")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != b"a"
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own octets
