"""Whether each upstream carries out requests, as far as that was found out; read by all, written by who asks it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scepra.store.rows import Insert
from scepra.store.tables import health


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one upstream.

    Attributes:
        upstream: its name.
        well: whether it answers requests so that they are believed.
        since: when that was found for the first time.
        checked: when it was found the last time.
        reason: why it is not well; empty if it is.
    """

    upstream: str
    well: bool
    since: datetime
    checked: datetime
    reason: str


def report(connection: sa.Connection, upstream: str, now: datetime, reason: str = "") -> bool:
    """Write how an upstream is: well, or not so for a reason.

    Returns:
        Whether that is another state than it was in.
    """
    well = not reason
    before = connection.execute(sa.select(health.c.well).where(health.c.upstream == upstream)).scalar()
    row = {"upstream": upstream, "well": well, "since": now, "checked": now, "reason": reason}
    _REPORT.into(connection, row)
    return before is None or bool(before) is not well


def listing(connection: sa.Connection) -> list[Health]:
    """What is known of each upstream, by their names."""
    columns = (health.c[name] for name in Health.__slots__)
    return [Health(*row) for row in connection.execute(sa.select(*columns).order_by(health.c.upstream))]


def well(connection: sa.Connection) -> set[str]:
    """The upstreams that are known to be well."""
    return set(connection.execute(sa.select(health.c.upstream).where(health.c.well)).scalars())


_REPORT = Insert(
    health,
    lambda insert: insert.on_conflict_do_update(
        index_elements=["upstream"],
        set_={
            "well": insert.excluded.well,
            "since": sa.case((health.c.well == insert.excluded.well, health.c.since), else_=insert.excluded.since),
            "checked": insert.excluded.checked,
            "reason": insert.excluded.reason,
        },
    ),
)
