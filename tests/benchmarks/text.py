"""Captions in, embeddings out: how many a second, how soon one, and what reading forms of words as one costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from export.data.forms import TABLE, text_rules
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
