"""The administration of an RA that runs: tokens and challenges as its operators have them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.blackbox.process import PATIENCE
from tests.rig.blackbox.ra import RAProcess

MINTED: dict[str, Any] = {"type": "minted", "bind": ["common-name"]}
"""The challenge of a profile whose challenges are given out."""


def command(ra: RAProcess, *words: str, exit_code: int = 0) -> str:
    """What a command of scepra prints, on an RA's configuration.

    Raises:
        AssertionError: it exits otherwise.
    """
    done = subprocess.run(
        [sys.executable, "-m", "scepra", *words, "--config", str(ra.config)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout.strip()


class Administration:
    """Calls of the administration's listener with a token that may do everything."""

    def __init__(self, ra: RAProcess, port: int) -> None:
        self._port = port
        roles = [word for role in ("reader", "minter", "revoker") for word in ("--role", role)]
        self.token = command(ra, "token", "create", "--name", "tests", *roles)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content else None
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def mint(self, name: str, profile: str = "dev") -> str | None:
        """A challenge for a common name; None if nobody says one."""
        status, said = self.call("POST", "/api/challenges", {"profile": profile, "binding": {"common_name": name}})
        return str(said["challenge"]) if status == 201 else None
