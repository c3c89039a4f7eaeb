"""The ``twistd scepra`` command: its options, and the service made of a configuration file."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from scepra import __version__
from scepra.errors import ConfigError, Problem

if TYPE_CHECKING:
    from scepra.config.model import Config
    from scepra.config.source import Source

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
        """Refuse to start without a configuration file, and as a user that the process is to leave.

        That one would make the database and its key, and be the owner that key files must have; its successor could
        neither write the one nor read the others.
        """
        if not self["config"]:
            raise usage.UsageError("--config FILE is required")
        for name in ("uid", "gid"):
            if self.parent is not None and self.parent.get(name) is not None:
                raise usage.UsageError(
                    f"--{name} is of no use here: start twistd as the user that scepra is to run as (setpriv, or User="
                    " of systemd, with AmbientCapabilities=CAP_NET_BIND_SERVICE for ports below 1024)"
                )


class Root(MultiService):
    """Everything in the process; a port that is taken is told without a traceback."""

    def privilegedStartService(self) -> None:
        """Listen.

        Raises:
            SystemExit: somebody else does, or this user may not.
        """
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            raise SystemExit(str(error)) from None


def makeService(options: Options) -> IService:
    """The service that a configuration file describes: a whole RA, or the master of several.

    Args:
        options: parsed; ``config`` names the file.

    Raises:
        SystemExit: the file has mistakes; they all go to standard error, and the exit code is 1.
    """
    # Imported here because twistd imports this module before it has chosen a reactor, and to print no more than help.
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread

    from scepra.app import RA
    from scepra.config.source import Source
    from scepra.reload import Reload, Serving
    from scepra.workers.master import Master
    from scepra.workers.signals import Signals

    # Before anything is scheduled: deadlines must not move when the clock on the wall is set (DR-14, FT-46).
    cast(Any, reactor).seconds = time.monotonic
    service = Root()
    reload: Callable[[], None] | None = None
    try:
        source = Source.read(options["config"])
        reading = source.parse()
        if reading.config is None:
            raise ConfigError(reading.problems)
        for problem in reading.problems:
            log.warn("{problem}", problem=str(problem))
        stays = options.parent is None or bool(options.parent["nodaemon"])
        for each in _services(source, reading.config, reactor, stays):
            each.setServiceParent(service)
            if isinstance(each, RA | Master):
                serving: Serving[Any] = each
                reload = Reload(source, serving, deferToThread)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    Signals(cast(Any, reactor), (signal.SIGTERM, signal.SIGINT), reload).setServiceParent(service)
    return service


def _services(source: Source, config: Config, reactor: Any, stays: bool) -> Iterator[IService]:
    """What makes the store ready, as long as it is not, and what serves clients.

    Args:
        stays: whether this process goes on; else twistd forks after this, and what was made here has threads, sessions
            and a name in leases that are another process's: a worker has its own.

    Raises:
        ConfigError: the store, keys or certificates cannot be used.
    """
    from scepra.app import assemble, prepare, rehearse
    from scepra.workers.endpoint import TCPEndpoint
    from scepra.workers.master import Master

    if (preparing := prepare(config, reactor)) is not None:
        yield preparing
    if config.processes == 1 and stays:
        yield assemble(source, config, reactor)
        return
    try:
        endpoints = [TCPEndpoint.parse(text) for text in config.listen.scep]
    except ValueError as error:
        raise ConfigError((Problem(source.file, 0, 0, "listen.scep", str(error)),)) from error
    # What is wrong with keys and certificates is told now, and not by each worker.
    rehearse(source, config, reactor)
    yield Master(endpoints, source, config, reactor)
