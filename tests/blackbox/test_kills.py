"""The RA is killed again and again, at random moments, while many devices enrol (CP16): no enrolment is lost, doubled
or forgotten.

``SCEPRA_KILLS_SEED`` fixes what is random here; it is printed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.rig.blackbox.load import Load
from tests.rig.blackbox.nursery import Nursery
from tests.rig.blackbox.process import wait_until
from tests.rig.blackbox.rig import Rig

CLIENTS = 20
KILLS = 200
LIVES, KILLS_OF_WORKERS = 3, 4
STRETCH = 16_000
"""Up to so many octets the upstream notes between two kills; an enrolment makes about 2500."""

pytestmark = pytest.mark.slow


@pytest.fixture
def chance() -> random.Random:
    """What is random; its seed is printed."""
    seed = os.environ.get("SCEPRA_KILLS_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"SCEPRA_KILLS_SEED={seed}")
    return random.Random(seed)


def let_run(rig: Rig, load: Load, chance: random.Random) -> None:
    """Return when devices and the CA have come further by some random amount: it takes as long as the machine needs."""
    wanted = rig.upstream.journal.stat().st_size + chance.randrange(STRETCH)
    wait_until(lambda: load.failures or rig.upstream.journal.stat().st_size >= wanted, "the load goes on", 60)
    assert not load.failures, load.failures[0]


def each_has_one(rig: Rig, load: Load) -> None:
    """Every device has one certificate, the only one that the CA issued for it, in the only transaction there."""
    asked, issued = defaultdict(set), defaultdict(set)
    for line in rig.upstream.requests():
        asked[line["subject"]].add((line["transaction"], line["csr"]))
    for row in rig.database.rows("certificates"):
        issued[row["subject"]].add(row["fingerprint"].hex())
    assert len(load.done) >= CLIENTS
    for device in load.done:
        assert device.certificate is not None
        assert issued[f"CN={device.name}"] == {device.certificate.fingerprint()}, device.name
        assert len(asked[device.name]) == 1, device.name
    # No certificate that nobody has: neither at the CA nor in the store.
    assert sorted(rig.upstream.issued()) == sorted(device.certificate.fingerprint() for device in load.done)


@pytest.mark.proves("I4", "I5", "I13", "FT-13", "FT-21", "FT-23", "MSG-25", "RA-16", "RA-24", "RA-25")
def test_an_ra_that_is_killed_two_hundred_times_gives_each_device_one_certificate(
    rigs: Callable[..., Rig], store: str | None, nursery: Nursery, chance: random.Random
) -> None:
    """Killed at random moments, during its start too, and restarted, the RA gives each of the devices that enrol and
    ask again meanwhile exactly one certificate, and the CA sees one transaction for each.
    """
    rig = rigs(store=store, start=False)
    rig.ra.spawn = nursery.spawn
    begun, kills, early = time.monotonic(), 0, 0
    with rig.load(CLIENTS, pause=0.2) as load:
        load.patience = 300.0
        while kills < KILLS:
            if kills and chance.random() < 0.2:
                rig.ra.launch()
                wait_until(lambda: not chance.randrange(12), "some moment of its start has come")
                early += 1
            else:
                rig.ra.start()
                let_run(rig, load, chance)
            assert rig.ra.running, rig.ra.tail()
            rig.ra.kill()
            kills += rig.ra.exit_code == -signal.SIGKILL
        rig.ra.start()
    each_has_one(rig, load)
    rig.settle()
    again = len(rig.upstream.operations()) - len(load.done)
    taken_up = rig.ra.output().count("has ended: what it was at work on goes on")
    print(
        f"{kills} kills, {early} of them during a start, and {len(load.done)} enrolments in"
        f" {time.monotonic() - begun:.0f} s; the CA was asked {again} times again, leases were ended {taken_up} times"
    )
    assert kills >= KILLS
    assert again > 0, "no kill has hit anything"


@pytest.mark.proves("I4", "I5", "I13", "FT-13", "FT-21", "FT-23", "FT-55", "RA-16", "RA-24", "RA-25")
def test_an_ra_whose_workers_are_killed_gives_each_device_one_certificate(
    rigs: Callable[..., Rig], store: str | None, chance: random.Random
) -> None:
    """Workers are killed one by one, some as soon as they are there, and in the end all of them with their master: each
    device gets exactly one certificate, and the CA sees one transaction for each.
    """
    rig = rigs(store=store, workers=2, start=False)
    begun, kills = time.monotonic(), 0
    with rig.load(CLIENTS, pause=0.2) as load:
        load.patience = 300.0
        for _ in range(LIVES):
            rig.ra.start(60)
            for _ in range(KILLS_OF_WORKERS):
                let_run(rig, load, chance)
                victim = chance.choice(rig.ra.workers)
                os.kill(victim, signal.SIGKILL)
                kills += 1
                wait_until(lambda gone=victim: len({*rig.ra.workers} - {gone}) == 2, "another worker comes")
            let_run(rig, load, chance)
            rig.ra.kill()
            kills += 1
        rig.ra.start(60)
    each_has_one(rig, load)
    rig.settle()
    print(f"{kills} kills and {len(load.done)} enrolments in {time.monotonic() - begun:.0f} s")
    assert kills == LIVES * (KILLS_OF_WORKERS + 1)
