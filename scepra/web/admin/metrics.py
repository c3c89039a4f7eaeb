"""Metrics for Prometheus, read from the store when they are asked for, so that they are those of all processes.

Nothing that a client names is a label: names are the configuration's, all else are closed lists.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from scepra.store.database import Database
from scepra.store.overview import Overview, overview
from scepra.store.tokens import Role
from scepra.web.admin.route import AdminRoute, Answer, Call


class MetricsPage:
    """The route ``/metrics``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def routes(self) -> tuple[AdminRoute, ...]:
        """For the registry."""
        return (AdminRoute("GET", ("metrics",), frozenset((Role.METRICS,)), self.show),)

    async def show(self, call: Call) -> Answer:
        """All of them, as text."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Stored(await self._database.read(overview)))
        return Answer(200, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)


class _Stored(Collector):
    """What one reading of the store says."""

    def __init__(self, found: Overview) -> None:
        self._found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        ends = GaugeMetricFamily(
            "scepra_certificate_not_after_timestamp_seconds",
            "When a certificate ends without which nothing goes on.",
            labels=("kind", "name", "role"),
        )
        # Of several in one place, the first to end.
        first: dict[tuple[str, str, str], float] = {}
        for each in self._found.certificates:
            first.setdefault((each.kind, each.name, each.role), each.ends.timestamp())
        for labels, end in first.items():
            ends.add_metric(labels, end)
        yield ends
        well = GaugeMetricFamily("scepra_upstream_well", "Whether a CA carries out requests.", labels=("upstream",))
        for upstream in self._found.upstreams:
            well.add_metric((upstream.upstream,), float(upstream.well))
        yield well
        states = GaugeMetricFamily("scepra_transactions", "How many are stored in each state.", labels=("state",))
        for state, count in self._found.transactions.items():
            states.add_metric((state.value,), count)
        yield states
        failed = GaugeMetricFamily("scepra_config_reload_failed", "How many processes have not taken the latest file.")
        failed.add_metric((), sum(bool(process.failure) for process in self._found.processes))
        yield failed
