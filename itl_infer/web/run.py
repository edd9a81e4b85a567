"""Run the page: a socket, a server, and a clean end."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from itl_infer.web.app import make_app
from itl_infer.web.connections import IDLE_SECONDS, Connection, most_connections
from itl_infer.web.guard import HostRule
from itl_infer.web.log import log_to

if TYPE_CHECKING:
    from itl_infer.store import Store
    from itl_infer.teaching import Names

_SHUTDOWN_SECONDS = 3
_SWITCH_SECONDS = 0.0005  # how long a thread of Python's may keep others waiting: a query waits several times


def serve(
    store: Store,
    host: str,
    port: int,
    rule: HostRule,
    started: Callable[[str], None],
    root_path: str = "",
    names: Names | None = None,
    log: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until interrupted; `started` gets its address, `log` each line of the server's own.

    Port 0 takes a free one. `names` may stand in queries: by default those that were taught to the store. Raises
    OSError.
    """
    Connection.most = most_connections()
    sys.setswitchinterval(_SWITCH_SECONDS)
    log_to(log or (lambda _: None))
    family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.create_server((host, port), family=family) as listening:
        name = f"[{host}]" if family == socket.AF_INET6 else host
        config = uvicorn.Config(
            make_app(store, rule, root_path, names),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=int(IDLE_SECONDS),
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        started(f"http://{name}:{listening.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended by then, and passes the signal on
            uvicorn.Server(config).run(sockets=[listening])
