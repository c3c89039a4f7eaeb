"""The administration of an RA that runs: a port of its own, one process of several, and kills at any moment."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from scepra.scep.message import PKIStatus
from tests.rig.blackbox.administration import MINTED, Administration
from tests.rig.blackbox.process import free_port, wait_until
from tests.rig.blackbox.rig import Rig

Rigs = Callable[..., Rig]
HERE = "127.0.0.1"

pytestmark = pytest.mark.slow


def administered(port: int) -> dict[str, Any]:
    """What a configuration has more where somebody administers it."""
    listen = {"admin": f"tcp:{port}"}
    return {"listen": listen, "profiles": {"dev": {"challenge": {**MINTED, "file": None}}}}


@pytest.mark.proves("DR-17", "DR-18", "AC-014", "AC-091", "SEC-06", "I2", "I10")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_device_enrols_with_what_the_administration_gave_out(workers: int, rigs: Rigs, store: str | None) -> None:
    """Made over one port, used over the other: by whom it was made for, once. Neither port serves the other's."""
    port = free_port(HERE)
    rig = rigs(workers=workers, store=store, extra=administered(port))
    office = Administration(rig.ra, port)
    challenge = office.mint("printer-7.example")
    assert challenge is not None
    rig.canaries += [challenge, office.token]
    assert rig.device("printer-8.example", challenge=challenge).enrol().status is PKIStatus.FAILURE
    device = rig.device("printer-7.example", challenge=challenge)
    assert device.until_done().status is PKIStatus.SUCCESS
    assert rig.device("printer-7.example", challenge=challenge).enrol().status is PKIStatus.FAILURE
    assert len(rig.upstream.requests()) == 1
    status, listed = office.call("GET", "/api/challenges")
    assert (status, [each["used"] for each in listed["challenges"]]) == (200, [1])
    assert office.call("GET", "/scep?operation=GetCACaps")[0] == 404
    assert rig.ra.get("GetCACaps", "/api/challenges")[0] == 404
    assert rig.ra.get("GetCACaps", "/certsrv/mscep_admin/")[0] == 404


@pytest.mark.proves("I13", "DR-17")
def test_a_challenge_that_was_told_is_good_after_a_kill(rigs: Rigs) -> None:
    """CP14: the process is killed while it makes challenges. Each that somebody was told is redeemed after the next
    start; one that was kept and never told is one more in the list.
    """
    port = free_port(HERE)
    rig = rigs(extra=administered(port))
    office = Administration(rig.ra, port)
    told: dict[str, str] = {}
    for round_ in range(3):
        for number in range(5):
            name = f"d{round_}-{number}.example"
            if number == 4:
                rig.ra.signal(signal.SIGKILL, [rig.ra.pid])
            challenge = office.mint(name)
            if challenge is not None:
                told[name] = challenge
        rig.ra.restart()
    assert len(told) >= 12
    for name, challenge in told.items():
        assert rig.device(name, challenge=challenge).until_done().status is PKIStatus.SUCCESS
    _, listed = office.call("GET", "/api/challenges")
    assert {each["binding"]["common_name"] for each in listed["challenges"]} >= told.keys()


@pytest.mark.proves("FT-55", "DR-18")
def test_the_administration_comes_back_with_its_worker(rigs: Rigs) -> None:
    """It is served by one of the workers; when that is killed, by the next in its place."""
    port = free_port(HERE)
    rig = rigs(workers=2, extra=administered(port))
    office = Administration(rig.ra, port)
    for pid in rig.ra.workers:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: pid not in rig.ra.workers and len(rig.ra.workers) == 2, "another worker comes")
    wait_until(lambda: office.call("GET", "/api/challenges")[0] == 200, "the administration answers")


@pytest.mark.proves("FT-61")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_ends_the_start(workers: int, rigs: Rigs) -> None:
    """Where somebody else listens at the administration's port, the RA ends with an error that names it; it does not
    go on without."""
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        taken.listen()
        port = taken.getsockname()[1]
        rig = rigs(workers=workers, extra=administered(port), start=False)
        rig.ra.launch()
        wait_until(lambda: not rig.ra.running, "it ends")
    assert rig.ra.exit_code not in (0, None)
    assert f":{port}" in rig.ra.output()
    assert "Traceback" not in rig.ra.output()
