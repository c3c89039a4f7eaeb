"""The lab's CA with somebody at it who grants what waits there, by the time that it is polled for."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from scepra.lab import BEHAVIOURS, LabState
from scepra.lab.server import listen


async def serve(reactor: Any, wanted: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    behaviour = replace(BEHAVIOURS[wanted.kind], polls=0)
    await listen(reactor, wanted.listen, LabState.load_or_create(wanted.state).serve(behaviour=behaviour))
    await Deferred()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--kind", choices=tuple(BEHAVIOURS), required=True)
    parser.add_argument("--listen", required=True)
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor, parser.parse_args())))
