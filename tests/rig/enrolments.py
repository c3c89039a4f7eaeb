"""The desk of somebody who looks after stored enrolments: the commands, a configuration, and a store to fill."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from click.testing import CliRunner, Result

from scepra.cli import main
from scepra.store.intents import Intent
from scepra.store.tables import transactions
from scepra.transaction import State, Transaction
from tests import csrs
from tests.config.sample import ENVIRONMENT, MINIMAL
from tests.rig.house import VAULT
from tests.store.sample import NOW, Bench, intent

CANARY = "canary-9fT3qLx7ZpW1"
"""A challenge; it must be seen nowhere."""
HOSTILE = "CN=\x1b[2J\x1b]0;owned\x07,\u202eexample\u2066,\n\r\x9b31m"
"""A name that would clear the terminal, retitle it, turn its lines around and begin new ones."""
_DEADLINE = 60.0


@dataclass(frozen=True)
class Desk:
    """A store, and the commands on it.

    Attributes:
        bench: the store.
        file: the configuration that names it.
    """

    bench: Bench
    file: Path

    @classmethod
    def furnish(cls, bench: Bench, directory: Path) -> Desk:
        """Write a configuration for a store."""
        file = directory / "scepra.yaml"
        file.write_text(f"store: {{url: {json.dumps(bench.settings.url)}}}\n{MINIMAL}", "utf-8")
        return cls(bench, file)

    def run(self, *words: str, columns: int = 1000, user: str | None = "alice") -> Result:
        """The outcome of a command that has no terminal.

        Args:
            columns: how wide a line may be.
            user: who has called sudo.
        """
        environment = ENVIRONMENT | {"COLUMNS": str(columns), "SUDO_USER": user}
        return CliRunner().invoke(main, [*words, "--config", str(self.file)], env=environment, catch_exceptions=False)

    def ask(self, *words: str) -> Any:
        """What a command writes for scripts."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    def at_terminal(
        self, *words: str, answer: str, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[int, str, str]:
        """The exit code of a command, what it wrote, and what was seen on its terminal.

        Args:
            answer: what is typed once it has asked.
            meanwhile: called between the question and the answer.
        """
        outside, inside = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "scepra", *words, "--config", str(self.file)],
            stdin=inside,
            stdout=subprocess.PIPE,
            stderr=inside,
            env=os.environ | ENVIRONMENT | {"SUDO_USER": "alice"},
        )
        os.close(inside)
        seen = b""
        end = time.monotonic() + _DEADLINE
        try:
            while select.select([outside], [], [], max(0, end - time.monotonic()))[0]:
                try:
                    seen += os.read(outside, 4096)
                except OSError:
                    # How a terminal says that nobody has it open any more.
                    break
                if answer and seen.endswith(b"[y/N]: "):
                    meanwhile()
                    os.write(outside, answer.encode())
                    answer = ""
            output, _ = process.communicate(timeout=_DEADLINE)
        finally:
            process.kill()
            process.wait()
            os.close(outside)
        return process.returncode, output.decode(), seen.decode().replace("\r\n", "\n")

    def request(self, name: str, **changes: Any) -> Intent:
        """The intent of a device's request, as the RA makes it; its sealed CSR holds the canary."""
        values = {"csr": VAULT.seal(csrs.build(csrs.challenge(CANARY)))}
        return intent(name, routes=[name], **values | changes)

    def hold(self, name: str = "device", *, received: datetime = NOW, **changes: Any) -> Transaction:
        """Record a request that waits for people."""
        settings = {"reason": "subject.OU matches servers"} | changes
        return self.bench.record(self.request(name, state=State.HELD, at=received, **settings))

    def spoil(self, transaction: Transaction, **values: Any) -> None:
        """Write into a row what the RA would not."""
        statement = sa.update(transactions).where(transactions.c.id == transaction.id)
        self.bench(lambda connection: connection.execute(statement.values(**values)))


def facts(output: str) -> set[tuple[str, ...]]:
    """The lines of an output that have a name and a value."""
    return {tuple(re.split(" {2,}", line.strip(), maxsplit=1)) for line in output.splitlines()}
