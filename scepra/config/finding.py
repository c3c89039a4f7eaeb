"""What is found wrong with a configuration, and the sections in which it is looked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from scepra.config.document import Path
from scepra.config.model import Limits, Listen
from scepra.config.profile import Profile
from scepra.config.store import Store
from scepra.config.token import Token
from scepra.config.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a path of the file; ``severity`` is "error" or "warning"."""

    path: Path
    sentence: str
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections that could be read, all of them if ``complete``; the names of all tokens,
    upstreams and profiles, those that could not be read too."""

    listen: Listen | None = None
    workers: int | None = None
    limits: Limits | None = None
    store: Store | None = None
    tokens: Mapping[str, Token] = field(default_factory=dict)
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    token_names: Collection[str] = ()
    upstream_names: Collection[str] = ()
    profile_names: Collection[str] = ()
    complete: bool = False

    def upstreams_of(self, profile: Profile) -> dict[str, Upstream]:
        """The upstreams that requests of a profile may go to, by their names, as far as they could be read."""
        return {name: self.upstreams[name] for name in profile.upstream_names if name in self.upstreams}
