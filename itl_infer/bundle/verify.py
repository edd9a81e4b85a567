"""Whether a bundle is whole: its files against their hashes, what it computes here against the golden embeddings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.bundle.bundle import load_bundle
from itl_infer.bundle.files import RESTORE
from itl_infer.bundle.manifest import (
    GOLDEN,
    IMAGE_GRAPH,
    TEXT_GRAPH,
    VOCABULARY,
)
from itl_infer.errors import BundleError


@dataclass(frozen=True)
class VerifyReport:
    """What `verify_bundle` found; `ok` where nothing differs."""

    path: Path
    files: int
    gallery_pictures: int
    image_min_cosine: float | None  # of the worst golden picture; None where it could not be embedded
    text_min_cosine: float | None
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_bundle(path: str | os.PathLike[str] | None = None, *, threads: int | None = None) -> VerifyReport:
    """Compare every file with its hash, and what the graphs compute here with the golden embeddings.

    Raises BundleError only where the manifest itself cannot be used; all else is in the report.
    """
    from itl_infer.bundle.golden import read_golden  # with zipfile and what that needs, which no search does

    bundle = load_bundle(path, threads=threads)
    files, gallery_files = bundle.checked.files, bundle.checked.gallery_files or {}
    problems: dict[str, None] = {}  # an ordered set: a damaged graph is met twice
    for name in [*files, *gallery_files]:
        with _noted(problems):
            bundle.read_file(name)
    with _noted(problems):
        bundle.check_carried()
    image_cosine = text_cosine = None
    with _noted(problems):
        golden = read_golden(bundle)
        image_cosine = _min_cosine(bundle.embed_pixels(golden.pixel_values), golden.image_embeddings)
        parsed = [bundle.parse_text(caption).ids for caption in golden.captions]
        for caption, ids, row in zip(golden.captions, parsed, golden.input_ids, strict=True):
            if set(ids) != set(row.tolist()) - {0}:
                raise BundleError(
                    f"{bundle.path / VOCABULARY}: {caption!r} has other ids than in {GOLDEN}; {RESTORE}"
                )
        text_cosine = min(
            _min_cosine(bundle.text_encoder().embed(golden.input_ids), golden.text_embeddings),
            _min_cosine(bundle.embed_ids(parsed), golden.text_embeddings),
        )
    for graph, cosine, demanded in (
        (IMAGE_GRAPH, image_cosine, bundle.checked.image_min_cosine),
        (TEXT_GRAPH, text_cosine, bundle.checked.text_min_cosine),
    ):
        if cosine is not None and not cosine >= demanded:
            problem = f"min cosine to the golden embeddings is {cosine:.6f}, expected {demanded} or more"
            problems[f"{bundle.path / graph}: {problem}; {RESTORE}"] = None
    return VerifyReport(
        path=bundle.path,
        files=len(files),
        gallery_pictures=len(gallery_files),
        image_min_cosine=image_cosine,
        text_min_cosine=text_cosine,
        problems=tuple(problems),
    )


def _min_cosine(embeddings: npt.NDArray[np.float32], golden: npt.NDArray[np.float32]) -> float:
    """The worst cosine of unit rows, as 1 - |a - b|^2 / 2, which punishes rows of another length too."""
    return float(1 - np.square(embeddings.astype(np.float64) - golden).sum(axis=1).max() / 2)


@contextlib.contextmanager
def _noted(problems: dict[str, None]) -> Iterator[None]:
    try:
        yield
    except BundleError as error:
        problems[str(error)] = None
