"""Pictures over HTTP: those of the store only, found by what it calls them and never by a path."""

from __future__ import annotations

import hashlib
import html
import io
import os
import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.responses import Response

from itl_infer.errors import ImageError, reason_of
from itl_infer.image import load_thumbnail
from itl_infer.show.wording import printable

if TYPE_CHECKING:
    from itl_infer.store import Store

_SIDES = {"thumbnail": 360, "full": 2560}  # pixels of the longer side, at most
_QUALITY = {"thumbnail": 82, "full": 92}
_CACHED = 2000  # thumbnails, of some 20 kB each
_MAX_AGE = 300  # seconds that a browser need not ask again
_DIGITS = 40  # of the number of a row, at most


def picture_id(row: int, path: str) -> str:
    """The row, so that it is found at once, and a hash of the path, so that no other is once the rows move."""
    return f"{row}-{hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()}"


def path_of(store: Store, name: str) -> str | None:
    """The path of the picture of the store with this id; None for any other text."""
    row = name.partition("-")[0]
    if not (row.isascii() and row.isdigit() and len(row) < _DIGITS):
        return None
    try:
        path = store.snapshot.path_of(int(row))
    except LookupError:
        return None
    return path if picture_id(int(row), path) == name else None


def picture_response(path: str, size: str, etag_asked: str | None) -> Response:
    """A picture as JPEG, upright; one that cannot be read as a drawing that says why."""
    try:
        status = os.stat(path)  # noqa: PTH116, a name that need not be text
        etag = f'"{size}-{status.st_mtime_ns}-{status.st_size}"'
        headers = {"ETag": etag, "Cache-Control": f"private, max-age={_MAX_AGE}"}
        if etag_asked == etag:
            return Response(status_code=304, headers=headers)
        make = _cached_jpeg if size == "thumbnail" else _jpeg
        return Response(make(path, size, etag), media_type="image/jpeg", headers=headers)
    except OSError as error:
        return _placeholder(f"cannot be read: {reason_of(error)}")
    except ImageError as error:
        return _placeholder(error.reason)


def _jpeg(path: str, size: str, etag: str) -> bytes:  # noqa: ARG001, the tag is what caches go by
    buffer = io.BytesIO()
    load_thumbnail(path, _SIDES[size]).save(buffer, "JPEG", quality=_QUALITY[size])
    return buffer.getvalue()


_cached_jpeg = lru_cache(maxsize=_CACHED)(_jpeg)


def _placeholder(reason: str) -> Response:
    lines = textwrap.wrap(reason, 32)[:5]
    text = "".join(f'<tspan x="16" dy="22">{html.escape(printable(line))}</tspan>' for line in lines)
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="240" viewBox="0 0 320 240">'
        '<rect width="320" height="240" fill="#8884"/>'
        f'<text y="24" font-family="sans-serif" font-size="15" fill="#888">{text}</text></svg>'
    )
    return Response(
        drawing.encode(errors="replace"), media_type="image/svg+xml", headers={"Cache-Control": "no-store"}
    )
