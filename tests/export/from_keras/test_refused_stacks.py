"""Stacks of layers that are not computed here are refused, and no code in them is run."""

from __future__ import annotations

import base64
import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.from_keras.stack import read_branch, text_encoder
from tests.export.from_keras.helpers import KERAS, TEXT_MODEL, Config, edited, layers_of, one_line


def set_layer(position: int, **changes: Any) -> Callable[[Config], object]:
    return lambda model: layers_of(model)[position].update(changes)


def set_config(position: int, **changes: Any) -> Callable[[Config], object]:
    return lambda model: layers_of(model)[position]["config"].update(changes)


def swap_last_two(model: Config) -> None:
    layers = layers_of(model)
    layers[-2:] = layers[:-3:-1]


class TestRefusedStacks:
    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (set_layer(2, class_name="LSTM"), "is a LSTM: only Dense"),
            (set_layer(2, class_name="Sequential"), "is a Sequential: only Dense"),
            (set_layer(2, class_name="Shady>Dense"), "is a Shady>Dense: only"),
            (set_layer(2, registered_name="Shady>Dense"), "is a Shady>Dense: only"),
            (set_layer(2, module="os"), "is a os.Dense: only"),
            (set_layer(2, class_name="ReLU", config={"name": "r", "max_value": 6}), "r is a ReLU: only"),
            (set_config(2, activation="tanh"), "has activation tanh: only relu and linear"),
            (set_config(2, activation={"registered_name": "Shady>f"}), "has activation Shady>f"),
            (set_config(2, units=5), "expected {'kernel': (3, 5), 'bias': (5,)}"),
            (set_config(2, use_bias=False), "expected {'kernel': (3, 4)}"),
            (set_config(2, name="gone"), "layer gone has weights missing"),
            (swap_last_two, "is a Lambda before the end; its code is never run"),
            (lambda model: layers_of(model).pop(2), "takes 4 values, the layers before it give 3"),
            (lambda model: layers_of(model).clear(), "does not begin with Dense"),
            (
                lambda model: model.update(class_name="MyModel"),
                "holds a MyModel: only Sequential and functional",
            ),
            (
                lambda model: layers_of(model)[2]["config"].pop("use_bias"),
                "is none that Keras writes (KeyError",
            ),
            (set_config(2, name="a\nb\x1b[2J"), "has no proper name"),
            (set_config(2, name=5), "has no proper name"),
            (set_layer(2, class_name="a\nb"), "has no proper name"),
            (lambda model: model.update(config=3), "is damaged or no Keras .h5 file"),
            (lambda model: model.pop("class_name"), "is damaged or no Keras .h5 file (KeyError"),
        ],
    )
    def test_sequential(self, edit: Callable[[Config], object], message: str, tmp_path: Path) -> None:
        path = edited(TEXT_MODEL, tmp_path, edit)
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert message in one_line(error)
        assert str(path) in str(error.value)

    def test_what_is_no_chain(self, tmp_path: Path) -> None:
        def second_input(model: Config) -> None:
            nodes = layers_of(model)[3]["inbound_nodes"]
            nodes[0].append([layers_of(model)[1]["name"], 0, 0, {}])

        def second_use(model: Config) -> None:
            layers_of(model)[1]["inbound_nodes"] = [[[layers_of(model)[4]["name"], 0, 0, {}]]]

        def second_output(model: Config) -> None:
            model["config"]["output_layers"].append([layers_of(model)[3]["name"], 0, 0])

        def side_branch(model: Config) -> None:
            layers_of(model)[-1]["inbound_nodes"] = layers_of(model)[-2]["inbound_nodes"]

        for edit, message in [
            (second_input, "has 2 inputs: only one chain"),
            (second_use, "is missing or used twice"),
            (second_output, "the model has 2 outputs"),
            (side_branch, "is not on the one chain"),
        ]:
            path = edited(KERAS / "keras2/functional.h5", tmp_path, edit)
            with pytest.raises(ExportError) as error:
                read_branch(path)
            assert message in one_line(error)

    def test_batch_norm_along_another_axis(self, tmp_path: Path) -> None:
        path = edited(KERAS / "keras3/sequential.h5", tmp_path, set_config(1, axis=0))
        with pytest.raises(ExportError, match="normalises along axis 0"):
            read_branch(path)


def marshalled(function: Callable[..., object]) -> str:
    return base64.encodebytes(marshal.dumps(function.__code__)).decode()


class TestLambda:
    def test_code_is_neither_run_nor_unmarshalled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def l2_normalize_and_more(x: Any) -> Any:
            (tmp_path / "ran").touch()
            return x

        def refuse(*_: object) -> None:
            raise AssertionError("unmarshalled")

        monkeypatch.setattr(marshal, "loads", refuse)
        path = edited(
            TEXT_MODEL, tmp_path, set_config(4, function=[marshalled(l2_normalize_and_more), None, None])
        )
        with torch.inference_mode():
            text_encoder(read_branch(path))(torch.tensor([[1]]))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"function": "l2_normalize", "function_type": "function"},
            {"function": {"class_name": "function", "config": "l2_normalize", "module": "keras.backend"}},
            {"function": [marshalled(lambda x: x / x.norm()), None, None], "name": "L2_norm"},
        ],
    )
    def test_known_by_its_name(self, changes: Config, tmp_path: Path) -> None:
        assert len(read_branch(edited(TEXT_MODEL, tmp_path, set_config(4, **changes)))) == 5

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"function": [marshalled(lambda x: x * 2), None, None]}, "is a Lambda, accepted only as L2"),
            ({"function": "softmax", "function_type": "function"}, "is a Lambda, accepted only as L2"),
            ({"function": {"class_name": "__lambda__", "config": {"code": "AAAA"}}}, "accepted only as L2"),
            ({"arguments": {"axis": 0}}, "normalises along axis 0"),
        ],
    )
    def test_anything_else_is_refused(self, changes: Config, message: str, tmp_path: Path) -> None:
        path = edited(TEXT_MODEL, tmp_path, set_config(4, **changes))
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert message in one_line(error)
