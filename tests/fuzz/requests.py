"""Requests to the page: an answer of a bounded size, and never a fault of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from typing import Any

from itl_infer.web import HostRule, make_app
from itl_infer.web.openapi import LIMITS
from tests.fuzz.lines import small_index


@cache
def _app() -> Any:
    return make_app(small_index(), HostRule("127.0.0.1", ["localhost"]))


def seeds() -> Iterator[bytes]:
    """Of each route, as method and target, host, and body, a line each."""
    for target in (
        "GET /api/query?q=red&k=2&explain=true&dedupe=true&relevant=true&offset=1&min_score=0.1",
        "GET /api/query?q=red&add=blue&subtract=wave&weighted=0.5+green&image_weight=-1&understand_not=true",
        "GET /api/query?like=0-0123456789abcdef",
        "GET /api/complete?prefix=r",
        "GET /api/status",
        "GET /api/openapi.json",
        "GET /static/../static/serve.js",
        "GET /pictures/0-0123456789abcdef",
        "GET /thumbnails/99999999999999999999-x",
    ):
        yield f"{target}\nlocalhost\n".encode()
        yield f"{target}\nuser@localhost\n".encode()
    yield b'POST /api/batch\nlocalhost\n{"queries": ["red", "zyx"], "k": 3, "explain": true, "min_score": 0.5}'
    yield b'POST /api/batch\nlocalhost\n{"queries": ["\\ud800", ""], "offset": 1e3, "dedupe": "true"}'
    yield b"POST /api/similar?k=2&explain=true\nlocalhost\n\x89PNG\r\n\x1a\n"
    yield b"BREW /\nlocalhost:99999\n"


def run(data: bytes) -> None:
    """Ask, and look at the answer."""
    first, _, rest = data.partition(b"\n")
    host, _, body = rest.partition(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.decode("latin-1").upper() or "GET",
        "scheme": "http",
        "path": path.decode("utf-8", "replace") or "/",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", host), (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    sent: list[Any] = []
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(_app()(scope, receive, send))
    status = sent[0]["status"]
    assert status < 500, (status, sent)
    assert sum(len(message.get("body", b"")) for message in sent) <= LIMITS["answer_bytes"] + 2**20
