"""What all sections of the configuration share, and what surrounds the file that they stand in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo

from scepra.policy.model import Spec


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a file refers to beyond itself.

    ``base`` is the directory that relative paths start from, ``environ`` the environment. ``sections`` collects which
    mapping of the file was read as which section, so that an unknown key can be compared with the known ones.
    """

    base: Path = Path()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    sections: list[tuple[Mapping[str, Any], type[BaseModel]]] = field(default_factory=list)

    @classmethod
    def of(cls, info: ValidationInfo) -> Surroundings:
        """The surroundings that a validation was given, or this process's."""
        return info.context if isinstance(info.context, cls) else cls()


class Section(Spec):
    """A mapping in the file, closed and frozen as a policy's; it may hold values of our own types."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
