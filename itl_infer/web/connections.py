"""Connections of the page: how many at a time, and how long one may keep a place without asking anything.

Where all places are taken, the connection that has asked nothing for longest gives up its own. So visitors who hold
their connections in silence are in nobody's way: whoever asks is answered.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS = 10.0  # without a whole request, or without taking any of an answer
MOST = 1000  # connections, where the system allows that many files
_SPARE_FILES = 200  # open files that are left to all else
_WANTED_FILES = 4096
_LOOK_SECONDS = 1.0
_LONGEST_TAKING = 6 * IDLE_SECONDS  # of the end of an answer, which the system holds meanwhile


class Connection(H11Protocol):
    """One connection, of those that `most` allows."""

    most = MOST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place; where there is none left, that of the one which has been silent for longest."""
        super().connection_made(transport)
        self._waiting = _waiting_of(self.server_state)
        self._left = 0  # bytes of the answer that the other side has not taken
        self._wait()
        self._look()
        if len(self.connections) > self.most:
            silent: Connection = next(iter(self._waiting), self)
            silent.refuse("503 Service Unavailable", "too many connections: try again")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the place."""
        self._timer.cancel()
        self._waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or all of it."""
        super().data_received(data)
        if self._is_busy:
            self._waiting.pop(self, None)

    def on_response_complete(self) -> None:
        """An answer is whole: wait for the next request, which may have come already."""
        super().on_response_complete()
        if not self._is_busy:
            self._wait()

    def refuse(self, status: str, reason: str) -> None:
        """Say so and close, whatever the other side does."""
        self._waiting.pop(self, None)
        if self.transport.is_closing():
            return
        if not self._is_busy:  # else an answer is on its way
            head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n{reason}".encode())
        self.transport.close()

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._since = self._moved = self.loop.time()
        self._waiting.pop(self, None)
        self._waiting[self] = None  # behind those that wait already

    def _look(self) -> None:
        """Every second: is it time to close?"""
        self._timer = self.loop.call_later(_LOOK_SECONDS, self._look)
        now, left = self.loop.time(), self.transport.get_write_buffer_size()
        if left != self._left:
            self._left, self._moved = left, now
        if self._is_busy and not self.transport.is_closing():
            return  # bodies and answers have clocks of their own
        if left and (now - self._moved > IDLE_SECONDS or now - self._since > _LONGEST_TAKING):
            self.transport.abort()
        elif not left and now - self._since > IDLE_SECONDS:
            self.refuse("408 Request Timeout", "no request came")


def _waiting_of(server_state: Any) -> dict[Connection, None]:
    """The connections of a server that have asked nothing, the longest first."""
    if not hasattr(server_state, "waiting"):
        server_state.waiting = {}
    waiting: dict[Connection, None] = server_state.waiting
    return waiting


def most_connections() -> int:
    """How many the open files of this process allow, once as many of these are allowed as may be."""
    try:
        import resource
    except ImportError:
        return MOST  # Windows, which has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _WANTED_FILES:
        wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(10, min(MOST, soft - _SPARE_FILES))
