"""What stands before every request: whom the page answers, how large a body may be, and what browsers may do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


_HOST = re.compile(r"(?P<name>[\w.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class HostRule:
    """Which names of this server a request may use; others may be another site's, pointed here (DNS rebinding).

    `localhost` and loopback addresses always; where `host`, the address that is bound, is not one of these, any
    address too, as no other site has one for a name; and `names`.
    """

    def __init__(self, host: str, names: Iterable[str] = ()) -> None:
        self._takes_addresses = not _is_loopback(host)
        self._names = {"localhost", host.lower(), *(name.lower() for name in names)}

    def allows(self, host_header: str) -> bool:
        """Whether a request that calls the server so is answered: a name or an address, and perhaps a port."""
        found = _HOST.fullmatch(host_header)
        if found is None:
            return False
        name = found["name"].lower().strip("[]")
        return name in self._names or _is_loopback(name) or (self._takes_addresses and _is_address(name))


class Guard:
    """Refuses requests under another name, and those that other sites make a browser send."""

    def __init__(self, app: ASGIApp, rule: HostRule) -> None:
        self._app, self._rule = app, rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._rule.allows(host):
            error = "this server does not go by that name: itl-infer serve --allow-host NAME lets it"
            await JSONResponse({"error": error}, 421)(scope, receive, send_with_headers)
        elif not scope["query_string"].isascii():  # servers other than ours may let it through
            error = "the address has bytes that are not ASCII: write them as %XX"
            await JSONResponse({"error": error}, 400)(scope, receive, send_with_headers)
        elif _comes_from_elsewhere(headers, host):
            error = "refused: another site sent this request"
            await JSONResponse({"error": error}, 403)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _comes_from_elsewhere(headers: Headers, host: str) -> bool:
    """By what browsers say of it; to follow a link to the page from elsewhere is fine."""
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] != host
    is_followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and not is_followed


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)
