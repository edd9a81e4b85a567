"""Files of models that are damaged, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

import h5py

from export.errors import ExportError
from export.from_keras.stack import read_branch
from export.limited import reader
from export.trunk.keras import keras_trunk
from tests.export.from_keras.helpers import FOUND, TEXT_MODEL, edited, one_line


class TestDamagedFiles:
    @pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, share: float, tmp_path: Path) -> None:
        content = TEXT_MODEL.read_bytes()
        path = tmp_path / "part.h5"
        path.write_bytes(content[: int(len(content) * share)])
        for read in (read_branch, keras_trunk):
            with pytest.raises(ExportError) as error:
                read(path)
            assert f"{path} is damaged or no Keras .h5 file" in one_line(error)

    def test_foreign(self, tmp_path: Path) -> None:
        path = tmp_path / "foreign.h5"
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(ExportError, match="damaged or no Keras"):
            read_branch(path)
        with h5py.File(path, "w") as file:
            file["measurements"] = np.zeros(3)
        with pytest.raises(ExportError, match="has no model_config: save the whole model"):
            read_branch(path)
        with pytest.raises(ExportError, match="has weights for measurements, which InceptionV3"):
            keras_trunk(path)
        for missing in (tmp_path / "absent.h5", tmp_path):
            with pytest.raises(ExportError, match="no file at"):
                read_branch(missing)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda kernel: kernel[()].astype(np.int8), "holds int8, expected floating point"),
            (lambda kernel: np.where(kernel[()] > 0, np.nan, kernel[()]), "has values that are no numbers"),
        ],
    )
    def test_weights_that_are_none(self, damage: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
        path, name = self._kernel(tmp_path)
        with h5py.File(path, "r+") as file:
            array = damage(file[name])
            del file[name]
            file[name] = array
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert message in one_line(error)

    def test_weights_that_lie_elsewhere_are_not_read(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret.bin"
        secret.write_bytes(bytes(1000))
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["kernel"] = np.zeros((8, 3), np.float32)

        def external_storage(file: h5py.File, name: str) -> None:
            file.create_dataset(name, (8, 3), np.float32, external=[(str(secret), 0, 96)])

        def external_link(file: h5py.File, name: str) -> None:
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "kernel")

        def virtual(file: h5py.File, name: str) -> None:
            layout = h5py.VirtualLayout((8, 3), np.float32)
            layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "kernel", (8, 3))
            file.create_virtual_dataset(name, layout)

        for place, message in [
            (external_storage, "lies in another file"),
            (external_link, "has weights {'bias': (3,)}"),
            (virtual, "lies in another file"),
        ]:
            path, name = self._kernel(tmp_path)
            with h5py.File(path, "r+") as file:
                del file[name]
                place(file, name)
            with pytest.raises(ExportError) as error:
                read_branch(path)
            assert message in one_line(error)

    def test_an_array_larger_than_its_file(self, tmp_path: Path) -> None:
        path, name = self._kernel(tmp_path)
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_dataset(name, (10**7, 10**7), np.float32, chunks=(10, 10))  # 400 TB of fill value
        with pytest.raises(ExportError, match="claims 400000000000000 bytes in a smaller file"):
            read_branch(path)

    def _kernel(self, folder: Path) -> tuple[Path, str]:
        """A copy of the text model, and the name of its first kernel."""
        path = edited(TEXT_MODEL, folder, lambda _: None)
        with h5py.File(path) as file:
            layer = str(file["model_weights"].attrs["layer_names"][0])
        return path, f"/model_weights/{layer}/{layer}/kernel:0"

    def test_many_arrays_of_nothing(self, tmp_path: Path) -> None:
        """None of which is larger than the file."""
        path, name = self._kernel(tmp_path)
        size = path.stat().st_size
        with h5py.File(path, "r+") as file:
            for number in range(20):
                file.create_dataset(f"{name}{number}", (size // 8,), np.float32, chunks=(10,))
        with pytest.raises(ExportError, match=r"claims \d+ bytes in a smaller file"):
            read_branch(path)

    def test_what_the_library_reads_for_ever(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "SECONDS", 0.5)
        path = tmp_path / "endless.h5"
        path.write_bytes((FOUND / "read-for-ever").read_bytes()[1:])
        with pytest.raises(ExportError) as error:
            read_branch(path)
        assert f"{path} is damaged or no Keras .h5 file (what reads it did not end within" in one_line(error)
        assert read_branch(TEXT_MODEL)  # by another process

    def test_a_clock_for_what_sleeps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "WALL_SECONDS", 0.2)
        sleeping = reader.LimitedReader("import time; time.sleep(60)", "Keras .h5 file")
        with pytest.raises(ExportError, match=r"what reads it did not end within \d+ s"):
            sleeping.read(TEXT_MODEL, 0)

    def test_a_reader_that_breaks_down(self) -> None:
        with pytest.raises(ExportError, match="what reads it broke down, status 77"):
            reader.LimitedReader("import os; os._exit(77)", "Keras .h5 file").read(TEXT_MODEL, 0)

    def test_nested_json_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "deep.h5"
        with h5py.File(path, "w", libver="latest") as file:
            file.attrs["model_config"] = "[" * 100_000
        with pytest.raises(ExportError, match="damaged or no Keras"):
            read_branch(path)

    def test_inception_without_all_its_layers(self, tmp_path: Path) -> None:
        path = tmp_path / "few.h5"
        with h5py.File(path, "w") as file:
            file["conv2d/conv2d/kernel:0"] = np.zeros((3, 3, 3, 32), np.float32)
        with pytest.raises(
            ExportError, match="has 1 convolutions and 0 batch norms, InceptionV3 has 94 of each"
        ):
            keras_trunk(path)

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            (None, (), "Conv2d_1a_3x3.conv.weight would be (1, 1, 1, 1), expected (32, 3, 3, 3)"),
            (
                "conv2d_5/kernel:0",
                (3,),
                "layer conv2d_5 has weights ['kernel'], expected one kernel of 4 axes",
            ),
            ("conv2d_5/bias:0", (1,), "layer conv2d_5 has weights ['bias', 'kernel']"),
            (
                "batch_normalization_5/gamma:0",
                (1,),
                "layer batch_normalization_5 has weights ['beta', 'gamma'",
            ),
            (
                "predictions/kernel:0",
                (1, 1),
                "has weights for predictions, which InceptionV3 without its top",
            ),
        ],
    )
    def test_inception_with_other_weights(
        self, name: str | None, shape: tuple[int, ...], message: str, tmp_path: Path
    ) -> None:
        arrays: dict[str, tuple[int, ...]] = {
            f"conv2d_{number}/kernel:0": (1, 1, 1, 1) for number in range(94)
        }
        for kind in ("beta", "moving_mean", "moving_variance"):
            arrays |= {f"batch_normalization_{number}/{kind}:0": (1,) for number in range(94)}
        if name:
            arrays[name] = shape
        path = tmp_path / "tiny.h5"
        with h5py.File(path, "w") as file:
            for key, size in arrays.items():
                file[key] = np.zeros(size, np.float32)
        with pytest.raises(ExportError) as error:
            keras_trunk(path)
        assert message in one_line(error)
