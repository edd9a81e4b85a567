"""The lexicon of the starter's classes, and the captions that are composed from it."""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.labelled.compose import compose_captions, with_article
from export.labelled.lexicon import Activity, Lexicon, Thing, read_lexicon
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
