"""A file from the web, in pieces if need be, that appears whole and with the right hash or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from export.errors import ExportError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30


def fetch(url: str, path: Path, md5: str, progress: Callable[[int, int], None] | None = None) -> Path:
    """Make sure that `path` is the file at `url` with that hash; what is there is checked, never replaced.

    A fetch that breaks off leaves `path` with ".part" at its end, and the next one goes on from there.
    `progress` is called with (bytes so far, bytes in all; 0 where the server does not say). ExportError for
    what goes wrong.
    """
    if path.exists():
        if (found := _md5(path)) != md5:
            raise ExportError(f"{path} has md5 {found}, expected {md5}: delete it and run again")
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_rest(url, part, progress)
    except (OSError, http.client.HTTPException) as error:  # OSError: urllib's own, timeouts, a full disk
        raise ExportError(
            f"{url} could not be fetched ({_reason(error)}): run again to go on, or fetch it to {path}"
        ) from error
    if (found := _md5(part)) != md5:
        part.unlink()
        raise ExportError(f"{url} gave a file with md5 {found}, expected {md5}: run again to start over")
    part.replace(path)
    return path


def _fetch_rest(url: str, part: Path, progress: Callable[[int, int], None] | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing after what is there: the hash tells whether that is the file
            return
        raise
    with response:
        sent = response.headers.get("Content-Range", "")
        if response.status != 206 or not sent.startswith(f"bytes {have}-"):
            have = 0  # this is the whole file
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with part.open("ab" if have else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
    if have < total:
        raise ConnectionError(f"the connection closed at {have} of {total} bytes")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
