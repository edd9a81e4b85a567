"""The words for classes of pictures, the captions composed from them, and what a bundle is measured on."""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.card import write_card
from export.errors import ExportError
from export.labelled.captioned import captioned
from export.labelled.compose import compose_captions, with_article
from export.labelled.folders import LabelledDataset, read_labelled
from export.labelled.lexicon import Activity, Lexicon, Thing, read_lexicon
from export.labelled.measure import format_measured, measure_labelled, measure_objects, read_objects
from export.lengths import draw_lengths, lengths
from export.report import Reporter
from export.starter import shorter_runs, where_from
from itl_infer.captions import join_datasets
from itl_infer.evaluation.metrics import average_precision
from itl_infer.image import ImageRules
from itl_infer.text import DEFAULT_TEXT_RULES, TextProcessor, build_vocabulary

SHARED = Path(__file__).parents[2] / "shared" / "labelled_photos"


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return read_lexicon()


@pytest.fixture(scope="module")
def captions(lexicon: Lexicon) -> dict[str, list[str]]:
    """A hundred pictures of every class."""
    return {
        label: [c for i in range(100) for c in compose_captions(entry, f"{label}/{i}")]
        for label, entry in lexicon.entries.items()
    }


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no labelled photographs at {SHARED}")
def test_every_class_of_the_photographs_has_its_words(lexicon: Lexicon) -> None:
    objects = json.loads((SHARED / "object_names.json").read_text(encoding="utf-8"))
    classes = {f"objects/{name}" for name in objects}
    with tarfile.open(SHARED / "photographs.tar.gz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(parts) >= 3 and parts[-3] == "objects":
                break  # one source after the other; the names of the last are known
            if len(parts) >= 4:
                classes.add(f"{parts[-4]}/{parts[-2]}")
    assert classes <= set(lexicon.entries)
    assert Counter(label.partition("/")[0] for label in lexicon.entries) == {
        "objects": 200,
        "sports": 100,
        "actions": 40,
        "scenes": 6,
    }


def test_kinds_reach_up_to_the_widest(lexicon: Lexicon) -> None:
    retriever = lexicon.entries["objects/n02099601"]
    assert retriever.plain == "golden retriever"
    assert retriever.kinds[:3] == ("dog", "pet", "animal")
    kinds = lexicon.kinds
    assert kinds["dog"] < kinds["animal"]
    assert kinds["water sport"] < kinds["sport"]
    assert "sports/surfing" in kinds["water sport"]
    assert "objects/n03126707" in kinds["machine"]  # the crane that lifts, not the bird
    assert "objects/n03126707" not in kinds["animal"]


def test_plain_queries_tell_classes_apart(lexicon: Lexicon) -> None:
    """But for things and activities of the same name, which are the same to whoever asks."""
    vocabulary = build_vocabulary([entry.plain for entry in lexicon.entries.values()], DEFAULT_TEXT_RULES)
    processor = TextProcessor(DEFAULT_TEXT_RULES, vocabulary)
    by_stems: dict[frozenset[int], list[str]] = {}
    for label, entry in lexicon.entries.items():
        ids = processor.parse(entry.plain).ids
        assert ids, f"{label}: {entry.plain} has no word that counts"
        by_stems.setdefault(frozenset(ids), []).append(label)
    same = [sorted(labels) for labels in by_stems.values() if len(labels) > 1]
    assert all(len({label.partition("/")[0] for label in labels}) == len(labels) for labels in same)
    assert ["objects/n02802426", "sports/basketball"] in same


def test_captions_are_many_and_never_the_bare_name(lexicon: Lexicon, captions: dict[str, list[str]]) -> None:
    for label, found in captions.items():
        entry = lexicon.entries[label]
        assert len(set(found)) > 40, label
        bare = {with_article(name).lower() for name in entry.names} | {
            n.lstrip("~").lower() for n in entry.names
        }
        assert not {caption.lower().removesuffix(" .") for caption in found} & bare, label


def test_captions_read_like_english(captions: dict[str, list[str]]) -> None:
    for found in captions.values():
        for caption in found:
            assert re.fullmatch(r"[A-Z].* \.", caption), caption
            assert not re.search(r"  |~|;|\|| ,|\ba a\b|\ban an\b|\ba the\b", caption), caption
            assert not re.search(r"\b[Aa] (?:[ai]|e(?!u)|o(?!n[ec]|u))", caption), caption  # a arrow
            assert not re.search(r"\b[Aa]n (?![aeiou8]|hour|MP3|X)", caption, re.IGNORECASE), caption
            words = caption.lower().split()
            assert not any(a == b for a, b in itertools.pairwise(words)), caption  # golden golden


def test_one_caption_has_the_plain_name_and_one_a_kind(lexicon: Lexicon) -> None:
    for label, entry in lexicon.entries.items():
        for i in range(10):
            first, second, *rest = compose_captions(entry, f"{label}/{i}")
            assert len(rest) == 3
            if not isinstance(entry, Activity):
                assert entry.plain.lower() in first.lower()
            assert any(kind.lstrip("~") in second.lower() for kind in entry.kinds) or not entry.kinds


def test_the_same_picture_gets_the_same_captions(lexicon: Lexicon) -> None:
    entry = lexicon.entries["sports/surfing"]
    assert compose_captions(entry, "a") == compose_captions(entry, "a") != compose_captions(entry, "b")


@given(
    st.text(min_size=1, max_size=30).filter(
        lambda text: text.replace("_", " ").replace("-", " ").split() and "/" not in text
    )
)
def test_classes_of_other_people_are_called_what_their_folders_are(name: str) -> None:
    entry = Lexicon().entry_for(f"mine/{name}")
    assert (
        entry.plain == " ".join(name.replace("_", " ").replace("-", " ").split()).lstrip("~")
        or not entry.plain
    )
    assert len(compose_captions(entry, "seed")) == 5


def test_a_folder_name_is_read_as_words() -> None:
    assert Lexicon().entry_for("garden/red_rose-bush") == Thing(("red rose bush",))


THINGS, ACTIVITIES, KINDS = "a/b | bee | insect | | \n", "", "insect: animal\nanimal:\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((THINGS, ACTIVITIES, None), "cannot be read"),
        (("a/b | bee | insect\n", ACTIVITIES, KINDS), r"things.txt:1: 3 columns, expected 5"),
        ((THINGS * 2, ACTIVITIES, KINDS), "things.txt:2: a/b is there already"),
        ((THINGS, "c/d | | sport | | | | \n", KINDS), "activities.txt:1: expected a label"),
        (("a/b | bee | bug | | \n", ACTIVITIES, KINDS), "things.txt:1: the kind 'bug' is not in"),
        ((THINGS, ACTIVITIES, "insect: animal\n"), "'insect' is under 'animal', which has no line"),
        ((THINGS, ACTIVITIES, "insect: animal\nanimal: insect\n"), "'insect' is above itself"),
        ((THINGS, ACTIVITIES, "insect\n"), "kinds.txt:1: expected KIND: KIND ABOVE"),
    ],
)
def test_faults_in_a_lexicon_are_said_with_their_place(
    tmp_path: Path, files: tuple[str | None, ...], message: str
) -> None:
    for name, text in zip(("things.txt", "activities.txt", "kinds.txt"), files, strict=True):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        read_lexicon(tmp_path)


COLOURS = {"red": (210, 30, 30), "green": (30, 210, 30), "blue": (30, 30, 210)}


def write_colours(folder: Path, count: int, split: str) -> None:
    from PIL import Image

    for name, colour in COLOURS.items():
        (folder / "colours" / split / name).mkdir(parents=True)
        for i in range(count):
            shade = tuple(min(255, part + 5 * i) for part in colour)
            Image.new("RGB", (80, 80), shade).save(folder / "colours" / split / name / f"{i}.png")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledDataset, Lexicon]:
    folder = tmp_path_factory.mktemp("colours")
    write_colours(folder, 9, "train")
    write_colours(folder, 3, "val")
    (folder / "kinds.txt").write_text("warm colour: colour\ncolour:\n")
    (folder / "activities.txt").write_text("")
    (folder / "things.txt").write_text(
        "colours/red | red; crimson | warm colour | |\ncolours/green | green | colour | | on grass\n"
    )
    return read_labelled(folder), read_lexicon(folder)


class TestCaptioned:
    def test_train_pictures_get_captions_and_say_what_they_show(
        self, colours: tuple[LabelledDataset, Lexicon]
    ) -> None:
        found = captioned(*colours, name="colours")
        assert len(found) == 27
        assert [len(found.split(name)) for name in ("train", "val", "test")] == [26, 1, 0]
        assert all(len(example.captions) == 5 for example in found)
        assert {example.extra["label"] for example in found} == {f"colours/{name}" for name in COLOURS}
        assert all(path.is_file() for path in found.paths)
        assert not any("/val/" in example.image for example in found)
        blue = next(example for example in found if example.extra["label"] == "colours/blue")
        assert all(
            "blue" in caption.lower() for caption in blue.captions
        )  # it has no entry: the folder's name

    def test_each_picture_knows_what_its_class_is_called_and_of_which_kinds_it_is(
        self, colours: tuple[LabelledDataset, Lexicon]
    ) -> None:
        extras = [example.extra for example in captioned(*colours, name="c")]
        assert {extra["label"]: (extra["names"], extra["kinds"]) for extra in extras} == {
            "colours/red": (("red", "crimson"), ("warm colour", "colour")),
            "colours/green": (("green",), ("colour",)),
            "colours/blue": (("blue",), ()),  # it has no entry
        }

    def test_joined_with_others_every_picture_is_where_it_was(
        self, colours: tuple[LabelledDataset, Lexicon], tmp_path: Path
    ) -> None:
        write_colours(tmp_path / "more", 2, "train")
        write_colours(tmp_path / "more", 1, "val")
        first = captioned(*colours, name="first")
        second = captioned(read_labelled(tmp_path / "more"), Lexicon(), name="second")
        both = join_datasets("both", first, second)
        assert [p.resolve() for p in both.paths] == [p.resolve() for p in (*first.paths, *second.paths)]
        assert both.captions == [*first.captions, *second.captions]


class KnowsColours:
    """A bundle of three colours, and words along them; what it embeds can be told by hand."""

    name, image_rules = "colours", ImageRules(side=8)
    words: ClassVar = {"red": 0, "crimson": 0, "green": 1, "blue": 2, "warm": 0}

    def embed_pixels(self, pixels: np.ndarray) -> np.ndarray:
        means = pixels.mean(axis=(1, 2)).astype(np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def parse_text(self, text: str) -> SimpleNamespace:
        ids = tuple(self.words[word] for word in text.split() if word in self.words)
        return SimpleNamespace(ids=ids, unknown_words=tuple(w for w in text.split() if w not in self.words))

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        return np.stack(
            [np.eye(3, dtype=np.float32)[list(self.parse_text(t).ids)].mean(axis=0) for t in texts]
        )


class TestMeasure:
    def test_classes_captions_and_kinds_by_hand(self, colours: tuple[LabelledDataset, Lexicon]) -> None:
        found = measure_labelled(KnowsColours(), *colours, Reporter())  # type: ignore[arg-type]
        perfect = {"queries": 3, "precision": 1.0, "precision_at_10": 0.3, "average_precision": 1.0}
        assert found["pictures"] == 9
        assert found["classes"]["all"] == found["classes"]["colours"] == {**perfect, "chance": 0.3333}
        assert found["captions"]["all"] == {
            "pictures": 9,
            "top1": 1.0,
            "top5": 1.0,
            "chance1": 0.3333,
            "chance5": 1.0,
        }
        assert set(found["kinds"]) == {"all", "warm colour"}  # "colour" is no word that the bundle knows
        assert found["kinds"]["warm colour"]["precision"] == 1.0

    def test_a_bundle_that_is_wrong_gets_the_figures_of_one(
        self, colours: tuple[LabelledDataset, Lexicon]
    ) -> None:
        class Swaps(KnowsColours):
            words: ClassVar = {"red": 1, "green": 0, "blue": 2, "warm": 1}

        found = measure_labelled(Swaps(), *colours, Reporter())  # type: ignore[arg-type]
        assert found["captions"]["all"]["top1"] == 0.3333  # the blue ones
        assert found["classes"]["all"]["precision"] == 0.3333
        assert found["kinds"]["warm colour"]["precision"] == 0.0

    def test_objects_of_other_photographs(self, colours: tuple[LabelledDataset, Lexicon]) -> None:
        folder = colours[0].folder / "colours" / "val" / "red"
        objects = {"red": ["0.png", "1.png"], "blue": ["2.png"], "zebra": ["0.png"], "blue zebra": ["1.png"]}
        found = measure_objects(KnowsColours(), folder, objects, Reporter())  # type: ignore[arg-type]
        assert (found["pictures"], found["known"], found["unknown"]) == (
            3,
            ["red", "blue"],
            ["blue zebra", "zebra"],
        )
        assert found["chance"] == 0.5
        assert found["queries"] == 2

    def test_tables_show_precisions_side_by_side(self, colours: tuple[LabelledDataset, Lexicon]) -> None:
        found = measure_labelled(KnowsColours(), *colours, Reporter())  # type: ignore[arg-type]
        table = format_measured({"float32": found, "int8": found})
        assert "In per cent, float32 / int8; by chance in brackets." in table
        assert "| all | 3 | 30.0 / 30.0 (33.3) | 100.0 / 100.0 | 100.0 / 100.0 |" in table
        assert "| warm colour | 30.0 / 30.0 (33.3) | 100.0 / 100.0 |" in table

    @pytest.mark.parametrize(
        ("content", "message"),
        [("", "cannot be read"), ("[]", 'expected {"name of an object"'), ('{"a": "b"}', "expected")],
    )
    def test_objects_that_are_none(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "objects.json").write_text(content)
        with pytest.raises(ExportError, match=message):
            read_objects(tmp_path / "objects.json")


def test_the_card_says_what_was_measured(colours: tuple[LabelledDataset, Lexicon]) -> None:
    measured = measure_labelled(KnowsColours(), *colours, Reporter())  # type: ignore[arg-type]
    recalls = {f"recall_at_{k}": k / 10 for k in (1, 5, 10)}
    before = {
        **{"hours": 1.5, "epochs": 3, "trunk_top1": 0.1, "classes": 0.2, "kinds": 0.3},
        **{"top1": 0.4, "top5": 0.5, "drawn": 0.6},
    }
    training = {
        "from": "the trunk of the bundle grey",
        "before": [before],
        "recipe": {"sides": [96, 128]},
        "epochs": [{"hours": 0.25, "val_top1": 0.25}, {"hours": 0.5, "val_top1": 0.5}],
    }
    manifest = {
        "name": "colours",
        "domain": "colours",
        "training": {"trunk_training": training},
        "recall": {"pictures": 10, "t2i": recalls},
        "measured": {"int8": measured},
    }
    card = write_card(manifest, *colours)
    assert "27 small labelled photographs of 3 classes" in card
    assert (
        "5 epochs (2.0 hours on two CPU cores), the last 2 starting from the trunk of the bundle grey" in card
    )
    assert "**colours**: blue, green, red." in card
    assert "**kinds**: colour, warm colour." in card
    assert "10.0, 50.0 and 100.0 %" in card
    assert format_measured({"int8": measured}) in card
    assert "| 1.5 | 3 | 10.0 | 20.0 | 30.0 | 40.0 | 50.0 | 60.0 |\n| 2.0 | 5 | 50.0 |" in card
    assert "after each of the last epochs: 25.0, 50.0 % (at 96, 128 pixels)" in card


def test_a_bundle_says_what_its_training_went_on_from(tmp_path: Path) -> None:
    assert where_from("none") == {"from": "none", "before": []}
    assert where_from(str(tmp_path / "my.pth")) == {"from": "a file", "before": []}
    bundle = Path(__file__).parents[1] / "artifacts" / "starter"
    told = where_from(str(bundle))
    assert told["from"] == "the trunk of the bundle starter"
    measured = json.loads((bundle / "bundle.json").read_text())["measured"]["int8"]
    assert told["before"][-1]["top5"] == measured["captions"]["all"]["top5"]
    assert told["before"][-1]["hours"] > 1


def test_a_longer_run_keeps_the_figures_of_shorter_ones_that_it_replaces(tmp_path: Path) -> None:
    out = Path(__file__).parents[1] / "artifacts" / "starter"
    manifest = json.loads((out / "bundle.json").read_text())
    training = manifest["training"]["trunk_training"]
    started = {"from": training["from"], "before": training["before"]}
    ended = lengths(manifest)[-1]
    longer = shorter_runs(out, started, epochs=len(training["epochs"]) + 1)
    assert longer == [*training.get("shorter", []), ended]
    assert ended not in shorter_runs(out, started, epochs=len(training["epochs"]))
    assert shorter_runs(out, {**started, "from": "none"}, epochs=100) == []
    assert shorter_runs(tmp_path / "none", started, epochs=100) == []

    training["shorter"] = longer
    training["epochs"].append({**training["epochs"][-1], "hours": training["epochs"][-1]["hours"] + 0.5})
    rows = lengths(manifest)
    assert rows[:-1] == [*training["before"], *longer]
    assert rows[-1]["hours"] == pytest.approx(ended["hours"] + 0.5)
    assert rows[-1]["epochs"] == ended["epochs"] + 1


def test_what_training_brought_is_drawn(tmp_path: Path) -> None:
    shares = ("trunk_top1", "classes", "kinds", "top1", "top5", "drawn")
    rows = [{"hours": hours, **dict.fromkeys(shares, hours / 10)} for hours in (1.0, 2.0, 4.0)]
    pictures = []
    for name, shown in (("two", rows[:2]), ("three", rows)):
        draw_lengths(shown, tmp_path / "new" / f"{name}.png")
        with Image.open(tmp_path / "new" / f"{name}.png") as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
    assert pictures[0].shape == pictures[1].shape == (462, 990, 3)
    assert (pictures[0] != pictures[1]).any()


def test_the_readme_gives_the_figures_on_photographs() -> None:
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text(encoding="utf-8")
    section = re.search(r"\n### Photographs\n(.*?)\n### ", readme, re.DOTALL)
    assert section
    rows = [line for line in section[1].splitlines() if re.match(r"\| .*\d", line)]
    assert len(rows) >= 8
    bundle = root / "artifacts" / "starter"
    measured = json.loads((bundle / "bundle.json").read_text())["measured"]["int8"]
    printed = [
        *format_measured({"int8": measured}).splitlines(),
        *(bundle / "CARD.md").read_text().splitlines(),
    ]
    assert [row for row in rows if row not in printed] == []
    assert (
        f" {100 * measured['kinds']['all']['precision_at_10']:.1f} % right among the first ten" in section[1]
    )


def test_average_precision_by_hand() -> None:
    hits = np.array([[True, False, True], [False, False, True], [False, False, False]])
    assert average_precision(hits) == pytest.approx([(1 + 2 / 3) / 2, 1 / 3, 0])
