"""A queue of keys with due times: each key at most once, never two workers on one key.

Owns what is due when; does not run anything (`loop.py` does). Waking a key that is being worked on makes it
due again as soon as its turn ends, so no wake-up is ever lost.
"""

from __future__ import annotations

import heapq
import itertools


class WorkQueue:
    """Keys waiting for their turn. Times are epoch seconds."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._active: set[str] = set()
        self._woken: set[str] = set()

    def put(self, key: str, due: float) -> None:
        """Make `key` due at `due`, or keep an earlier time it already has."""
        if key in self._active:
            self._woken.add(key)
            return
        present = self._due.get(key)
        if present is not None and present <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))

    def take(self, now: float) -> str | None:
        """A key whose time has come, marked active; None when there is none."""
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # superseded by an earlier time
                continue
            if due > now:
                return None
            heapq.heappop(self._heap)
            del self._due[key]
            self._active.add(key)
            return key
        return None

    def finish(self, key: str, now: float, again: float | None) -> None:
        """The turn of `key` ended; `again` is when it wants the next one, if at all."""
        self._active.discard(key)
        if key in self._woken:
            self._woken.discard(key)
            self.put(key, now)
        elif again is not None:
            self.put(key, again)

    def next_due(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    @property
    def active(self) -> int:
        return len(self._active)
