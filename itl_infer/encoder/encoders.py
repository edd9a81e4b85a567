"""What runs the graphs of a bundle: onnxruntime sessions whose inputs and outputs are what the manifest promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.cpus import usable_cpus
from itl_infer.encoder.graph import check_graph
from itl_infer.encoder.runtime import limited_options, onnxruntime, within
from itl_infer.encoder.weighted import WEIGHTS, with_weights
from itl_infer.errors import BundleError, is_shortage_of_memory, reason_of
from itl_infer.vectors import are_unit_rows

_INT8 = "DequantizeLinear"  # the kind of node that is in every int8 graph
_COMPUTED_EARLY = 16  # nodes, at most, of which onnxruntime may make larger constants while it opens a graph
_SECONDS_TO_OPEN = 60.0
_SILENT = 4  # what fails is raised
_SECONDS_OF_TEXTS = 10.0  # for a block of them
_SECONDS_OF_A_PICTURE = 10.0
# An ONNX graph of one node: c = MatMulInteger(a, b), a (1, 4) uint8, b (4, 1) int8, each value of b 127.
_PRODUCT = (
    b'\x08\x04:X\n\x18\n\x01a\n\x01b\x12\x01c"\rMatMulInteger\x12\x01g*\x0f\x08\x04\x08\x01\x10\x03B\x01bJ\x04'
    b"\x7f\x7f\x7f\x7fZ\x13\n\x01a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02\x08\x04b\x13\n\x01c\x12\x0e"
    b"\n\x0c\x08\x06\x12\x08\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\n"
)


class _Port(NamedTuple):
    """An input or the output of a graph."""

    name: str
    type: str
    shape: tuple[int | None, ...]  # None: any size


class _Encoder:
    """An onnxruntime session whose inputs and output are what the manifest promises; thread safe."""

    def __init__(
        self, graph: bytes, where: str, inputs: tuple[_Port, ...], embed_dim: int, threads: int | None
    ) -> None:
        self._where = where
        self._embed_dim = embed_dim
        self._session = _open_session(graph, where, threads)
        self._check("input", self._session.get_inputs(), inputs)
        output = _Port("embeddings", "tensor(float)", (None, embed_dim))
        self._check("output", self._session.get_outputs(), (output,))

    def _check(self, role: str, nodes: Any, expected: tuple[_Port, ...]) -> None:
        found = [
            _Port(node.name, node.type, tuple(n if isinstance(n, int) else None for n in node.shape))
            for node in nodes
        ]
        fits = len(found) == len(expected) and all(
            port[:2] == promised[:2] and _shape_fits(port.shape, promised.shape)
            for port, promised in zip(found, expected, strict=True)
        )
        if not fits:
            raise BundleError(
                f"{self._where}: the graph's {role} is {_described(found) or 'missing'},"
                f" the manifest says {_described(expected)}: export the bundle again"
            )

    def _run(self, inputs: Mapping[str, npt.NDArray[Any]], seconds: float) -> npt.NDArray[np.float32]:
        """Within `seconds`; an interrupt ends it at once."""
        run_options = onnxruntime().RunOptions()
        run_options.log_severity_level = _SILENT

        def stop() -> None:
            run_options.terminate = True

        try:
            (embeddings,) = within(seconds, lambda: self._session.run(None, inputs, run_options), stop)
        except TimeoutError as error:
            raise BundleError(
                f"{self._where}: the graph did not end within {seconds:.0f} s: give it more CPUs, or use another bundle"
            ) from error
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"{self._where}: the graph failed: {reason_of(error)}") from error
        expected = (len(next(iter(inputs.values()))), self._embed_dim)
        if embeddings.shape != expected:
            raise BundleError(
                f"{self._where}: the graph gave {embeddings.shape}, the manifest says"
                f" {expected}: export the bundle again"
            )
        result: npt.NDArray[np.float32] = embeddings
        return result


class ImageEncoder(_Encoder):
    """pixel_values (N, side, side, 3) uint8 to embeddings (N, embed_dim) float32, unit rows."""

    def __init__(
        self, graph: bytes, where: str, *, side: int, embed_dim: int, threads: int | None = None
    ) -> None:
        pixels = _Port("pixel_values", "tensor(uint8)", (None, side, side, 3))
        super().__init__(graph, where, (pixels,), embed_dim, threads)

    def embed(self, pixel_values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """All at once, or in halves where there is not enough memory for that."""
        seconds = _SECONDS_OF_A_PICTURE * max(1, len(pixel_values))
        try:
            return self._run({"pixel_values": pixel_values}, seconds)
        except BundleError as error:
            if error.__cause__ is None or not is_shortage_of_memory(error.__cause__):
                raise
            if len(pixel_values) < 2:
                raise BundleError(
                    f"{self._where}: not enough memory to embed one picture: close other programs, or allow more"
                ) from error
            half = len(pixel_values) // 2
            return np.concatenate([self.embed(pixel_values[:half]), self.embed(pixel_values[half:])])


_IDS = _Port("input_ids", "tensor(int64)", (None, None))


class TextEncoder(_Encoder):
    """input_ids (N, T) int64, padded with 0, to embeddings (N, embed_dim) float32, unit rows."""

    def __init__(self, graph: bytes, where: str, *, embed_dim: int, threads: int | None = None) -> None:
        super().__init__(graph, where, (_IDS,), embed_dim, threads)

    def embed(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        embeddings = self._run({"input_ids": input_ids}, _SECONDS_OF_TEXTS)
        require_unit_rows(embeddings, self._where)
        return embeddings


class WeightedTextEncoder(_Encoder):
    """input_ids (N, T) int64 and their weights (N, T) float32 to embeddings (N, embed_dim) float32, unit rows.

    The same graph as that of `TextEncoder`, in which the row of each id is multiplied by its weight. Raises BundleError
    where it has no sum over rows.
    """

    def __init__(self, graph: bytes, where: str, *, embed_dim: int, threads: int | None = None) -> None:
        try:
            weighted = with_weights(graph, _IDS.name)
        except ValueError as error:
            raise BundleError(
                f"{where}: words cannot be carried in this graph ({error}): export the bundle again"
            ) from error
        weights = _Port(WEIGHTS, "tensor(float)", (None, None, 1))
        super().__init__(weighted, where, (_IDS, weights), embed_dim, threads)

    def embed(
        self, input_ids: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        embeddings = self._run({"input_ids": input_ids, WEIGHTS: weights[:, :, None]}, _SECONDS_OF_TEXTS)
        require_unit_rows(embeddings, self._where)
        return embeddings


def require_unit_rows(embeddings: npt.NDArray[np.float32], where: str) -> None:
    """Raise BundleError where what a graph gave is not of unit length, or no number."""
    if not are_unit_rows(embeddings).all():
        raise BundleError(
            f"{where}: the graph gave what is no unit vector: run `itl-infer bundle verify`, or export the bundle again"
        )


def _open_session(graph: bytes, where: str, threads: int | None) -> Any:
    try:
        content = check_graph(graph)
    except ValueError as error:
        raise BundleError(
            f"{where}: not a graph that onnxruntime is given here: {error}: export the bundle again"
        ) from error
    options = limited_options()
    options.intra_op_num_threads = threads or usable_cpus()
    options.inter_op_num_threads = 1
    # Threads that wait for work sleep: they would take the CPU from those that read pictures, or from whatever else
    # the program that uses this does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if _INT8 in content.operators and sums_of_products_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")  # slower instructions, but right
    # What is computed when a graph is run, and not before, is within its limits of memory.
    disabled = ["ConstantFolding"] if content.computed_early > _COMPUTED_EARLY else []
    module = onnxruntime()
    try:
        return within(
            _SECONDS_TO_OPEN,
            lambda: module.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
            ),
        )
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise BundleError(
            f"{where}: not a graph that onnxruntime {module.__version__} can open: {reason_of(error)}"
        ) from error


def _shape_fits(found: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    """A size that the graph leaves open fits anything; where any size is expected, it must be left open."""
    return len(found) == len(expected) and all(
        size is None or size == promised for size, promised in zip(found, expected, strict=True)
    )


def _described(ports: Iterable[_Port]) -> str:
    return ", ".join(
        f"{name} {kind} [{', '.join('any' if size is None else str(size) for size in shape)}]"
        for name, kind, shape in ports
    )


@cache
def sums_of_products_overflow() -> bool:
    """True on x64 without VNNI, where onnxruntime sums unsigned times signed bytes in 16 bits.

    Embeddings of an int8 bundle would then be wrong: cosines of 0.7 to what they should be were seen.
    """
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime().InferenceSession(_PRODUCT, options, providers=["CPUExecutionProvider"])
    [[[found]]] = session.run(None, {"a": np.full((1, 4), 255, np.uint8)})
    return int(found) != 4 * 255 * 127
