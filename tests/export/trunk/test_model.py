"""The network: shapes, one owner of pixel scaling, and weights that are loaded whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import BinaryIO

import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.encoders import ImageEncoder, TextEncoder, image_branch
from export.errors import ExportError
from export.layers import ScalePixels
from export.trunk.inception import inception_v3
from export.trunk.sources import open_trunk
from export.trunk.state import save_trunk
from export.trunk.torchvision_models import torchvision_models
from export.trunk.trunk import Trunk
from tests.places import ROOT


def open_inception(weights: object) -> Trunk:
    return open_trunk("inception_v3", str(weights))


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    torch.manual_seed(0)
    return inception_v3()


def test_full_width_trunk_without_head_or_second_scaling(trunk: Trunk) -> None:
    network = trunk.network.eval()
    assert network.transform_input is False
    assert network.AuxLogits is None
    assert sum(p.numel() for p in network.parameters()) == 21_785_568  # InceptionV3 without classifier
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 96, 96)).shape == (2, 2048)


def test_scale_pixels() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1).expand(1, 1, 2, 3)
    assert ScalePixels((127.5,) * 3, (127.5,) * 3)(pixels)[0, :, 0].tolist() == [[-1, 1]] * 3
    assert ScalePixels((0,) * 3, (255,) * 3)(pixels)[0, :, 0].tolist() == [[0, 1]] * 3


def test_embeddings_are_unit_rows_of_128(trunk: Trunk) -> None:
    images = ImageEncoder(trunk, image_branch(2048)).eval()
    pixels = torch.randint(0, 255, (3, 96, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        embeddings = images(pixels)
        texts = TextEncoder(50).eval()(torch.tensor([[3, 7, 0], [5, 0, 0]]))
    assert embeddings.shape == (3, 128)
    assert texts.shape == (2, 128)
    for rows in (embeddings, texts):
        assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5)


def test_text_encoder_is_a_dense_layer_over_the_binary_bag() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(20, 16, 8).eval()
    bag = torch.zeros(1, 21)
    bag[0, [4, 9, 17]] = 1
    hidden = torch.relu(bag @ encoder.stems.weight + encoder.bias)
    expected = torch.nn.functional.normalize(encoder.branch(hidden))
    for ids in ([[4, 9, 17]], [[17, 4, 9]], [[9, 0, 17, 4, 0, 0]]):  # order and padding do not matter
        assert torch.allclose(encoder(torch.tensor(ids)), expected, atol=1e-6)


def test_a_saved_trunk_comes_back_whole(trunk: Trunk, tmp_path: Path) -> None:
    save_trunk(trunk, tmp_path / "trunk.pth")
    loaded = open_inception(tmp_path / "trunk.pth")
    assert loaded.weights_sha256 == trunk.weights_sha256
    assert open_inception("none").weights_sha256 != trunk.weights_sha256
    assert loaded.classifier is None


def test_a_trunk_gets_its_name_when_it_is_whole(
    trunk: Trunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later build takes trunk.pth for a trained one."""

    def killed(_state: object, file: BinaryIO) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_trunk(trunk, tmp_path / "trunk.pth")
    assert not (tmp_path / "trunk.pth").exists()


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file laid out like torchvision's own: with classifier and auxiliary head."""
    torch.manual_seed(5)
    full = torchvision_models().inception_v3(weights=None, aux_logits=True, init_weights=False)
    path = tmp_path_factory.mktemp("weights") / "inception_v3_google-0cc3c7bd.pth"
    torch.save(full.state_dict(), path)
    return path


def test_a_file_of_torchvisions_layout_loads(torchvision_file: Path) -> None:
    trunk = open_inception(torchvision_file)
    saved = torch.load(torchvision_file, weights_only=True)
    assert torch.equal(
        trunk.network.state_dict()["Mixed_7c.branch_pool.conv.weight"],
        saved["Mixed_7c.branch_pool.conv.weight"],
    )
    assert trunk.network.transform_input is False
    assert trunk.classifier is not None
    assert torch.equal(trunk.classifier.weight, saved["fc.weight"])
    assert (len(trunk.class_names), trunk.class_names[0]) == (1000, ("tench", "Tinca tinca"))


def test_imagenet_weights_come_from_torchvision_with_their_hash_checked(
    torchvision_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision_models().Inception_V3_Weights.IMAGENET1K_V1
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(torchvision_file.read_bytes())  # as if downloaded before
    assert open_inception("imagenet").weights_sha256 == open_inception(torchvision_file).weights_sha256

    cached.unlink()  # now it must come from somewhere, and torchvision's file name holds the hash it must have

    def download(url: str, target: str, hash_prefix: str | None, **_: object) -> None:
        asked.append((Path(url).name, hash_prefix))
        Path(target).write_bytes(torchvision_file.read_bytes())

    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    open_inception("imagenet")
    assert asked == [("inception_v3_google-0cc3c7bd.pth", "0cc3c7bd")]


def test_imagenet_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        ExportError, match=r"0cc3c7bd\.pth could not be fetched .* run again, or fetch it elsewhere"
    ):
        open_inception("imagenet")


def broken(name: str, state: dict[str, torch.Tensor]) -> object:
    return {
        "missing": {k: v for k, v in state.items() if k != "Conv2d_1a_3x3.conv.weight"},
        "shape": state | {"Conv2d_1a_3x3.conv.weight": torch.zeros(1)},
        "foreign": state | {"layer4.weight": torch.zeros(1)},
        "list": [1, 2],
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "lacks 1 of .* Conv2d_1a_3x3.conv.weight"),
        ("shape", r"Conv2d_1a_3x3.conv.weight is \(1,\), expected \(32, 3, 3, 3\)"),
        ("foreign", "not inception_v3's, the first is layer4.weight"),
        ("list", "holds a list, expected a state_dict"),
    ],
)
def test_other_weights_are_refused(trunk: Trunk, tmp_path: Path, name: str, message: str) -> None:
    torch.save(broken(name, trunk.network.state_dict()), tmp_path / "w.pth")
    with pytest.raises(ExportError, match=message):
        open_inception(str(tmp_path / "w.pth"))


def test_what_is_no_weight_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(ExportError, match=r"text\.pth is not a file of plain tensors"):
        open_inception(str(tmp_path / "text.pth"))
    with pytest.raises(ExportError, match=r"no trunk weights at .*absent\.pth"):
        open_inception(str(tmp_path / "absent.pth"))


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path(tmp_path / "ran").write_text, ("ran",))

    torch.save({"x": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(ExportError, match="not a file of plain tensors"):
        open_inception(str(tmp_path / "bomb.pth"))
    assert not (tmp_path / "ran").exists()


def test_torchvision_imports_beside_a_torch_without_its_operators() -> None:
    code = (
        "from export.trunk.torchvision_models import torchvision_models as models;"
        " print(models().inception_v3.__name__, models().__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["inception_v3", "torchvision.models"]
