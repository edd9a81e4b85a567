"""Gives a bundle its table of carried words: what it reads words as that no caption had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from export.data.carried import Sources, make_carried
from export.data.vectors import WordVectors
from export.data.wordnet import FOLDER, WordNet
from export.errors import ExportError
from export.features.scores import COCO_NAMES
from export.report import Reporter
from export.trunk.imagenet import imagenet_names
from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import CARRIED, write_manifest
from itl_infer.files import replacing
from itl_infer.text import format_carried

_LICENCE = Path(__file__).parents[1] / "data" / "forms.LICENCE"
_COMMENT = """Words that no caption had, and what this bundle reads them as, for itl-infer. With tabs between: a stem;
what makes a word of it, or "=" and the word; known stems with weights, those that are read together with "+" between.

From WordNet 3.0, the word vectors GloVe 6B (public domain), and wordfreq (Robyn Speer), by `python -m export carry`.
"""


def read_sources(wordnet: Path | None = None) -> Sources:
    """What words mean, of the folder of WordNet and the package of word vectors. Raises ExportError."""
    return Sources(WordNet.read(wordnet or FOLDER), WordVectors.read())


def pictured_names() -> Iterator[str]:
    """Names of things that networks know from pictures: those of ImageNet's classes, and COCO's."""
    for names in imagenet_names():
        yield from names
    yield from COCO_NAMES


def carry(folder: Path, sources: Sources, reporter: Reporter) -> int:
    """Write the table into the bundle `folder`, and its manifest anew; returns how many words it has.

    The fingerprint stays, and with it every index. Raises ExportError, BundleError.
    """
    bundle = load_bundle(folder)
    reporter.say(f"Looking for what {bundle.name} may read unknown words as")
    words = make_carried(bundle.text_processor(), pictured_names(), sources)
    comment = f"{_COMMENT}\n{_LICENCE.read_text(encoding='utf-8')}"
    with replacing(folder / CARRIED) as file:
        file.write(format_carried(words, comment))
    if write_manifest(folder, bundle.manifest).fingerprint != bundle.fingerprint:
        raise ExportError(f"{folder}: another bundle with its new table: indexes would be lost")
    load_bundle(folder).check_carried()
    return len(words)


def carry_if_possible(folder: Path, reporter: Reporter) -> None:
    """The same where WordNet, the vectors and the frequencies are there; else a line that says what is missing."""
    try:
        carry(folder, read_sources(), reporter)
    except ExportError as error:
        reporter.say(f"Words that no caption has stay unknown: {error}")
