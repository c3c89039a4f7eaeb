"""What all tests share: how Hypothesis searches here, and what parametrized tests are called."""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = [
    "tests.rig.postgres",
    "tests.rig.balancer",
    "tests.rig.trace",
    "tests.rig.faketime",
    "tests.rig.directory",
]

# No deadline: the machine may be busy. In CI the same examples every time, so that a failure repeats.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long octets are numbered and not spelled out: keys made for one run would be other names in the next."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None
