"""What a trunk sees at large, by hand: each number once."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.trunk.maps import WithMaps, shapes_seen
from tests.export.colours import colour_trunk


def test_mean_and_largest_of_each_map_stand_there_once() -> None:
    """Both maps are means over blocks of the picture; the coarse one is what the features are the mean of."""
    trunk = colour_trunk()
    x = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        at_large, (fine, coarse) = WithMaps(trunk)(x)
    assert fine.shape == (2, 3, 8, 8)
    assert coarse.shape == (2, 3, 4, 4)
    own, largest, mean_of_fine, largest_of_fine = at_large.split(3, dim=1)
    torch.testing.assert_close(own, x.mean(dim=(2, 3)))
    torch.testing.assert_close(largest, coarse.amax(dim=(2, 3)))
    torch.testing.assert_close(mean_of_fine, x.mean(dim=(2, 3)))
    torch.testing.assert_close(largest_of_fine, fine.amax(dim=(2, 3)))
    assert shapes_seen(trunk) == (12, [(3, 8, 8), (3, 4, 4)])


def test_a_last_map_that_no_features_are_the_mean_of_is_told_too() -> None:
    assert shapes_seen(colour_trunk(pool_layer=""))[0] == 15  # own features; mean and largest of two maps
