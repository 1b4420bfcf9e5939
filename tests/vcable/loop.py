# SPDX-License-Identifier: GPL-2.0-or-later
"""Event loop: readable file descriptors and timers, one thread.

Time is `time.monotonic()` in seconds.  Handlers run to the end before the next one starts.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import signal
import time
from collections.abc import Callable

log = logging.getLogger("vcable.loop")

# Below this, epoll's rounding to whole milliseconds would be felt: wait with select instead.
FINE_WAIT = 0.005


class Timer:
    """A call that is due later; `cancel()` may be called at any time, also twice."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Dispatches readiness and timers.  An exception in a handler is logged, never fatal."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False
        # Called after each handler and timer: does what they have put off.
        self.after_each: Callable[[], None] = lambda: None
        self._wake_read = self._wake_write = -1

    @staticmethod
    def now() -> float:
        return time.monotonic()

    def add(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `fd` is readable or hung up, until `remove`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once after `delay` seconds (0 or less: in the next round)."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.now() + delay, next(self._order), timer))
        return timer

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Run until `stop()`."""
        self._running = True
        while self._running:
            self.run_once(None)

    def run_once(self, limit: float | None) -> None:
        """Wait at most `limit` seconds (None: until something happens), then dispatch once."""
        wait = limit
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if self._timers:
            due = max(0.0, self._timers[0][0] - self.now())
            wait = due if wait is None else min(wait, due)
        if wait is not None and 0 < wait < FINE_WAIT:
            select.select([self._epoll.fileno()], [], [], wait)
            wait = 0
        for fd, _events in self._epoll.poll(wait):
            handler = self._handlers.get(fd)
            if handler is not None:
                self._call(handler)
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                timer.cancelled = True
                self._call(timer.callback)

    def run_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Dispatch until `condition()` holds; False when `timeout` seconds have passed first."""
        deadline = self.now() + timeout
        while not condition():
            left = deadline - self.now()
            if left <= 0:
                return False
            self.run_once(left)
        return True

    def stop_on_signals(self, *numbers: int) -> None:
        """Let these signals end `run()`; only from the main thread."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda _number, _frame: self.stop())
        self.add(self._wake_read, lambda: (os.read(self._wake_read, 64), None)[1])

    def close(self) -> None:
        self._epoll.close()
        self._timers.clear()
        self._handlers.clear()
        if self._wake_read >= 0:
            signal.set_wakeup_fd(-1)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
            self.after_each()
        except Exception:
            log.exception("a handler failed")
