"""State dicts of trunks: read from files of plain tensors, fitted tensor by tensor, and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.trunk.imagenet import IMAGENET_CLASSES, imagenet_names
from export.trunk.trunk import Trunk
from itl_infer.files import replacing

State = Mapping[str, Tensor]
# In files written here: what the last layer is called, and which entry says where the weights came from.
_CLASSIFIER, _SOURCE = "classifier", "source"


def read_state(path: Path) -> object:
    """What a .pth or .safetensors file holds; no code in it is run. Raises ExportError."""
    if not path.is_file():
        raise ExportError(
            f"no trunk weights at {path}: give imagenet, keras, none, the path of a .pth, .safetensors or .h5 file,"
            " or the folder of a bundle"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise ExportError(f"{path} is read by safetensors: pip install safetensors") from error
    except Exception as error:  # torch raises half a dozen types for a file it cannot read
        raise ExportError(
            f"{path} is not a file of plain tensors ({type(error).__name__}): save a state_dict with torch.save"
        ) from error


def with_state(
    trunk: Trunk,
    state: object,
    where: str,
    source: str,
    *,
    classifier: str | None,
    ignored: tuple[str, ...] = (),
) -> Trunk:
    """`trunk` with the tensors of `state`, every one of which must be its own; ExportError names what is not.

    `classifier` is what the published network calls its last layer: where `state` has it, or one that `save_trunk`
    wrote, the trunk has it too.
    Tensors whose names begin as `ignored` are left. `where` is for errors, `source` is what a bundle says of weights
    that do not say it themselves.
    """
    if not isinstance(state, Mapping):
        raise ExportError(f"{where} holds a {type(state).__name__}, expected a state_dict of {trunk.name}")
    if isinstance(said := state.get(_SOURCE), str):
        source = said
        state = {key: tensor for key, tensor in state.items() if key != _SOURCE}
    expected = trunk.network.state_dict()
    if missing := [key for key in expected if key not in state]:
        raise ExportError(
            f"{where} lacks {len(missing)} of {len(expected)} tensors of {trunk.name}, the first is {missing[0]}"
        )
    if classifier is None or f"{classifier}.weight" not in state:
        classifier = _CLASSIFIER
    last = {f"{classifier}.{kind}": kind for kind in ("weight", "bias")}
    foreign = [
        key for key in state if key not in expected and key not in last and not key.startswith(ignored)
    ]
    if foreign:
        raise ExportError(f"{where} has tensors that are not {trunk.name}'s, the first is {foreign[0]}")
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            raise ExportError(f"{where}: {key} is {tuple(state[key].shape)}, expected {tuple(tensor.shape)}")
    trunk.network.load_state_dict({key: state[key] for key in expected})
    trunk.network.eval()
    head = _linear(
        {kind: state[key] for key, kind in last.items() if key in state}, trunk, f"{where}: {classifier}"
    )
    names = imagenet_names() if head is not None and head.out_features == IMAGENET_CLASSES else ()
    return replace(trunk, source=source, classifier=head, class_names=names)


def _linear(tensors: State, trunk: Trunk, where: str) -> nn.Linear | None:
    """The last layer, where its tensors are there. Its bias may be missing."""
    if "weight" not in tensors:
        return None
    weight = tensors["weight"]
    if weight.ndim != 2 or weight.shape[1] != trunk.feature_dim:
        raise ExportError(f"{where} is {tuple(weight.shape)}, expected (classes, {trunk.feature_dim})")
    if "bias" in tensors and tensors["bias"].shape != weight.shape[:1]:
        raise ExportError(f"{where} has biases {tuple(tensors['bias'].shape)}, expected ({len(weight)},)")
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in tensors)
    linear.load_state_dict(tensors)
    return linear.eval().requires_grad_(False)


def save_trunk(trunk: Trunk, path: Path, *, source: str | None = None) -> None:
    """Write the state dict of a trunk's network, and of its classifier where it has one, for `--trunk-weights`.

    `source` is what a bundle is to say of them; None: the file's name. The file appears whole or not at all.
    """
    state: dict[str, Tensor | str] = dict(trunk.network.state_dict())
    if source is not None:
        state[_SOURCE] = source
    if trunk.classifier is not None:
        state |= {f"{_CLASSIFIER}.{key}": tensor for key, tensor in trunk.classifier.state_dict().items()}
    with replacing(path) as file:
        torch.save(state, file)
