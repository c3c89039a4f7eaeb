"""Fails when a part of scepra is covered less than pyproject.toml demands ([tool.scepra.coverage-floors]).

``coverage_floors.py FILE``: FILE is what ``coverage json`` wrote.
"""

import json
import sys
import tomllib
from collections import Counter
from pathlib import Path

floors = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["scepra"]["coverage-floors"]
files = json.loads(Path(sys.argv[1]).read_text())["files"]
covered: Counter[str] = Counter()
present: Counter[str] = Counter()
for name, file in files.items():
    part = max((prefix for prefix in floors if name.startswith(prefix)), key=len)
    summary = file["summary"]
    covered[part] += summary["covered_lines"] + summary["covered_branches"]
    present[part] += summary["num_statements"] + summary["num_branches"]

low = False
for part, floor in sorted(floors.items()):
    percent = 100 * covered[part] / present[part]
    low |= percent < floor
    print(f"{part:16} {percent:6.2f} %, at least {floor} %{'' if percent >= floor else ': TOO LOW'}")
sys.exit(low)
