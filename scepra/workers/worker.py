"""One of several processes that serve clients: the same RA as a single one, at sockets that it is given."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from typing import Any, cast

from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner

from scepra.workers.inlet import Inlet, first_line
from scepra.workers.order import Order, Prepare, decode
from scepra.workers.outlet import Outlet, OutletReactor
from scepra.workers.place import BEATS, FIRST_SOCKET
from scepra.workers.relay import STDERR, STDIN, STDOUT
from scepra.workers.signals import Signals

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_LAST_WORDS = 1.0  # How long the master may take to read the end of the log, in seconds.


def main() -> None:
    """Serve until told to end.

    The command line has the worker's number and the master's process id, standard input the master's orders, of which
    the first has the configuration. Ends by itself when the master is gone.

    Raises:
        SystemExit: there is no master any more, or the configuration cannot be used now.
    """
    # Ctrl-C and the end of a session are for the master to judge.
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    follow(int(sys.argv[2]))
    line, rest = first_line(STDIN)
    try:
        order = decode(line)
    except ValueError:
        raise SystemExit("the master has ended") from None
    outlet = _begin_log()
    try:
        _serve(order, rest, outlet)
    finally:
        outlet.close(_LAST_WORDS)


def follow(master: int) -> None:
    """Be told to end when the parent process ends, however that comes.

    Raises:
        SystemExit: it has ended already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != master:
        raise SystemExit("the master has ended")


def _begin_log() -> Outlet:
    """Events go to what was standard output; what is printed goes to standard error, and is text to the master."""
    from twisted.internet import reactor

    events = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    os.set_blocking(STDERR, False)
    outlet = Outlet(events, cast(OutletReactor, reactor))
    globalLogBeginner.beginLoggingTo([outlet])
    return outlet


def _serve(first: Order, rest: bytes, outlet: Outlet) -> None:
    from twisted.internet import reactor as installed
    from twisted.internet.task import LoopingCall
    from twisted.internet.threads import deferToThread

    from scepra.app import LOST, assemble
    from scepra.errors import ConfigError
    from scepra.workers.obedience import Obedience

    assert isinstance(first, Prepare)  # noqa: S101 - how a master begins
    reactor: Any = installed
    reactor.seconds = time.monotonic
    reading = first.source.parse()
    if reading.config is None:
        raise SystemExit("\n".join(map(str, reading.problems)))
    sockets = [socket.socket(fileno=FIRST_SOCKET + index) for index in range(len(reading.config.listen.scep))]
    try:
        service = assemble(first.source, reading.config, reactor, sockets=sockets, administers=sys.argv[1] == "1")
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    Signals(reactor, (signal.SIGTERM,)).startService()
    try:
        service.privilegedStartService()
    except CannotListenError as error:
        # Nobody but this worker listens for the administration; the next would find the port taken too (FT-61).
        print(error)
        raise SystemExit(LOST) from None
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    Inlet(STDIN, rest, reactor, Obedience(service, deferToThread, outlet.answer))
    # As long as the reactor turns: draining is no reason to be given up.
    reactor.callWhenRunning(LoopingCall(outlet.beat).start, reading.config.worker_deadline / BEATS)
    reactor.run()
