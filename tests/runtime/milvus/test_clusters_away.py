"""A cluster that starts again, hangs, does not answer or is not there."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from itl_infer import Bundle, Index

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")
from itl_infer import milvus
from tests.facts_aside import without_facts
from tests.runtime.milvus.helpers import assert_holds, error_of, output_of, pushing, unit_rows, write_rows

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], str]]]:
    """Starts a Milvus Lite as a server, again and again over the same data; its URI."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], str]:
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(tmp_path / "server")]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_push_survives_a_cluster_that_starts_again_and_says_how_far_it_came(
    tmp_path: Path, bundle: Bundle, cluster: Callable[[], tuple[subprocess.Popen[bytes], str]]
) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    server, uri = cluster()
    address = f"milvus:{uri}#photos"
    with pushing(index.path, address, batch_rows=20) as process:
        assert process.stdout
        for _ in range(5):
            process.stdout.readline()
        server.kill()
        server.wait()
        server, _ = cluster()  # a second or two later
        for _ in range(30):
            process.stdout.readline()
        server.kill()
        server.wait()
        server, _ = cluster()
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read() == ""
    assert_holds(address, index)
    here = output_of("query", "red", "-d", index.path, "--format", "json")
    there = output_of("query", "red", "-d", address, "--format", "json")
    assert json.loads(there) == json.loads(without_facts(here))

    with pushing(index.path, f"milvus:{uri}#more", batch_rows=20, seconds=1.5) as process:
        assert process.stdout
        for _ in range(5):
            process.stdout.readline()
        server.kill()
        server.wait()
        assert process.wait(30) == 1
        assert process.stderr
        last = process.stderr.read().splitlines()[-1]
        done = [100, *map(int, process.stdout.read().split())][-1]
    assert re.search(
        rf"ClusterError: {uri}: no answer from Milvus: .*; {done} of 2000 pictures are pushed and stay, the same"
        rf" command does the rest: itl-infer push {index.path} --to {uri} --collection more$",
        last,
    )
    cluster()
    report = milvus.push(index.path, f"milvus:{uri}#more")
    assert report.unchanged >= done
    assert_holds(f"milvus:{uri}#more", index)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes are stopped")
def test_a_cluster_that_hangs(
    tmp_path: Path, bundle: Bundle, cluster: Callable[[], tuple[subprocess.Popen[bytes], str]]
) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    server, uri = cluster()
    with pushing(index.path, f"milvus:{uri}#photos", batch_rows=20, seconds=1.5) as process:
        assert process.stdout
        process.stdout.readline()
        server.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        assert process.wait(20) == 1
        assert time.monotonic() - start < 15
        assert process.stderr
        last = process.stderr.read().splitlines()[-1]
    assert "Milvus gave no answer within 1.5 s" in last or "no answer from Milvus" in last
    assert "of 2000 pictures are pushed and stay" in last
    server.send_signal(signal.SIGCONT)
    milvus.push(index.path, f"milvus:{uri}#photos")
    assert_holds(f"milvus:{uri}#photos", index)


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URI of a server that takes connections and never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def test_nobody_there(deaf: str, colours: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itl_infer.milvus.client._CONNECT_SECONDS", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    for uri in (closed, deaf):
        for args in (
            ["query", "red", "-d", f"milvus:{uri}#photos"],
            ["push", colours.path, "--to", uri.replace("//", "//ada:secret@"), "--collection", "photos"],
        ):
            start = time.monotonic()
            line = error_of(*args)
            assert time.monotonic() - start < 10
            assert line.startswith(f"Error: {uri}: no answer from Milvus: is it running")
            assert "secret" not in line
