"""Weights are fetched whole, go on where they stopped, and are what they should be."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.from_keras import read_keras
from export.trunk import keras as inception_module
from export.trunk.fetch import fetch
from export.trunk.keras import weights_file
from tests.export.from_keras.helpers import IMAGE_MODEL, TEXT_MODEL, TOKENIZER, one_line

CONTENT = bytes(range(256)) * 40_000  # 10 MB, so that it takes several reads
MD5 = hashlib.md5(CONTENT).hexdigest()


class Storage:
    """A file behind HTTP on loopback, with what goes wrong with such: `breaks_at`, `status`, `knows_ranges`."""

    def __init__(self) -> None:
        self.breaks_at: int | None = None
        self.status = 200
        self.knows_ranges = True
        self.says_length = True
        self.content = CONTENT
        self.ranges: list[str | None] = []  # what was asked for
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                storage.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/weights.h5"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        if self.status != 200:
            request.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.knows_ranges else 0
        if start >= len(self.content):
            request.send_error(416)
            return
        body = self.content[start:]
        request.send_response(206 if wanted and self.knows_ranges else 200)
        if wanted and self.knows_ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.says_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.breaks_at])


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    storage = Storage()
    with storage.server:
        thread = threading.Thread(target=storage.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield storage
        storage.server.shutdown()
        thread.join()


class TestFetch:
    def test_fetch(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "cache" / "weights.h5"
        seen: list[tuple[int, int]] = []
        assert fetch(storage.url, path, MD5, lambda done, total: seen.append((done, total))) == path
        assert path.read_bytes() == CONTENT
        assert list(path.parent.iterdir()) == [path]
        assert len(seen) > 1
        assert seen == sorted(seen)
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        fetch(storage.url, path, MD5)
        assert storage.ranges == [None]  # what is there is not fetched again

    @pytest.mark.parametrize("knows_ranges", [True, False])
    def test_goes_on_where_it_stopped(self, storage: Storage, knows_ranges: bool, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        storage.breaks_at = 5_000_000
        with pytest.raises(ExportError) as error:
            fetch(storage.url, path, MD5)
        assert f"closed at 5000000 of {len(CONTENT)} bytes): run again to go on" in one_line(error)
        assert not path.exists()
        storage.breaks_at, storage.knows_ranges = None, knows_ranges
        fetch(storage.url, path, MD5)
        assert path.read_bytes() == CONTENT
        assert storage.ranges == [None, "bytes=5000000-"]

    def test_stopped_after_the_last_byte(self, storage: Storage, tmp_path: Path) -> None:
        path, part = tmp_path / "weights.h5", tmp_path / "weights.h5.part"
        part.write_bytes(CONTENT)
        fetch(storage.url, path, MD5)
        assert path.read_bytes() == CONTENT
        assert not part.exists()

    def test_a_server_that_does_not_say_how_much(self, storage: Storage, tmp_path: Path) -> None:
        storage.says_length = False
        seen: list[tuple[int, int]] = []
        fetch(storage.url, tmp_path / "weights.h5", MD5, lambda done, total: seen.append((done, total)))
        assert seen[-1] == (len(CONTENT), 0)

    def test_wrong_hash(self, storage: Storage, tmp_path: Path) -> None:
        path, part = tmp_path / "weights.h5", tmp_path / "weights.h5.part"
        storage.content = CONTENT[:-1] + b"x"
        with pytest.raises(ExportError) as error:
            fetch(storage.url, path, MD5)
        found = hashlib.md5(storage.content).hexdigest()
        assert f"gave a file with md5 {found}, expected {MD5}: run again" in one_line(error)
        assert list(tmp_path.iterdir()) == []
        part.write_bytes(b"of another file")
        storage.content = CONTENT
        with pytest.raises(ExportError, match="gave a file with md5"):
            fetch(storage.url, path, MD5)
        fetch(storage.url, path, MD5)  # nothing is left that could spoil the next one
        assert path.read_bytes() == CONTENT

    def test_a_cached_file_gone_bad_is_named_and_kept(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        path.write_bytes(b"rotten")
        with pytest.raises(ExportError, match="has md5") as error:
            fetch(storage.url, path, MD5)
        assert f"expected {MD5}: delete it and run again" in one_line(error)
        assert path.read_bytes() == b"rotten"
        assert storage.ranges == []

    def test_server_errors(self, storage: Storage, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        for storage.status in (404, 416, 500, 503):
            with pytest.raises(ExportError) as error:
                fetch(storage.url, path, MD5)
            assert f"could not be fetched (HTTP Error {storage.status}" in one_line(error)
        with pytest.raises(ExportError, match="could not be fetched"):
            fetch("http://127.0.0.1:1/weights.h5", path, MD5)
        assert list(tmp_path.iterdir()) == []

    def test_keras_means_the_official_file(
        self, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert inception_module.OFFICIAL_MD5 == "bcbd6486424b2319ff4ef7d526e38f63"
        assert inception_module.OFFICIAL_URL.startswith("https://storage.googleapis.com/tensorflow/")
        monkeypatch.setattr(inception_module, "OFFICIAL_URL", storage.url)
        monkeypatch.setattr(inception_module, "OFFICIAL_MD5", MD5)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        assert weights_file("keras") == tmp_path / "checkpoints" / "weights.h5"
        with pytest.raises(ExportError, match="is damaged or no Keras"):
            read_keras(IMAGE_MODEL, TEXT_MODEL, TOKENIZER, "keras")
        assert storage.ranges == [None]
