"""Many devices at once: each enrols, asks again as clients do until it has its certificate, and then the next does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scepra.scep.message import PKIStatus
from tests.rig.blackbox.device import Device


class Load:
    """A number of threads, each with one device at a time.

    ``done`` are the devices that have a certificate, ``failures`` says what went wrong with others. A device is given
    up when it has none after ``patience`` seconds.
    """

    def __init__(self, clients: int, device: Callable[[str], Device], pause: float, patience: float = 120.0) -> None:
        """
        Args:
            clients: how many threads.
            device: makes the device of a common name.
            pause: how long each rests after a device, in seconds.
            patience: see above.
        """
        self.patience = patience
        self.done: list[Device] = []
        self.failures: list[str] = []
        self._device = device
        self._pause = pause
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in range(clients)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> list[Device]:
        """Begin with no more devices, and wait for those that have begun.

        Returns:
            All that have a certificate.

        Raises:
            AssertionError: there are others.
        """
        self.stop()
        assert not self.failures, "\n".join(self.failures)
        return self.done

    def stop(self) -> None:
        """As :meth:`finish`, whatever came of it."""
        self._stopping.set()
        end = time.monotonic() + self.patience + 30
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self, client: int) -> None:
        count = 0
        while not self._stopping.wait(self._pause):
            count += 1
            try:
                device = self._device(f"load-{client}-{count}.example")
                answer = device.until_done(self.patience)
                if answer.status is PKIStatus.SUCCESS:
                    self.done.append(device)
                else:
                    self.failures.append(f"{device.name}: {answer}")
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
