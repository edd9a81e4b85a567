"""Pictures with captions, a trunk that has seen them, and a bundle built of both. None is to be changed.

What needs the extra is imported where it is used: pytest reads this file where the extra is missing, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.data.postcards.draw import draw_postcards, find_font
from export.errors import ExportError
from itl_infer.captions import CaptionDataset, read_json_lines
from itl_infer.evaluation import evaluate_labelled
from itl_infer.image import load_pixels


@pytest.fixture(scope="session", autouse=True)
def translations_read_once() -> Iterator[None]:
    """Torch reads its 500 translations of operators for each graph anew, which takes longer than a small graph."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CaptionDataset:
    try:
        font = find_font()
    except ExportError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("postcards")
    return read_json_lines(draw_postcards(folder, train=70, val=8, test=10, seed=1, font=font))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, dataset: CaptionDataset) -> Path:
    """InceptionV3."""
    return _weights("inception_v3", tmp_path_factory.mktemp("weights") / "trunk.pth", dataset)


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory, dataset: CaptionDataset) -> Path:
    from tests.export.helpers import SMALL_TRUNK

    return _weights(SMALL_TRUNK, tmp_path_factory.mktemp("weights") / "trunk.pth", dataset)


def _weights(trunk: str, path: Path, dataset: CaptionDataset) -> Path:
    """An untrained trunk whose batch norms know the data's statistics, as those of a trained one do."""
    import torch

    from export.trunk.sources import open_trunk
    from export.trunk.state import save_trunk
    from tests.export.helpers import RULES

    torch.manual_seed(0)
    opened = open_trunk(trunk, "none")
    network = opened.network.train()
    for module in network.modules():
        if isinstance(
            module, torch.nn.BatchNorm2d
        ):  # timm's begin as nothing, and equal biases are one in a graph
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            module.momentum = 0.88  # as twenty passes with a tenth each leave it
    pixels = np.stack([load_pixels(path, RULES) for path in dataset.paths[:32]])
    with torch.no_grad():
        network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1)
    save_trunk(opened, path)
    return path


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory, dataset: CaptionDataset, small_weights: Path
) -> tuple[Path, dict[str, dict[str, float]]]:
    from export.report import Reporter
    from export.runs.build import build
    from tests.export.helpers import SETTINGS

    folder = tmp_path_factory.mktemp("build")
    settings = replace(SETTINGS, trunk_weights=str(small_weights))
    labelled = folder / "labels.json"
    labelled.write_text(json.dumps({"street": [example.image for example in dataset][:3]}), encoding="utf-8")
    figures = build(
        dataset,
        settings,
        folder / "work",
        folder / "bundle",
        Reporter(),
        also_measure=lambda bundle: evaluate_labelled(labelled, bundle, images=dataset.folder).summary(),
        card=lambda manifest: f"# {manifest['name']}\n",
    )
    return folder / "bundle", figures


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> CaptionDataset:
    """300 pictures of noise, which need no font."""
    from tests.export.helpers import noise_pictures

    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for i in range(300):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{i:03}.bmp")
    return noise_pictures(folder)
