"""``scepra demo``, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from scepra.cli import main
from scepra.cli.demo import _duration, _tell
from scepra.lab.process import Decision

ROOT = Path(__file__).parents[2]
# What a shell has started in the background ignores Ctrl-C, and so would its children.
COMMAND = ["env", "--default-signal=INT", sys.executable, "-m", "scepra", "demo"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def once(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--once"],
        cwd=directory,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_once(tmp_path: Path) -> None:
    """Every step is shown and did what it should, no secret is; the next run has the same CA."""
    first = once(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.startswith("Keys, certificates and configuration are kept in scepra-demo/\n")
    assert len(re.findall(r"^ ok  .+ +\d+(?:\.\d)? m?s$", first.stdout, re.MULTILINE)) == 10
    assert " NO " not in first.stdout
    assert first.stdout.count("The CA got exactly the CSR that the device signed.") == 2
    assert first.stdout.count("The device is told: FAILURE, badRequest, ") == 2
    assert first.stdout.count("The CA was not asked.") == 3
    assert "The RA's record says: challenge: wrong challenge." in first.stdout
    assert "The RA's record says: subject: " in first.stdout
    assert "\x1b" not in first.stdout
    assert (tmp_path / "scepra-demo" / "challenge.txt").read_text().strip() not in first.stdout
    second = once(tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "with the key of the last time" in second.stdout
    fingerprints = {re.search(r"SHA-256 ([0-9a-f]{64})", done.stdout)[1] for done in (first, second)}  # type: ignore[index]
    assert len(fingerprints) == 1


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """After its steps the demo says how to go on and serves; Ctrl-C ends it and the RA, with success."""
    with subprocess.Popen(
        COMMAND, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = []
        while not (lines and lines[-1].endswith("Ctrl-C ends it.\n")):
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        # What a terminal does: every process of the group is interrupted, the RA's too.
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert "Error" not in rest
    assert "pki --scep --url http://127.0.0.1:" in "".join(lines)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_ra_that_dies(tmp_path: Path) -> None:
    """If the RA is killed while it serves, the demo says so and fails."""
    with subprocess.Popen(
        COMMAND, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).endswith("Ctrl-C ends it.\n"):
            assert line
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Error: The RA has ended." in said


@pytest.mark.slow
def test_ra_that_does_not_start(tmp_path: Path) -> None:
    """Where the RA cannot start, what it said is shown, and the exit code is not 0."""
    assert once(tmp_path).returncode == 0
    (tmp_path / "scepra-demo" / "challenge.txt").chmod(0o644)
    done = once(tmp_path)
    assert done.returncode == 1
    assert "Error: The RA has ended.\nIt said:\n" in done.stderr
    assert "challenge.txt is open to others" in done.stderr
    assert "Traceback" not in done.stderr


def test_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in the place of the directory is named."""
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["demo", "--once", "--state", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "is a file" in result.output


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0004, "0 ms"), (0.0123, "12 ms"), (0.9994, "999 ms"), (1.25, "1.2 s")]
)
def test_durations(seconds: float, shown: str) -> None:
    """Durations have the precision that somebody watching cares for."""
    assert _duration(seconds) == shown


@pytest.mark.parametrize("colour", [True, False])
def test_decisions_are_told(colour: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the RA decides about somebody's own client stands in a line, each reason in one more."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    _tell(Decision("T1", "refused", "ab12", "CN=x", ("a: b", "c: d")))
    _tell(Decision("T2", "refused", "ab12", "", ()))
    assert capsys.readouterr().out == "     refused: CN=x\n       a: b\n       c: d\n     refused: T2\n"
