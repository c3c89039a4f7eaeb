"""Where the programs are found that the tests run beside scepra."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.programs import absent, find, wait_until


def test_a_program_is_found_on_the_machine_or_below_the_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own comes first; one that is unpacked is told where its libraries are."""
    (tmp_path / "usr" / "lib" / "any-linux-gnu").mkdir(parents=True)
    (tmp_path / "usr" / "sbin").mkdir()
    for name in ("sh", "unpacked"):
        (tmp_path / "usr" / "sbin" / name).touch(mode=0o755)
    found = find("sh", tmp_path)
    assert found is not None
    assert len(found) == 1
    assert not found[0].startswith(str(tmp_path))
    assert find("unpacked", tmp_path) == [
        "env",
        f"LD_LIBRARY_PATH={tmp_path}/usr/lib/any-linux-gnu",
        f"{tmp_path}/usr/sbin/unpacked",
    ]
    assert find("missing", tmp_path) is None
    monkeypatch.setenv("SCEPRA_REQUIRE_PEERS", "")
    with pytest.raises(pytest.skip.Exception, match="it is missing"):
        absent("it is missing")
    monkeypatch.setenv("SCEPRA_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="it is missing, and SCEPRA_REQUIRE_PEERS is set"):
        absent("it is missing")


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come is an error that names it."""
    monkeypatch.setattr("tests.rig.programs.DEADLINE", 0.05)
    with pytest.raises(TimeoutError, match="doomsday"):
        wait_until(lambda: False, "doomsday")
