"""How Sphinx builds these pages: ``sphinx-build -W docs docs/_build``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scepra import __version__

project = "scepra"
author = "the scepra authors"
copyright = "2026, the scepra authors"
version = release = __version__
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "SCEP Registration Authority", "fixed_sidebar": True}
