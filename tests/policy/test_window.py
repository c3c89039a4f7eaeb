"""When requests are accepted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scepra.policy import build as build_rules
from scepra.policy import decide, explain
from scepra.scep.csr import CertificationRequest
from tests.csrs import build
from tests.policy.sample import KEY, SUBJECT, Asked, policy

REQUEST = CertificationRequest.parse(build())


def accepted(spec: dict[str, Any], moment: str) -> bool:
    """Whether a request that comes in at a moment of UTC is accepted."""
    asked = Asked(REQUEST, received=datetime.fromisoformat(moment).replace(tzinfo=UTC))
    return decide(build_rules(policy(KEY, SUBJECT, {"time": spec})), asked).outcome == "approve"


WORK = {"days": ["mon", "tue", "wed", "thu", "fri"], "hours": "08:00-18:00", "zone": "Europe/Berlin"}
NIGHT = {"days": "fri", "hours": "22:00-06:00"}


@pytest.mark.parametrize(
    ("spec", "moment", "expected"),
    [
        # 2026-05-04 is a Monday; Berlin is two hours ahead in summer, one in winter.
        (WORK, "2026-05-04T06:00", True),
        (WORK, "2026-05-04T05:59", False),
        (WORK, "2026-05-04T15:59", True),
        (WORK, "2026-05-04T16:00", False),
        (WORK, "2026-01-05T06:59", False),
        (WORK, "2026-01-05T07:00", True),
        (WORK, "2026-05-09T10:00", False),
        (NIGHT, "2026-05-08T21:59", False),
        (NIGHT, "2026-05-08T22:00", True),
        (NIGHT, "2026-05-09T05:59", True),
        (NIGHT, "2026-05-09T06:00", False),
        (NIGHT, "2026-05-08T05:00", False),
        (NIGHT, "2026-05-09T22:00", False),
        ({"hours": "00:00-24:00"}, "2026-05-09T23:59", True),
        ({}, "2026-05-09T23:59", True),
        ({"not-before": "2026-05-04"}, "2026-05-03T23:59", False),
        ({"not-before": "2026-05-04"}, "2026-05-04T00:00", True),
        ({"not-after": "2026-05-04"}, "2026-05-04T23:59", True),
        ({"not-after": "2026-05-04"}, "2026-05-05T00:00", False),
        ({"not-after": "2026-05-04", "zone": "Pacific/Auckland"}, "2026-05-04T12:00", False),
        # The last Sunday of March has no 02:30 in Berlin, that of October two of them.
        ({"hours": "02:00-03:00", "zone": "Europe/Berlin"}, "2026-03-29T01:30", False),
        ({"hours": "02:00-03:00", "zone": "Europe/Berlin"}, "2026-10-25T00:30", True),
        ({"hours": "02:00-03:00", "zone": "Europe/Berlin"}, "2026-10-25T01:30", True),
    ],
)
def test_windows(spec: dict[str, Any], moment: str, expected: bool) -> None:
    """Days, hours and dates are those of the clock on the wall there; hours over midnight belong to the day before."""
    assert accepted(spec, moment) is expected


def test_what_is_shown() -> None:
    """The explanation shows the time there, and every reason."""
    rules = build_rules(policy(KEY, SUBJECT, {"time": {**WORK, "not-after": "2026-05-01"}}))
    report = explain(rules, Asked(REQUEST, received=datetime(2026, 5, 9, 12, tzinfo=UTC)))[-1]
    assert report.looked_at == "sat 2026-05-09 14:00 Europe/Berlin"
    assert report.said == "time: is outside the days and hours; time.not-after: is after 2026-05-01"


def test_dates_are_read_once() -> None:
    """A rule that was read can be read again as it is."""
    (rule,) = policy({"time": {"not-before": "2026-05-04"}})
    assert policy({"time": dict(rule.time or ())}) == policy({"time": {**dict(rule.time or ())}})
