"""The RA as its users run it: ``twistd -n scepra --config FILE`` in a directory of its own."""

from __future__ import annotations

import copy
import http.client
import json
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.rig.blackbox.laboratory import Laboratory
from tests.rig.blackbox.process import PATIENCE, Process, children
from tests.rig.house import PROFILE

PATHS = {"dev": "/scep", "impatient": "/impatient", "approval": "/approval"}
"""Where the profiles are served."""

TWISTD = "from twisted.scripts.twistd import run; run()"
"""What the script ``twistd`` does, wherever that is installed."""

_RECORD = re.compile(r"\[scepra\.audit#\w+\] (\{.*\})$", re.MULTILINE)


def configuration(port: int, upstream: str, workers: int, store: str | None) -> dict[str, Any]:
    """The usual configuration, with pauses that a test can wait for.

    Args:
        port: where the RA listens.
        upstream: the CA's URL.
        workers: how many processes.
        store: the URL of its database; None is a file in its directory.
    """
    # Whether a renewal comes too early is no question here.
    usual = copy.deepcopy(PROFILE)
    return {
        "listen": {"scep": f"tcp:{port}:interface=127.0.0.1"},
        "workers": workers,
        "shutdown-grace": "5s",
        # A few keys, and one address, stand for all devices.
        "rates": {"source": "unlimited", "key": "unlimited", "failures": "unlimited", "retry-after": "1s"},
        "store": {"url": store or "sqlite:scepra.db", "timeout": "2s"},
        "upstreams": {
            "ca": {
                "url": upstream,
                "ca-fingerprint": "file:ca.crt",
                "connect-timeout": "1s",
                "timeout": "3s",
                "retry-after": "1s",
                # What the CA is asked for is counted.
                "health": "off",
                "queue": {
                    "rate": 50,
                    "concurrency": 8,
                    "first-poll": "500ms",
                    "longest-poll": "2s",
                    "give-up-after": "1h",
                },
            }
        },
        "profiles": {
            "dev": {**usual, "paths": [PATHS["dev"]], "polling": True},
            "impatient": {**usual, "paths": [PATHS["impatient"]], "polling": False},
            "approval": {
                **usual,
                "paths": [PATHS["approval"]],
                "polling": True,
                "policy": [*usual["policy"], {"hold": {"approvals": 1}}],
            },
        },
    }


def merge(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some that differ, however deep; None takes one out."""
    merged = dict(settings)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), dict):
            merged[name] = merge(merged[name], value)
        else:
            merged[name] = value
    return merged


class RAProcess(Process):
    """The RA in a process group of its own.

    ``environment`` and ``wrapper`` may be changed before it is started: libfaketime, strace.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        directory: Path,
        port: int,
        upstream: str,
        *,
        workers: int = 1,
        store: str | None = None,
        extra: Mapping[str, Any] = {},
        name: str = "ra",
    ) -> None:
        """
        Args:
            laboratory: has its certificates and keys.
            directory: becomes its own, and is made if it is not there.
            port: where it listens at 127.0.0.1.
            upstream: the URL of the CA.
            workers: how many processes serve.
            store: the URL of its database; None is ``scepra.db`` in its directory.
            extra: what the configuration has besides, or otherwise; see :func:`merge`.
            name: what it is called in messages.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        laboratory.equip(directory)
        self.directory = directory
        self.port = port
        self.config = directory / "scepra.yaml"
        self.settings: dict[str, Any] = {}
        command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "scepra", "--config", str(self.config.absolute())]
        super().__init__(name, command, directory)
        self.configure(merge(configuration(port, upstream, workers, store), extra))

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change the configuration file, for the next start; see :func:`merge`."""
        self.settings = merge(self.settings, changes)
        self.config.write_text(yaml.safe_dump(copy.deepcopy(self.settings), sort_keys=False))

    def start(self, deadline: float = PATIENCE) -> None:
        """Start it, and return when it answers GetCACert: then it knows its CA."""
        self.launch()
        # Which of several processes answers is chance: so often in a row, it was each of them.
        times = 8 * self.settings["workers"] if self.settings["workers"] > 1 else 1
        self.await_ready(lambda: all(self.get("GetCACert")[0] == 200 for _ in range(times)), deadline)

    def restart(self) -> None:
        """Kill it if it runs, and start it again."""
        self.end()
        self.start()

    def reload(self) -> None:
        """Have it read its configuration again (SIGHUP)."""
        self.signal(signal.SIGHUP, [self.pid])

    @property
    def workers(self) -> list[int]:
        """The numbers of its worker processes; none where it serves by itself."""
        return children(self.pid) if self.running else []

    def get(self, operation: str, path: str = PATHS["dev"], patience: float = 5.0) -> tuple[int, bytes]:
        """Status and body of a GET without a message; status 0 if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            connection.request("GET", f"{path}?operation={operation}")
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def records(self, **about: Any) -> list[dict[str, Any]]:
        """The audit records that it has printed, in order: those with these values."""
        found = map(json.loads, _RECORD.findall(self.output()))
        return [record for record in found if all(record.get(name) == value for name, value in about.items())]
