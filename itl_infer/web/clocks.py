"""Bodies and answers have a clock, and a room that all of them share: whoever is slow, or many, stops nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 10.0  # for a body or an answer, and one more for each
BYTES_A_SECOND = 2**16  # of it
_PART = 2**16  # bytes of an answer that are given on at a time
_LARGE_ANSWERS = 16  # at a time, of more than:
_LARGE = 2**18
_HELD_BYTES = 2**27  # of all bodies that have come, or are coming


class Bodies:
    """Reads bodies, of which no more are held at a time than there is room for."""

    def __init__(self) -> None:
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, receive: Receive, limit: int) -> AsyncIterator[bytes]:
        """The body of a request, for which there is room until the block ends.

        HTTPException 413 as soon as it is longer than `limit` bytes, 408 where it comes too slowly, 503 where there is
        no room; ClientDisconnect where the other side has gone.
        """
        body = bytearray()
        clock = _Clock()
        try:
            more = True
            while more:
                message = await clock.wait(receive(), len(body))
                if message is None:
                    raise HTTPException(
                        408, f"the body came too slowly: less than {BYTES_A_SECOND} bytes a second"
                    )
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                self._held += len(chunk)
                body += chunk
                more = message.get("more_body", False)
                if len(body) > limit:
                    raise HTTPException(413, f"more than {limit} bytes")
                if self._held > _HELD_BYTES:
                    raise HTTPException(503, "too many bodies at a time: try again")
            yield bytes(body)
        finally:
            self._held -= len(body)


class _Clock:
    """How long something may take, by how much of it is done."""

    def __init__(self) -> None:
        self._start = asyncio.get_running_loop().time()

    async def wait(self, step: Any, done: int) -> Any:
        """What a step gives; None where it took too long."""
        now = asyncio.get_running_loop().time()
        end = self._start + SECONDS + done / BYTES_A_SECOND
        try:
            return await asyncio.wait_for(step, min(SECONDS, max(0.0, end - now)))
        except (asyncio.TimeoutError, TimeoutError):
            return None


class SlowReaders:
    """Gives answers on in parts, each when the one before has been taken, and large ones a few at a time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._large = asyncio.Semaphore(_LARGE_ANSWERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_in_parts(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= _LARGE:
                await send(message)
                return
            try:
                await asyncio.wait_for(self._large.acquire(), SECONDS)
            except (asyncio.TimeoutError, TimeoutError):
                raise ClientDisconnect from None
            try:
                clock = _Clock()
                for start in range(0, len(body), _PART):
                    end = start + _PART
                    more = end < len(body) or message.get("more_body", False)
                    part = {**message, "body": body[start:end], "more_body": more}
                    if await clock.wait(_done(send(part)), start) is None:
                        raise ClientDisconnect
            finally:
                self._large.release()

        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, receive, send_in_parts)


async def _done(step: Any) -> bool:
    await step
    return True
