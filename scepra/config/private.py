"""Reading files that nobody else may read or change: opened first, judged on the open descriptor (AC-130)."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotPrivate(Exception):
    """A file that cannot be believed or read; its text is a sentence without the file's name."""


def read_private(path: Path, limit: int, *, public: bool = False) -> bytes:
    """The content of a file that only this user, or root, can have written and only this user can read.

    A file that belongs to root may be readable by its group: that is how root hands a secret to a service.

    Args:
        path: the file; a symbolic link must belong to this user or root, and so must what it leads to.
        limit: the most octets it may have.
        public: others may read it, though not change it.

    Raises:
        NotPrivate: what is wrong, as a sentence.
    """
    try:
        if path.is_symlink() and path.lstat().st_uid not in _believed():
            raise NotPrivate("is a symbolic link that belongs to another user")
        # Without O_NONBLOCK a FIFO would stop us here.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise NotPrivate(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    except ValueError:
        raise NotPrivate("cannot be read: no such name is possible") from None
    content = b""
    try:
        _judge(os.fstat(descriptor), public)
        _judge_directory(Path(os.path.realpath(path)).parent)
        while len(content) <= limit and (piece := os.read(descriptor, limit + 1 - len(content))):
            content += piece
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise NotPrivate(f"is larger than {limit} octets")
    return content


def _believed() -> tuple[int, int]:
    return (0, os.geteuid())


def _judge(status: os.stat_result, public: bool) -> None:
    """Refuse what is not a regular file, belongs to another user, or is open to others."""
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise NotPrivate("is not a regular file")
    if status.st_uid not in _believed():
        raise NotPrivate("belongs to another user")
    allowed = 0o740 if status.st_uid == 0 != os.geteuid() else 0o700
    if public:
        allowed |= 0o055
    if mode & 0o077 & ~allowed:
        raise NotPrivate(f"is open to others (mode {mode:04o}): chmod {644 if public else 600} it")


def _judge_directory(directory: Path) -> None:
    """Refuse a directory in which others could exchange the file; a sticky one keeps them from it."""
    status = directory.stat()
    if status.st_uid not in _believed():
        raise NotPrivate("is in a directory that belongs to another user")
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise NotPrivate("is in a directory that others can write to")
