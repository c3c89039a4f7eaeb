"""The RA's own certificates change while clients enrol (FT-50)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.procedure import START
from tests.rig.blackbox.invariant import OWN
from tests.rig.blackbox.rig import Rig
from tests.rig.house import PROFILE
from tests.rig.softhsm import new_token

TOTAL, CLIENTS = 1000, 6
RA = {"directory": "own", "subject": f"CN={OWN}", "settle": "2s", "overlap": "1h"}

pytestmark = pytest.mark.slow


def command(rig: Rig, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of scepra about that profile."""
    arguments = ("--config", str(rig.ra.config.absolute()), "--profile", "renewed")
    return subprocess.run(
        [sys.executable, "-m", "scepra", *words, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("keys", [{}, {"key": {"token": "hsm"}}], ids=["files", "token"])
@pytest.mark.proves("FT-50", "RA-31")
def test_a_thousand_enrolments_through_a_change(rigs: Callable[..., Rig], tmp_path: Path, keys: dict[str, Any]) -> None:
    """Two workers serve a thousand enrolments, and the RA gets new certificates meanwhile: none fails, whether a client
    asks for the RA's certificates every time or keeps those that it was given first; also where its keys are made in a
    token.
    """
    tokens = {"hsm": new_token().settings(tmp_path / "pin", timeout="20s")} if keys else {}
    renewed = {"renewed": {**PROFILE, "paths": ["/renewed"], "ra": {**RA, **keys}}}
    rig = rigs(workers=2, extra={"tokens": tokens, "profiles": renewed}, start=False)
    first = command(rig, "enroll-ra")
    assert first.returncode == 0, first.stderr
    rig.ra.start(START)
    url = f"http://127.0.0.1:{rig.ra.port}/renewed"
    words = (url, rig.laboratory.challenge, str(TOTAL), str(CLIENTS))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rig.steady", *words], stdout=subprocess.PIPE, text=True
    ) as clients:
        assert clients.stdout is not None
        found = [json.loads(next(clients.stdout)) for _ in range(TOTAL // 10)]
        second = command(rig, "enroll-ra", "--renew", "--json")
        assert second.returncode == 0, second.stderr
        assert json.loads(second.stdout)["generation"] == 2
        found += map(json.loads, clients.stdout)
    assert [each["wrong"] for each in found if each["wrong"]] == []
    assert len(found) == TOTAL
    given = [{each["given"] for each in found if each["fresh"] is fresh} for fresh in (True, False)]
    assert len(given[0]) == 2
    assert len(given[1]) == 1
