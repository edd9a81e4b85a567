"""Features are computed once for what they are of, go on where they were killed, and name what cannot be read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.data.pixels import pixels_of
from export.features.features import features_of
from export.layers import ScalePixels
from export.trunk.sources import open_trunk
from itl_infer.captions import CaptionDataset
from itl_infer.errors import ImageError
from itl_infer.image import ImageRules, load_pixels
from itl_infer.image.batches import decode_ahead
from tests.export.helpers import SIDE, SMALL_TRUNK, Toy, toy_features, toy_trunk
from tests.places import ROOT


def test_features_are_computed_once_and_again_for_other_pixels(
    dataset: CaptionDataset, small_weights: Path, tmp_path: Path
) -> None:
    part, trunk = dataset.split("test"), open_trunk(SMALL_TRUNK, str(small_weights), side=SIDE)
    calls: list[tuple[float, float]] = []

    def compute(side: int = SIDE) -> np.ndarray:
        found = features_of(part, trunk.at(side), tmp_path, lambda done, total: calls.append((done, total)))
        assert found.failed == {}
        return found.array

    first = compute()
    assert first.shape == (10, trunk.feature_dim)
    assert calls[-1] == (10, 10)
    calls.clear()
    assert np.array_equal(compute(), first)
    assert calls == []
    assert not np.array_equal(compute(side=96), first)
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack([load_pixels(path, trunk.image_rules) for path in part.paths]))
        expected = trunk.network.eval()(ScalePixels(trunk.mean, trunk.std)(pixels)).numpy()
    assert np.abs(first - expected).max() < 1e-4


def test_a_pass_that_was_killed_goes_on_behind_the_last_row_that_counts(
    many: CaptionDataset, tmp_path: Path
) -> None:
    """A process is killed (SIGKILL) in the middle of it, and half a row is left behind what it wrote."""
    expected = np.array(toy_features(many, tmp_path / "whole"))
    code = f"""
import os
from pathlib import Path
import export.data.cached
from tests.export.helpers import noise_pictures, toy_features
export.data.cached._SYNC_SECONDS = 0
many = noise_pictures(Path({str(many.folder)!r}))
toy_features(many, Path({str(tmp_path)!r}), lambda done, _: os.kill(os.getpid(), 9) if done >= 160 else None)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert killed.returncode == -9
    (part,) = tmp_path.glob("features-*.part")
    with part.open("ab") as file:
        file.write(b"\xff" * 9000)

    calls: list[int] = []
    found = toy_features(many, tmp_path, lambda done, _total: calls.append(done))
    assert calls[0] == 160  # what counted when it was killed
    assert np.array_equal(found, expected)
    assert [path.suffix for path in tmp_path.iterdir() if path.name.startswith("features")] == [".npy"]


@pytest.mark.parametrize("counter", ["", "9999", "40"])
def test_rows_that_are_not_known_to_be_whole_are_computed_again(
    many: CaptionDataset, tmp_path: Path, counter: str
) -> None:
    """Whatever the counter says, no more rows are taken than there are, and none where it cannot be read."""
    expected = np.array(toy_features(many, tmp_path))
    (path,) = tmp_path.glob("features-*.npy")
    content = path.read_bytes()
    path.unlink()
    path.with_suffix(".part").write_bytes(content[: len(content) // 2])
    path.with_suffix(".rows").write_text(counter and json.dumps({"rows": int(counter), "failed": {}}))
    calls: list[int] = []
    assert np.array_equal(toy_features(many, tmp_path, lambda done, _total: calls.append(done)), expected)
    assert calls[0] == {"": 0, "9999": 149, "40": 40}[counter]


def test_features_alone_keep_no_pixels(many: CaptionDataset, tmp_path: Path) -> None:
    toy_features(many, tmp_path)
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["features"]


def test_the_cache_knows_pictures_pixels_weights_and_pooling(
    many: CaptionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever changes what a row would be, or which picture it belongs to, is computed anew."""

    def key(dataset: CaptionDataset, network: torch.nn.Module | None = None, **others: object) -> str:
        made: list[str] = []
        monkeypatch.setattr(
            "export.features.features.cached_rows", lambda path, *_rest: made.append(path.name)
        )
        features_of(dataset, replace(toy_trunk(network), **others), tmp_path, lambda _done, _total: None)
        return made[0]

    class Mean(Toy):
        def __init__(self, count_include_pad: bool) -> None:
            super().__init__()
            self.count_include_pad = count_include_pad

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=self.count_include_pad)
            return super().forward(mean)

    first = replace(many, examples=many.examples[:2])
    touched = replace(many, folder=tmp_path, examples=many.examples[:2])
    for example in touched:
        (tmp_path / example.image).write_bytes((many.folder / example.image).read_bytes())
    keys = [
        key(first),
        key(touched),
        key(replace(first, examples=first.examples[::-1])),
        key(first, side=31),
        key(first, resize="bilinear"),
        key(first, resize="bicubic-antialias"),
        key(first, mean=(0.0, 0.0, 0.0)),
        key(first, std=(255.0, 255.0, 255.0)),
        key(first, Toy(2.0)),
        key(first, torch.fx.symbolic_trace(Mean(True))),
        key(first, torch.fx.symbolic_trace(Mean(False))),
    ]
    assert len(set(keys)) == len(keys)
    assert key(first) == keys[0]


def test_decoding_goes_on_while_the_network_works_and_not_far_ahead(
    many: CaptionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def load(path: Path, rules: ImageRules) -> np.ndarray:
        decoded.append(path)
        return load_pixels(path, rules)

    monkeypatch.setattr("itl_infer.image.batches.load_pixels", load)
    batches = decode_ahead(many.paths, ImageRules(side=30))
    next(batches)
    for _ in range(500):  # the consumer is busy: five seconds at most
        if len(decoded) == 32 * 5 - 1:
            break
        time.sleep(0.01)
    assert len(decoded) == 32 * 5 - 1  # the batch in hand, and four ahead with the one that is waited for
    batches.close()
    assert len(decoded) == 32 * 5 - 1


def test_pictures_that_cannot_be_read_have_no_row_and_are_named(many: CaptionDataset, tmp_path: Path) -> None:
    for name in ("000.bmp", "001.bmp", "002.bmp", "003.bmp"):
        (tmp_path / name).write_bytes((many.folder / name).read_bytes())
    (tmp_path / "001.bmp").write_bytes(b"BM and no more")
    (tmp_path / "003.bmp").unlink()
    dataset = replace(many, folder=tmp_path, examples=many.examples[:4])
    expected = toy_features(replace(many, examples=(many.examples[0], many.examples[2])), tmp_path / "two")
    for cache in (
        "cache",
        "cache",
        "pixels",
    ):  # the second time from the file, the third from pixels that were kept
        if cache == "pixels":
            rules = toy_trunk().image_rules
            assert len(pixels_of(dataset, rules, tmp_path / cache, lambda _done, _total: None).array) == 2
        rows = features_of(dataset, toy_trunk(), tmp_path / cache, lambda _done, _total: None)
        assert list(rows.failed) == [str(tmp_path / "001.bmp"), str(tmp_path / "003.bmp")]
        assert np.array_equal(rows.array, expected)
    rest = dataset.without(rows.failed)
    assert [example.image for example in rest] == ["000.bmp", "002.bmp"]
    assert "001.bmp" in rest.describe()
    with pytest.raises(ImageError, match=r"001\.bmp"):
        list(decode_ahead(dataset.paths, toy_trunk().image_rules))


def test_a_pass_that_was_killed_knows_what_it_passed_over(many: CaptionDataset, tmp_path: Path) -> None:
    for example in many:
        shutil.copyfile(many.folder / example.image, tmp_path / example.image)
    for name in ("010.bmp", "200.bmp"):
        (tmp_path / name).write_bytes(b"BM and no more")
    dataset = replace(many, folder=tmp_path)
    expected = features_of(dataset, toy_trunk(), tmp_path / "whole", lambda _done, _total: None)
    calls: list[int] = []

    def stop(done: int, _total: int) -> None:
        calls.append(done)
        if done >= 100:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.data.cached._SYNC_SECONDS", 0)
        with pytest.raises(KeyboardInterrupt):
            features_of(dataset, toy_trunk(), tmp_path / "parts", stop)
    resumed: list[int] = []
    found = features_of(dataset, toy_trunk(), tmp_path / "parts", lambda done, _total: resumed.append(done))
    assert resumed[0] == calls[-1]
    assert list(found.failed) == list(expected.failed) == [str(tmp_path / n) for n in ("010.bmp", "200.bmp")]
    assert np.array_equal(found.array, expected.array)
