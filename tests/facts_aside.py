"""Answers without the facts of pictures, which an index keeps, and shards and collections do not."""

from __future__ import annotations

import re

_FACT = re.compile(r',\s*"(?:taken|camera|width|height)": (?:null|\d+|"[^"]*")')


def without_facts(json_text: str) -> str:
    """The same JSON, whatever stands around it, without them."""
    return _FACT.sub("", json_text)
