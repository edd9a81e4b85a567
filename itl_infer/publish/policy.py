"""What a published page may do in a browser, as its Content-Security-Policy says."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'"


def policy_of_folder() -> str:
    """Only files from where the page is, and no script in it."""
    own = "; ".join(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect", "worker"))
    return _as_meta(f"{_NOTHING_ELSE}; {own}")


def policy_of_file(scripts: Sequence[str], style: str) -> str:
    """Only what is in the file: these scripts, this style, pictures and a worker that are made of its own bytes."""
    allowed = " ".join(_hash_of(script) for script in scripts)
    return _as_meta(
        f"{_NOTHING_ELSE}; script-src {allowed}; style-src {_hash_of(style)}; img-src blob: data:; worker-src blob:"
    )


def _hash_of(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _as_meta(policy: str) -> str:
    return f'\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
