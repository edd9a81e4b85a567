"""Names over the API: marked pictures rank the others, and are kept as a name that every query knows."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")
from PIL import Image
from starlette.testclient import TestClient

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.web import HostRule, make_app


@pytest.fixture
def client(tiny_bundle: Path, tmp_path: Path) -> TestClient:
    """Over thirty plain pictures, from green to red."""
    (tmp_path / "photos").mkdir()
    for number in range(30):
        colour = (number * 8, 255 - number * 8, number * 37 % 256)
        Image.new("RGB", (20, 20), colour).save(tmp_path / "photos" / f"{number:02}.png")
    embed_directory(tmp_path / "photos", Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle)))
    index = Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle, threads=1), mode="r")
    return TestClient(make_app(index, HostRule("127.0.0.1")), base_url="http://localhost:8000")


def found(client: TestClient, **query: object) -> dict[str, str]:
    """The names of the files of an answer, in its order, with their ids."""
    response = client.get("/api/query", params=query)
    assert response.status_code == 200, response.text
    return {Path(one["path"]).stem: one["id"] for one in response.json()["results"]}


def test_marked_pictures_rank_the_others(client: TestClient) -> None:
    before = found(client, q="green", k=30)
    marks = {"wanted": [before["05"], before["06"]], "unwanted": [before["00"]]}
    after = [*found(client, q="green", k=30, **marks)]
    assert after[-1] == "00" != [*before][-1]
    alone = [*found(client, k=3, **marks)]
    assert {"05", "06"} <= set(alone)


def test_marks_are_kept_as_a_name(client: TestClient) -> None:
    ids = found(client, q="green", k=30)
    body = {"name": "Rex", "wanted": [ids["05"], ids["06"]], "unwanted": [ids["20"]]}
    taught = client.post("/api/names", json=body)
    assert (taught.status_code, taught.json()["examples"], taught.json()["against"]) == (200, 2, 1)
    assert client.get("/api/names").json() == {"names": ["Rex"]}
    answer = client.get("/api/query", params={"q": "rex", "explain": "true"}).json()
    assert answer["taught"] == ["Rex"]
    assert answer["words"] == [{"word": "Rex", "use": "taught"}]
    many = client.post("/api/batch", json={"queries": ["rex", "green"]}).json()["answers"]
    assert [one.get("taught") for one in many] == [["Rex"], None]
    as_word = client.get("/api/query", params={"q": "rex green", "as_word": "true"}).json()
    assert "taught" not in as_word


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "Rex", "wanted": ["0-00"]}, 404),
        ({"name": "Rex", "wanted": []}, 400),
        ({"name": "", "wanted": []}, 400),
        ({"name": "Rex", "wanted": "all"}, 400),
        ({"name": "Rex", "wanted": [1]}, 400),
        ({"name": "Rex", "wanted": ["x"] * 201}, 400),
        ([], 400),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(client: TestClient, body: object, status: int) -> None:
    response = client.post("/api/names", json=body)
    assert response.status_code == status
    assert response.json()["error"]
    assert client.get("/api/names").json() == {"names": []}
    assert client.get("/api/query", params={"q": "green", "wanted": "nothing"}).status_code == 404


def test_names_from_elsewhere_take_the_place_of_those_of_the_index(
    client: TestClient, tiny_bundle: Path, tmp_path: Path
) -> None:
    ids = found(client, q="green", k=30)
    client.post("/api/names", json={"name": "Rex", "wanted": [ids["05"]]})
    index = Index.open(tmp_path / "photos.itl", mode="r")
    names = index.names
    client.post("/api/names", json={"name": "Max", "wanted": [ids["07"]]})
    bundle = load_bundle(tiny_bundle, threads=1)
    other = TestClient(
        make_app(Index.open(tmp_path / "photos.itl", bundle, mode="r"), HostRule("127.0.0.1"), names=names),
        base_url="http://localhost:8000",
    )
    assert other.get("/api/names").json() == {"names": ["Rex"]}
    refused = other.post("/api/names", json={"name": "Moritz", "wanted": [ids["05"]]})
    assert refused.status_code == 400
    assert client.get("/api/names").json() == {"names": ["Max", "Rex"]}
