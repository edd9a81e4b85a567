"""The API of the page: the answers of the commands, the pictures of the index, and no one else's requests."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx2")
from starlette.testclient import TestClient

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.cli import main
from itl_infer.web import HostRule, make_app
from itl_infer.web.openapi import LIMITS
from tests.carried_bundle import with_carried
from tests.places import ROOT
from tests.runtime.web.helpers import serving
from tests.tiny_bundle import save_colours


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    save_colours(tmp_path / "pictures", ["red", "green", "blue", "white", "purple", "yellow"])
    return tmp_path / "pictures"


@pytest.fixture
def index(pictures: Path, tiny_bundle: Path, tmp_path: Path) -> Index:
    embed_directory(pictures, Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle)))
    return Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle, threads=1), mode="r")


@pytest.fixture
def client(index: Index) -> TestClient:
    return client_of(index)


def client_of(index: Index, host: str = "127.0.0.1", names: tuple[str, ...] = ()) -> TestClient:
    return TestClient(make_app(index, HostRule(host, names)), base_url="http://localhost:8000")


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "results": [{k: v for k, v in row.items() if k != "id"} for row in answer["results"]]}


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


# Answers


def test_the_same_as_the_command(client: TestClient, index: Index, tiny_bundle: Path) -> None:
    for text, parameters, options in (
        ("red", {"k": 2}, ["-k", "2"]),
        ("the red surfr", {"k": 3, "explain": "true"}, ["-k", "3", "--explain"]),
        ("red", {"add": "blue", "subtract": ["green", "wave"]}, ["-a", "blue", "-s", "green", "-s", "wave"]),
        ("red", {"weighted": ["0.5 blue", "-2 green"]}, ["-w", "0.5", "blue", "-w", "-2", "green"]),
        ("red", {"relevant": "true", "dedupe": "true"}, ["--relevant", "--dedupe"]),
        ("red", {"min_score": 0.6}, ["--min-score", "0.6"]),
    ):
        ask = ["query", text, "-d", str(index.path), "-m", str(tiny_bundle), "--format", "json"]
        printed = json.loads(CliRunner().invoke(main, [*ask, *options]).stdout)
        answer = client.get("/api/query", params={"q": text, **parameters})
        assert answer.status_code == 200
        assert without_ids(answer.json()) == printed


def test_page_by_page(client: TestClient) -> None:
    for parameters in ({}, {"dedupe": "true"}, {"relevant": "true"}):
        ask = {"q": "red", "explain": "true", **parameters}
        whole = client.get("/api/query", params={**ask, "k": 6}).json()["results"]
        pages = [
            client.get("/api/query", params={**ask, "k": 2, "offset": offset}).json()["results"]
            for offset in (0, 2, 4, 6)
        ]
        assert [found for page in pages for found in page] == whole


def test_below_a_path_whether_the_proxy_takes_it_off_or_not(index: Index) -> None:
    app = make_app(index, HostRule("127.0.0.1", ()), "/photos")
    client = TestClient(app, base_url="http://localhost:8000")
    for before in ("", "/photos"):
        assert 'src="/photos/static/serve.js"' in client.get(f"{before}/").text
        assert client.get(f"{before}/api/status").json()["pictures"] == 6
        assert client.get(f"{before}/static/page.js").status_code == 200
    assert client.get("/photos", follow_redirects=False).headers["location"] == "/photos/"
    assert client.get("/photosapi/status").status_code == 404
    assert client.get("/api/openapi.json").json()["servers"] == [{"url": "/photos"}]


@pytest.mark.parametrize("path", ["/a b", "/../x", "/x?y", "/<b>"])
def test_a_root_path_that_is_none(index: Index, tiny_bundle: Path, path: str) -> None:
    ask = ["serve", "-d", str(index.path), "-m", str(tiny_bundle), "--root-path", path]
    run = CliRunner().invoke(main, ask)
    assert run.exit_code == 2
    assert "is not a path such as /photos" in run.stderr


def test_batch(client: TestClient) -> None:
    body = {"queries": ["red", "", "surfr", "blue wave"], "k": 2, "explain": True}
    answers = client.post("/api/batch", json=body).json()["answers"]
    assert answers[0] == client.get("/api/query", params={"q": "red", "k": 2, "explain": "true"}).json()
    assert answers[1]["error"].startswith("the query is empty")
    assert answers[2] == {
        "query": "surfr",
        "error": "bundle 'tiny' knows no word of the query: surfr (did you mean surfer?)",
    }
    assert len(answers) == 4
    assert client.post("/api/batch", json={"queries": []}).json() == {"answers": []}


def test_by_a_picture(client: TestClient) -> None:
    answer = client.post("/api/similar", params={"k": 1}, content=png("purple")).json()
    assert Path(answer["results"][0]["path"]).stem == "purple"
    answer = client.post(
        "/api/similar", params={"k": 1, "q": "green", "explain": "true"}, content=png("red")
    ).json()
    assert Path(answer["results"][0]["path"]).stem == "yellow"
    assert [share["term"] for share in answer["results"][0]["shares"]] == ["green", "picture 1"]
    found = client.get("/api/query", params={"q": "blue", "k": 1}).json()["results"][0]
    like = client.get("/api/query", params={"like": found["id"], "k": 1}).json()
    assert like["results"][0]["path"] == found["path"]


def test_words_and_status(client: TestClient) -> None:
    assert client.get("/api/complete", params={"prefix": "B"}).json() == {"words": ["blue", "bright"]}
    assert client.get("/api/complete").json() == {"words": []}
    assert client.get("/api/status").json() == {"pictures": 6, "bundle": "tiny", "domain": "plain colours"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "the query is empty"),
        ({"q": "quokka"}, "knows no word of the query: quokka"),
        ({"q": "red", "k": "0"}, "k is '0', expected a whole number from 1 to 1000"),
        ({"q": "red", "k": "1001"}, "expected a whole number"),
        ({"q": "red", "k": "1" * 10_000}, "expected a whole number"),
        ({"q": "red", "k": "²"}, "expected a whole number"),
        ({"q": "red", "offset": "-1"}, "offset is '-1', expected a whole number from 0"),
        ({"q": "red", "min_score": "nan"}, "min_score is 'nan', expected a number"),
        ({"q": "red", "explain": "yes"}, "explain is 'yes', expected true or false"),
        ({"q": "r" * 10_001}, "q: too long"),
        ({"q": "red", "subtract": "red"}, "nothing is left of the query"),
        ({"q": "red", "weighted": "much blue"}, "weighted is 'much', expected a number and a text"),
        ({"q": "red", "weighted": "0 blue"}, "a weight of the query is 0: give each one"),
        ({"q": "red", "weighted": "0.5"}, "weighted is '0.5', expected a number and a text"),
        ({"q": "red", "weighted": "1e300 blue"}, "a weight of the query is 1e+300"),
        ({"q": "red", "image_weight": "inf"}, "image_weight is 'inf', expected a number"),
        ({"q": "red", "add": ["red"] * 51}, "add: too long, or too many"),
    ],
)
def test_bad_queries_are_told_what_is_wrong(
    client: TestClient, parameters: dict[str, str], message: str
) -> None:
    answer = client.get("/api/query", params=parameters)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_bad_bodies(client: TestClient) -> None:
    for body in (b"", b"[", b"[]", b"{}", b'{"queries": "red"}', b'{"queries": [1]}', b"[" * 10**5, b"\xff"):
        assert client.post("/api/batch", content=body).status_code == 400
    assert client.post("/api/batch", json={"queries": ["red"] * 1001}).status_code == 400
    assert client.post("/api/batch", json={"queries": ["red"], "k": [1]}).status_code == 400
    for body in (b"", b"Dear all", png("red")[:40]):
        answer = client.post("/api/similar", content=body)
        assert answer.status_code == 400
        assert "picture" in answer.json()["error"]
    for path, limit in (("/api/batch", LIMITS["batch_bytes"]), ("/api/similar", LIMITS["picture_bytes"])):
        assert client.post(path, content=b"x" * (limit + 1)).status_code == 413
    for answer in (client.post("/api/query"), client.get("/api/nothing")):
        assert answer.status_code in (404, 405)
        assert "error" in answer.json()


# Pictures


def test_thumbnails_and_pictures(client: TestClient, pictures: Path) -> None:
    Image.new("RGB", (3000, 500), "red").save(pictures / "red.png")
    found = client.get("/api/query", params={"q": "red", "k": 1}).json()["results"][0]
    for where, longest in (("thumbnails", 360), ("pictures", 2560)):
        answer = client.get(f"/{where}/{found['id']}")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert max(image.size) == longest
        tag = answer.headers["etag"]
        again = client.get(f"/{where}/{found['id']}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        Image.new("RGB", (30, 20), "red").save(pictures / "red.png")
        assert client.get(f"/{where}/{found['id']}", headers={"If-None-Match": tag}).status_code == 200
        Image.new("RGB", (3000, 500), "red").save(pictures / "red.png")


def test_an_unreadable_picture_is_a_placeholder(client: TestClient, pictures: Path) -> None:
    results = client.get("/api/query", params={"q": "red", "k": 2}).json()["results"]
    (pictures / "red.png").write_bytes(b"garbage")
    (pictures / "purple.png").unlink()
    for row, reason in zip(results, ("not a JPEG", "cannot be read: No such"), strict=True):
        for where in ("thumbnails", "pictures"):
            answer = client.get(f"/{where}/{row['id']}")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "image/svg+xml"
            assert reason in answer.text


def test_only_what_is_indexed(client: TestClient, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    found = client.get("/api/query", params={"q": "red", "k": 1}).json()["results"][0]
    row, digest = found["id"].split("-")
    for name in (
        *(
            f"..%2f..%2f{tmp_path.name}%2fsecret.png",
            "%2fetc%2fpasswd",
            str(tmp_path / "secret.png"),
            "red.png",
        ),
        *(row, f"{row}-", f"{int(row) + 1}-{digest}", f"-1-{digest}", f"{row}-{digest}0", "9" * 5000, "²-x"),
    ):
        for where in ("thumbnails", "pictures"):
            assert client.get(f"/{where}/{name}").status_code == 404, name
        assert client.get("/api/query", params={"like": name}).status_code == 404
    assert client.get("/static/..%2f__init__.py").status_code == 404


def test_rows_of_another_process_are_picked_up(
    client: TestClient, index: Index, pictures: Path, tiny_bundle: Path
) -> None:
    assert len(client.get("/api/query", params={"q": "red"}).json()["results"]) == 6
    save_colours(pictures, ["orange"])
    ask = ["embed-images", str(pictures), "-d", str(index.path), "-m", str(tiny_bundle)]
    subprocess.run([sys.executable, "-m", "itl_infer", *ask], cwd=ROOT, check=True, capture_output=True)
    deadline = time.monotonic() + 10
    while client.get("/api/status").json()["pictures"] != 7:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (pictures / "red.png").unlink()
    old = client.get("/api/query", params={"q": "red", "k": 1}).json()["results"][0]["id"]
    subprocess.run([sys.executable, "-m", "itl_infer", *ask], cwd=ROOT, check=True, capture_output=True)
    while client.get("/api/status").json()["pictures"] != 6:
        assert time.monotonic() < deadline + 10
        time.sleep(0.05)
    assert client.get(f"/thumbnails/{old}").status_code == 404


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux")
def test_names_that_are_not_text(index: Index, pictures: Path, tiny_bundle: Path) -> None:
    (pictures / "red.png").rename(pictures / os.fsdecode(b"caf\xe9 \n<b>.png"))
    embed_directory(pictures, Index.open(index.path, load_bundle(tiny_bundle)))
    client = client_of(Index.open(index.path, load_bundle(tiny_bundle), mode="r"))
    [found] = client.get("/api/query", params={"q": "red", "k": 1}).json()["results"]
    assert found["path"] == str(pictures / os.fsdecode(b"caf\xe9 \n<b>.png"))
    assert client.get(f"/thumbnails/{found['id']}").headers["content-type"] == "image/jpeg"


# Whom it answers


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("127.0.0.1", "localhost:8000", True),
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "192.168.1.5:8000", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "nas.local:8000", True),
        ("0.0.0.0", "192.168.1.5:8000", True),
        ("0.0.0.0", "evil.example", False),
        ("photos.lan", "photos.lan", True),
    ],
)
def test_hosts(index: Index, bound: str, host: str, allowed: bool) -> None:
    client = client_of(index, bound, ("nas.local",))
    assert client.get("/api/status", headers={"Host": host}).status_code == (200 if allowed else 421)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://localhost:8000"}, True),
        ({"Origin": "http://localhost:9000"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
    ],
)
def test_other_sites_are_refused(client: TestClient, headers: dict[str, str], allowed: bool) -> None:
    for method, path in (("GET", "/api/status"), ("POST", "/api/batch"), ("GET", "/")):
        answer = client.request(
            method, path, headers=headers, content=b'{"queries": []}' if method == "POST" else None
        )
        assert answer.status_code == (200 if allowed else 403)


def test_what_browsers_may_do(client: TestClient) -> None:
    for path in ("/", "/static/page.js", "/api/status", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/static/page.js", "/static/page.css"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text)  # nothing from outside


# The command


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_serve_starts_and_ends(index: Index, tiny_bundle: Path) -> None:
    with serving(index.path, tiny_bundle) as (url, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert "<!doctype html>" in httpx.get(url).text
        assert len(httpx.get(f"{url}/api/query", params={"q": "red"}).json()["results"]) == 6
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_port_that_is_taken(index: Index, tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ask = ["serve", "-d", str(index.path), "-m", str(tiny_bundle), "--port", str(taken.getsockname()[1])]
        result = CliRunner().invoke(main, ask)
    assert result.exit_code == 1
    assert "Address already in use: name another --port" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_api_is_described(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()
    paths = {route.path.replace("{name}", "{id}") for route in client.app.routes if hasattr(route, "methods")}  # type: ignore[attr-defined]
    assert set(described["paths"]) == paths - {"/", "/api/openapi.json"}


def test_without_the_extra(index: Index, tiny_bundle: Path) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from itl_infer.cli import main; main()"
    ask = ["serve", "-d", str(index.path), "-m", str(tiny_bundle)]
    result = subprocess.run(
        [sys.executable, "-c", code, *ask], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Error: serve needs uvicorn: pip install 'itl-infer[serve]'\n"


def test_words_that_are_read_as_others(pictures: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = with_carried(tiny_bundle, tmp_path / "carrying")
    embed_directory(pictures, Index.open(tmp_path / "carried.itl", load_bundle(bundle)))
    client = client_of(Index.open(tmp_path / "carried.itl", load_bundle(bundle, threads=1), mode="r"))
    answer = client.get("/api/query", params={"q": "maroon", "explain": "true"}).json()
    assert answer["read_as"] == {"maroon": [["red", 0.6], ["blue", 0.2]]}
    assert answer["words"] == [{"word": "maroon", "use": "carried", "read_as": ["red", "blue"]}]
    assert client.get("/api/complete", params={"prefix": "maro"}).json() == {"words": ["maroon"]}
    said = client.get("/api/query", params={"q": "red without green"}).json()
    assert "--understand-not" in said["notes"][0]
    understood = client.get("/api/query", params={"q": "red without green", "understand_not": "true"}).json()
    subtracted = client.get("/api/query", params={"q": "red", "subtract": "green"}).json()
    assert understood["results"] == subtracted["results"]
    batch = client.post("/api/batch", json={"queries": ["red without green"], "understand_not": True}).json()
    assert without_ids(batch["answers"][0]) == without_ids(understood)
