"""An RA whose key is in a token, from outside: the token goes and comes back, and processes die (FT-56)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import LAZY, START, has_one, is_turned_away, started
from tests.rig.blackbox.device import Device, Retry
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.ra import merge
from tests.rig.blackbox.rig import Rig
from tests.rig.softhsm import PIN, SoftToken, new_token

Rigs = Callable[..., Rig]
pytestmark = pytest.mark.slow


@pytest.fixture
def soft(laboratory: Laboratory) -> SoftToken:
    """A token with the RA's key."""
    return new_token([(laboratory.directory / "ra.key", "ra", "01")])


def guarded(rigs: Rigs, soft: SoftToken, pin: Path, workers: int) -> Rig:
    """A rig whose RA has its key in the token, in all profiles, and no copy of it."""
    ra = {"certificate": "ra.crt", "key": {"token": "hsm", "label": "ra"}}
    profiles = {name: {"ra": ra} for name in ("dev", "impatient", "approval")}
    tokens = {"hsm": soft.settings(pin, retry="1s")}
    rig = started(rigs, workers, extra=merge(LAZY, {"tokens": tokens, "profiles": profiles}))
    rig.canaries.append(PIN)
    return rig


def is_back(rig: Rig, device: Device) -> None:
    """Wait until each worker has found the token again: they leave it alone for pauses of their own."""

    def everybody_answers() -> bool:
        return all(device.retry(Retry.SAME_BYTES).status is PKIStatus.SUCCESS for _ in range(8))

    device.until_done()
    wait_until(everybody_answers, "every worker has the token", 60)


@pytest.mark.proves("FT-56", "AC-131", "I3", "I4", "I9", "I13", "DR-15")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_token_is_unplugged_and_plugged_in_again(workers: int, rigs: Rigs, soft: SoftToken, tmp_path: Path) -> None:
    """Devices enrol; while the token is away they are told to come again, and GetCACert is served; when it is back they
    enrol, without a restart, and each has one certificate. The PIN is in nothing that the RA writes."""
    rig = guarded(rigs, soft, tmp_path / "pin", workers)
    has_one(rig, rig.device("before.example"))
    soft.unplug()
    device = rig.device("meanwhile.example")
    for _ in range(4 * workers):
        assert is_turned_away(device.enrol())
    assert rig.ra.get("GetCACert")[0] == 200
    assert rig.ra.get("GetCACaps")[0] == 200
    soft.plug()
    is_back(rig, device)
    has_one(rig, device, rig.device("after.example"))


@pytest.mark.proves("FT-56", "FT-55", "I4", "I13")
def test_processes_begin_while_the_token_is_away(rigs: Rigs, soft: SoftToken, tmp_path: Path) -> None:
    """An RA that is killed, and started while its token is away, serves its certificates and waits for the token."""
    rig = guarded(rigs, soft, tmp_path / "pin", 2)
    has_one(rig, rig.device("before.example"))
    rig.ra.end()
    soft.unplug()
    rig.ra.start(START)
    device = rig.device("meanwhile.example")
    assert is_turned_away(device.enrol())
    before = set(rig.ra.workers)
    rig.ra.signal(signal.SIGKILL, [min(before)])
    wait_until(lambda: len(rig.ra.workers) == 2 and set(rig.ra.workers) != before, "another worker", 60)
    assert is_turned_away(device.enrol())
    soft.plug()
    is_back(rig, device)
    has_one(rig, device, rig.device("after.example"))


@pytest.mark.proves("AC-133")
def test_a_wrong_pin_at_the_start(rigs: Rigs, soft: SoftToken, tmp_path: Path) -> None:
    """With a wrong PIN the RA does not start: nothing is left running that would try it again."""
    rig = guarded(rigs, soft, tmp_path / "pin", 2)
    rig.ra.terminate()
    (tmp_path / "pin").write_text("1234-wrong")
    rig.ra.launch()
    wait_until(lambda: not rig.ra.running, "it gives up", 60)
    assert rig.ra.exit_code == 1
