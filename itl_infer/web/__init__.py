"""The page: search in a browser, and the same as JSON for programs.

Importing this costs nothing, and asks for no extra: `publish` has the page's files without a server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itl_infer.web.app import make_app as make_app
    from itl_infer.web.guard import HostRule as HostRule
    from itl_infer.web.run import serve as serve

_HOMES = {"HostRule": "guard", "make_app": "app", "serve": "run"}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
