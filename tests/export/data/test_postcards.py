"""The built-in picture set: what it can show, how it is said, and that it is not too easy."""

from __future__ import annotations

import collections
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.data.postcards.captions import CAPTIONS_PER_SCENE, participle, plural, third_person, with_article
from export.data.postcards.catalogue import AIRBORNE, OUTDOORS, SETTINGS
from export.data.postcards.draw import draw_emoji, draw_postcards, find_font
from export.data.postcards.scenes import MAX_FIGURES, Scene, catalogue, compose_scenes
from export.errors import ExportError
from itl_infer.captions import read_json_lines


@pytest.fixture(scope="module")
def font() -> Path:
    try:
        return find_font()
    except ExportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def postcards(font: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("postcards")
    draw_postcards(folder, train=24, val=6, test=6, seed=3, font=font)
    return folder


def test_catalogue_is_as_large_as_promised() -> None:
    subjects = catalogue()
    assert len(subjects) >= 150
    assert len(SETTINGS) >= 12
    kinds = collections.Counter(subject.kind for subject in subjects.values())
    assert set(kinds) == {"people", "animals", "vehicles", "food", "instruments", "things"}


def test_catalogue_is_consistent() -> None:
    subjects = catalogue()
    for subject in subjects.values():
        assert subject.nouns
        assert subject.actions
        assert subject.settings
        assert set(subject.settings) <= set(SETTINGS), subject.key
    assert set(subjects) >= AIRBORNE
    assert set(SETTINGS) >= OUTDOORS
    nouns = collections.Counter(noun for subject in subjects.values() for noun in set(subject.nouns))
    assert [noun for noun, count in nouns.items() if count > 1] == []  # one name, one subject
    assert all(len(phrases) >= 4 for phrases in SETTINGS.values())


def test_every_look_is_in_the_font_as_one_picture(font: Path) -> None:
    for subject in catalogue().values():
        for look in subject.looks:
            picture = draw_emoji(look.emoji, font)
            # A sequence that is not joined is drawn as two or more pictures side by side.
            assert picture.width < 1.5 * 109, (subject.nouns[0], look.emoji, picture.size)


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("surfer", "surfers"),
        ("woman in a red dress", "women in a red dress"),
        ("slice of pizza", "slices of pizza"),
        ("bus", "buses"),
        ("canary", "canaries"),
        ("monkey", "monkeys"),
        ("tropical fish", "tropical fish"),
        ("police officer", "police officers"),
        ("policeman", "policemen"),
        ("fox", "foxes"),
    ],
)
def test_plural(noun: str, many: str) -> None:
    assert plural(noun) == many


@pytest.mark.parametrize(
    ("action", "does", "doing"),
    [
        ("ride a big wave", "rides a big wave", "riding a big wave"),
        ("swim", "swims", "swimming"),
        ("carry a crumb", "carries a crumb", "carrying a crumb"),
        ("lie open", "lies open", "lying open"),
        ("ski", "skis", "skiing"),
        ("catch the wind", "catches the wind", "catching the wind"),
        ("do a cartwheel", "does a cartwheel", "doing a cartwheel"),
        ("play", "plays", "playing"),
    ],
)
def test_verbs(action: str, does: str, doing: str) -> None:
    assert (third_person(action), participle(action)) == (does, doing)


def test_articles() -> None:
    assert with_article("owl") == "an owl"
    assert with_article("unicorn") == "a unicorn"
    assert with_article("UFO") == "a UFO"
    assert with_article("bread") == "some bread"
    assert with_article("Santa") == "Santa"


def test_scenes_are_different_and_depend_on_the_seed_alone() -> None:
    scenes = compose_scenes(3000, seed=5)
    assert len(set(scenes)) == 3000
    assert scenes == compose_scenes(3000, seed=5)
    assert scenes != compose_scenes(3000, seed=6)
    for scene in scenes:
        assert 1 <= len(scene.groups) <= 3
        assert sum(number for _, number in scene.groups) <= MAX_FIGURES


def _one_change_away(scene: Scene) -> list[object]:
    """Keys that two scenes share when they differ in the setting, or in one subject, alone."""
    same_things: list[object] = [("things", scene.groups)]
    groups = [
        (scene.setting, scene.groups[:i] + scene.groups[i + 1 :], n) for i, (_, n) in enumerate(scene.groups)
    ]
    return same_things + groups


def test_most_scenes_differ_from_many_others_by_one_thing() -> None:
    scenes = compose_scenes(22_000, seed=0)
    shared = collections.Counter(key for scene in scenes for key in _one_change_away(scene))
    neighbours = [sum(shared[key] - 1 for key in _one_change_away(scene)) for scene in scenes]
    assert np.median(neighbours) >= 5
    assert np.mean(np.array(neighbours) >= 3) > 0.5


def test_same_seed_same_files_on_any_number_of_processes(postcards: Path, font: Path, tmp_path: Path) -> None:
    draw_postcards(tmp_path, train=24, val=6, test=6, seed=3, font=font, processes=1)
    assert (tmp_path / "captions.jsonl").read_bytes() == (postcards / "captions.jsonl").read_bytes()
    for picture in sorted((postcards / "images").iterdir()):
        assert (tmp_path / "images" / picture.name).read_bytes() == picture.read_bytes()


def test_splits_share_no_scene(postcards: Path) -> None:
    dataset = read_json_lines(postcards / "captions.jsonl")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [24, 6, 6]
    by_split = {
        name: {tuple(sorted(example.captions)) for example in dataset.split(name)}
        for name in ("train", "val", "test")
    }
    assert not by_split["train"] & by_split["test"]
    assert not by_split["val"] & by_split["test"]


def test_pictures_and_captions_are_as_promised(postcards: Path) -> None:
    for line in (postcards / "captions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        with Image.open(postcards / row["image"]) as picture:
            assert (picture.size, picture.mode) == ((256, 192), "RGB")
        assert len(set(row["captions"])) == CAPTIONS_PER_SCENE
        for caption in row["captions"]:
            assert re.fullmatch(r"[A-Z0-9][\w ,'-]* \.", caption), caption
        nouns = [noun for subject in row["subjects"] for noun in _nouns_of(subject)]
        text = " ".join(row["captions"]).lower()
        assert any(plural(noun).lower() in text or noun.lower() in text for noun in nouns)


def _nouns_of(first_noun: str) -> tuple[str, ...]:
    return next(subject.nouns for subject in catalogue().values() if subject.nouns[0] == first_noun)


def test_missing_font_is_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no emoji font at .*nothing.ttf.*fonts-noto-color-emoji.*--font"):
        find_font(tmp_path / "nothing.ttf")


def test_an_interrupted_set_is_not_taken_for_whole(font: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 12
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_postcards(tmp_path, train=8, val=2, test=2, font=font, progress=stop)
    assert not (tmp_path / "captions.jsonl").exists()
    draw_postcards(tmp_path, train=8, val=2, test=2, font=font)
    assert len(read_json_lines(tmp_path / "captions.jsonl")) == 12
