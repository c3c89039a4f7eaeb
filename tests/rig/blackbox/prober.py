"""A client that asks for capabilities all the time: whether, and how fast, it is answered (I9)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY = 0.05


class Prober:
    """Asks every 50 ms in a thread of its own."""

    def __init__(self, ask: Callable[[], tuple[int, bytes]]) -> None:
        """
        Args:
            ask: sends GetCACaps; returns status and body, status 0 without an answer.
        """
        self._ask = ask
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.reset()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def reset(self) -> None:
        """Forget what was; from now on it counts."""
        with self._lock:
            self._latencies: list[float] = []
            self._failures = 0
            self._outage = 0.0
            self._answered = time.monotonic()

    @property
    def answers(self) -> int:
        """How often it was answered."""
        with self._lock:
            return len(self._latencies)

    @property
    def failures(self) -> int:
        """How often it was not."""
        with self._lock:
            return self._failures

    @property
    def worst(self) -> float:
        """The longest that an answer took, in seconds."""
        with self._lock:
            return max(self._latencies, default=0.0)

    @property
    def outage(self) -> float:
        """The longest time between two answers, or since the last, in seconds."""
        with self._lock:
            return max(self._outage, time.monotonic() - self._answered)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            begun = time.monotonic()
            status, body = self._ask()
            ended = time.monotonic()
            with self._lock:
                if status == 200 and body:
                    self._latencies.append(ended - begun)
                    self._outage = max(self._outage, ended - self._answered)
                    self._answered = ended
                else:
                    self._failures += 1
