"""The names that were taught to an index, for a published page: the direction of each, and how all rows vary."""

from __future__ import annotations

from pathlib import Path

from itl_infer.index import Index
from itl_infer.publish.files import Written, write_file, write_json
from itl_infer.teaching import key_of

FORMAT = 1  # as in browser/engine.js


def write_names(index: Index, folder: Path) -> Written:
    """Write names for `browser/names.js` into `folder`, and return the files with their hashes.

    names.json has how each is found and written, names.bin float32 numbers: the covariance (D, D) of all rows, by which
    a name and words are weighed against each other, and a unit row of each name. Those whose examples are all gone are
    left out.
    """
    names, vectors = index.names.vectors()
    covariance = index.snapshot.moments.covariance
    written: Written = {}
    listed = [[key_of(name), name] for name in names]
    write_json(folder, "names.json", {"format": FORMAT, "dim": len(covariance), "names": listed}, written)
    content = covariance.astype("<f4").tobytes() + vectors.astype("<f4").tobytes()
    write_file(folder, "names.bin", content, written)
    return written
