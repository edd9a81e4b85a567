"""The page: search in a browser, and the same as JSON for programs."""

from itl_infer.web.app import make_app
from itl_infer.web.guard import HostRule
from itl_infer.web.run import serve

__all__ = ["HostRule", "make_app", "serve"]
