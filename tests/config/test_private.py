"""Files that nobody else may read or change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scepra.config.private import NotPrivate, read_private

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = 65534


def refusal(path: Path) -> str:
    """Why a file is refused."""
    with pytest.raises(NotPrivate) as caught:
        read_private(path, 100)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A private file in a private directory."""
    path = tmp_path / "secret"
    path.write_bytes(b"content")
    path.chmod(0o600)
    return path


def as_nobody(call: Callable[[], None]) -> None:
    """Run a call in a child that is another user; its assertion errors are ours."""
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's coverage is not collected
        status = 1
        try:
            os.setgroups([])
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
            call()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_private_files_are_read(file: Path, mode: int) -> None:
    """A file that is its owner's alone is read."""
    file.chmod(mode)
    assert read_private(file, 7) == b"content"


@pytest.mark.proves("AC-130")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_modes(file: Path, mode: int) -> None:
    """A file that its group or others can read, write or execute is refused."""
    file.chmod(mode)
    assert refusal(file) == f"is open to others (mode 0{mode:o}): chmod 600 it"


@pytest.mark.proves("AC-130")
def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A FIFO does not stop the start, it is refused; so are directories and devices."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert refusal(tmp_path / "fifo") == "is not a regular file"
    assert refusal(tmp_path) == "is not a regular file"
    assert refusal(Path("/dev/null")) == "is not a regular file"


def test_what_cannot_be_opened(file: Path) -> None:
    """What is not there, cannot be named or is too large is refused in a sentence."""
    assert refusal(file.with_name("absent")) == "cannot be read: No such file or directory"
    assert refusal(file / "below") == "cannot be read: Not a directory"
    assert refusal(Path("a\0b")) == "cannot be read: no such name is possible"
    with pytest.raises(NotPrivate, match="is larger than 6 octets"):
        read_private(file, 6)


@pytest.mark.proves("AC-130")
def test_directories(file: Path) -> None:
    """A directory in which others could exchange the file is refused, unless it is sticky."""
    file.parent.chmod(0o770)
    assert refusal(file) == "is in a directory that others can write to"
    file.parent.chmod(0o1777)
    assert read_private(file, 7) == b"content"


@pytest.mark.proves("AC-130")
def test_links(file: Path, tmp_path: Path) -> None:
    """Our own link to our own file is followed, and the directory judged is the one that it leads to."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(file)
    assert read_private(link, 7) == b"content"
    file.parent.chmod(0o777)
    assert refusal(link) == "is in a directory that others can write to"


@ROOT
@pytest.mark.proves("AC-130")
def test_other_owners(file: Path, tmp_path: Path) -> None:
    """Files, links and directories of another user are refused."""
    link = tmp_path / "link"
    link.symlink_to(file)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert refusal(link) == "is a symbolic link that belongs to another user"
    os.chown(file, NOBODY, NOBODY)
    assert refusal(file) == "belongs to another user"
    os.chown(file, 0, 0)
    os.chown(tmp_path, NOBODY, NOBODY)
    assert refusal(file) == "is in a directory that belongs to another user"


@ROOT
@pytest.mark.proves("AC-130")
def test_a_service_reads_what_root_hands_to_its_group() -> None:
    """A user reads a file of root's that its group may read, and not one that everybody may."""
    directory = Path("/tmp") / f"scepra-{os.getpid()}"
    directory.mkdir(mode=0o755)
    file = directory / "secret"
    try:
        file.write_bytes(b"content")
        os.chown(file, 0, NOBODY)

        def check() -> None:
            assert read_private(file, 7) == b"content"

        file.chmod(0o640)
        as_nobody(check)

        def refused() -> None:
            assert refusal(file) == "is open to others (mode 0644): chmod 600 it"

        file.chmod(0o644)
        as_nobody(refused)
    finally:
        file.unlink()
        directory.rmdir()
