"""What all tests share: how Hypothesis searches here."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: the machine may be busy. In CI the same examples every time, so that a failure repeats.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
