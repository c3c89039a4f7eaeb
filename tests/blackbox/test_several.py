"""Two CAs that are equal, one of which is killed while many enrol (FT-01, FT-13; I4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scepra.lab import Behaviour
from scepra.scep.message import PKIStatus
from tests.blackbox.procedure import is_pending, sent_for
from tests.rig.blackbox.canary import ADDRESS
from tests.rig.blackbox.device import Device
from tests.rig.blackbox.journal import LEDGER, read_lines
from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import free_port, wait_until
from tests.rig.blackbox.ra import PATHS, configuration
from tests.rig.blackbox.recorder import RecordingUpstream
from tests.rig.blackbox.rig import Rig

Rigs = Callable[..., Rig]

pytestmark = pytest.mark.slow


@pytest.fixture
def second(tmp_path: Path, laboratory: Laboratory) -> Iterator[RecordingUpstream]:
    """Another front of the laboratory's CA, with a memory of its own."""
    directory = tmp_path / "second"
    directory.mkdir(mode=0o700)
    made = RecordingUpstream(laboratory.directory, directory, free_port(ADDRESS))
    made.start()
    yield made
    made.close()


def equal(second: RecordingUpstream) -> dict[str, Any]:
    """What the configuration has besides: the other CA, and that every profile goes to both."""
    usual = configuration(0, second.url, 1, None)["upstreams"]["ca"]
    return {
        "upstreams": {"other": usual},
        "profiles": {name: {"upstream": ["ca", "other"]} for name in PATHS},
    }


def issued(*upstreams: RecordingUpstream) -> Counter[str]:
    """How many certificates were issued for each subject, by all of them."""
    lines = (line for each in upstreams for line in read_lines(each.journal.with_name(LEDGER)))
    found = {(line["subject"], line["fingerprint"]) for line in lines if line["fingerprint"]}
    return Counter(subject for subject, _ in found)


@pytest.mark.proves("FT-01", "FT-13", "I3", "I4")
def test_a_ca_that_is_killed_under_load_costs_nobody_anything(rigs: Rigs, second: RecordingUpstream) -> None:
    """Ten devices at a time enrol while the first CA is killed and comes back: new ones go to the second meanwhile,
    each ends with one certificate of all that both have issued, and what the first holds back is polled there alone.
    """
    rig = rigs(extra=equal(second))
    pending: Device = rig.device("pending.example")
    rig.upstream.behave(Behaviour(status=PKIStatus.PENDING), pending.name)
    assert is_pending(pending.enrol())
    wait_until(lambda: rig.database.state(pending.name) == "waiting", "the first CA holds it back")
    with rig.load(10) as load:
        wait_until(lambda: len(load.done) > 20, "the first CA serves")
        assert second.requests() == []
        rig.upstream.kill()
        before = len(load.done)
        wait_until(lambda: len(load.done) > before + 20, "the second CA serves")
        impatient = rig.device("impatient.example", "impatient")
        assert impatient.enrol().status is PKIStatus.SUCCESS
        rig.upstream.start()
        wait_until(lambda: len(load.done) > before + 60, "both are there")
    names = [device.name for device in load.done]
    counted = issued(rig.upstream, second)
    assert {name: counted[name] for name in names} == dict.fromkeys(names, 1)
    assert counted[impatient.name] == 1
    rig.upstream.tell("settle", pending.name, True)
    assert pending.until_done().status is PKIStatus.SUCCESS
    assert len(set(sent_for(rig, pending))) == 1
    (row,) = rig.database.transactions(pending.name)
    assert row["upstream"] == "ca"
    assert row["upstream_transaction"] not in {line["transaction"] for line in second.operations()}
