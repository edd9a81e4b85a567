"""The vectors of an index for a published page: codes that are ranked by, and finer ones for the order of the best.

A row is scale * (code + fine / 254), 16 bits a number. By codes alone, 8 bits, pictures that are close change places
among the ten best of one query in three, so a browser fetches the fine codes of those few that may be among the best.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.publish.caption_graph import quantize
from itl_infer.publish.files import Written, write_file, write_json

FORMAT = 1  # as in browser/engine.js
_PART_BYTES = 1_000_000  # of a file of codes, at most: several workers share them
_FINE_ROWS = 256  # in a file of fine codes: few are needed, from here and there
_FINE_STEPS = 254  # into which one step of the codes is parted


def write_vectors(embeddings: npt.NDArray[np.float32], folder: Path) -> Written:
    """Write unit rows (N, D) for `browser/vectors.js` into `folder`, and return the files with their hashes.

    vectors-NNN.bin are scales and codes, in files of at most 1 MB, all of which a visitor fetches; fine-NNNNN.bin the
    fine codes of 256 rows each, fetched as needed; vectors.json says how many there are. Rows of codes are filled up
    with zeros to a multiple of 8.
    """
    rows, dim = embeddings.shape
    width = -(-dim // 8) * 8
    written: Written = {}
    step = max(1, _PART_BYTES // (width + 4) // _FINE_ROWS) * _FINE_ROWS
    for part, start in enumerate(range(0, rows, step)):
        block = np.asarray(embeddings[start : start + step], np.float32)
        codes, scales = quantize(np.pad(block, ((0, 0), (0, width - dim))))
        write_file(
            folder, f"vectors-{part:03}.bin", scales.astype("<f4").tobytes() + codes.tobytes(), written
        )
        fine = np.zeros_like(codes)
        left = block / scales[:, None] - codes[:, :dim]
        fine[:, :dim] = np.rint(left * _FINE_STEPS).clip(-127, 127)
        for first in range(0, len(block), _FINE_ROWS):
            name = f"fine-{(start + first) // _FINE_ROWS:05}.bin"
            write_file(folder, name, fine[first : first + _FINE_ROWS].tobytes(), written)
    description = {
        "format": FORMAT,
        "rows": rows,
        "dim": dim,
        "width": width,
        "rows_per_part": step,
        "rows_per_fine_part": _FINE_ROWS,
        "fine_steps": _FINE_STEPS,
    }
    write_json(folder, "vectors.json", description, written)
    return written
