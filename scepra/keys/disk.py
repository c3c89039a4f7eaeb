"""Files that nobody else may read, changed so that whatever ends the program, there is the old state or the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path


class Disk:
    """What is done to files, each step lasting when it returns."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a file, whole or not at all, that nobody else may read."""
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.rename(scratch, path)

    def make(self, path: Path) -> None:
        """Make a directory that nobody else may enter."""
        path.mkdir(mode=0o700)
        self.sync(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        """Rename within a directory."""
        old.rename(new)
        self.sync(new.parent)

    def remove(self, path: Path) -> None:
        """Remove a directory and what is in it."""
        shutil.rmtree(path)
        self.sync(path.parent)

    def sync(self, directory: Path) -> None:
        """Have the names in a directory on the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
