"""``scepra status``: how everything is, and what needs somebody."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scepra.store import health, processes, watching
from scepra.store.processes import Process
from scepra.store.watching import Watched
from scepra.transaction import Event, State
from tests.rig.enrolments import HOSTILE, Desk, facts

DAYS = timedelta(days=1)


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def certificate(left: timedelta, name: str = "wifi", subject: str = "CN=RA") -> Watched:
    """A certificate that ends in so long."""
    return Watched(
        "profile", name, name.encode() * 8, "signing", subject, now() - DAYS, now() + left + timedelta(minutes=1), now()
    )


def process(**changes: Any) -> Process:
    """A process that serves elsewhere."""
    made = Process("a.1.2.3", "worker", "ra1", 4711, "a.1.2.0", "scepra.yaml", now(), now(), "01" * 32, now(), now())
    return replace(made, **changes)


def well(desk: Desk) -> None:
    """A CA that is well, a certificate that is good, and a process that serves."""
    desk.bench(processes.keep, process())
    desk.bench(health.report, "lab", now())
    desk.bench(watching.keep, [certificate(90 * DAYS)], [("profile", "wifi")])


@pytest.mark.proves("FT-49")
def test_all_is_well(desk: Desk) -> None:
    """Upstreams with their health, certificates with what is left, enrolments by state; the exit code says that nobody
    is needed."""
    well(desk)
    desk.bench.record(desk.request("queued", state=State.QUEUED))
    desk.hold("held")
    result = desk.run("status")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == "UPSTREAM HEALTH SINCE (UTC) CHECKED (UTC) REASON"
    assert lines[1].startswith("lab well 20")
    assert lines[3] == "CERTIFICATE OF FOR ENDS (UTC) LEFT SUBJECT"
    assert lines[4].startswith("profile wifi signing 20")
    assert lines[4].endswith(" 90 days CN=RA")
    assert ("enrolments", "1 held, 1 queued") in facts(result.output)
    assert ("oldest that waits", "2026-05-04 12:00:00 UTC") in facts(result.output)
    assert lines[-1] == "All is well."
    told = desk.ask("status")
    assert (told["ok"], told["needs"], told["attention"]) == (True, [], 0)
    assert told["transactions"]["queued"] == 1
    assert told["certificates"][0]["days"] == 90
    assert told["upstreams"][0]["upstream"] == "lab"


def test_a_new_ra_has_nothing_to_tell(desk: Desk) -> None:
    """Nothing is known yet, but that it runs; without that, somebody has to start it."""
    assert "! no process of the RA is known to run" in desk.run("status").output
    desk.bench(processes.keep, process())
    result = desk.run("status")
    assert result.exit_code == 0
    assert "lab       not known yet" in result.output
    assert ("enrolments", "none") in facts(result.output)


@pytest.mark.proves("FT-49", "FT-01")
def test_what_needs_somebody(desk: Desk) -> None:
    """A CA that is not well, certificates of the last week, enrolments that are stuck, a process with an old
    configuration: each is named, and the exit code says so; a CA of former days is not.
    """
    desk.bench(health.report, "lab", now(), "it has not answered lately")
    desk.bench(health.report, "gone", now(), "it is configured no more")
    ending = [certificate(6 * DAYS, "soon"), certificate(-DAYS, "late"), certificate(8 * DAYS, "fine", HOSTILE)]
    desk.bench(watching.keep, ending, [("profile", each.name) for each in ending])
    held = desk.bench.record(desk.request("stuck", state=State.SENDING))
    desk.bench.happen(held, Event.PENDED, sends=1, attention="the CA has not decided for 3 days")
    desk.bench(processes.keep, process(failure="policy: no such file\nanother"))
    silent = process(owner="b.1.2.3", process=4712, seen=now() - timedelta(hours=1))
    desk.bench(processes.keep, silent)
    result = desk.run("status")
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert [line for line in result.output.splitlines() if line.startswith("!")] == [
        "! upstream lab is not well: it has not answered lately",
        "! profile late: the certificate for signing has expired",
        "! profile soon: the certificate for signing ends in 6 days",
        "! process 4711 on ra1 has not taken the latest configuration: policy: no such file",
        f"! process 4712 on ra1 has said nothing since {silent.seen:%Y-%m-%d %H:%M:%S} UTC",
        "! 1 enrolment needs somebody: scepra transactions list --attention",
    ]
    assert "gone" not in result.output
    assert "NOT WELL" in result.output
    assert result.output.splitlines()[-1] == "Something needs somebody."
    scripts = desk.run("status", "--json")
    assert scripts.exit_code == 1
    told = json.loads(scripts.output)
    assert (told["ok"], len(told["needs"]), told["processes"][0]["process"]) == (False, 6, 4711)


def test_an_upstream_that_nobody_looks_after(desk: Desk) -> None:
    """It was well, a day ago: whether it still is, nobody knows."""
    desk.bench(health.report, "lab", now() - DAYS)
    held = [desk.bench.record(desk.request(name, state=State.SENDING)) for name in ("a", "b")]
    for each in held:
        desk.bench.happen(each, Event.PENDED, sends=1, attention="it is stuck")
    result = desk.run("status")
    assert result.exit_code == 1
    assert "does the RA run?" in result.output
    assert "2 enrolments need somebody" in result.output


def test_what_cannot_be_told(desk: Desk) -> None:
    """No store, or no configuration: 2, since 1 would mean that something was found."""
    path = desk.bench.settings.sqlite_path
    assert path is not None
    desk.bench.engine.dispose()
    path.unlink()
    result = desk.run("status")
    assert result.exit_code == 2
    assert "has not been started" in result.output
    desk.file.write_text("nonsense: [")
    assert desk.run("status").exit_code == 2
