"""Arguments of the wrong type, refused where they come in: which one it is, what it is, and what was expected."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

_LONGEST = 60  # characters of a value that a message repeats

T = TypeVar("T")


class ArgumentError(TypeError, ValueError):
    """An argument is of a type that means nothing there. Both, since callers look for either."""


def wrong(name: str, value: object, expected: str) -> ArgumentError:
    """The error to raise for an argument; `expected` says what it should be."""
    import reprlib  # only then

    shown = " ".join(reprlib.repr(value).split())
    return ArgumentError(f"{name} is {shown[:_LONGEST]}, expected {expected}")


def require_whole(name: str, value: Any, lowest: int | None = None) -> int:
    """A whole number, Python's or numpy's, but no bool. ArgumentError, or ValueError for one below `lowest`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise wrong(name, value, "a whole number")
    if lowest is not None and value < lowest:
        raise ValueError(f"{name} is {value}, expected {lowest} or more")
    return int(value)


def require_real(name: str, value: Any) -> None:
    """A number, NaN too, but no bool. ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong(name, value, "a number")


def require_number(name: str, value: Any, *, above: float | None = None) -> float:
    """A number, but no bool and no NaN; where it is to be `above` another, a finite one. ArgumentError, ValueError."""
    require_real(name, value)
    try:
        number = float(value)
    except OverflowError:  # of a whole number
        raise ValueError(f"{name} is too large: expected a number below 1e308") from None
    if math.isnan(number) or (above is not None and not above < number < math.inf):
        raise ValueError(
            f"{name} is {number}, expected a number" + (f" above {above:g}" if above is not None else "")
        )
    return number


def require_flags(**flags: Any) -> None:
    """True or False: "no" is neither. ArgumentError."""
    for name, value in flags.items():
        if type(value).__name__ not in ("bool", "bool_"):  # the latter is numpy's, which is not imported here
            raise wrong(name, value, "True or False")


def require_text(name: str, value: Any) -> None:
    """ArgumentError for what is no text."""
    if not isinstance(value, str):
        raise wrong(name, value, "a text")


def require_one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """ArgumentError for what is none of these texts."""
    if not isinstance(value, str) or value not in choices:
        raise wrong(name, value, f"one of {', '.join(choices)}")


def require_path(name: str, value: Any) -> None:
    """A text, or a path of `pathlib`. ArgumentError."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise wrong(name, value, "a path")


def require_several(
    name: str, values: Any, of: str, check: Callable[[str, Any], object] | None = None
) -> Sequence[Any]:
    """All of some things in a list: a text is not taken for its letters. `of` says what they are. ArgumentError."""
    if isinstance(values, (str, bytes, os.PathLike, dict)) or not isinstance(values, Iterable):
        raise wrong(name, values, f"a list of {of}")
    listed = values if isinstance(values, (list, tuple)) else tuple(values)
    if check is not None:
        for place, value in enumerate(listed):
            check(f"{name}[{place}]", value)
    return listed


def require_paths(name: str, values: Any) -> Sequence[Any]:
    """One path, or several, as a list. ArgumentError."""
    if isinstance(values, (str, os.PathLike)):
        require_path(name, values)
        return [values]
    return require_several(name, values, "paths", require_path)


def require_instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], expected: str) -> None:
    """ArgumentError for what is not of this class."""
    if not isinstance(value, kind):
        raise wrong(name, value, expected)


def require_bundle(value: Any, name: str = "bundle") -> None:
    """ArgumentError for what embeds nothing."""
    if not all(hasattr(value, attribute) for attribute in ("fingerprint", "embed_dim", "name")):
        raise wrong(name, value, "a bundle, as load_bundle() gives it")


def require_callables(**calls: Any) -> None:
    """What can be called, or None. ArgumentError."""
    for name, value in calls.items():
        if value is not None and not callable(value):
            raise wrong(name, value, "a function")
