"""The codes beside the vectors: the same answers with them, without them, and with wrong ones."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from itl_infer.encoder import products_are_fast
from itl_infer.index import Index, codes, schema
from itl_infer.index.check import check_index
from itl_infer.index.rows import Picture
from itl_infer.ranking import CodesError, coded, rank, scan
from tests.fake_bundle import FakeBundle

DIM = FakeBundle().embed_dim
CODES = "codes-000001.u8"

pytestmark = pytest.mark.skipif(not products_are_fast(), reason="codes are not read on this CPU")


@pytest.fixture(autouse=True)
def _by_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are used for few rows too, of few numbers, and nothing else answers."""
    monkeypatch.setattr(schema, "FEWEST_NUMBERS", 2000 * DIM)
    monkeypatch.setattr(coded, "FEWEST_NUMBERS", 2000 * DIM)
    monkeypatch.setattr(coded, "_FEWEST_FOR_ONE", 2000 * DIM)
    monkeypatch.setattr(coded, "_ROWS_FOR_EACH", 1)
    monkeypatch.setattr(coded, "_FEWEST_COLUMNS", 1)
    monkeypatch.setattr(scan, "_MOST_CANDIDATES", 1)


def unit_rows(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def add(index: Index, rows: np.ndarray, first: int = 0) -> None:
    """Commit rows, as if they were embeddings of pictures that are not there."""
    with index.writing() as writer:
        root = next(iter(writer.roots().values()), None) or writer.add_root(index.path.parent)
        for number, row in enumerate(rows, start=first):
            writer.add(Picture(root.id, b"%06d.jpg" % number, 1, 1, number.to_bytes(16, "little")), row)
        writer.commit()


@pytest.fixture
def filled(tmp_path: Path) -> Index:
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    add(index, unit_rows(3000))
    return index


def assert_right(index: Index, *, by_codes: bool = True) -> None:
    """The answers of floats, to the last bit."""
    queries = unit_rows(5, seed=1)
    expected, scores = rank(queries, index.embeddings, 7)
    found = list(index.snapshot.nearest(queries, 7))
    assert [[row for row, _ in best] for best in found] == expected.tolist()
    assert [[score for _, score in best] for best in found] == scores.tolist()
    codes = index.snapshot.codes
    assert (codes is not None and codes.of(index.embeddings) is not None) == by_codes


def test_codes_are_made_as_rows_are_added(filled: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    file = filled.path / CODES
    assert file.exists()
    assert_right(filled)
    for first, count in ((3000, 5), (3005, 500), (3505, 1)):
        add(filled, unit_rows(count, seed=first), first)
        monkeypatch.setattr(codes, "write_codes", None)  # the file is added to, not made again
        assert_right(Index.open(filled.path, mode="r"))
    assert check_index(filled.path).ok


def test_blocks_are_filled_one_after_the_other(filled: Index) -> None:
    add(filled, unit_rows(codes.BLOCK - 3000 + 100, seed=5), 3000)
    add(filled, unit_rows(3000, seed=6), codes.BLOCK + 100)
    assert_right(Index.open(filled.path, mode="r"))
    assert check_index(filled.path).ok


def test_a_small_index_has_none(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    add(index, unit_rows(1999))
    assert not (index.path / CODES).exists()
    assert_right(index, by_codes=False)


def test_hidden_rows_are_not_found(filled: Index) -> None:
    with filled.writing() as writer:
        root = next(iter(writer.roots()))
        for number in (3, 40, 41, 1500, 2990):
            writer.drop(root, b"%06d.jpg" % number)
        writer.commit()
    assert len(filled) == 2995
    assert_right(filled)


def test_a_compaction_makes_those_of_the_next_generation(filled: Index) -> None:
    with filled.writing() as writer:
        for number in range(0, 900):
            writer.drop(1, b"%06d.jpg" % number)
        writer.commit()
        writer.compact()
    assert [path.name for path in filled.path.glob("codes-*")] == ["codes-000002.u8"]
    assert_right(filled)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    place = len(content) - 5000
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def flipped_head(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


def of_another_version(content: bytes) -> bytes:
    return content[:8] + b"\x02" + content[9:]


@pytest.mark.parametrize("damage", [cut, flipped, flipped_head, of_another_version, lambda _: b"", None])
def test_wrong_codes_give_right_answers_and_are_made_again(filled: Index, damage, caplog) -> None:
    file = filled.path / CODES
    right = file.read_bytes()
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(right))
    assert check_index(filled.path).ok == (damage is None)
    assert_right(Index.open(filled.path, mode="r"))
    assert file.read_bytes() == right
    assert ("made again" in caplog.text) == (damage is not None)


@pytest.mark.parametrize("damage", [cut, flipped, flipped_head, None])
def test_a_repair_makes_them_again_and_nothing_else(filled: Index, damage) -> None:
    file = filled.path / CODES
    right = file.read_bytes()
    file.unlink() if damage is None else file.write_bytes(damage(right))
    report = check_index(filled.path, repair=True)
    assert report.codes_are_damaged == (damage is not None)
    assert file.read_bytes() == right
    assert check_index(filled.path).ok


def test_codes_of_another_index_are_seen(filled: Index, tmp_path: Path) -> None:
    other = Index.open(tmp_path / "other.itl", FakeBundle())
    add(other, unit_rows(3000, seed=9))
    shutil.copy(other.path / CODES, filled.path / CODES)
    assert_right(Index.open(filled.path, mode="r"))


def test_codes_that_do_not_fit_their_rows_are_given_up(
    filled: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no checksum and no stamp says so, a score from floats does."""
    monkeypatch.setattr(codes, "_stamp", lambda *_: 0)
    monkeypatch.setattr(codes, "checksum", lambda *_: 0)
    codes.write_codes(filled.path, filled.state)
    content = bytearray((filled.path / CODES).read_bytes())
    content[codes._HEAD_BYTES :] = bytes(255 - byte for byte in content[codes._HEAD_BYTES :])
    (filled.path / CODES).write_bytes(content)
    monkeypatch.setattr(scan, "checksum_of_sums", lambda *_: 0)
    opened = Index.open(filled.path, mode="r")
    found = opened.snapshot.codes.of(opened.embeddings)
    with pytest.raises(CodesError):
        rank(unit_rows(2), opened.embeddings, 3, codes=found)
    assert_right(Index.open(filled.path, mode="r"))


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="who may write everywhere cannot be kept from it"
)
def test_where_nothing_may_be_written_floats_answer(filled: Index) -> None:
    (filled.path / CODES).unlink()
    filled.path.chmod(0o500)
    try:
        assert_right(Index.open(filled.path, mode="r"), by_codes=False)
    finally:
        filled.path.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked to be killed")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("writes", range(4))
def test_killed_while_codes_are_written_nothing_is_lost(filled: Index, writes: int) -> None:
    child = os.fork()
    if child == 0:
        left, write = [writes], codes._write

        def killed(file, content: bytes) -> None:
            if not left[0]:
                write(file, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            write(file, content)

        codes._write = killed
        add(filled, unit_rows(200, seed=3), 3000)
        add(filled, unit_rows(200, seed=4), 3200)
        os._exit(0)
    os.waitpid(child, 0)
    index = Index.open(filled.path, FakeBundle())
    assert len(index) == (3200 if writes < 2 else 3400)
    assert_right(index)
    add(index, unit_rows(100, seed=5), len(index))
    assert_right(index)
    assert check_index(index.path).ok


def test_codes_take_a_quarter_of_the_vectors(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    add(index, unit_rows(20_000))
    sizes = [file.stat().st_size for file in (index.path / CODES, index.state.vectors_file(index.path))]
    assert sizes[0] <= 0.27 * sizes[1] + codes._HEAD_BYTES * (DIM < 128)
