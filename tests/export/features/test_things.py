"""Small things in pictures are learned to be seen, from views of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.features.recipe import ThingsRecipe
from export.features.things import ThingsHead, things_seen, train_things_head
from export.features.views import maps_in, views_of
from tests.export.colours import ball_scores, colour_pictures, colour_trunk, quiet


def test_a_head_learns_to_see_what_is_small(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 64)
    view = views_of(pictures, colour_trunk(), tmp_path / "cache", quiet).array
    assert maps_in(view) == ["map0", "map1"]
    assert view["map0"].shape == (64, 3, 8, 8)
    scores, known = ball_scores(pictures).rows(pictures.paths)
    assert known.all()
    recipe = ThingsRecipe(epochs=30, batch_size=16, warm_up=2)
    head = train_things_head([view], np.arange(64), scores, recipe, tmp_path / "head")
    seen = things_seen(head, view)
    assert seen.shape == (64, 2)
    with_ball = scores[:, 0] > 0
    assert seen[with_ball, 0].min() > seen[~with_ball, 0].max()
    assert seen[:, 1].max() < 0.2  # no elephants


def test_a_thing_is_as_much_there_wherever_it_is() -> None:
    torch.manual_seed(0)
    head = ThingsHead([(torch.zeros(2), torch.ones(2)), (torch.zeros(3), torch.ones(3))], 4).eval()
    fine, coarse = torch.randn(1, 2, 12, 12), torch.randn(1, 3, 6, 6)
    shifted = torch.roll(fine, (4, 4), (2, 3)), torch.roll(coarse, (2, 2), (2, 3))
    inner = torch.zeros_like(fine), torch.zeros_like(coarse)  # away from the edges, which are padded
    inner[0][:, :, 4:6, 4:6], inner[1][:, :, 2, 2] = fine[:, :, 4:6, 4:6], coarse[:, :, 2, 2]
    moved = [torch.roll(m, s, (2, 3)) for m, s in zip(inner, ((2, 2), (1, 1)), strict=True)]
    assert torch.allclose(head(*inner), head(*moved), atol=1e-4)
    assert head(*shifted).shape == (1, 4)


def test_nothing_to_see_is_refused(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 8)
    view = views_of(pictures, colour_trunk(), tmp_path / "cache", quiet).array
    with pytest.raises(ExportError, match="nothing to learn"):
        train_things_head([view], np.arange(8), np.zeros((8, 2), np.float32), ThingsRecipe(), tmp_path)
    blind = colour_trunk(map_layers=(), pool_layer="")
    view = views_of(pictures, blind, tmp_path / "cache", quiet).array
    with pytest.raises(ExportError, match="it is not known which layers of the trunk have its maps"):
        train_things_head([view], np.arange(8), np.ones((8, 2), np.float32), ThingsRecipe(), tmp_path)


def test_views_are_of_one_trunk_side_and_mirror(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 12)
    (pictures.folder / pictures.examples[5].image).write_bytes(b"no picture")
    trunk = colour_trunk()
    rows = views_of(pictures, trunk, tmp_path / "cache", quiet)
    assert [Path(path).name for path in rows.failed] == [pictures.examples[5].image]
    assert len(rows.array) == 11
    features = rows.array["features"]
    red, mixed = features[0], rows.array["map0"][0].astype(np.float32)
    assert red[:3] == pytest.approx(red[6:9], abs=1e-3)  # the mean is that of the map
    assert red[3:6] == pytest.approx(
        rows.array["map1"][0].max(axis=(1, 2)), abs=1e-3
    )  # the largest comes behind it
    mirrored = views_of(pictures, trunk, tmp_path / "cache", quiet, mirrored=True).array["map0"][0]
    assert np.allclose(mirrored, mixed[:, :, ::-1], atol=1e-3)
    assert not np.allclose(mirrored, mixed, atol=1e-3)
    kept = len(list((tmp_path / "cache").glob("views-*.npy")))
    other = colour_trunk(mean=(1.0, 0.0, 0.0))
    for changed in (trunk.at(20), other, colour_trunk(map_layers=("coarse",))):
        views_of(pictures, changed, tmp_path / "cache", quiet)
        assert len(list((tmp_path / "cache").glob("views-*.npy"))) == (kept := kept + 1)
    views_of(pictures, trunk, tmp_path / "cache", quiet)
    assert len(list((tmp_path / "cache").glob("views-*.npy"))) == kept
