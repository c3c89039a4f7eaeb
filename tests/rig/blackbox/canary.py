"""Somebody who must never be called: an address that only appears in what clients send (I11)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress

ADDRESS = "127.0.0.9"


class Canary:
    """Listens on ports of :data:`ADDRESS`; ``calls`` are the addresses of whoever has called."""

    def __init__(self, ports: Iterable[int]) -> None:
        """
        Args:
            ports: those that the rig uses; those that names in requests lead to are added where we may have them.
        """
        self.calls: list[str] = []
        self._sockets: list[socket.socket] = []
        for port in ports:
            self._listen(port)
        for port in (53, 80, 389, 443, 636, 8080):
            with suppress(OSError):
                self._listen(port)

    def _listen(self, port: int) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
            listener.listen(16)
        except OSError:
            listener.close()
            raise
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, peer = listener.accept()
                self.calls.append(f"{peer[0]} called {ADDRESS}:{listener.getsockname()[1]}")
                connection.close()

    def close(self) -> None:
        """Listen no more."""
        for listener in self._sockets:
            with suppress(OSError):
                # A close alone does not wake who waits in accept().
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
