"""The page: search in a browser, and the same as JSON for programs.

Importing this costs nothing, and asks for no extra: `publish` has the page's files without a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.lazy import lazy_names

if TYPE_CHECKING:
    from itl_infer.web.app import make_app as make_app
    from itl_infer.web.guard import HostRule as HostRule
    from itl_infer.web.run import serve as serve

_MODULES = {"app": ("make_app",), "guard": ("HostRule",), "run": ("serve",)}

__all__ = [name for names in _MODULES.values() for name in names]

__getattr__ = lazy_names(__name__, _MODULES)
