"""How fast a published page answers in Chromium: python -m tests.benchmarks.published

Publishes vectors as those of 10,000 and 100,000 pictures with the shipped bundle, opens the engine over
`http.server` in a real browser, and prints how long loading, the first answer and later ones take; and what the ranking
of Python takes for the same. Nothing else should keep the machine busy. Needs playwright and a Chromium.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from itl_infer import load_bundle, rank
from itl_infer.publish.index_data import write_vectors
from itl_infer.publish.text_data import write_text_data
from tests.chromium import CHROMIUM
from tests.runtime.publish.helpers import serving_engine

PICTURES = (10_000, 100_000)
QUERIES = 60

_MEASURE = """
async (texts) => {
  const now = () => performance.now();
  const start = now();
  const engine = await open();
  const taken = [now() - start];
  for (const text of texts) {
    if (taken.length === 2) await engine.fetchAhead();
    const asked = now();
    await engine.search(text, { k: 60, explain: false });
    taken.push(now() - asked);
  }
  const explained = now();
  await engine.search(texts[0], { k: 60, explain: true });
  return [...taken, now() - explained];
}
"""


def measure(pictures: int, folder: Path) -> dict[str, Any]:
    """Milliseconds, and megabytes of vectors, for so many pictures that lie around words of the bundle."""
    bundle = load_bundle()
    random = np.random.default_rng(0)
    words = bundle.words[:1000]
    texts = [" ".join(random.choice(words, 4)) for _ in range(QUERIES)]
    around = bundle.embed_texts([" ".join(random.choice(words, 6)) for _ in range(2000)])
    rows = around[random.integers(len(around), size=pictures)] + random.normal(
        size=(pictures, 128), scale=0.1
    )
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    write_text_data(bundle, folder)
    written = write_vectors(rows, folder)
    size = sum(file["bytes"] for name, file in written.items() if name.startswith("vectors"))
    with serving_engine(folder) as url, sync_playwright() as started:
        page = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
        page.goto(url)
        opened, first, *later, explained = page.evaluate(_MEASURE, texts)
    vectors = bundle.embed_texts(texts)
    begun = time.perf_counter()
    for vector in vectors:
        rank(vector[None], rows, 60)
    return {
        "pictures": pictures,
        "MB of vectors": size / 1e6,
        "open, ms": opened,
        "first answer, ms": first,
        "later answers, median, ms": median(later),
        "the fastest and the slowest of them, ms": [min(later), max(later)],
        "explained, ms": explained,
        "Python's ranking alone, ms": 1000 * (time.perf_counter() - begun) / QUERIES,
    }


def main() -> int:
    for pictures in PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(pictures, Path(folder))
        print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
