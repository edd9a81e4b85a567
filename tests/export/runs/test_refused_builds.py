"""What cannot be built of, and what of the data is left out: said before training begins."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner

from export.cli import main
from export.errors import ExportError
from export.report import Reporter
from export.runs.build import build
from itl_infer.captions import CaptionDataset, read_captions
from tests.export.helpers import SETTINGS


def test_a_missing_split_is_named(dataset: CaptionDataset, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no val pictures: give it train, val and test splits"):
        build(
            CaptionDataset("half", dataset.folder, dataset.split("train").examples),
            SETTINGS,
            tmp_path,
            tmp_path,
            Reporter(),
        )


def test_a_side_too_small_for_inception_is_refused(dataset: CaptionDataset, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="side 64 is too small for inception_v3: 75 pixels at least"):
        build(
            dataset,
            replace(SETTINGS, trunk="inception_v3", trunk_weights="none", side=64),
            tmp_path,
            tmp_path,
            Reporter(),
        )


class Lines(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said += line.splitlines()


def test_build_says_which_captions_have_no_known_word_and_which_pictures_are_left_out(
    many: CaptionDataset, small_weights: Path, tmp_path: Path
) -> None:
    """Before training begins, with file and line."""
    rows = []
    for i, split in enumerate(["train", "train", "val", "test", "test"]):
        shutil.copyfile(many.paths[i], tmp_path / f"{i}.bmp")
        rows.append({"image": f"{i}.bmp", "captions": ["a dog", "a cat"], "split": split})
    rows[1]["captions"] = ["a dog", "the"]
    rows[2]["captions"] = ["a xyzzy", "two dogs", " "]
    (tmp_path / "4.bmp").write_bytes(b"no picture")
    (tmp_path / "5.bmp").write_bytes(b"nobody said anything of this one")
    rows.append({"image": "6.bmp", "captions": ["a dog"], "split": "train"})
    captions = tmp_path / "c.jsonl"
    captions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    class UntilWork(Lines):
        def say(self, line: str) -> None:
            if line.startswith("Training"):
                raise InterruptedError
            super().say(line)

    reporter, settings = UntilWork(), replace(SETTINGS, trunk_weights=str(small_weights))
    with pytest.raises(InterruptedError):
        build(read_captions(captions), settings, tmp_path / "work", tmp_path / "out", reporter)
    for reason, place in (
        ("skipped 1: empty caption", f"{captions}:3: 2.bmp"),
        ("skipped 1: no such picture", f"{captions}:6: 6.bmp"),
        ("skipped 1: picture without captions", f"{tmp_path}: 5.bmp"),
        (
            "skipped 1: not a JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL or RAW picture",
            f"{tmp_path}/4.bmp: 4.bmp",
        ),
        ("2: caption without a known word", f"{captions}:2: 1.bmp: the"),
    ):
        assert reporter.said[reporter.said.index(f"  {reason}") + 1] == f"    {place}"
    assert f"    {captions}:3: 2.bmp: a xyzzy" in reporter.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.jpg#0\tA caf\xe9 .\n", "c.token:1: not UTF-8 (byte 0xe9): save the file as UTF-8"),
        (b"1.jpg#0\t \n", "no captions found: first, {}:1: 1.jpg: empty caption"),
        (b"2.jpg#0\tA dog .\n", "none of its 1 pictures is in"),
        (b'{"image": "1.jpg", "captions": ["A"]}\n' * 2, "c.token:2: 1.jpg is listed before, at {}:1"),
    ],
    ids=["encoding", "empty", "missing pictures", "duplicate"],
)
def test_build_with_captions_that_cannot_be_used_ends_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "1.jpg").touch()
    captions = tmp_path / "c.token"
    captions.write_bytes(content)
    options = ["--captions", str(captions), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    result = CliRunner().invoke(main, ["build", *options])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message.format(captions) in line
    assert [path.name for path in tmp_path.iterdir()] in (["1.jpg", "c.token"], ["c.token", "1.jpg"])
