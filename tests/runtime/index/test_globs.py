"""Globs over many names at once: the same names as `fnmatch` finds one by one."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itl_infer.index.globs import Glob

NAMES = st.text("ab]!-.1", min_size=1, max_size=6)


@settings(max_examples=500, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=30), glob=st.text("aab]![*?-.1é", min_size=1, max_size=7))
@example(names=["a", "[]", "]", "!"], glob="[]")
@example(names=["a", "]", "[!]", "b]"], glob="[!]]*")
@example(names=["ab.a", "aab", "abab"] * 9, glob="*a?*b*")
@example(names=["a.1", "a"], glob="*.1")
def test_the_names_that_fnmatch_finds(names: list[str], glob: str) -> None:
    """In one buffer, with a folder before each name that would fit as well."""
    paths = [f"1/a.1/{name}" for name in names]
    ends = np.cumsum([len(path) + 1 for path in paths]) - 1
    starts = ends - [len(name) for name in names]
    buffer = np.frombuffer(b"".join(path.encode() + b"\0" for path in paths), np.uint8)
    asked = Glob(glob)
    expected = [number for number, name in enumerate(names) if fnmatchcase(name, glob)]
    assert asked.fitting(buffer, starts, ends).tolist() == expected
    if asked.is_ending:
        whole = ends - [len(path) for path in paths]
        assert asked.fitting(buffer, whole, ends).tolist() == expected
