"""What a published page needs of a bundle to read words and to embed them, as files for `browser/engine.js`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itl_infer.bundle import Bundle
from itl_infer.bundle.manifest import CARRIED, TEXT_GRAPH, VOCABULARY, WORDS
from itl_infer.errors import BundleError
from itl_infer.publish.caption_graph import CaptionBranch, read_caption_branch
from itl_infer.publish.files import Written, write_file, write_json
from itl_infer.publish.letters import letter_tables
from itl_infer.search.negation import WORD_TABLES
from itl_infer.text.languages import LISTS

FORMAT = 1  # as in browser/engine.js
_TOKENIZER, _STEMMER = "words", "snowball-english"  # what the page can do
_MIN_COSINE = 0.9999  # of what the page computes to what the graph does
_MEND = "publish with another bundle, such as the shipped one"
_MOST_CHECKED = 32  # ids of the vocabulary


def write_text_data(bundle: Bundle, folder: Path) -> Written:
    """Write what the page reads text by into `folder`, and return the files with their hashes.

    text.json has the vocabulary and all rules, text.bin the caption branch; carried.tsv and languages.txt are fetched
    only for a word that is not in the vocabulary. Raises BundleError where the bundle is damaged, or reads text or
    embeds it in a way that the page does not know.
    """
    rules = bundle.text_rules
    manifest = bundle.path / "bundle.json"
    if rules.tokenizer != _TOKENIZER or rules.stemmer != _STEMMER:
        raise BundleError(
            f"{manifest}: a page reads text by the tokenizer {_TOKENIZER!r} and the stemmer {_STEMMER!r} only,"
            f" this bundle has {rules.tokenizer!r} and {rules.stemmer!r}: {_MEND}"
        )
    branch = _read_branch(bundle)
    written: Written = {}
    files = bundle.checked.files
    bundle.check_carried()
    if CARRIED in files:
        write_file(folder, CARRIED, bundle.read_file(CARRIED), written)
    write_file(folder, LISTS.name, LISTS.read_bytes(), written)
    write_file(folder, "text.bin", _content_of(branch), written)
    text = {
        "format": FORMAT,
        "bundle": bundle.name,
        "bundle_in_messages": repr(bundle.name),
        "domain": bundle.domain,
        "stop_words": rules.stop_words,
        "vocabulary": bundle.read_file(VOCABULARY).decode(),
        "words": bundle.read_file(WORDS).decode() if WORDS in files else None,
        "forms": rules.forms.content.decode(),
        "has_carried": CARRIED in files,
        "negation": {name: sorted(words) for name, words in WORD_TABLES.items()},
        "letters": letter_tables(),
        "caption": {
            "rows": len(branch.codes),
            "width": branch.codes.shape[1],
            "layers": [
                {"inputs": layer.weights.shape[1], "outputs": layer.weights.shape[0], "relu": layer.relu}
                for layer in branch.layers
            ],
        },
    }
    write_json(folder, "text.json", text, written)
    return written


def _read_branch(bundle: Bundle) -> CaptionBranch:
    """The caption branch, once it has been seen to agree with the graph."""
    where = bundle.path / TEXT_GRAPH
    try:
        branch = read_caption_branch(bundle.read_file(TEXT_GRAPH))
        checked = np.unique(np.linspace(1, len(branch.codes) - 1, _MOST_CHECKED).astype(int)).tolist()
        texts = [*([number] for number in checked), checked[:3], checked[-5:], checked]
        ours = np.array([branch.embed(ids) for ids in texts])
    except (ValueError, KeyError, IndexError) as error:
        raise BundleError(
            f"{where}: a page cannot compute this graph: {error}; it knows a sum of rows, dense layers and a"
            f" unit vector: {_MEND}"
        ) from error
    theirs = bundle.embed_ids(texts)
    cosine = float((ours * theirs).sum(axis=1).min()) if ours.shape == theirs.shape else 0.0
    if not cosine >= _MIN_COSINE:
        raise BundleError(
            f"{where}: a page would compute something else than this graph does (cosine {cosine:.4f}): {_MEND}"
        )
    return branch


def _content_of(branch: CaptionBranch) -> bytes:
    """Little-endian: the scales of the rows, weights and biases of each layer, and the codes of the rows."""
    layers = [part for layer in branch.layers for part in (layer.weights, layer.biases)]
    floats = b"".join(part.astype("<f4").tobytes() for part in (branch.scales, *layers))
    return floats + branch.codes.tobytes()
