"""The successions of CAs in the store: kept once, read by every process, and not believed for being there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from twisted.logger import capturedLogs

from scepra.scep.identity import Identity
from scepra.store import successions
from scepra.store.database import Database
from scepra.store.successions import Row
from scepra.succession import StoredSuccessions
from scepra.upstream.succession import Succession
from tests.rig.house import in_memory, run
from tests.rig.material import DAY, NOW, authority
from tests.store.sample import Bench

ROW = Row(b"certificate", b"evidence", b"path", NOW)
CA: Identity = authority().identity
KEPT = Succession(CA.certificate, b"evidence", (CA.certificate, CA.certificate), NOW)


def test_each_is_kept_once(bench: Bench) -> None:
    """The first that names a CA stays; other upstreams have their own."""
    assert bench(successions.keep, "ca", bytes(32), ROW)
    assert not bench(successions.keep, "ca", bytes(32), replace(ROW, evidence=b"another"))
    assert bench(successions.keep, "ca", bytes(31) + b"\1", replace(ROW, seen=NOW - DAY))
    assert bench(successions.keep, "other", bytes(32), ROW)
    assert bench(successions.load, "ca") == [replace(ROW, seen=NOW - DAY), ROW]


@pytest.mark.proves("AC-106", "FT-58")
def test_what_cannot_be_read_is_left_out() -> None:
    """A row that holds no certificate is in the log, and hinders no other."""
    database = Database(in_memory())
    stored = StoredSuccessions("ca", database)
    assert run(stored.keep(KEPT)) and not run(stored.keep(KEPT))
    assert run(StoredSuccessions("other", database).read()) == ()
    database.call(successions.keep, "ca", bytes(32), ROW)
    with capturedLogs() as events:
        assert run(stored.read()) == (KEPT,)
    assert len(events) == 1
    database.call(lambda connection: connection.execute(sa.text("UPDATE successions SET seen = 'no moment'")))
    assert run(stored.read()) == ()
    database.close()
