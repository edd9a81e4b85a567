"""`duplicates`: which pictures are the same, which is the best of them, and what is printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itl_infer import Index, embed_directory, find_duplicates, load_bundle
from itl_infer.image import Facts
from itl_infer.index import Picture
from itl_infer.search import same
from itl_infer.where import Where
from tests.fake_bundle import EMBED_DIM, FakeBundle
from tests.places import ROOT
from tests.runtime.cli.helpers import error_of, run
from tests.runtime.index.old_formats import make_format_1

GALLERY = ROOT / "artifacts" / "starter" / "gallery"

KINDS = ("half", "quality 40", "cropped", "grey")


def copies_of(picture: Image.Image) -> dict[str, Image.Image]:
    """What people have beside a picture."""
    width, height = picture.size
    return {
        "half": picture.resize((width // 2, height // 2)),
        "quality 40": picture,
        "cropped": picture.crop((width // 40, height // 40, width - width // 40, height - height // 40)),
        "grey": picture.convert("L"),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, two of which have four copies, and one the same bytes under another name."""
    folder = tmp_path_factory.mktemp("duplicates") / "pictures"
    (folder / "sub").mkdir(parents=True)
    for path in sorted(GALLERY.glob("*.jpg"))[:12]:
        (folder / path.name).write_bytes(path.read_bytes())
    for path in sorted(folder.glob("*.jpg"))[:2]:
        with Image.open(path) as picture:
            for name, copy in copies_of(picture).items():
                copy.save(folder / "sub" / f"{path.stem} {name}.jpg", quality=40 if "40" in name else 90)
    third = sorted(folder.glob("*.jpg"))[2]
    (folder / "sub" / "same bytes.jpg").write_bytes(third.read_bytes())
    return folder


@pytest.fixture(scope="module")
def index(pictures: Path) -> Path:
    path = pictures.parent / "photos.itl"
    embed_directory(pictures, Index.open(path, load_bundle(threads=1)))
    return path


def test_copies_are_found_and_nothing_else(index: Path, pictures: Path) -> None:
    names = sorted(path.stem for path in pictures.glob("*.jpg"))
    found = find_duplicates(Index.open(index, mode="r"))
    assert (found.pictures, found.without_hash) == (21, 0)
    shown = {frozenset(Path(one.path).stem for one in group) for group in found.groups}
    assert shown == {
        *(
            frozenset([name, *(f"{name} {kind}" for kind in ("half", "quality 40", "cropped", "grey"))])
            for name in names[:2]
        ),
        frozenset([names[2], "same bytes"]),
    }
    for group in found.groups:
        best, *copies = group
        assert all(
            one.facts.width * one.facts.height <= best.facts.width * best.facts.height for one in copies
        )
        assert all(one.bits <= same.MOST_BITS and one.score < 1.001 for one in copies)


def test_among_some(index: Path) -> None:
    opened = Index.open(index, mode="r")
    assert len(find_duplicates(opened, where=Where(under="sub")).groups) == 2
    assert find_duplicates(opened, where=Where(name="same*")).groups == ()


def test_the_command(index: Path, pictures: Path) -> None:
    before = {path.name: path.read_bytes() for path in (*index.iterdir(), *pictures.rglob("*.jpg"))}
    result = run("duplicates", "-d", index)
    assert result.stderr.startswith("3 groups, 9 copies of 0.1 MB, among 21 pictures")
    assert sum(line.startswith("   =  /") for line in result.stdout.splitlines()) == 9
    assert "(256 x 192, 0.0 MB)" in result.stdout
    groups = json.loads(run("duplicates", "-d", index, "--format", "json").stdout)["groups"]
    assert sorted(len(group["pictures"]) for group in groups) == [2, 5, 5]
    best = groups[0]["pictures"][0]
    assert (best["score"], best["bits"], best["width"], best["camera"]) == (1.0, 0, 256, None)
    nulls = run("duplicates", "-d", index, "-0").stdout.split("\0")
    assert nulls.pop() == ""
    assert nulls == [one["path"] for group in groups for one in group["pictures"][1:]]
    assert before == {path.name: path.read_bytes() for path in (*index.iterdir(), *pictures.rglob("*.jpg"))}
    assert "2 groups" in run("duplicates", "-d", index, "--under", "sub").stderr
    error_of(run("duplicates", "-d", index, "-0", "--format", "json"), 2)
    error_of(run("duplicates", "-d", index, "--taken", "soon"), 2)
    error_of(run("duplicates"), 2)


def test_an_index_from_before_says_what_to_do(index: Path, tmp_path: Path) -> None:
    shutil.copytree(index, tmp_path / "old.itl")
    make_format_1(tmp_path / "old.itl")
    result = run("duplicates", "-d", tmp_path / "old.itl")
    assert result.stderr.splitlines()[0].startswith(
        "21 pictures have no hash yet and were not compared: itl-infer"
    )
    assert result.stdout == ""
    found = run("query", "surfer", "-d", tmp_path / "old.itl", "--taken", "2019")
    assert found.stderr.startswith(
        "21 of 21 pictures were embedded by an earlier version, and have no date, camera"
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 9))
def test_each_joins_the_first_better_one_that_it_is_the_same_as(seed: int, n: int, block: int) -> None:
    """The definition, pair by pair; wherever blocks and tiles begin."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 2**63, 4, np.uint64)
    flips = np.zeros(n, np.uint64)
    for place in range(n):
        for bit in rng.integers(0, 64, rng.integers(1, 10)).tolist():
            flips[place] |= np.uint64(1 << bit)
    hashes = bases[rng.integers(0, 4, n)] ^ flips
    rows = rng.permutation(n)
    embeddings = rng.standard_normal((n, EMBED_DIM)).astype(np.float32) * 0.3 + 1
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected: dict[int, int] = {}
    for j in range(n):
        for i in range(j):
            bits = int(hashes[i] ^ hashes[j]).bit_count()
            score = float(embeddings[rows[i]] @ embeddings[rows[j]])
            if i not in expected and bits <= 13 and score >= 0.4 + 0.035 * bits:
                expected[j] = i
                break
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(same, "_BLOCK", block)
        patch.setattr(same, "_TILE", (3, 5))
        found = list(same._copies(hashes, embeddings, rows))
    assert {pair.place: pair.first for pair in found} == expected
    assert all(pair.bits == int(hashes[pair.place] ^ hashes[pair.first]).bit_count() for pair in found)


def test_the_best_is_of_the_most_pixels_then_of_the_largest_file(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    row = np.eye(1, EMBED_DIM, dtype=np.float32)[0]
    with index.writing() as writer:
        root = writer.add_root(tmp_path)
        for number, (width, size) in enumerate([(4, 9), (8, 3), (8, 5), (2, 99)]):
            picture = Picture(root.id, b"%d.jpg" % number, size, 1, b"%016d" % number)
            writer.add(picture, row, Facts(width, 4, phash=7))
        writer.add(Picture(root.id, b"unread.jpg", 1, 1, b"%016d" % 9), row)
        writer.commit()
    found = find_duplicates(index)
    assert [[Path(one.path).name for one in group] for group in found.groups] == [
        ["2.jpg", "1.jpg", "0.jpg", "3.jpg"]
    ]
    assert (found.pictures, found.without_hash) == (4, 1)


def test_bits_are_counted_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 2**63, (5, 7), np.uint64)
    expected = [[int(word).bit_count() for word in line] for line in words]
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert same.count_bits(words).tolist() == expected
