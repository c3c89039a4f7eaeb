"""Another configuration, while clients are served (FT-51)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scepra.scep.message import PKIStatus
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig

pytestmark = pytest.mark.slow

Rigs = Callable[..., Rig]


def reload(rig: Rig, *, good: bool) -> None:
    """Have the RA reload, and wait for what it says."""
    said = "is in force" if good else "the configuration is as it was"
    before = rig.ra.output().count(said)
    rig.ra.reload()
    wait_until(lambda: rig.ra.output().count(said) > before, f"it says that {said}")


def broken(rig: Rig, how: str) -> str:
    """Spoil the configuration; what is said of it."""
    config, directory = rig.ra.config, rig.ra.directory
    text = config.read_text()
    match how:
        case "syntax":
            config.write_text(text + "\n: [")
            return "scepra.yaml:"
        case "unknown key":
            config.write_text(text + "\nunknown: 1\n")
            return "unknown: unknown key"
        case "half-written":
            config.write_bytes(text.encode()[: len(text) // 2])
            return "scepra.yaml:"
        case "another key":
            (directory / "ra.key").write_bytes((directory / "ca.key").read_bytes())
            return "ra."
        case "no pin":
            (directory / "ca.crt").unlink()
            return "ca-fingerprint"
        case "port":
            rig.ra.configure({"listen": {"scep": "tcp:1:interface=127.0.0.1"}})
            return "needs a restart: listen.scep"
    raise AssertionError(how)


@pytest.mark.proves("FT-51", "DR-19")
@pytest.mark.parametrize("how", ["syntax", "unknown key", "half-written", "another key", "no pin", "port"])
def test_what_cannot_be_taken_changes_nothing(rigs: Rigs, how: str) -> None:
    """The problem is in the log with its place, the RA serves as before, and takes the file when it is mended."""
    rig = rigs()
    text, files = rig.ra.config.read_bytes(), {}
    for name in ("ra.key", "ca.crt"):
        files[name] = (rig.ra.directory / name).read_bytes()
    if how == "another key":
        other = rig.laboratory.directory / "ca.key"
        (rig.ra.directory / "ca.key").write_bytes(other.read_bytes())
    said = broken(rig, how)
    reload(rig, good=False)
    assert said in rig.ra.output()
    assert "Traceback" not in rig.ra.output()
    assert rig.device("after.example").enrol().status is PKIStatus.SUCCESS
    rig.ra.config.write_bytes(text)
    for name, content in files.items():
        file = rig.ra.directory / name
        file.write_bytes(content)
        file.chmod(0o600)
    reload(rig, good=True)
    assert rig.device("mended.example").enrol().status is PKIStatus.SUCCESS


@pytest.mark.proves("FT-51")
def test_profiles_come_and_go(rigs: Rigs) -> None:
    """A new path is served, one that is gone is not, and a changed policy judges the next request."""
    rig = rigs()
    profiles: dict[str, Any] = rig.ra.settings["profiles"]
    assert [rig.ra.get("GetCACert", path)[0] for path in ("/impatient", "/new")] == [200, 404]
    new = {**profiles["impatient"], "paths": ["/new"]}
    policy = [rule if "subject" not in rule else {"subject": {"match": {"CN": "other"}}} for rule in new["policy"]]
    rig.ra.configure({"profiles": {"impatient": None, "new": new, "approval": {"policy": policy}}})
    reload(rig, good=True)
    assert [rig.ra.get("GetCACert", path)[0] for path in ("/impatient", "/new")] == [404, 200]
    assert rig.device("judged.example", "approval").enrol().status is PKIStatus.FAILURE
    assert rig.device("usual.example").enrol().status is PKIStatus.SUCCESS


@pytest.mark.proves("FT-51")
def test_a_hundred_reloads_under_load(rigs: Rigs) -> None:
    """Nobody is refused, everybody gets a certificate, and neither descriptors nor threads become more."""
    rig = rigs()
    reload(rig, good=True)

    def counts() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{rig.ra.pid}/fd")), len(list(Path(f"/proc/{rig.ra.pid}/task").iterdir()))

    with rig.load(8), rig.probing():
        for number in range(100):
            if number % 2:
                rig.ra.configure({"upstreams": {"ca": {"concurrency": 20 + number}}})
            rig.ra.reload()
            wait_until(lambda number=number: rig.ra.output().count("is in force") > number // 4, "it goes on")
        reload(rig, good=True)
        descriptors, threads = counts()
    reload(rig, good=True)
    assert rig.device("after.example").enrol().status is PKIStatus.SUCCESS
    after = counts()
    assert after[0] <= descriptors + 5
    assert after[1] <= threads + 10
    assert "Traceback" not in rig.ra.output()
