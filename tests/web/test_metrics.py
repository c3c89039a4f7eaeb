"""Metrics over the administration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scepra.store import health, processes, watching
from scepra.store.database import Database
from scepra.store.processes import Process
from scepra.store.tokens import Role, Token
from scepra.store.watching import Watched
from scepra.web.admin.metrics import MetricsPage
from scepra.web.admin.route import Call
from tests.rig.house import in_memory, run

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.proves("FT-49", "FT-51")
def test_what_the_store_says_is_measured() -> None:
    """When certificates end, whether CAs are well, how many enrolments there are, how many processes go by an old
    configuration: all from the store, so that they are those of all processes; labels are what the configuration calls
    things.
    """
    database = Database(in_memory())
    for name, reason in (("ca", ""), ("other", "it has not answered lately")):
        database.call(health.report, name, NOW, reason)
    found = [
        Watched("profile", "dev", bytes([days]) * 32, "signing", "CN=x", NOW, NOW + timedelta(days=days), NOW)
        for days in (9, 5)
    ]
    database.call(watching.keep, found, [("profile", "dev")])
    for number in range(3):
        owner, failure = f"ffffffff.{number:x}.1.1", "no such key" if number else ""
        process = Process(owner, "worker", "ra1", number, "ffffffff.1.1.0", "f", NOW, NOW, "01" * 32, NOW, NOW, failure)
        database.call(processes.keep, process)
    token = Token("id", "prometheus", frozenset((Role.METRICS,)), None, NOW, None, None)
    page = MetricsPage(database)
    (route,) = page.routes
    answer = run(page.show(Call(token, "192.0.2.1", {}, b"", b"")))
    assert (route.roles, str(route)) == (frozenset((Role.METRICS,)), "GET /metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
    end = "scepra_certificate_not_after_timestamp_seconds"
    assert samples.pop((end, "profile", "dev", "signing")) == (NOW + timedelta(days=5)).timestamp()
    assert samples.pop(("scepra_upstream_well", "ca")) == 1
    assert samples.pop(("scepra_upstream_well", "other")) == 0
    assert samples.pop(("scepra_transactions", "issued")) == 0
    assert samples.pop(("scepra_config_reload_failed",)) == 2
    assert {name for name, *_ in samples} == {"scepra_transactions"}
    database.close()
