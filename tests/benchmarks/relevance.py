"""What `--relevant` keeps and misses, beside fixed cuts: python -m tests.benchmarks.relevance CAPTIONS -d INDEX

CAPTIONS is the captions.jsonl of `python -m export postcards`; its val and test pictures are embedded into
INDEX first. Two kinds of query: a subject by its name, for which every picture that shows it is relevant, and
the first caption of each picture, for which that picture alone is. The fixed cut is the one with the best mean
F1 on the val split; all is measured on the test split. Prints a table in Markdown.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from itl_infer import Index, embed_directory, load_bundle
from itl_infer.captions.own import read_json_lines
from itl_infer.search.relevance import relevant_from

Queries = list[tuple[np.ndarray, np.ndarray]]  # of each kind: scores, and which pictures are relevant, (Q, N)


def measure(scores: np.ndarray, relevant: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Means over queries: precision, recall, F1, pictures kept, share of queries that keep none.

    Without a picture kept, precision is 0.
    """
    kept = scores >= cuts[:, None]
    hits = (kept & relevant).sum(axis=1)
    counts = kept.sum(axis=1)
    precision, recall = hits / np.maximum(counts, 1), hits / relevant.sum(axis=1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return np.array([column.mean() for column in (precision, recall, f1, counts, counts == 0)])


@click.command()
@click.argument("captions", type=click.Path(path_type=Path))
@click.option("-d", "--index", "index_path", type=click.Path(path_type=Path), required=True)
@click.option("-m", "--bundle", "bundle_path", type=click.Path(path_type=Path))
def main(captions: Path, index_path: Path, bundle_path: Path | None) -> None:
    dataset = read_json_lines(captions)
    bundle = load_bundle(bundle_path)
    index = Index.open(index_path, bundle)
    parts = {name: dataset.split(name) for name in ("val", "test")}
    embed_directory([path for part in parts.values() for path in part.paths], index)
    rows = {Path(path).name: row for row, path in enumerate(index.paths)}

    def queries(name: str) -> Queries:
        examples = parts[name].examples
        embeddings = index.embeddings[[rows[Path(example.image).name] for example in examples]]
        shown = [example.extra["subjects"] for example in examples]
        subjects = sorted({subject for subjects in shown for subject in subjects})
        by_subject = np.array([[subject in subjects for subjects in shown] for subject in subjects])
        texts = [example.captions[0] for example in examples]
        return [
            (bundle.embed_texts(subjects) @ embeddings.T, by_subject),
            (bundle.embed_texts(texts) @ embeddings.T, np.eye(len(texts), dtype=bool)),
        ]

    def fixed(kinds: Queries, cut: float) -> list[np.ndarray]:
        return [measure(scores, relevant, np.full(len(scores), cut)) for scores, relevant in kinds]

    val, test = queries("val"), queries("test")
    best = max(np.arange(0.3, 0.9, 0.01), key=lambda cut: sum(row[2] for row in fixed(val, cut)))
    lines = [(f"score >= {cut:.2f}", fixed(test, cut)) for cut in (0.5, 0.6, 0.7, 0.8)]
    lines.append((f"score >= {best:.2f}, the best on val", fixed(test, best)))
    rule = [
        measure(scores, relevant, np.array([relevant_from(row) for row in scores]))
        for scores, relevant in test
    ]
    lines.append(("`--relevant`", rule))
    print(f"bundle {bundle.name} ({bundle.fingerprint[:12]}), {len(parts['test'])} pictures;", end=" ")
    for (scores, relevant), kind in zip(test, ("subjects", "captions"), strict=True):
        print(f"{len(scores)} {kind}, {relevant.sum(axis=1).mean():.1f} relevant pictures each;", end=" ")
    print(
        "\n\n| kept | subject: precision | recall | F1 | kept | none | caption: precision | recall | F1",
        end="",
    )
    print(" | kept | none |\n|---|" + "---:|" * 10)
    for name, kinds in lines:
        cells = [
            f"{precision:.3f} | {recall:.3f} | {f1:.3f} | {kept:.1f} | {none:.1%}"
            for precision, recall, f1, kept, none in kinds
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
