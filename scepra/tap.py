"""The ``twistd scepra`` command: its options, and the service made of a configuration file."""

from __future__ import annotations

import time
from typing import Any, cast

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

from scepra import __version__
from scepra.errors import ConfigError

log = Logger()


class Options(usage.Options):
    """``twistd scepra --config FILE``."""

    synopsis = "--config FILE"
    longdesc = "A SCEP Registration Authority; `scepra check-config FILE` tells beforehand what is wrong with a FILE."
    optParameters = [["config", "c", None, "the YAML configuration file"]]  # noqa: RUF012 - how usage.Options declares

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"scepra {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Refuse to start without a configuration file."""
        if not self["config"]:
            raise usage.UsageError("--config FILE is required")


def makeService(options: Options) -> IService:
    """The service that a configuration file describes.

    Args:
        options: parsed; ``config`` names the file.

    Raises:
        SystemExit: the file has mistakes; they all go to standard error, and the exit code is 1.
    """
    # Imported here because twistd imports this module before it has chosen a reactor, and to print no more than help.
    from twisted.internet import reactor

    from scepra.app import Reactor, assemble
    from scepra.config.load import read

    # Before anything is scheduled: deadlines must not move when the clock on the wall is set (DR-14, FT-46).
    cast(Any, reactor).seconds = time.monotonic
    reading = read(options["config"])
    if reading.config is None:
        raise SystemExit("\n".join(map(str, reading.problems)))
    for problem in reading.problems:
        log.warn("{problem}", problem=str(problem))
    try:
        return assemble(reading.config, cast(Reactor, reactor))
    except ConfigError as error:
        raise SystemExit(str(error)) from None
