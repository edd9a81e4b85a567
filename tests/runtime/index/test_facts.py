"""What an index keeps of pictures besides their embeddings, and an index from before it kept any."""

from __future__ import annotations

import io
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itl_infer.image import Facts
from itl_infer.index import Index
from itl_infer.index.check import check_index
from itl_infer.index.facts import RECORD
from itl_infer.ingest import embed_directory
from itl_infer.where import Where
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture
from tests.runtime.index.old_formats import make_format_1

LONG_AGO = datetime.fromtimestamp(LONG_AGO_NS // 10**9)


def photograph(path: Path, seed: int, camera: str = "Box 3", date: str = "2019:07:03 14:05:06") -> None:
    exif = Image.Exif()
    exif[0x0110] = camera
    exif.get_ifd(0x8769)[0x9003] = date
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", exif=exif.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def facts_by_name(index: Index) -> dict[str, Facts | None]:
    return {Path(path).name: facts for path, facts in zip(index.paths, index.facts, strict=True)}


def test_a_picture_is_dated_by_itself_or_else_by_its_file(index: Index, photos: Path) -> None:
    photograph(photos / "dated.jpg", 1)
    embed_directory(photos, index)
    found = facts_by_name(index)
    dated, undated = found["dated.jpg"], found["000.bmp"]
    assert dated is not None
    assert undated is not None
    assert (dated.taken, dated.camera, dated.is_file_date) == (datetime(2019, 7, 3, 14, 5, 6), "Box 3", False)
    assert (dated.width, dated.height) == (9, 6)
    assert (undated.taken, undated.camera, undated.is_file_date) == (LONG_AGO, "", True)
    assert len({facts.phash for facts in found.values() if facts}) == 13


def test_a_file_with_another_date_dates_its_picture_anew(index: Index, photos: Path) -> None:
    photograph(photos / "dated.jpg", 1)
    embed_directory(photos, index)
    assert isinstance(index.bundle, FakeBundle)
    embedded = index.bundle.embedded
    later = LONG_AGO_NS + 86_400 * 10**9
    for name in ("000.bmp", "dated.jpg"):
        os.utime(photos / name, ns=(later, later))
    assert embed_directory(photos, index).unchanged == 13
    found = facts_by_name(index)
    assert [(facts.taken - LONG_AGO).days for facts in (found["000.bmp"],) if facts and facts.taken] == [1]
    assert found["dated.jpg"] is not None
    assert found["dated.jpg"].taken == datetime(2019, 7, 3, 14, 5, 6)
    assert index.bundle.embedded == embedded
    assert_whole(index, [str(path) for path in photos.iterdir()])


def test_renamed_and_copied_pictures_keep_what_is_known(index: Index, photos: Path) -> None:
    photograph(photos / "dated.jpg", 1)
    embed_directory(photos, index)
    before = facts_by_name(index)["dated.jpg"]
    (photos / "copy.jpg").write_bytes((photos / "dated.jpg").read_bytes())
    (photos / "sub").mkdir()
    (photos / "dated.jpg").rename(photos / "sub" / "moved.jpg")
    report = embed_directory(photos, index)
    assert report.embedded == 0
    found = facts_by_name(index)
    assert found["copy.jpg"] == found["moved.jpg"] == before
    assert [hit.path for hit in index.search("red", where=Where(under=photos / "sub"))] == [
        str(photos / "sub" / "moved.jpg")
    ]


def test_an_index_from_before_gets_facts_without_embedding_again(index: Index, photos: Path) -> None:
    photograph(photos / "dated.jpg", 1)
    embed_directory(photos, index)
    expected = facts_by_name(index)
    make_format_1(index.path)
    index.refresh()
    assert set(facts_by_name(index).values()) == {None}
    assert isinstance(index.bundle, FakeBundle)
    embedded, said = index.bundle.embedded, list[str]()
    (photos / "damaged.jpg").write_bytes(b"no picture")
    report = embed_directory(photos, index, announce=said.append)
    assert (report.facts_read, report.unchanged, report.embedded, len(report.failed)) == (13, 13, 0, 1)
    assert said == [
        "13 pictures were embedded by an earlier version: they are read once more, for their dates, cameras, sizes and"
        " hashes, and not embedded again"
    ]
    assert facts_by_name(index) == expected
    assert index.bundle.embedded == embedded
    assert_whole(index)
    again = embed_directory(photos, index, announce=said.append)
    assert (again.facts_read, again.unchanged, len(said)) == (0, 13, 1)
    assert check_index(index.path).ok


def test_an_index_from_before_is_searched_as_it_is(index: Index, photos: Path) -> None:
    make_format_1(index.path)
    files = {path.name: path.read_bytes() for path in index.path.iterdir()}
    old = Index.open(index.path, FakeBundle(), mode="r")
    assert len(old.search("red")) == 10
    assert old.search("red", where=Where(taken="1900..2100")) == []
    assert [Path(hit.path).name for hit in old.search("red", where=Where(name="*1.bmp"))] != []
    assert {Path(hit.path).name for hit in old.search("red", where=Where(name="*1.bmp", under=photos))} == {
        "001.bmp",
        "011.bmp",
    }
    assert check_index(index.path).ok
    assert files == {path.name: path.read_bytes() for path in index.path.iterdir()}


def test_pictures_that_cannot_be_read_any_more_keep_their_embeddings(index: Index, photos: Path) -> None:
    photograph(photos / "large.jpg", 1)
    embed_directory(photos, index)
    make_format_1(index.path)
    report = embed_directory(photos, index, max_megapixels=1e-9)
    assert (report.unchanged, report.failed, len(index)) == (13, [], 13)
    assert all(facts == Facts(0, 0, LONG_AGO, is_file_date=True) for facts in index.facts)


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_damaged_facts_are_found_and_read_again(index: Index, photos: Path, harm: str) -> None:
    expected = facts_by_name(index)
    path = index.path / "facts-000001.bin"
    if harm == "flipped":
        content = bytearray(path.read_bytes())
        content[3 * RECORD.itemsize + 9] ^= 1
        path.write_bytes(content)
    elif harm == "cut":
        os.truncate(path, 2 * RECORD.itemsize + 3)
    else:
        path.unlink()
    assert len(Index.open(index.path, FakeBundle()).search("red", 20)) == 12
    report = check_index(index.path, repair=True)
    damaged = {"flipped": 1, "cut": 10, "gone": 12}[harm]
    assert (report.damaged_facts, report.damaged_rows) == (damaged, [])
    assert check_index(index.path).ok
    assert embed_directory(photos, index).facts_read == damaged
    assert facts_by_name(index) == expected


def test_facts_stay_with_their_pictures_through_deletions_and_compaction(index: Index, photos: Path) -> None:
    for i in range(8):
        photograph(photos / f"{i}.jpg", i, camera=f"Box {i}")
    embed_directory(photos, index)
    for name in ("1.jpg", "3.jpg", "000.bmp"):  # too few for a compaction: others fill their places
        (photos / name).unlink()
    embed_directory(photos, index)
    for _ in range(2):
        found = facts_by_name(index)
        for i in (0, 2, 4, 5, 6, 7):
            facts = found[f"{i}.jpg"]
            assert facts is not None
            assert facts.camera == f"Box {i}"
            assert [Path(hit.path).name for hit in index.search("red", where=Where(camera=f"box {i}"))] == [
                f"{i}.jpg"
            ]
        with index.writing() as writer:
            writer.compact()
    write_picture(photos / "late.bmp", 999)
    embed_directory(photos, index)
    assert facts_by_name(index)["late.bmp"] == Facts(
        4,
        4,
        LONG_AGO,
        phash=facts_by_name(index)["late.bmp"].phash,
        is_file_date=True,  # type: ignore[union-attr]
    )
