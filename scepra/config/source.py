"""A configuration file as it was at one moment, so that all processes go by the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scepra.config.load import Reading, parse, read_file
from scepra.config.section import Surroundings


@dataclass(frozen=True, slots=True)
class Source:
    """What a configuration file held.

    ``file`` is its name as it was given; ``base`` its directory, absolute, since twistd may change the working
    directory later; ``mode`` its permissions.
    """

    file: str
    base: str
    content: bytes
    mode: int

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read a file.

        Raises:
            ConfigError: it cannot be read.
        """
        path = Path(path)
        content, mode = read_file(path)
        return cls(str(path), str(path.parent.absolute()), content, mode)

    def again(self) -> Source:
        """What the file holds now, wherever this process works meanwhile.

        Raises:
            ConfigError: it cannot be read.
        """
        return replace(Source.read(self.absolute), file=self.file)

    @property
    def absolute(self) -> str:
        """The file's name, wherever a process works."""
        return str(Path(self.base) / Path(self.file).name)

    @property
    def version(self) -> str:
        """The SHA-256 of its content."""
        return hashlib.sha256(self.content).hexdigest()

    def parse(self, environ: Mapping[str, str] = os.environ) -> Reading:
        """The configuration, or every problem in it."""
        return parse(self.content, self.file, Surroundings(Path(self.base), environ), self.mode)

    def fields(self) -> dict[str, Any]:
        """The form in which a worker gets it: what JSON can say."""
        return asdict(self) | {"content": self.content.decode("latin-1")}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Source:
        """The inverse of :meth:`fields`."""
        return cls(**{**fields, "content": fields["content"].encode("latin-1")})
