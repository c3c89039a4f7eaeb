"""Another configuration, while clients are served (FT-51)."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scepra.scep.message import PKIStatus
from tests.rig.blackbox.administration import command
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig

pytestmark = pytest.mark.slow

Rigs = Callable[..., Rig]


def told(rig: Rig) -> None:
    """Have the RA reload by a signal, and wait until it says that it will not."""
    said = "the configuration is as it was"
    before = rig.ra.output().count(said)
    rig.ra.reload()
    wait_until(lambda: rig.ra.output().count(said) > before, f"it says that {said}")


def reload(rig: Rig, *, good: bool = True) -> Any:
    """What the command says of it."""
    return json.loads(command(rig.ra, "reload", "--json", exit_code=0 if good else 1))


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
@pytest.mark.parametrize(
    ("how", "workers"),
    [
        ("syntax", 1),
        ("unknown key", 1),
        ("half-written", 2),
        ("another key", 1),
        ("another key", 2),
        ("no pin", 1),
        ("no pin", 2),
        ("port", 2),
    ],
)
def test_what_cannot_be_taken_changes_nothing(rigs: Rigs, how: str, workers: int) -> None:
    """The problem is in the log with its place, and the command's answer; the RA serves as before, be it several
    processes, and takes the file when it is mended."""
    rig = rigs(workers=workers)
    text, files = rig.ra.config.read_bytes(), {}
    for name in ("ra.key", "ca.crt"):
        files[name] = (rig.ra.directory / name).read_bytes()
    if how == "another key":
        other = rig.laboratory.directory / "ca.key"
        (rig.ra.directory / "ca.key").write_bytes(other.read_bytes())
    said = broken(rig, how)
    told(rig)
    assert said in rig.ra.output()
    assert "Traceback" not in rig.ra.output()
    refusal = reload(rig, good=False)
    assert not refusal["ok"]
    assert any(said in problem for problem in refusal["problems"])
    pids = rig.ra.workers
    for number in range(4):
        assert rig.device(f"after-{number}.example").enrol().status is PKIStatus.SUCCESS
    rig.ra.config.write_bytes(text)
    for name, content in files.items():
        file = rig.ra.directory / name
        file.write_bytes(content)
        file.chmod(0o600)
    status = json.loads(command(rig.ra, "status", "--json", exit_code=1))
    assert any("has not taken the latest configuration" in need for need in status["needs"])
    assert len(reload(rig)["processes"]) == workers
    assert rig.ra.workers == pids
    assert rig.device("mended.example").enrol().status is PKIStatus.SUCCESS


@pytest.mark.proves("FT-51")
@pytest.mark.parametrize("workers", [1, 2])
def test_profiles_come_and_go(rigs: Rigs, workers: int) -> None:
    """A new path is served, one that is gone is not, and a changed policy judges the next request, whichever process
    has it, be it one that has come after."""
    rig = rigs(workers=workers)
    profiles: dict[str, Any] = rig.ra.settings["profiles"]
    assert [rig.ra.get("GetCACert", path)[0] for path in ("/impatient", "/new")] == [200, 404]
    new = {**profiles["impatient"], "paths": ["/new"]}
    policy = [rule if "subject" not in rule else {"subject": {"match": {"CN": "other"}}} for rule in new["policy"]]
    rig.ra.configure({"profiles": {"impatient": None, "new": new, "approval": {"policy": policy}}})
    version = reload(rig)["configuration"]
    for _ in range(8):
        assert [rig.ra.get("GetCACert", path)[0] for path in ("/impatient", "/new")] == [404, 200]
    assert rig.device("judged.example", "approval").enrol().status is PKIStatus.FAILURE
    assert rig.device("usual.example").enrol().status is PKIStatus.SUCCESS
    if workers > 1:
        rig.ra.signal(signal.SIGKILL, rig.ra.workers[:1])

        def renewed() -> bool:
            known = json.loads(command(rig.ra, "status", "--json"))["processes"]
            return (
                {each["process"] for each in known} == set(rig.ra.workers)
                and len(known) == workers
                and all(each["configuration"] == version for each in known)
            )

        wait_until(renewed, "the next worker goes by it")
        assert {rig.ra.get("GetCACert", "/new")[0] for _ in range(8)} == {200}


@pytest.mark.proves("FT-51", "FT-55")
def test_a_worker_that_dies_or_stands_still_in_the_midst(rigs: Rigs) -> None:
    """While one cannot be ready none goes by the new configuration; when it is gone, all do."""
    rig = rigs(workers=2)
    rig.ra.configure({"upstreams": {"ca": {"concurrency": 33}}})
    first = rig.ra.workers[0]
    os.kill(first, signal.SIGSTOP)
    rig.ra.reload()
    wait_until(lambda: "workers make ready" in rig.ra.output(), "they are asked")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "the configuration is as it was" in rig.ra.output(), "it is given up")
    assert "worker 1 has ended with signal 9" in rig.ra.output()
    rig.ra.await_ready(lambda: len(rig.ra.workers) == 2)
    wait_until(lambda: len(json.loads(command(rig.ra, "reload", "--json"))["processes"]) == 2, "both go by it")


@pytest.mark.proves("FT-51")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hundred_reloads_under_load(rigs: Rigs, workers: int) -> None:
    """Nobody is refused, everybody gets a certificate, and neither descriptors nor threads become more."""
    rig = rigs(workers=workers)
    reload(rig)
    pids = rig.ra.workers or [rig.ra.pid]

    def counts() -> tuple[int, int]:
        return (
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
        )

    with rig.load(8), rig.probing():
        for number in range(100):
            if number % 2:
                rig.ra.configure({"upstreams": {"ca": {"concurrency": 20 + number}}})
            rig.ra.reload()
            wait_until(lambda number=number: rig.ra.output().count("is in force") > number // 4, "it goes on")
        reload(rig)
        descriptors, threads = counts()
    reload(rig)
    assert rig.device("after.example").enrol().status is PKIStatus.SUCCESS
    assert (rig.ra.workers or [rig.ra.pid]) == pids
    after = counts()
    assert after[0] <= descriptors + 5 * workers
    assert after[1] <= threads + 10 * workers
    assert "Traceback" not in rig.ra.output()
