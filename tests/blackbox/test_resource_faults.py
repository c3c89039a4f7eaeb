"""What becomes of enrolments when memory is short, the processor busy, somebody reads for long, or all goes on for a
while (FT-37, FT-53, FT-54, FT-62)."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.blackbox.procedure import LAZY, has_one
from tests.rig.blackbox.rig import Rig
from tests.rig.blackbox.wire import Wire

Rigs = Callable[..., Rig]

NAME = "device.example"
TARGET = "/scep?operation=PKIOperation"
MEGABYTE = 1024 * 1024

pytestmark = pytest.mark.slow


def status_of(pid: int, name: str) -> int:
    """A number in what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# --- Memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FT-53", "I9", "DR-13")
def test_bodies_that_do_not_fit_into_memory_end_nobody(rigs: Rigs) -> None:
    """Two hundred bodies of the greatest length, held back at their last octet, in a process that may not have so much
    memory: it takes in as many as it may, tells the others to come again, and serves who comes meanwhile and after.
    """
    body, bodies, count = 262144, 8 * MEGABYTE, 200
    rig = rigs(extra=LAZY | {"limits": {"body": body, "bodies": bodies, "request-deadline": "2m"}})
    before, meanwhile, after = (rig.device(f"{when}.example") for when in ("before", "meanwhile", "after"))
    has_one(rig, before)
    process = rig.ra.pid
    limit = status_of(process, "VmSize") * 1024 + 3 * bodies
    unlimited = resource.prlimit(process, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    wires = [
        Wire(rig.ra.port, TARGET, bytes(body), withhold=1, source=f"127.0.1.{1 + number // 50}")
        for number in range(count)
    ]
    assert rig.ra.get("GetCACert")[0] == 200
    has_one(rig, meanwhile)
    for wire in wires:
        # Whoever was turned away long ago has been hung up on, and the answer is there.
        with suppress(OSError):
            wire.finish()
    answers = Counter(wire.response().status for wire in wires)
    assert set(answers) == {400, 503}, answers
    assert answers[400] <= bodies // (body - 16384) < count - answers[400], answers
    assert Wire(rig.ra.port, TARGET, bytes(body + 1), withhold=body).response().status == 413
    has_one(rig, after)
    resource.prlimit(process, resource.RLIMIT_AS, unlimited)
    assert rig.ra.pid == process
