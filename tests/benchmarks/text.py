"""Captions in, embeddings out: how many a second, how soon one, and what forms and carried words cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from export.data.forms import TABLE, text_rules
from itl_infer import load_bundle
from itl_infer.bundle.manifest import CARRIED, MANIFEST, write_manifest
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor, WordForms, build_vocabulary, collect_spellings
from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import samples

CAPTIONS = 20_000
COMPARED = 10_000


def tables(ground: Ground) -> Iterator[Table]:
    bundle = ground.starter
    drawn = np.random.default_rng(0).choice(bundle.words, (CAPTIONS, 4))
    # As people write them: some need NLTK's tokenizer, which takes 50 times as long.
    patterns = ["a {} and two {} in front of the {}, near a {} ."] * 19 + [
        "the {}'s {} in front of a {} and two {} ."
    ]
    captions = [patterns[i % len(patterns)].format(*words) for i, words in enumerate(drawn)]
    ids = [bundle.parse_query(caption).ids for caption in captions]
    parsing, graph, both, single, table_read = samples(
        lambda: [bundle.parse_query(caption) for caption in captions],
        lambda: bundle.embed_ids(ids),
        lambda: bundle.embed_texts(captions),
        lambda: bundle.embed_texts(["a surfer in a wave"]),
        lambda: WordForms.parse(TABLE.read_bytes()).sha256,
        rounds=5,
    )
    table = Table(f"Text, {CAPTIONS:,} captions of 12 words", ("what", "captions/s"))
    for name, times in (("words to ids", parsing), ("ids to embeddings", graph), ("both", both)):
        table.add(name, spread(1000 * CAPTIONS / times, 0))
    table.add("one at a time", spread(1000 / single, 0))
    table.at_least("captions a second", 20_000, spread(1000 * CAPTIONS / both))
    table.at_most("one caption, ms", 1, spread(single))
    table.at_most("reading the table of forms, once for a bundle that is opened, ms", 2, spread(table_read))
    yield table

    # The same captions by the rules of before and of today, each with a vocabulary of its own.
    some = captions[:COMPARED]
    processors = []
    for rules in (NLTK_TEXT_RULES, text_rules()):
        stems = build_vocabulary(some, rules)
        processors.append(TextProcessor(rules, stems, collect_spellings(some, rules, stems)))
    known = len(bundle.words)  # rows of the text graph

    def embed(processor: TextProcessor) -> None:
        bundle.embed_ids([[min(word, known) for word in processor.parse(text).ids] for text in some])

    stemmed, formed = samples(lambda: embed(processors[0]), lambda: embed(processors[1]), rounds=7)
    table = Table(f"Forms of words as one, {COMPARED:,} captions to embeddings", ("rules", "captions/s"))
    table.add("every stem by itself", spread(1000 * COMPARED / stemmed, 0))
    table.add("forms as one", spread(1000 * COMPARED / formed, 0))
    table.at_most("time, forms as one to every stem by itself", 1.05, spread(formed / stemmed))
    yield table

    # The same bundle with its table of carried words and without: known words never ask for it.
    without = load_bundle(_without_table(bundle.path, ground.folder / "without"))
    before, after = samples(lambda: without.embed_texts(some), lambda: bundle.embed_texts(some), rounds=7)
    known, carried = samples(
        lambda: load_bundle(bundle.path).embed_texts(["a lighthouse at night"]),
        lambda: load_bundle(bundle.path).embed_texts(["a minaret at night"]),
        rounds=9,
    )
    table = Table(
        f"Carried words, {COMPARED:,} captions of known words to embeddings", ("table", "captions/s")
    )
    table.add("without", spread(1000 * COMPARED / before, 0))
    table.add("with", spread(1000 * COMPARED / after, 0))
    table.at_most("time, with the table to without", 1.05, spread(after / before))
    table.at_most("what a carried word adds to the first query of a process, ms", 5, spread(carried - known))
    yield table


def _without_table(bundle: Path, folder: Path) -> Path:
    shutil.copytree(bundle, folder)
    (folder / CARRIED).unlink()
    write_manifest(folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    return folder
