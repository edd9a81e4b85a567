"""The image graph beside torch, and beside OpenVINO where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from tests.benchmarks.ground import Graphs, Ground, open_graph
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import samples

BATCH = 16
_ROUNDS = 5

Engine = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


def tables(ground: Ground) -> Iterator[Table]:
    for side in ground.sides:
        graphs = ground.graphs(side)
        pixels = graphs.pixels[:BATCH]
        engines = dict(_engines(graphs))
        exact = engines["torch, eager"](pixels)
        cosines = [float((engine(pixels) * exact).sum(axis=1).min()) for engine in engines.values()]
        times = samples(
            *(lambda engine=engine, x=pixels: engine(x) for engine in engines.values()), rounds=_ROUNDS
        )
        rates = dict(zip(engines, 1000 * BATCH / times, strict=True))
        table = Table(
            f"Image graph at {side} px, images/s, batches of {BATCH}",
            ("engine", "images/s", "times onnxruntime float32", "lowest cosine to torch"),
        )
        for (name, rate), cosine in zip(rates.items(), cosines, strict=True):
            times_float = spread(rate / rates["onnxruntime, float32"])
            table.add(name, spread(rate, 1), times_float, f"{cosine:.5f}")
            if name == "onnxruntime, int8":
                table.at_least(f"graph at {side} px, int8 / float32", 2.5, times_float)
        yield table


def _engines(graphs: Graphs) -> Iterator[tuple[str, Engine]]:
    encoder = graphs.encoder
    channels_last = _torch_engine(encoder, channels_last=True)
    yield "torch, eager", _torch_engine(encoder, channels_last=False)
    yield "torch, channels last", channels_last
    for name, path in (("float32", graphs.float32), ("int8", graphs.int8)):
        session = open_graph(path)
        yield f"onnxruntime, {name}", lambda x, s=session: s.run(None, {"pixel_values": x})[0]
    if find_spec("openvino"):
        import openvino

        core = openvino.Core()
        kinds = (
            ("float32", graphs.float32, "f32"),
            ("bf16", graphs.float32, "bf16"),
            ("int8", graphs.int8, "f32"),
        )
        for name, path, precision in kinds:
            hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
            compiled = core.compile_model(core.read_model(str(path)), "CPU", hints)
            yield f"OpenVINO, {name}", lambda x, c=compiled: c({0: x})[0]


def _torch_engine(encoder: torch.nn.Module, *, channels_last: bool) -> Engine:
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def run(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        encoder.to(memory_format=layout)  # nothing to do but for the first time
        with torch.inference_mode():
            scaled = encoder.scale_pixels(torch.from_numpy(x)).contiguous(memory_format=layout)
            branch = encoder.branch(encoder.trunk(scaled))
            return torch.nn.functional.normalize(branch).numpy()  # type: ignore[no-any-return]

    return run
