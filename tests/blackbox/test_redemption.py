"""The race to redeem one challenge, over sockets: several writers at two instances, on either database (AC-092)."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from scepra.binding import Binding
from scepra.config.load import load
from scepra.errors import FailInfo
from scepra.minting import Order, mint
from scepra.scep.message import PKIStatus
from scepra.store import challenges
from scepra.store.database import Database
from scepra.store.engine import create_engine
from scepra.store.vault import read_vault
from tests import csrs
from tests.blackbox.procedure import START
from tests.rig.blackbox.device import Answer, Device
from tests.rig.blackbox.ra import RAProcess
from tests.rig.blackbox.rig import Rig

CODES, WRITERS = 200, 8
PROFILE = "impatient"
"""The one whose challenges are minted; a good client enrols at another when all is over."""
MINTED: dict[str, Any] = {
    "store": {"timeout": "10s"},
    "profiles": {
        PROFILE: {
            "polling": True,
            "challenge": {"type": "minted", "file": None},
            "policy": [{"key": {"rsa": {"min": 2048}}}, {"subject": {"match": {"CN": "[a-z0-9-]+\\.example"}}}],
        }
    },
}

pytestmark = pytest.mark.slow


def minted(ra: RAProcess, count: int) -> list[str]:
    """New challenges, each good for one key of anybody's, as the command line and the administration make them."""
    config = load(ra.config)
    database = Database(create_engine(config.store, 1))
    vault, now = read_vault(config.store.key_file), datetime.now(UTC)
    codes = []
    for _ in range(count):
        made = mint(Order(PROFILE, Binding(), "test", unbound=True), config.profiles, vault, now)
        assert database.call(challenges.add, made.digest, made.kept, made.most)
        codes.append(made.text)
    database.close()
    return codes


@pytest.mark.proves("AC-092", "DR-7", "DR-8", "I2", "I3", "FT-34", "FT-43")
def test_each_of_two_hundred_challenges_is_redeemed_for_exactly_one_key(
    rigs: Callable[..., Rig], store: str | None
) -> None:
    """Eight writers, each with a key of its own, show each of two hundred challenges at the same moment, half of them
    at one instance and half at the other: one of them gets a certificate, and the others are refused, whoever they
    are; the CA sees one key for each challenge. Nobody is told of a database that is busy.
    """
    rig = rigs(store=store, extra=MINTED)
    second = rig.another_ra()
    second.start(START)
    codes = minted(rig.ra, CODES)
    rig.canaries += codes[:20]
    answers: dict[str, list[tuple[str, Answer]]] = defaultdict(list)
    failures: list[str] = []
    abreast = threading.Barrier(WRITERS)

    def write(writer: int) -> None:
        ra = rig.ras[writer % 2]
        try:
            for number, code in enumerate(codes):
                device = rig.device(
                    f"writer-{writer}-{number}.example", PROFILE, key=keys[writer], ra=ra, challenge=code
                )
                device.sent = device.message()
                abreast.wait(60)
                answers[code].append((device.name, decided(device)))
        except Exception as error:
            abreast.abort()
            failures.append(f"{type(error).__name__}: {error}")

    keys = [rig.key() for _ in range(WRITERS)]
    threads = [threading.Thread(target=write, args=(writer,), daemon=True) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    for code in codes:
        statuses = sorted(answer.status.name for _, answer in answers[code] if answer.status is not None)
        assert statuses == ["FAILURE"] * (WRITERS - 1) + ["SUCCESS"], answers[code]
        assert {answer.fail_info for _, answer in answers[code]} == {None, FailInfo.BAD_REQUEST}
    redeemed(rig, keys, codes, {name for each in answers.values() for name, answer in each if answer.certificate})
    for ra in rig.ras:
        assert "database is locked" not in ra.output()
        assert "the database" not in ra.output()


def decided(device: Device, deadline: float = 60.0) -> Answer:
    """The answer to its request, when it is decided: what is told to come again, does so with the same octets; of the
    5xx there is only 503."""
    assert device.sent is not None
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        answer = device.send(device.sent)
        assert answer.http in (200, 503), answer
        if answer.status in (PKIStatus.SUCCESS, PKIStatus.FAILURE):
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{device.name} is not decided after {deadline:g} s")


def redeemed(rig: Rig, keys: list[Any], codes: list[str], winners: set[str]) -> None:
    """What the CA saw: as many requests as there are challenges, of those who were told so, and each challenge with one
    key (I2); the store says the same."""
    requests = rig.upstream.requests()
    assert {line["subject"] for line in requests} == winners
    assert len({line["transaction"] for line in requests}) == len(codes) == len(winners)
    reserved = rig.database.rows("reservations")
    assert len({row["credential"] for row in reserved}) == len(reserved) == len(codes)
    known = {hashlib.sha256(csrs.spki(key)).digest() for key in keys}
    assert {row["public_key"] for row in reserved} <= known
