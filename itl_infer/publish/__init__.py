"""A folder's search as a static page: what its visitors' browsers read, and the JavaScript that answers there."""

from itl_infer.publish.check import CheckReport, check_published
from itl_infer.publish.originals import MODES, Originals
from itl_infer.publish.publish import DEFAULT_SIDE, MOST_IN_ONE_FILE, LeftOut, Publication, PublishReport

__all__ = [
    "DEFAULT_SIDE",
    "MODES",
    "MOST_IN_ONE_FILE",
    "CheckReport",
    "LeftOut",
    "Originals",
    "Publication",
    "PublishReport",
    "check_published",
]
