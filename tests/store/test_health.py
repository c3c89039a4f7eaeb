"""What is written of the upstreams' health."""

from __future__ import annotations

import pytest

from scepra.store import health
from scepra.store.health import Health
from tests.store.sample import HOUR, MINUTE, NOW, Bench


@pytest.mark.proves("FT-01")
def test_a_state_lasts_since_it_was_found_first(bench: Bench) -> None:
    """Since when an upstream is as it is, when that was found last, and why; a change is told to who writes it."""
    told = [
        bench(health.report, "ca", NOW),
        bench(health.report, "ca", NOW + MINUTE),
        bench(health.report, "other", NOW, "it has not answered lately"),
    ]
    assert told == [True, False, True]
    assert bench(health.listing) == [
        Health("ca", True, NOW, NOW + MINUTE, ""),
        Health("other", False, NOW, NOW, "it has not answered lately"),
    ]
    assert bench(health.well) == {"ca"}
    assert bench(health.report, "ca", NOW + HOUR, "it has gone")
    assert not bench(health.report, "ca", NOW + 2 * HOUR, "it is still gone")
    assert bench(health.listing)[0] == Health("ca", False, NOW + HOUR, NOW + 2 * HOUR, "it is still gone")
    assert bench(health.well) == set()
