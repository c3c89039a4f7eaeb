"""Tokens of SoftHSM, in which tests keep RA keys; one store of tokens for the whole process, as its module wants it."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from tests.rig.programs import TOOLS, absent, require

PIN = "4711-pin"
SO_PIN = "security-officer"
_NUMBERS = count(1)


def module() -> Path:
    """SoftHSM's library; without it the test is skipped, or fails."""
    roots = (Path("/usr/lib"), TOOLS / "usr" / "lib")
    places = ("softhsm/libsofthsm2.so", "*-linux-*/softhsm/libsofthsm2.so")
    found = [each for root in roots for place in places for each in root.glob(place)]
    return found[0].resolve() if found else absent("SoftHSM is not installed: run .ci/install-peers")


@cache
def store() -> Path:
    """The directory of this process's tokens; the environment variable that names it is for our children too."""
    directory = Path(tempfile.mkdtemp(prefix="softhsm-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(
        f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(directory / "softhsm2.conf")
    return directory


@dataclass(frozen=True)
class SoftToken:
    """One token: its label, and the directory in which SoftHSM keeps it."""

    label: str
    directory: Path

    def settings(self, pin_file: Path, **settings: Any) -> dict[str, Any]:
        """Its section in a configuration; the PIN is written to a file."""
        pin_file.write_text(PIN)
        pin_file.chmod(0o600)
        return {"module": str(module()), "token-label": self.label, "pin-file": str(pin_file), **settings}

    def add(self, key: Path, label: str, identifier: str = "01") -> None:
        """Import a private key from a file."""
        tool("--import", key, "--token", self.label, "--label", label, "--id", identifier, "--pin", PIN)

    @property
    def aside(self) -> Path:
        """Where it is while it is unplugged."""
        return store() / f"aside-{self.label}"

    def unplug(self) -> None:
        """Take it out."""
        self.directory.rename(self.aside)

    def plug(self) -> None:
        """Put it back."""
        self.aside.rename(self.directory)

    def remove(self) -> None:
        """Throw it away."""
        for each in (self.directory, self.aside):
            shutil.rmtree(each, ignore_errors=True)


def new_token(keys: Iterable[tuple[Path, str, str]] = ()) -> SoftToken:
    """A token with these keys: files, labels, identifiers."""
    module()
    before, label = set(_directories()), f"t{next(_NUMBERS)}"
    tool("--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN)
    (directory,) = set(_directories()) - before
    made = SoftToken(label, directory)
    for key in keys:
        made.add(*key)
    return made


def _directories() -> list[Path]:
    return [each for each in (store() / "tokens").iterdir() if each.is_dir()]


def tool(*words: str | Path) -> None:
    """Run SoftHSM's own program."""
    store()
    command = [*require("softhsm2-util"), "--module", str(module()), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
