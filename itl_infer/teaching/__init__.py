"""Names of one's own, taught from a few pictures: `discriminant` is the formula, `naming` finds names in texts."""

from itl_infer.teaching.discriminant import FEWEST_ROWS, Moments, direction, mark, teach
from itl_infer.teaching.naming import LONGEST_NAME, key_of, require_name
from itl_infer.teaching.taught import (
    NO_NAMES,
    Example,
    Names,
    ReadText,
    Taught,
    embed_text,
    read_text,
    says_something,
    sum_of,
    weigh,
)

__all__ = [
    "FEWEST_ROWS",
    "LONGEST_NAME",
    "NO_NAMES",
    "Example",
    "Moments",
    "Names",
    "ReadText",
    "Taught",
    "direction",
    "embed_text",
    "key_of",
    "mark",
    "read_text",
    "require_name",
    "says_something",
    "sum_of",
    "teach",
    "weigh",
]
