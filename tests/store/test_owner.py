"""The names by which processes hold leases: whether one has ended can be told on its machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scepra.store.owner import has_ended, new_owner
from tests.rig.programs import wait_until

PROGRAM = "import sys; from scepra.store.owner import new_owner; print(new_owner(), flush=True); sys.stdin.read()"


def test_names_are_short_and_never_the_same() -> None:
    """Each fits its column, and two of one process differ."""
    names = [new_owner() for _ in range(100)]
    assert len(set(names)) == 100
    assert max(map(len, names)) <= 32
    assert not any(map(has_ended, names))


@pytest.mark.proves("I13", "FT-43")
def test_a_process_that_was_killed_has_ended() -> None:
    """While it lives it has not; from when it is gone it has, though its parent has not asked for it yet."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert not has_ended(owner)
        process.kill()
        wait_until(lambda: has_ended(owner), "it is seen that it was killed")
    finally:
        process.kill()
        process.communicate()
    assert has_ended(owner)


@pytest.mark.proves("FT-43")
def test_of_another_machine_nothing_is_known() -> None:
    """A process of another machine or container, and what is no such name, has not certainly ended."""
    place, number, started, serial = new_owner().split(".")
    assert has_ended(f"{place}.{number}.{int(started, 16) + 1:x}.{serial}"), "another that had its number before"
    elsewhere = f"{'0' * 8}.{number}.1.1"
    for owner in (elsewhere, "", "process", f"{place}.{number}", f"{place}.x.y.z", f"{place}.1.2.3.4"):
        assert not has_ended(owner)
    assert int(number, 16) == os.getpid()
