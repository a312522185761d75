"""The one way from a foreign thread into the event loop."""

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """A bounded queue: any thread posts, one coroutine takes. When full, the oldest is dropped and counted.

    Make it within the event loop that takes from it. The bound holds even while that loop stands still.
    """

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._limit = limit
        self._lock = threading.Lock()
        self._filled = asyncio.Event()
        self._is_waking = self._is_closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items lost because nobody took them in time."""
        return self._dropped

    def post(self, *items: T) -> None:
        """Hand over what there is, waking the loop once; never waits."""
        with self._lock:
            for item in items:
                if len(self._items) == self._limit:
                    self._items.popleft()
                    self._dropped += 1
                self._items.append(item)
            if items:
                self._wake()

    def close(self) -> None:
        """Say that no more comes; from any thread."""
        with self._lock:
            self._is_closed = True
            self._wake()

    def __aiter__(self) -> "Inbox[T]":
        return self

    async def __anext__(self) -> T:
        while True:
            with self._lock:
                if self._items:
                    return self._items.popleft()
                if self._is_closed:
                    raise StopAsyncIteration
                self._filled.clear()
            await self._filled.wait()

    def _wake(self) -> None:
        # One call at a time: a loop that stands still must not collect fifty of them a second.
        if not self._is_waking:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._awake)
                self._is_waking = True

    def _awake(self) -> None:
        with self._lock:
            self._is_waking = False
        self._filled.set()
