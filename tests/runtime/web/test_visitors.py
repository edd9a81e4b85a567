"""Visitors that mean harm, or are slow, or many: others are answered, and what one may ask for has an end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx2")
import anyio
from starlette.testclient import TestClient

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.web import HostRule, clocks, connections, make_app, serve
from itl_infer.web.app import Steps, _Api
from itl_infer.web.log import CountedLines
from itl_infer.web.openapi import LIMITS
from tests.places import ROOT
from tests.tiny_bundle import save_colours


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    from tests.tiny_bundle import make_tiny_bundle

    folder = tmp_path_factory.mktemp("visited")
    bundle = make_tiny_bundle(folder / "bundle")
    save_colours(folder / "pictures", ["red", "green", "blue", "white"])
    embed_directory(folder / "pictures", Index.open(folder / "photos.itl", load_bundle(bundle)))
    return Index.open(folder / "photos.itl", load_bundle(bundle, threads=1), mode="r")


@pytest.fixture
def client(index: Index) -> TestClient:
    return TestClient(make_app(index, HostRule("127.0.0.1")), base_url="http://localhost:8000")


# What one may ask for


def test_an_explanation_has_an_end(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "shares", 20)
    assert client.get("/api/query?q=red+wave&k=10&explain=true").status_code == 200
    answer = client.get("/api/query?q=red+wave&k=11&explain=true")
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "explain: 2 words with k=11: at most 20 shares in all, so ask for fewer pictures or words",
    )
    assert client.get("/api/query?q=red+wave&k=11").status_code == 200
    asked = {"queries": ["red wave", "green", "blue"], "k": 5, "explain": True}
    assert client.post("/api/batch", json=asked).status_code == 200
    assert "shares in all" in client.post("/api/batch", json={**asked, "k": 6}).json()["error"]
    monkeypatch.setitem(LIMITS, "explained", 1)
    assert "2 words, at most 1" in client.get("/api/query?q=red+wave&k=1&explain=true").json()["error"]


def test_an_answer_has_an_end(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(client.get("/api/query?q=red").content)
    monkeypatch.setitem(LIMITS, "answer_bytes", size)
    assert client.get("/api/query?q=red").status_code == 200
    asked = {"queries": ["red", "green"]}
    assert "longer than" in client.post("/api/batch", json=asked).json()["error"]
    monkeypatch.setitem(LIMITS, "answer_bytes", size - 1)
    assert "longer than" in client.get("/api/query?q=red").json()["error"]
    monkeypatch.setitem(LIMITS, "results", 19)
    assert (
        "2 queries with k=10: at most 19"
        in client.post("/api/batch", json={**asked, "k": 10}).json()["error"]
    )


def test_folding_has_an_end(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "folded", 3)
    found = {
        offset: [
            row["rank"] for row in client.get(f"/api/query?q=red&{asked}&offset={offset}").json()["results"]
        ]
        for asked in ("dedupe=true&k=2",)
        for offset in range(5)
    }
    assert found == {0: [1, 2], 1: [2, 3], 2: [3], 3: [], 4: []}
    assert len(client.get("/api/query?q=red&offset=2&k=1000").json()["results"]) == 2


def test_an_empty_batch_is_checked_too(client: TestClient) -> None:
    for wrong in ({"dedupe": 1}, {"understand_not": "x"}, {"k": 0}, {"offset": -1}, {"min_score": "x"}):
        assert client.post("/api/batch", json={"queries": [], **wrong}).status_code == 400


def test_a_batch_in_parts_is_the_same(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = ["red", "zyx", "a blue wave", "", "green"] * 7
    whole = client.post("/api/batch", json={"queries": queries, "explain": True}).json()
    monkeypatch.setattr("itl_infer.web.app._BATCHED", 3)
    assert client.post("/api/batch", json={"queries": queries, "explain": True}).json() == whole
    assert len(whole["answers"]) == 35


def test_an_answer_by_turns_is_the_same(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "+".join(["a+blue+wave"] * 20)
    asked = [
        "q=red&k=3&explain=true",
        f"q={words}&k=4",
        "q=red&dedupe=true&sort=taken",
        f"q=zyx+{words}&add=zyx",
    ]
    whole = [client.get(f"/api/query?{one}").json() for one in asked]
    monkeypatch.setattr("itl_infer.web.app._TURN_SECONDS", 0.0)
    assert [client.get(f"/api/query?{one}").json() for one in asked] == whole
    assert [len(answer.get("results", ())) for answer in whole] == [
        3,
        4,
        4,
        0,
    ]  # the last one has an unknown word


def test_who_asks_for_little_does_not_wait_for_who_asks_for_much(index: Index) -> None:
    order = []

    def work(name: str, steps: int) -> Steps[str]:
        for _ in range(steps):
            time.sleep(0.004)  # more than a turn
            order.append(name)
            yield
        return name

    async def both() -> None:
        api, done = _Api(index, "", None), []
        async with anyio.create_task_group() as group:

            async def run(name: str, steps: int, texts: list[str]) -> None:
                done.append(await api._by_turns(work(name, steps), texts))

            group.start_soon(run, "much", 20, ["a word " * 100])
            await anyio.sleep(0.02)
            group.start_soon(run, "little", 3, ["red"])
        assert done == ["little", "much"]

    anyio.run(both)
    assert order.count("much") == 20
    assert order.index("little") < 15


@pytest.mark.parametrize(
    "host",
    [
        *("user@localhost", "user:secret@localhost:8000", "@localhost", "localhost@evil.example"),
        *("localhost/path", "localhost?x", "localhost#x", "localhost:80:90", "localhost:port", " localhost"),
        *("[::1", "::1", "[::1]x", "localhost\\@evil", "local host", ""),
    ],
)
def test_a_host_that_is_more_than_a_name(host: str) -> None:
    assert not HostRule("127.0.0.1", ["evil.example"]).allows(host)


def test_hosts_that_are_names() -> None:
    rule = HostRule("0.0.0.0", ["nas.local"])
    assert all(map(rule.allows, ("localhost:8000", "127.0.0.1", "[::1]:80", "NAS.local", "192.168.1.7:8000")))


# Connections


@contextlib.contextmanager
def _served(index: Index, lines: list[str] | None = None) -> Iterator[int]:
    """The page in a thread of this process, which ends with it: the port."""
    started = threading.Event()
    urls: list[str] = []

    def tell(url: str) -> None:
        urls.append(url)
        started.set()

    arguments = (
        index,
        "127.0.0.1",
        0,
        HostRule("127.0.0.1"),
        tell,
    )
    log = [].append if lines is None else lines.append
    threading.Thread(target=serve, args=arguments, kwargs={"log": log}, daemon=True).start()
    assert started.wait(10)
    yield int(urls[0].rpartition(":")[2])


def _ask(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/query?q=red&k=1", timeout=10) as answer:
        return int(answer.status)


def _connect(port: int, said: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(said)
    return connection


def test_who_says_nothing_gives_up_the_place(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 10)
    with _served(index) as port:
        silent = [_connect(port, b"" if i % 2 else b"GET / HTTP/1.1\r\n") for i in range(30)]
        start = time.monotonic()
        assert [_ask(port) for _ in range(5)] == [200] * 5
        assert time.monotonic() - start < 5
        assert silent[0].recv(100).startswith(b"HTTP/1.1 503 ")
        silent[-1].sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"[0 if 29 % 2 else 16 :])
        assert silent[-1].recv(100).startswith(b"HTTP/1.1 200 ")
    for connection in silent:
        connection.close()


def test_silence_ends(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one who says nothing, who drips a request or a body, or who asked once and then does not."""
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(clocks, "SECONDS", 1.0)
    with _served(index) as port:
        body = b"POST /api/similar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        asked = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
        held = [_connect(port, said) for said in (b"", b"GET /", body, asked)]
        start = time.monotonic()
        while time.monotonic() - start < 3:
            for drip in held[1:3]:
                with contextlib.suppress(OSError):
                    drip.sendall(b"x")
            time.sleep(0.1)
        answers = []
        for connection in held:
            answers.append(b"")
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(10000):
                    answers[-1] += part
            connection.close()
        assert [answer[9:12] for answer in answers] == [b"408", b"408", b"408", b"200"]
        assert _ask(port) == 200


def test_who_takes_no_answer_is_left(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are given on in parts, a few large ones at a time, while they are taken."""
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(clocks, "SECONDS", 1.0)
    monkeypatch.setattr(clocks, "_LARGE_ANSWERS", 1)
    lines: list[str] = []
    queries = json.dumps({"queries": ["red " * 2000] * 200, "k": 1}).encode()
    with _served(index, lines) as port:
        head = (
            f"POST /api/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(queries)}\r\n\r\n".encode()
        )
        held = [_connect(port, head + queries) for _ in range(2)]
        time.sleep(0.5)
        assert _ask(port) == 200  # small ones pass by
        time.sleep(4)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/batch", queries)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert len(json.load(answer)["answers"]) == 200
    for connection in held:
        connection.close()
    assert lines == []


def test_clients_that_go_away_are_no_errors(index: Index) -> None:
    lines: list[str] = []
    with _served(index, lines) as port:
        body = b"POST /api/similar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + bytes(10)
        for said in (b"", b"GET / HT", body, b"GET /api/query?q=red HTTP/1.1\r\nHost: localhost\r\n\r\n") * 5:
            _connect(port, said).close()
        time.sleep(0.3)
        assert _ask(port) == 200
    assert lines == []


def test_bodies_share_a_room(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_HELD_BYTES", 100_000)
    with _served(index) as port:
        head = b"POST /api/similar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70001\r\n\r\n"
        held = [_connect(port, head + bytes(70_000)) for _ in range(2)]
        time.sleep(0.5)
        assert held[1].recv(100).startswith(b"HTTP/1.1 503 ")
        held[0].sendall(b"x")
        assert held[0].recv(100).startswith(b"HTTP/1.1 400 ")  # no picture
    for connection in held:
        connection.close()


def test_what_is_no_http_is_told_once_a_second(index: Index) -> None:
    lines: list[str] = []
    with _served(index, lines) as port:
        for _ in range(50):
            with _connect(port, b"\x16\x03\x01 no http\r\n\r\n") as connection, contextlib.suppress(OSError):
                connection.recv(100)
        time.sleep(1.1)
        with _connect(port, b"\x16\x03\x01\r\n\r\n") as connection:
            connection.recv(100)
        time.sleep(0.2)
    assert 2 <= len(lines) < 10
    assert re.search(r"Invalid HTTP request received\. \(and \d+ more like it\)", lines[-1])


def test_lines_of_the_log_are_counted() -> None:
    lines: list[str] = []
    seconds = [0.0]
    handler = CountedLines(lines.append, lambda: seconds[0])
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for _ in range(1000):
        logger.error("accept failed\nTraceback %s", "x")
        logger.warning("other")
    seconds[0] = 1.5
    try:
        raise OSError(24, "Too many open files")
    except OSError:
        logger.exception("accept failed\nTraceback %s", "y")
    for i in range(1000):
        logger.error(f"kind {i}")
    assert lines[:3] == [
        "accept failed",
        "other",
        "accept failed: OSError: Too many open files (and 999 more like it)",
    ]
    assert len(lines) < 120


@pytest.mark.skipif(os.name != "posix", reason="limits of open files as POSIX has them")
def test_more_silent_connections_than_files(index: Index, tmp_path: Path) -> None:
    """With the usual limit of 1,024 open files."""
    serving = f"{sys.executable} -m itl_infer serve -d {index.path} -m {index.bundle.path} --port 0"
    command = f"ulimit -n 1024; exec {serving}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["/bin/sh", "-c", command], cwd=ROOT, stderr=log)
    try:
        for _ in range(600):
            if found := re.search(r"http://[\d.]+:(\d+)", (tmp_path / "log").read_text()):
                break
            time.sleep(0.1)
        port = int(found[1])
        assert _ask(port) == 200  # from here on all is loaded
        with contextlib.ExitStack() as held:
            for _ in range(1100):
                held.enter_context(_connect(port, b"GET / HTTP/1.1\r\n"))
            start = time.monotonic()
            assert _ask(port) == 200
            assert time.monotonic() - start < 8  # 1, where nothing else runs
        assert (tmp_path / "log").stat().st_size < 10_000
    finally:
        process.terminate()
        process.wait(10)
