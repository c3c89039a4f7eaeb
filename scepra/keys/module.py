"""A PKCS#11 module in this process: one thread alone calls it.

python-pkcs11 initializes modules without telling them of threads, and calls from two of them end the process; after a
fork nothing of it can be used, so a process that was started with exec opens what it needs itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pkcs11 import Session

T = TypeVar("T")
Where = tuple[str | None, str | None]
"""A token's label and serial number, as far as they are configured."""


class Unloadable(Exception):
    """No PKCS#11 library is in a file."""


class Module:
    """A PKCS#11 library, loaded at most once in a process; see :meth:`of`.

    ``sessions`` belongs to its thread: the one session with each token, logged in.
    """

    _loaded: dict[Path, Module] = {}  # noqa: RUF012 - the process has one of each
    _lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions: dict[Where, Session] = {}
        self._users = 0
        self._longer = 0.0
        self._work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, path: Path) -> Module:
        """The module in a file, for one user more."""
        with cls._lock:
            module = cls._loaded.setdefault(path, cls(path))
            module._users += 1
            return module

    def leave(self, patience: float) -> None:
        """One user less; the last one ends all sessions, unless the module does not answer for so many seconds."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last and self._thread is not None:
            self.call(patience, self._finish)

    @contextmanager
    def busy(self, seconds: float) -> Iterator[None]:
        """Something is called that takes up to so many seconds: whatever is called meanwhile waits that much longer."""
        with self._lock:
            self._longer += seconds
        try:
            yield
        finally:
            with self._lock:
                self._longer -= seconds

    def call(self, timeout: float, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function, called on the module's thread.

        Args:
            timeout: for how many seconds it is waited for. What has begun cannot be stopped; what has not is left out.

        Raises:
            TimeoutError: it took longer.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._thread is None:
                # Nobody waits for it when the process ends: it may be held up in the module for good.
                self._thread = threading.Thread(target=self._run, name=f"pkcs11 {self.path.name}", daemon=True)
                self._thread.start()
            timeout += self._longer
        self._work.put((future, function, arguments))
        try:
            return future.result(timeout)
        finally:
            future.cancel()

    def library(self) -> Any:
        """The library, initialized; on its thread.

        Raises:
            Unloadable: it cannot be loaded.
            PKCS11Error: it cannot be initialized.
        """
        import pkcs11

        try:
            return pkcs11.lib(str(self.path))
        except pkcs11.PKCS11Error as error:
            # The only thing that tells it from what the library itself may say.
            if "while loading" in str(error):
                raise Unloadable from error
            raise

    def restart(self) -> None:
        """Initialize it anew: many modules see a token that has come back only then. All sessions end with it."""
        self.sessions.clear()
        library = self.library()
        library.finalize()
        library.initialize()

    def _finish(self) -> None:
        self.sessions.clear()
        library = self.library()
        library.finalize()

    def _run(self) -> None:
        while True:
            future, function, arguments = self._work.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
            # What it held must not wait for the next call to be let go.
            del future, function, arguments
