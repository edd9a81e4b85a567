"""Names of one's own, taught from a few pictures: `discriminant` is the formula, `naming` finds names in texts.

Importing this costs nothing: a query without names needs little of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.lazy import lazy_names

if TYPE_CHECKING:
    from itl_infer.teaching.discriminant import FEWEST_ROWS as FEWEST_ROWS
    from itl_infer.teaching.discriminant import Moments as Moments
    from itl_infer.teaching.discriminant import direction as direction
    from itl_infer.teaching.discriminant import mark as mark
    from itl_infer.teaching.discriminant import teach as teach
    from itl_infer.teaching.naming import LONGEST_NAME as LONGEST_NAME
    from itl_infer.teaching.naming import key_of as key_of
    from itl_infer.teaching.naming import require_name as require_name
    from itl_infer.teaching.taught import NO_NAMES as NO_NAMES
    from itl_infer.teaching.taught import Example as Example
    from itl_infer.teaching.taught import Names as Names
    from itl_infer.teaching.taught import ReadText as ReadText
    from itl_infer.teaching.taught import Taught as Taught
    from itl_infer.teaching.taught import embed_text as embed_text
    from itl_infer.teaching.taught import read_text as read_text
    from itl_infer.teaching.taught import says_something as says_something
    from itl_infer.teaching.taught import sum_of as sum_of
    from itl_infer.teaching.taught import weigh as weigh

_MODULES = {
    "discriminant": ("FEWEST_ROWS", "Moments", "direction", "mark", "teach"),
    "naming": ("LONGEST_NAME", "key_of", "require_name"),
    "taught": (
        *("NO_NAMES", "Example", "Names", "ReadText", "Taught"),
        *("embed_text", "read_text", "says_something", "sum_of", "weigh"),
    ),
}

__all__ = [name for names in _MODULES.values() for name in names]

__getattr__ = lazy_names(__name__, _MODULES)
