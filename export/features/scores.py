"""How much of each of some named things is in each picture, as a detector or any other teacher says it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.utils import Extractor

from export.data.cached import Progress, cached_rows
from export.data.pixels import pictures_key
from export.errors import ExportError
from itl_infer.captions import CaptionDataset
from itl_infer.errors import ImageError, reason_of
from itl_infer.image import ImageRules
from itl_infer.image.batches import decode_ahead

_COCO_NAMES = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
    skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple,
    sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining
    table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
    refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_NAMES = tuple(" ".join(name.split()) for name in _COCO_NAMES.split(","))
DETECTOR_SIDE = 320  # pixels; at 416 it ranks no better (mAP 0.82, 0.80), and takes twice as long
_BATCH = 8


@dataclass(frozen=True)
class NamedScores:
    """Of each picture, by its path with all links followed, float32 (K,) scores from 0 to 1 of the things `names`."""

    names: tuple[str, ...]
    of: dict[str, np.ndarray[Any, Any]]

    def rows(self, paths: Iterable[Path]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(N, K) scores of these pictures, 0 where nothing is known, and bool (N,), whether it is.

        Raises ExportError where nothing is known of any.
        """
        nothing = np.zeros(len(self.names), np.float32)
        found = [self.of.get(str(path.resolve())) for path in paths]
        known = np.array([scores is not None for scores in found], dtype=bool)
        if not known.any():
            first = next(iter(self.of), "none")
            raise ExportError(
                f"the scores of things are of none of the {len(known):,} pictures to train on: the first is of {first}"
            )
        return np.stack([nothing if scores is None else scores for scores in found]), known


def detector_scores(detector: Path, dataset: CaptionDataset, cache: Path, progress: Progress) -> NamedScores:
    """What YOLOX (Ge et al. 2021, arXiv:2107.08430), trained on COCO, sees in each readable picture.

    A thing's score is the largest objectness times class score over all places. Raises ExportError for another file.
    """
    network = _Detector(detector)
    rules = ImageRules(DETECTOR_SIDE, "bicubic-antialias")

    def compute(start: int, failed: list[ImageError]) -> Iterator[np.ndarray[Any, Any]]:
        for pixels in decode_ahead(dataset.paths[start:], rules, failed):
            yield np.concatenate(
                [network.scores(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)]
            )

    path = cache / f"things-{pictures_key(dataset, rules, network.sha256)}.npy"
    rows = cached_rows(path, (len(COCO_NAMES),), np.float32, len(dataset), compute, progress)
    readable = [str(path.resolve()) for path in dataset.paths if str(path) not in rows.failed]
    return NamedScores(COCO_NAMES, dict(zip(readable, rows.array, strict=True)))


class _Detector:
    """YOLOX's graph up to its maps of scores: without what is made of them, it takes any side."""

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ExportError(
                f"{path}: {reason_of(error)}: give the ONNX file of a YOLOX detector"
            ) from error
        try:
            model = onnx.load_from_string(content)
            graph = _up_to(model, _score_maps(model))
            self._session = onnxruntime.InferenceSession(
                graph.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            [probe] = self.scores(np.zeros((1, 64, 64, 3), np.uint8))
        except Exception as error:  # protobuf's, onnx's and onnxruntime's for what is no such graph, or cut
            raise ExportError(
                f"{path} is not the ONNX file of a YOLOX detector ({type(error).__name__}): no scores can be had of it"
            ) from error
        if len(probe) != len(COCO_NAMES):
            raise ExportError(f"{path} tells {len(probe)} things apart, expected COCO's {len(COCO_NAMES)}")
        self.sha256 = hashlib.sha256(content).hexdigest()

    def scores(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(n, K) of uint8 RGB (n, S, S, 3), S a multiple of 32."""
        inputs = np.ascontiguousarray(pixels[..., ::-1].transpose(0, 3, 1, 2)).astype(
            np.float32
        )  # BGR, 0 to 255
        maps = self._session.run(None, {self._session.get_inputs()[0].name: inputs})
        found = [
            (objectness * classes).max(axis=(2, 3))
            for objectness, classes in zip(maps[::2], maps[1::2], strict=True)
        ]
        return np.max(found, axis=0)  # type: ignore[no-any-return]


def _score_maps(model: onnx.ModelProto) -> list[str]:
    """The maps of objectness and of class scores, one pair behind the other: what is put together with the boxes."""
    return [
        name
        for node in model.graph.node
        if node.op_type == "Concat" and len(node.input) == 3 and "reg_preds" in node.input[0]
        for name in node.input[1:]
    ]


def _up_to(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph that `outputs` need, for any number of pictures of any side."""
    [source] = model.graph.input
    for place, name in ((0, "n"), (2, "height"), (3, "width")):
        source.type.tensor_type.shape.dim[place].dim_param = name
    del model.graph.value_info[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    return Extractor(model).extract_model([source.name], list(outputs))


def read_scores(path: Path, folder: Path) -> NamedScores:
    """Scores that somebody else's tagger or detector gave: a Parquet file with the columns file, name and score.

    Files are relative to `folder`. A thing that is not listed for a picture that is has score 0. Raises ExportError.
    """
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ExportError(f"{path}: Parquet needs pyarrow: pip install 'itl-infer[parquet]'") from error
    try:
        table = parquet.read_table(path, columns=["file", "name", "score"]).to_pydict()
        files, things = ([str(value) for value in table[column]] for column in ("file", "name"))
        scores = np.array(table["score"], np.float32)
    except Exception as error:  # pyarrow raises half a dozen types for a file it cannot read
        raise ExportError(
            f"{path} cannot be read ({' '.join(str(error).split())[:200]}): give a Parquet file with the columns file,"
            " name and score"
        ) from error
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ExportError(f"{path}: score {scores[at]} of {things[at]!r} in {files[at]}, expected 0 to 1")
    names = tuple(dict.fromkeys(things))
    if not names:
        raise ExportError(f"{path} has no rows")
    column = {name: place for place, name in enumerate(names)}
    of: dict[str, np.ndarray[Any, Any]] = {}
    for file, name, score in zip(files, things, scores, strict=True):
        row = of.setdefault(str((folder / file).resolve()), np.zeros(len(names), np.float32))
        row[column[name]] = max(row[column[name]], score)
    return NamedScores(names, of)
