"""``scepra reload`` where nobody takes a configuration; with an RA it is tried in tests/blackbox/test_reload.py."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scepra.store import processes
from scepra.store.owner import new_owner, owner_of
from scepra.store.processes import Process
from tests.rig.enrolments import Desk


def process(desk: Desk, leader: int, file: str) -> Process:
    """What this process says of itself, as if another led it."""
    now = datetime.now(UTC)
    owner = new_owner()
    return Process(owner, "worker", "here", os.getpid(), owner_of(leader), file, now, now, "01" * 32, now, now)


@pytest.mark.proves("FT-51")
def test_nobody_is_told_of_a_bad_file(desk: Desk) -> None:
    """What is wrong is said with its place, and the exit code is 1."""
    desk.file.write_text("listen: [", "utf-8")
    result = desk.run("reload")
    assert result.exit_code == 1
    assert "scepra.yaml:2:1: not YAML" in result.output
    assert result.output.splitlines()[-1] == "Nobody was told."
    told = desk.run("reload", "--json")
    assert told.exit_code == 1
    assert not json.loads(told.output)["ok"]


@pytest.mark.proves("FT-51")
def test_nobody_runs(desk: Desk) -> None:
    """No RA, or one of another machine, or of another file: 2, and the file is named."""
    result = desk.run("reload")
    assert (result.exit_code, result.output) == (2, f"Error: no RA that goes by {desk.file} runs on this machine\n")
    here = process(desk, os.getpid(), str(desk.file))
    desk.bench(processes.keep, replace(here, owner="ffffffff.1.1.1", leader="ffffffff.1.1.0"))
    desk.bench(processes.keep, replace(here, file="/etc/other.yaml"))
    assert desk.run("reload").exit_code == 2
