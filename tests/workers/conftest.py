"""The black-box rig, for tests of several processes."""

from __future__ import annotations

from tests.blackbox.conftest import laboratory, pytest_runtest_makereport, rigs

__all__ = ["laboratory", "pytest_runtest_makereport", "rigs"]
