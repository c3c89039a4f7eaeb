"""A CA, a directory of generations and what enrols into it, all in memory but the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from treq.testing import StubTreq

from scepra.acquisition import Acquisition, Waiting, make_key
from scepra.config.load import load
from scepra.config.model import Config, GenerationDirectory
from scepra.conversation import Conversation
from scepra.generation import Installed
from scepra.generations import Generations
from scepra.keys.directory import GenerationStore
from scepra.keys.disk import Disk
from scepra.keys.hands import Hands
from scepra.keys.token import Tokens
from scepra.lab import CertificationService
from scepra.regeneration import Regeneration
from scepra.upstream.client import Upstream
from tests.keys.material import key
from tests.rig.house import PROFILE, Day, lab_state, run

RA = {"directory": "own", "subject": "CN=scepra RA,O=Example"}
DAY = 86400.0


async def quickly(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function, without a thread; keys of the usual length are not made but taken from a few."""
    if function is make_key and arguments == (2048,):
        return key(f"own{next(_COUNTER) % 4}")
    return function(*arguments)


_COUNTER = count()


@dataclass(slots=True)
class Rig:
    """What enrols the RA's certificates; ``ca`` is the CA's face, ``day`` the time."""

    directory: Path
    config: Config
    ca: CertificationService
    upstream: Upstream
    day: Day
    tokens: Tokens

    @property
    def settings(self) -> GenerationDirectory:
        """The section ``ra``."""
        ra = self.config.profiles["dev"].ra
        assert isinstance(ra, GenerationDirectory)
        return ra

    @property
    def store(self) -> GenerationStore:
        """The directory."""
        return GenerationStore(self.settings.directory, self.tokens)

    def acquisition(self, disk: Disk | None = None) -> Acquisition:
        """What a process that has just started enrols with."""
        store = GenerationStore(self.settings.directory, self.tokens, disk)
        conversation = Conversation(self.config.upstreams["ca"], self.upstream, Hands(quickly))
        return Acquisition(self.settings, store, conversation, self.day.now, quickly)

    def advance(self, disk: Disk | None = None) -> Installed | Waiting:
        """One step."""
        acquisition = self.acquisition(disk)
        with acquisition.store.changing():
            return run(acquisition.advance())

    def enrol(self) -> Installed:
        """A generation, enrolled at once."""
        outcome = self.advance()
        assert isinstance(outcome, Installed)
        return outcome

    def generations(self) -> Generations:
        """The identities of a process that starts now."""
        return Generations(self.settings, self.day.now, self.day, quickly, self.tokens)

    def regeneration(self, generations: Generations) -> Regeneration:
        """What renews them."""
        return Regeneration(self.settings, generations, self.acquisition(), self.upstream, self.day.now, self.day)


def rig(
    directory: Path,
    ra: dict[str, Any] | None = None,
    upstream: dict[str, Any] | None = None,
    tokens: dict[str, Any] | None = None,
    **ca: Any,
) -> Rig:
    """Build one.

    Args:
        directory: a lab's state.
        ra, upstream: keys that differ.
        tokens: sections for tokens.
        ca: arguments of the CA's face.
    """
    state = lab_state(directory)
    day = Day()
    state.authority._clock = day.now
    data = {
        "tokens": tokens or {},
        "upstreams": {"ca": {"url": "http://ca.example/scep", "ca-fingerprint": "file:ca.crt", **(upstream or {})}},
        "profiles": {"dev": {**PROFILE, "ra": {**RA, **(ra or {})}}},
    }
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump(data))
    config = load(file)
    face = CertificationService(state.authority, **ca)
    known = Upstream("ca", config.upstreams["ca"], day, day.now, client=StubTreq(face))
    return Rig(directory, config, face, known, day, Tokens(config.tokens, day, patient=True))
