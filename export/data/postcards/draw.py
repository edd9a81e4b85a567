"""Draws postcards: a captioned picture set made of emoji scenes, so that the whole path runs without a download.

Flow: `compose_scenes` decides what is seen (unique, so that no scene is in two splits) -> `write_captions` words it
five times -> `draw_scene` paints it -> `draw_postcards` writes `images/*.jpg` and `captions.jsonl`. Everything about
picture i is derived from (seed, i) alone, so the same seed gives the same pictures on any number of processes.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps, features

from export.data.postcards.backdrops import HEIGHT, WIDTH, Backdrop
from export.data.postcards.catalogue import (
    AIRBORNE,
    DOUBLING_VERBS,
    IRREGULAR_PLURALS,
    MASS_NOUNS,
    OUTDOORS,
    PROPER_NAMES,
    SETTINGS,
    SKIES,
    SKIN_TONES,
    SUBJECTS,
)
from export.errors import ExportError
from itl_infer.files import replacing

EMOJI_FONT_SIZE = 109  # the one size of the bitmaps in Noto Color Emoji
FONT_PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",  # Debian, Ubuntu: fonts-noto-color-emoji
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",  # Arch
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",  # Fedora
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
)
CAPTIONS_PER_SCENE = 5
MAX_FIGURES = 5  # more than that and each is too small to be told apart

ZWJ, VS16 = "\u200d", "\ufe0f"


# --- what can be seen ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """One way to draw a subject: an emoji, and "man" or "woman" where it shows one."""

    emoji: str
    gender: str | None = None


@dataclass(frozen=True)
class Subject:
    key: str
    kind: str
    looks: tuple[Look, ...]
    nouns: tuple[str, ...]
    actions: tuple[str, ...]
    settings: tuple[str, ...]

    @property
    def airborne(self) -> bool:
        return self.key in AIRBORNE


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `groups` are (subject key, how many), sorted: two equal scenes show the same things."""

    setting: str
    groups: tuple[tuple[str, int], ...]


def _looks(field: str) -> tuple[Look, ...]:
    if field.endswith(("*", "^")):
        tones = SKIN_TONES if field.endswith("*") else SKIN_TONES[:1]
        bare = field[:-1]
        neutral = [Look(bare + tone) for tone in tones]
        gendered = [
            Look(f"{bare}{tone}{ZWJ}{sign}{VS16}", gender)
            for tone in tones
            for sign, gender in (("♂", "man"), ("♀", "woman"))
        ]
        return (*neutral, *gendered)
    if field.startswith("@"):
        adults = (("🧑", None), ("👨", "man"), ("👩", "woman"))
        return tuple(
            Look(f"{adult}{tone}{ZWJ}{field[1:]}", gender) for tone in SKIN_TONES for adult, gender in adults
        )
    return tuple(Look(emoji) for emoji in field.split())


@cache
def catalogue() -> dict[str, Subject]:
    """All subjects by key (their emoji field's first look, unadorned)."""
    subjects = {}
    for kind, table in SUBJECTS.items():
        for line in table.strip().splitlines():
            emoji, nouns, actions, settings = (field.strip() for field in line.split("|"))
            key = emoji.split()[0].strip("*^@")
            key = f"@{key}" if emoji.startswith("@") else key  # the chef and the frying pan are two subjects
            subjects[key] = Subject(
                key=key,
                kind=kind,
                looks=_looks(emoji),
                nouns=tuple(noun.strip() for noun in nouns.split(",")),
                actions=tuple(action.strip() for action in actions.split(",")),
                settings=tuple(settings.split()),
            )
    return subjects


def compose_scenes(count: int, seed: int) -> list[Scene]:
    """`count` different scenes. Half of them are an earlier scene with one thing replaced (another subject, number
    or setting), so that a picture cannot be found without understanding every word of its caption."""
    rng = random.Random(f"{seed}/scenes")
    subjects = catalogue()
    scenes: list[Scene] = []
    seen: set[Scene] = set()
    while len(scenes) < count:
        if scenes and rng.random() < 0.5:
            scene = _with_one_change(rng.choice(scenes), rng)
        else:
            first = rng.choice(list(subjects.values()))
            setting = _setting_for(first, rng)
            others = [s.key for s in subjects.values() if setting in s.settings and s.key != first.key]
            keys = [first.key, *rng.sample(others, k=rng.choices((0, 1, 2), (45, 35, 20))[0])]
            scene = Scene(setting, tuple(sorted((key, _how_many(rng)) for key in keys)))
        if sum(n for _, n in scene.groups) <= MAX_FIGURES and scene not in seen:
            seen.add(scene)
            scenes.append(scene)
    rng.shuffle(scenes)
    return scenes


def _how_many(rng: random.Random) -> int:
    return rng.choices((1, 2, 3), (72, 18, 10))[0]


def _setting_for(subject: Subject, rng: random.Random) -> str:
    return rng.choice(subject.settings) if rng.random() < 0.85 else rng.choice(list(SETTINGS))


def _with_one_change(scene: Scene, rng: random.Random) -> Scene:
    groups = dict(scene.groups)
    what = rng.choices(("subject", "setting", "number"), (60, 25, 15))[0]
    if what == "setting":
        return Scene(_setting_for(catalogue()[rng.choice(list(groups))], rng), scene.groups)
    key = rng.choice(list(groups))
    if what == "number":
        return Scene(scene.setting, tuple(sorted((groups | {key: _how_many(rng)}).items())))
    # The newcomer must be at home in this setting, or a surfer would end up in every kitchen.
    at_home = [s.key for s in catalogue().values() if scene.setting in s.settings and s.key not in groups]
    number = groups.pop(key)
    return Scene(scene.setting, tuple(sorted((groups | {rng.choice(at_home): number}).items())))


# --- how it is said ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Figures of one subject in one picture, alike in looks and size."""

    subject: Subject
    number: int
    look: Look
    size: str  # a key of _SIZES


def plural(noun: str) -> str:
    """Plural of a noun phrase; its head is the last word before "of" or "in"."""
    for link in (" of ", " in "):
        head, found, rest = noun.partition(link)
        if found:
            return plural(head) + link + rest
    stem, space, last = noun.rpartition(" ")
    if last in IRREGULAR_PLURALS:
        return stem + space + IRREGULAR_PLURALS[last]
    if last.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if last.endswith("y") and last[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def third_person(action: str) -> str:
    verb, space, rest = action.partition(" ")
    if verb.endswith(("s", "x", "ch", "sh", "z", "o")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + space + rest


def participle(action: str) -> str:
    verb, space, rest = action.partition(" ")
    if verb in DOUBLING_VERBS:
        verb += verb[-1]
    elif verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        verb = verb[:-1]
    return verb + "ing" + space + rest


def with_article(noun: str) -> str:
    if noun in PROPER_NAMES:
        return noun
    if noun.split(" of ")[0] in MASS_NOUNS:
        return f"some {noun}"
    sounds_vowel = noun[0] in "aeiouAEIO" and not noun.startswith(("uni", "one", "eu"))
    return f"{'an' if sounds_vowel else 'a'} {noun}"


def _noun_phrase(group: Group, rng: random.Random, noun: str | None = None) -> str:
    if noun is None:
        countable = [noun for noun in group.subject.nouns if noun not in MASS_NOUNS]
        noun = rng.choice(countable if group.number > 1 else group.subject.nouns)
    if (
        group.size != "medium"
        and group.subject.kind != "people"
        and noun not in MASS_NOUNS
        and rng.random() < 0.3
    ):
        words = ("big", "large", "huge") if group.size in ("large", "close") else ("small", "little", "tiny")
        noun = f"{rng.choice(words)} {noun}"
    if group.number == 1:
        return with_article(noun)
    words = ("two", "two", "a pair of", "a couple of") if group.number == 2 else ("three", "three", "several")
    return f"{rng.choice(words)} {plural(noun)}"


def _clause(group: Group, rng: random.Random) -> tuple[str, str]:
    """(who, does what): "two surfers", "ride a wave"."""
    noun = None
    if group.look.gender and rng.random() < 0.2:
        noun = group.look.gender
    who, action = _noun_phrase(group, rng, noun), rng.choice(group.subject.actions)
    form = rng.randrange(3)
    if form == 0:
        return who, action if group.number > 1 else third_person(action)
    if form == 1:
        return who, ("are " if group.number > 1 else "is ") + participle(action)
    return who, participle(action)


def _caption(setting: str, sky: str | None, groups: list[Group], rng: random.Random) -> str:
    groups = rng.sample(groups, k=len(groups))
    if len(groups) == 3 and rng.random() < 0.15:
        groups = groups[:2]  # people do not name everything they see
    where = rng.choice(SETTINGS[setting])
    if sky and rng.random() < 0.2:
        where = f"{where} {rng.choice(SKIES[sky])}"
    first, *others = groups
    rest = [_noun_phrase(group, rng) for group in others]
    if not rest:
        who, does = _clause(first, rng)
        form = rng.random()
        if form < 0.70:
            text = f"{who} {does} {where}"
        elif form < 0.80:
            text = f"{where} , {who} {does}"
        elif form < 0.90:
            text = f"{_noun_phrase(first, rng)} {where}"
        else:
            text = f"{who} {does}"
    elif rng.random() < 0.6:
        who, does = _clause(first, rng)
        link = rng.choice(("next to", "beside", "near", "close to", "not far from"))
        text = f"{who} {does} {link} {' and '.join(rest)}"
        text = f"{text} {where}" if rng.random() < 0.9 else text
    else:
        named = [_noun_phrase(first, rng), *rest]
        text = f"{' , '.join(named[:-1])} and {named[-1]} {where}"
        if rng.random() < 0.2:
            text = f"there {'are' if first.number > 1 else 'is'} {text}"
    return text[0].upper() + text[1:] + " ."


def write_captions(setting: str, sky: str | None, groups: list[Group], rng: random.Random) -> list[str]:
    captions: list[str] = []
    while len(captions) < CAPTIONS_PER_SCENE:
        caption = _caption(setting, sky, groups, rng)
        if caption not in captions:
            captions.append(caption)
    return captions


# --- how it is drawn ---------------------------------------------------------------------------------------


def find_font(font: str | os.PathLike[str] | None = None) -> Path:
    """The Noto Color Emoji font file: `font` if given, else where systems put it."""
    places = [Path(font)] if font else [Path(place) for place in FONT_PLACES]
    for place in places:
        if place.is_file():
            return place
    raise ExportError(
        f"no emoji font at {', '.join(map(str, places))}: install it (Debian: apt-get install fonts-noto-color-emoji) "
        "or name a NotoColorEmoji.ttf with --font"
    )


@lru_cache(maxsize=2048)
def draw_emoji(emoji: str, font: Path) -> Image.Image:
    """One emoji as RGBA, cropped to its ink. Joined sequences need Pillow's raqm layout (and so libfribidi)."""
    if not features.check("raqm"):
        raise ExportError(
            "Pillow cannot join emoji sequences here (no raqm layout): install fribidi (Debian: libfribidi0)"
        )
    typeface = ImageFont.truetype(str(font), EMOJI_FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)
    canvas = Image.new("RGBA", (3 * EMOJI_FONT_SIZE, 2 * EMOJI_FONT_SIZE))
    ImageDraw.Draw(canvas).text((8, 8), emoji, font=typeface, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ExportError(f"{font} has no picture of {emoji!r}: use a newer NotoColorEmoji.ttf (--font)")
    return canvas.crop(box)


_SIZES = {
    "small": (46, 58),
    "medium": (64, 78),
    "large": (86, 108),
    "close": (120, 160),
}  # height in pixels of a picture of 192


def _paste_group(
    picture: Image.Image, group: Group, centres: list[float], font: Path, rng: random.Random
) -> None:
    for centre in centres:
        figure = draw_emoji(group.look.emoji, font)
        height = rng.randint(*_SIZES[group.size])
        figure = figure.resize(
            (max(1, round(figure.width * height / figure.height)), height), Image.Resampling.LANCZOS
        )
        if rng.random() < 0.5:
            figure = ImageOps.mirror(figure)
        figure = figure.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
        figure = ImageEnhance.Brightness(figure).enhance(rng.uniform(0.85, 1.1))
        low, high = (0.16, 0.5) if group.subject.airborne else (0.52, 0.84)
        x = round(centre - figure.width / 2)
        y = round(HEIGHT * rng.uniform(low, high) - figure.height / 2)
        x, y = min(max(x, -8), WIDTH - figure.width + 8), min(max(y, -4), HEIGHT - figure.height + 4)
        picture.paste(figure, (x, y), figure)


def draw_scene(
    setting: str, sky: str | None, groups: list[Group], font: Path, rng: random.Random
) -> Image.Image:
    picture = Backdrop(setting, sky, rng).finished()
    total = sum(group.number for group in groups)
    slots = [WIDTH * (i + 0.5) / total + rng.uniform(-0.2, 0.2) * WIDTH / total for i in range(total)]
    rng.shuffle(slots)
    for group in groups:
        _paste_group(picture, group, [slots.pop() for _ in range(group.number)], font, rng)
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.85, 1.12))
    return ImageEnhance.Color(picture).enhance(rng.uniform(0.75, 1.2))


# --- the set -----------------------------------------------------------------------------------------------


def _postcard(number: int, scene: Scene, seed: int, font: Path) -> tuple[Image.Image, list[str]]:
    rng = random.Random(f"{seed}/{number}")
    sky = rng.choice(list(SKIES)) if scene.setting in OUTDOORS else None
    groups = [
        Group(
            catalogue()[key],
            n,
            rng.choice(catalogue()[key].looks),
            _size_of(n, sum(number for _, number in scene.groups), rng),
        )
        for key, n in scene.groups
    ]
    captions = write_captions(scene.setting, sky, groups, rng)
    return draw_scene(scene.setting, sky, groups, font, rng), captions


def _size_of(number: int, total: int, rng: random.Random) -> str:
    """Several of a kind are small, and only what is alone in its picture can be seen close up."""
    if number > 1:
        return "small"
    return rng.choice(
        ("small", "medium", "large", "close", "close") if total == 1 else ("small", "medium", "large")
    )


def _draw_one(job: tuple[int, Scene, str], seed: int, font: Path, folder: Path) -> dict[str, object]:
    number, scene, split = job
    image, captions = _postcard(number, scene, seed, font)
    name = f"images/{number:06d}.jpg"
    image.save(folder / name, quality=82)
    subjects = [catalogue()[key].nouns[0] for key, _ in scene.groups]
    return {
        "image": name,
        "captions": captions,
        "split": split,
        "subjects": subjects,
        "setting": scene.setting,
    }


def draw_postcards(
    folder: Path,
    *,
    train: int,
    val: int,
    test: int,
    seed: int = 0,
    font: str | os.PathLike[str] | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Draw `train` + `val` + `test` postcards into `folder`; returns the path of its `captions.jsonl`.

    `captions.jsonl` has one line a picture: image, captions (five), split, and what it shows (subjects, setting).
    It is written last and in one step, so a set that was interrupted is drawn again and never mistaken for whole.
    """
    typeface = find_font(font)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    jobs = [
        (i, scene, split)
        for i, (scene, split) in enumerate(zip(compose_scenes(len(splits), seed), splits, strict=True))
    ]
    draw = partial(_draw_one, seed=seed, font=typeface, folder=folder)
    captions = folder / "captions.jsonl"
    with ProcessPoolExecutor(processes) as pool, replacing(captions) as lines:
        for done, row in enumerate(pool.map(draw, jobs, chunksize=64), 1):
            lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            progress(done, len(jobs))
    return captions
