"""The bundle that is shipped: whole, small, as good as it says, and what the README says of it."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from export.postcards import catalogue
from itl_infer import Index, load_bundle, verify_bundle
from itl_infer.bundle import Bundle
from itl_infer.cli import main

ROOT = Path(__file__).parents[1]
STARTER = ROOT / "artifacts" / "starter"


@pytest.fixture(scope="module")
def starter() -> Bundle:
    return load_bundle(STARTER)


@pytest.fixture(scope="module")
def gallery(starter: Bundle) -> Index:
    assert starter.gallery_index_path is not None
    return Index.open(starter.gallery_index_path, starter, mode="r")


def shows(path: str, subject: str) -> bool:
    """Gallery files are named after the subjects in the picture, the setting and a number."""
    return f"-{subject}-" in f"-{Path(path).name}"


def test_it_verifies() -> None:
    report = verify_bundle(STARTER)
    assert report.ok, report.problems
    assert report.gallery_pictures == 140


def test_it_is_the_default() -> None:
    assert load_bundle().fingerprint == load_bundle(STARTER).fingerprint


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in STARTER.rglob("*") if file.is_file()) <= 30_000_000


def test_it_reaches_the_bar_it_was_built_for(starter: Bundle) -> None:
    drawn = starter.manifest["recall"]
    assert (drawn["pictures"], drawn["captions"]) == (1000, 5000)
    assert drawn["t2i"]["recall_at_10"] >= 0.95
    assert drawn["t2i"]["recall_at_1"] >= 0.65
    assert drawn["i2t"]["recall_at_10"] >= 0.95


def test_int8_costs_next_to_nothing(starter: Bundle) -> None:
    quantization = starter.manifest["quantization"]
    assert starter.manifest["precision"]["image_encoder"] == "int8"
    assert quantization["mean_cosine"] >= 0.99
    for way in ("t2i", "i2t"):
        for k in (1, 5, 10):
            figures = [
                quantization["recall"][precision][way][f"recall_at_{k}"] for precision in ("float32", "int8")
            ]
            assert abs(figures[0] - figures[1]) <= 0.01, (way, k, figures)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("qemu-x86_64"),
    reason="emulates an x64 CPU without VNNI: apt install qemu-user",
)
def test_int8_does_not_overflow_on_an_older_cpu(starter: Bundle, tmp_path: Path) -> None:
    """Without VNNI, u8 times s8 is summed in 16 bits unless onnxruntime is told not to: cosines fell to 0.7."""
    code = """if True:
        import numpy as np, sys
        from itl_infer import load_bundle
        golden = np.load(sys.argv[1] + "/golden.npz")
        found = load_bundle(sys.argv[1], threads=1).embed_pixels(golden["pixel_values"][:3])
        print((found * np.load(sys.argv[2])).sum(axis=1).min())
    """
    # What this CPU makes of them, which `bundle verify` has compared with torch.
    np.save(tmp_path / "here.npy", starter.embed_pixels(np.load(STARTER / "golden.npz")["pixel_values"][:3]))
    run = subprocess.run(
        [
            *("qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", code),
            *(str(STARTER), str(tmp_path / "here.npy")),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(run.stdout) > 0.999


def test_the_readmes_query_ranks_every_surfer_above_everything_else(gallery: Index) -> None:
    surfers = {path for path in gallery.paths if shows(path, "surfer")}
    assert len(surfers) >= 5
    first = gallery.search("surfer in a wave", k=len(surfers))
    assert {result.path for result in first} == surfers


@pytest.mark.parametrize("word", ["penguin", "electric guitar", "pizza", "owl"])
def test_other_subjects_are_found_first(gallery: Index, word: str) -> None:
    pictures = [path for path in gallery.paths if shows(path, word.replace(" ", "-"))]
    assert pictures
    assert gallery.search(word, k=1)[0].path in pictures


def test_most_of_what_is_drawn_is_found_by_its_name(gallery: Index) -> None:
    places = []
    for subject in catalogue().values():
        slug = subject.nouns[0].lower().replace(" ", "-")
        if pictures := {path for path in gallery.paths if shows(path, slug)}:
            results = gallery.search(subject.nouns[0], k=len(gallery))
            places.append(next(result.rank for result in results if result.path in pictures))
    assert len(places) > 100
    assert np.mean(np.array(places) == 1) > 0.65
    assert np.mean(np.array(places) <= 3) > 0.8


def test_a_query_alone_and_in_a_batch_of_a_thousand_gives_the_same(starter: Bundle, tmp_path: Path) -> None:
    stems = Path(STARTER / "vocabulary.txt").read_text(encoding="utf-8").split()
    queries = ["surfer in a wave", *map(" ".join, pairwise(stems[:1000]))]
    (tmp_path / "queries.txt").write_text("\n".join(queries) + "\n", encoding="utf-8")
    runner = CliRunner()
    batch = runner.invoke(main, ["batch", str(tmp_path / "queries.txt"), "-m", str(starter.path)])
    assert batch.exit_code == 0, batch.output
    answers = [json.loads(line) for line in batch.stdout.splitlines()]
    assert len(answers) == len(queries)
    for number in (0, 1, 500, len(queries) - 1):
        if "error" in answers[number]:
            continue
        alone = runner.invoke(main, ["query", queries[number], "-m", str(starter.path), "--format", "json"])
        assert json.loads(alone.stdout) == answers[number]
    assert sum("error" in answer for answer in answers) < len(answers) / 10


def test_a_text_is_embedded_the_same_beside_any_others(starter: Bundle) -> None:
    rng = np.random.default_rng(0)
    texts = [rng.choice(600, rng.integers(1, 12), replace=False) + 1 for _ in range(300)]
    together = starter.embed_ids(texts)
    for size in (1, 2, 3, 4, 5, 7, 13, 100):
        for _ in range(20):
            some = rng.choice(len(texts), size)
            np.testing.assert_array_equal(starter.embed_ids([texts[i] for i in some]), together[some])


def readme_block(after: str) -> str:
    """The fenced block that follows a text in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(re.escape(after) + r".*?```[a-z]*\n(.*?)```", text, re.DOTALL)
    assert found, after
    return found[1]


def test_the_readme_shows_what_the_query_prints(starter: Bundle) -> None:
    shown = [line.split() for line in readme_block('itl-infer query "surfer in a wave"\n```\n').splitlines()]
    printed = CliRunner().invoke(main, ["query", "surfer in a wave", "-m", str(starter.path)]).stdout
    for line, expected in zip(printed.splitlines()[1:], shown[1:], strict=True):
        rank, score, path = line.split()
        assert (rank, Path(path).name) == (expected[0], Path(expected[2]).name)
        assert float(score) == pytest.approx(float(expected[1]), abs=0.02)  # int8 differs between processors


def test_the_readme_gives_the_bundles_own_figures(starter: Bundle) -> None:
    recall = starter.manifest["recall"]
    block = readme_block("captions.jsonl` prints this):")
    rows = {line[:13].strip(): re.sub(r"\[.*?\]", "", line[13:]).split() for line in block.splitlines()}
    for label, way in (("text to image", "t2i"), ("image to text", "i2t")):
        figures = [f"{100 * recall[way][f'recall_at_{k}']:.1f}" for k in (1, 5, 10)]
        assert rows[label][:3] == figures
    assert recall["split_sha256"][:12] in block
