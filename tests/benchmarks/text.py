"""Captions in, embeddings out: how many a second, and how soon one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.benchmarks.ground import Ground
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import samples

CAPTIONS = 20_000


def tables(ground: Ground) -> Iterator[Table]:
    bundle = ground.starter
    drawn = np.random.default_rng(0).choice(bundle.words, (CAPTIONS, 4))
    # As people write them: some need NLTK's tokenizer, which takes 50 times as long.
    patterns = ["a {} and two {} in front of the {}, near a {} ."] * 19 + [
        "the {}'s {} in front of a {} and two {} ."
    ]
    captions = [patterns[i % len(patterns)].format(*words) for i, words in enumerate(drawn)]
    ids = [bundle.parse_query(caption).ids for caption in captions]
    parsing, graph, both, single = samples(
        lambda: [bundle.parse_query(caption) for caption in captions],
        lambda: bundle.embed_ids(ids),
        lambda: bundle.embed_texts(captions),
        lambda: bundle.embed_texts(["a surfer in a wave"]),
        rounds=5,
    )
    table = Table(f"Text, {CAPTIONS:,} captions of 12 words", ("what", "captions/s"))
    for name, times in (("words to ids", parsing), ("ids to embeddings", graph), ("both", both)):
        table.add(name, spread(1000 * CAPTIONS / times, 0))
    table.add("one at a time", spread(1000 / single, 0))
    table.at_least("captions a second", 20_000, spread(1000 * CAPTIONS / both))
    table.at_most("one caption, ms", 1, spread(single))
    yield table
