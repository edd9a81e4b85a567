"""Run the page: a socket, a server, and a clean end."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from itl_infer.web.app import make_app
from itl_infer.web.guard import HostRule

if TYPE_CHECKING:
    from itl_infer.store import Store

_SHUTDOWN_SECONDS = 3


def serve(
    store: Store,
    host: str,
    port: int,
    rule: HostRule,
    started: Callable[[str], None],
    root_path: str = "",
) -> None:
    """Serve the page until interrupted; `started` gets its address. Port 0 takes a free one. Raises OSError."""
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.create_server((host, port), family=family) as listening:
        name = f"[{host}]" if family == socket.AF_INET6 else host
        config = uvicorn.Config(
            make_app(store, rule, root_path),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        started(f"http://{name}:{listening.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended by then, and passes the signal on
            uvicorn.Server(config).run(sockets=[listening])
