"""A bundle gets its table of carried words after it was made: the same fingerprint, and names that find more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("wordfreq")
from export.bundle import carry as carry_module
from export.bundle.carry import carry, carry_if_possible
from export.data.carried import Sources
from export.data.vectors import WordVectors
from export.data.wordnet import WordNet
from export.errors import ExportError
from export.report import Reporter
from export.runs.carry import format_carried_names, measure_carried
from itl_infer import Index, embed_directory, load_bundle, verify_bundle
from tests.tiny_bundle import save_colours

_SYNSETS = {
    "n0": (["color"], []),
    "n1": (["red", "crimson", "ruby"], ["n0"]),
    "n2": (["green", "emerald"], ["n0"]),
    "n3": (["blue", "azure"], ["n0"]),
}


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def sources() -> Sources:
    words = {key: names for key, (names, _) in _SYNSETS.items()}
    senses = {name: [key] for key, names in words.items() for name in names}
    wordnet = WordNet(
        irregular={},
        words=words,
        kinds={key: kinds for key, (_, kinds) in _SYNSETS.items()},
        glosses={},
        synsets=senses,
        counts={},
        senses=senses,
        categories=dict.fromkeys(words, 6),
        instances=frozenset(),
        adverbs=frozenset(),
        names=frozenset(),
    )
    return Sources(wordnet, WordVectors({"wave": 0}, np.eye(1, 5, dtype=np.float32)))


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def test_the_fingerprint_stays_and_so_does_an_index(bundle: Path, sources: Sources, tmp_path: Path) -> None:
    save_colours(tmp_path / "pictures", ["red", "green", "blue"])
    before = load_bundle(bundle)
    index = Index.open(tmp_path / "photos.itl", before)
    embed_directory(tmp_path / "pictures", index)
    index.close()
    assert carry(bundle, sources, Reporter()) == 4
    after = load_bundle(bundle)
    assert after.fingerprint == before.fingerprint
    assert verify_bundle(bundle).ok
    assert [word.word for word in after.carried_words()] == ["azure", "crimson", "emerald", "ruby"]
    assert "Princeton" in (bundle / "carried.tsv").read_text(encoding="utf-8")
    index = Index.open(tmp_path / "photos.itl", after, mode="r")
    assert Path(index.search("an emerald", k=1)[0].path).name == "green.png"
    content = (bundle / "carried.tsv").read_bytes()
    carry(bundle, sources, Reporter())
    assert (bundle / "carried.tsv").read_bytes() == content


def test_without_what_it_takes_a_line_says_so(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Sources:
        raise ExportError("no vectors: install them")

    monkeypatch.setattr(carry_module, "read_sources", missing)
    told = Told()
    carry_if_possible(bundle, told)
    assert told.lines == ["Words that no caption has stay unknown: no vectors: install them"]
    assert not (bundle / "carried.tsv").exists()


def test_names_are_measured_as_if_they_were_unknown(bundle: Path, sources: Sources, tmp_path: Path) -> None:
    save_colours(tmp_path / "pictures", ["red", "green", "blue"])
    labels = tmp_path / "labels.json"
    labels.write_text(
        json.dumps({"red": ["red.png"], "wave": ["blue.png"], "zyzzyva": ["green.png"]}), encoding="utf-8"
    )
    found = measure_carried(bundle, labels, tmp_path / "pictures", sources, Reporter())
    assert [name.name for name in found] == ["red", "wave"]
    red, wave = found
    assert (red.known, wave.known) == (1, 1)
    assert {stem for stems, _ in red.meanings for stem in stems} <= {"green", "blue"}
    assert (wave.meanings, wave.carried) == ((), 0)  # no noun of this WordNet
    table = format_carried_names(found)
    assert table.splitlines()[-1].startswith("2 names of one word, mAP: unknown 0.")
    labels.write_text(json.dumps({"zyzzyva": ["green.png"]}), encoding="utf-8")
    with pytest.raises(ExportError, match="none of its names is one word that tiny knows"):
        measure_carried(bundle, labels, tmp_path / "pictures", sources, Reporter())
