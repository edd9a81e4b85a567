"""Published pages of small pictures, and a web server for them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.text import TextRules
from tests.tiny_bundle import make_tiny_bundle, save_colours

COLOURS = ["red", "green", "blue", "white", "purple", "yellow"]


def make_page_bundle(folder: Path) -> Path:
    """The tiny bundle, with text rules that a page knows."""
    return make_tiny_bundle(folder, rules=TextRules())


def make_index(folder: Path, bundle: Path) -> Index:
    """Of one plain picture for each colour, some of them in a folder."""
    save_colours(folder / "pictures", COLOURS[:3])
    save_colours(folder / "pictures" / "more", COLOURS[3:])
    index = Index.open(folder / "photos.itl", load_bundle(bundle))
    embed_directory(folder / "pictures", index)
    return index


@contextmanager
def web_host(folder: Path) -> Iterator[str]:
    """What `python -m http.server` is, over a folder: its address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder: its content, and when it was written."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
