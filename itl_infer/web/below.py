"""The path below which a proxy shows the page: taken off requests, where the proxy has left it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class BelowPath:
    """Answers below `root_path` ("/photos") as without it, since proxies differ in whether they take it off."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path == self._root_path:
            await RedirectResponse(f"{self._root_path}/")(scope, receive, send)
            return
        if path.startswith(f"{self._root_path}/"):
            scope = {**scope, "path": path.removeprefix(self._root_path)}
        await self._app(scope, receive, send)


def parse_root_path(text: str) -> str:
    """ "/photos" of "photos/" and "/photos"; "" of "/". Raises ValueError for what is no path."""
    parts = [part for part in text.split("/") if part]
    if any(part in (".", "..") or not part.isprintable() or set(part) & set(' ?#%"<>\\') for part in parts):
        raise ValueError(f"{text!r} is not a path such as /photos")
    return "".join(f"/{part}" for part in parts)
