"""Without these lines some processes go by another configuration than others, or by one that nobody took (FT-51)."""

from __future__ import annotations

from tests.mutations.removal import Removal

MASTER = ("tests/workers/test_master.py",)

REMOVALS = (
    Removal(
        "workers go by a configuration that one of them refuses",
        "scepra/workers/master.py",
        "        if problems:\n",
        "        if False:\n",
        MASTER,
    ),
    Removal(
        "a worker starts by the old configuration while another is taken",
        "scepra/workers/place.py",
        "        if self._closed or self._held:\n",
        "        if self._closed:\n",
        MASTER,
    ),
    Removal(
        "a worker that does not take the configuration stays",
        "scepra/workers/place.py",
        '            self.signal("KILL")\n\n    def refuse',
        "\n    def refuse",
        MASTER,
    ),
    Removal(
        "a worker takes what was refused meanwhile",
        "scepra/workers/obedience.py",
        "        if self._attempt == order.number:\n",
        "        if True:\n",
        ("tests/workers/test_obedience.py",),
    ),
    Removal(
        "a configuration that needs a restart is taken without one",
        "scepra/reload.py",
        "findings = restarts(self._serving.settings, reading.config)",
        "findings = iter(())",
        ("tests/workers/test_reload.py",),
    ),
)
