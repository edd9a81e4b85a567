"""Draws postcards: a captioned picture set made of emoji scenes, so that the whole path runs without a download.

Flow: `compose_scenes` decides what is seen (unique, so that no scene is in two splits) -> `write_captions` words it
five times -> `draw_scene` paints it -> `draw_postcards` writes `images/*.jpg` and `captions.jsonl`. Everything about
picture i is derived from (seed, i) alone, so the same seed gives the same pictures on any number of processes.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps, features

from export.errors import ExportError
from export.postcards_catalogue import (
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

WIDTH, HEIGHT = 256, 192
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


Colour = tuple[int, int, int]


def _vary(colour: Colour, rng: random.Random, amount: int = 22) -> Colour:
    shift = rng.randint(-amount, amount)
    red, green, blue = (min(255, max(0, c + shift + rng.randint(-amount, amount) // 2)) for c in colour)
    return red, green, blue


class _Backdrop:
    """A setting on a canvas of twice the size (halving it smooths every edge)."""

    def __init__(self, setting: str, sky: str | None, rng: random.Random) -> None:
        self.rng, self.sky = rng, sky
        self.width, self.height = 2 * WIDTH, 2 * HEIGHT
        self.horizon = int(self.height * rng.uniform(0.36, 0.5))
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.image)
        getattr(self, f"_{setting}")()

    def finished(self) -> Image.Image:
        return self.image.reduce(2)

    # pieces

    def gradient(self, top: int, bottom: int, above: Colour, below: Colour) -> None:
        above, below = _vary(above, self.rng), _vary(below, self.rng)
        share = np.linspace(0, 1, max(bottom - top, 1))[:, None, None]
        rows = (np.array(above) * (1 - share) + np.array(below) * share).astype(np.uint8)
        self.image.paste(Image.fromarray(np.repeat(rows, self.width, axis=1)), (0, top))

    def sky_and_ground(self, ground: Colour, ground_near: Colour) -> None:
        above, below = {
            "sunset": ((226, 122, 82), (252, 205, 132)),
            "cloudy": ((140, 150, 162), (196, 202, 208)),
        }.get(self.sky or "clear", ((92, 165, 232), (196, 226, 248)))
        self.gradient(0, self.horizon, above, below)
        if self.sky == "cloudy" or self.rng.random() < 0.4:
            for _ in range(self.rng.randint(1, 3) + 2 * (self.sky == "cloudy")):
                self.cloud()
        if self.sky != "cloudy" and self.rng.random() < 0.6:
            x, y, r = self.rng.randint(30, self.width - 30), self.rng.randint(20, self.horizon // 2), 24
            self.draw.ellipse(
                (x - r, y - r, x + r, y + r), fill=(255, 226, 120) if self.sky == "clear" else (250, 120, 60)
            )
        self.gradient(self.horizon, self.height, ground, ground_near)

    def cloud(self) -> None:
        x, y = self.rng.randint(0, self.width), self.rng.randint(10, max(self.horizon - 60, 20))
        colour = _vary((236, 238, 242) if self.sky != "cloudy" else (112, 120, 130), self.rng, 10)
        for _ in range(4):
            dx, r = self.rng.randint(-40, 40), self.rng.randint(12, 26)
            self.draw.ellipse((x + dx - 1.5 * r, y - r // 2, x + dx + 1.5 * r, y + r), fill=colour)

    def scatter(self, count: int, colours: list[Colour], size: tuple[int, int], top: float = 0.0) -> None:
        """Dots on the ground: flowers, pebbles, tufts."""
        for _ in range(count):
            x = self.rng.randint(0, self.width)
            y = self.rng.randint(int(self.horizon + top * (self.height - self.horizon)), self.height)
            r = self.rng.randint(*size)
            self.draw.ellipse(
                (x - r, y - r // 2, x + r, y + r // 2), fill=_vary(self.rng.choice(colours), self.rng)
            )

    def ridge(self, base: int, height: int, colour: Colour, snow: bool = False) -> None:
        """A row of peaks standing on y = base."""
        x = -self.rng.randint(20, 120)
        while x < self.width:
            half, peak = self.rng.randint(60, 130), int(height * self.rng.uniform(0.6, 1.0))
            top = base - peak
            self.draw.polygon(
                [(x, base), (x + half, top), (x + 2 * half, base)], fill=_vary(colour, self.rng, 12)
            )
            if snow:
                cap = half * 0.3
                self.draw.polygon(
                    [(x + half - cap, top + 0.3 * peak), (x + half, top), (x + half + cap, top + 0.3 * peak)],
                    fill=(245, 248, 252),
                )
            x += int(half * self.rng.uniform(0.8, 1.6))

    def tree(self, x: int, base: int, height: int, leaves: Colour) -> None:
        w = height // 12 + 2
        self.draw.rectangle((x - w, base - height // 2, x + w, base), fill=_vary((104, 70, 40), self.rng))
        colour = _vary(leaves, self.rng)
        if self.rng.random() < 0.5:
            for step in range(3):
                y, half = base - height // 3 - step * height // 5, height // 3 - step * height // 14
                self.draw.polygon([(x - half, y), (x, y - height // 3), (x + half, y)], fill=colour)
        else:
            r = height // 3
            self.draw.ellipse((x - r, base - height, x + r, base - height // 3), fill=colour)

    def waves(self, top: int, bottom: int, colour: Colour) -> None:
        y = top
        while y < bottom:
            phase, swing = self.rng.uniform(0, 6), self.rng.randint(3, 9)
            line = [(x, y + swing * math.sin(x / 22 + phase)) for x in range(0, self.width + 8, 8)]
            self.draw.line(line, fill=_vary(colour, self.rng, 12), width=self.rng.randint(2, 5))
            y += self.rng.randint(14, 30)

    def rows_of_boxes(
        self, top: int, bottom: int, size: tuple[int, int], colour: Colour, line: Colour
    ) -> None:
        w, h = size
        self.draw.rectangle((0, top, self.width, bottom), fill=_vary(colour, self.rng))
        line = _vary(line, self.rng, 10)
        for y in range(top, bottom, h):
            self.draw.line((0, y, self.width, y), fill=line, width=2)
        for x in range(self.rng.randint(-w, 0), self.width, w):
            self.draw.line((x, top, x, bottom), fill=line, width=2)

    # settings

    def _beach(self) -> None:
        self.sky_and_ground((38, 122, 190), (72, 172, 204))
        shore = int(self.height * self.rng.uniform(0.72, 0.86))
        self.waves(self.horizon + 10, shore, (222, 240, 248))
        crest = self.rng.randint(0, self.width)
        y = self.rng.randint(self.horizon + 30, shore - 30)
        self.draw.pieslice(
            (crest - 110, y - 46, crest + 110, y + 60), 180, 360, fill=_vary((30, 104, 170), self.rng)
        )
        self.draw.arc((crest - 110, y - 46, crest + 110, y + 60), 190, 350, fill=(250, 252, 255), width=8)
        edge = [(x, shore + 6 * math.sin(x / 40 + crest)) for x in range(0, self.width + 8, 8)]
        self.draw.polygon(
            [*edge, (self.width, self.height), (0, self.height)], fill=_vary((236, 212, 152), self.rng)
        )
        self.draw.line(edge, fill=(250, 250, 250), width=5)

    def _snow(self) -> None:
        self.sky_and_ground((236, 242, 250), (214, 226, 242))
        self.ridge(self.horizon, 90, (180, 200, 224), snow=True)
        tilt = self.rng.choice((-1, 1)) * self.rng.randint(20, 70)
        self.draw.polygon(
            [
                (0, self.horizon + tilt),
                (self.width, self.horizon - tilt),
                (self.width, self.height),
                (0, self.height),
            ],
            fill=_vary((240, 245, 252), self.rng, 8),
        )
        for _ in range(self.rng.randint(0, 4)):
            self.tree(
                self.rng.randint(0, self.width), self.horizon + self.rng.randint(20, 60), 70, (90, 130, 120)
            )
        for _ in range(self.rng.randint(20, 90)):
            x, y = self.rng.randint(0, self.width), self.rng.randint(0, self.height)
            self.draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 255, 255))

    def _street(self) -> None:
        self.sky_and_ground((96, 98, 104), (70, 72, 78))
        x = -self.rng.randint(0, 30)
        while x < self.width:
            w, h = self.rng.randint(50, 100), self.rng.randint(70, self.horizon)
            walls = ((176, 120, 96), (150, 152, 160), (204, 184, 150), (120, 136, 156), (190, 150, 140))
            self.draw.rectangle(
                (x, self.horizon - h, x + w, self.horizon), fill=_vary(self.rng.choice(walls), self.rng)
            )
            lit = _vary((250, 236, 170) if self.sky == "sunset" else (92, 112, 134), self.rng)
            for wx in range(x + 8, x + w - 12, 20):
                for wy in range(self.horizon - h + 8, self.horizon - 14, 24):
                    self.draw.rectangle((wx, wy, wx + 10, wy + 12), fill=lit)
            x += w + self.rng.randint(0, 8)
        self.draw.rectangle(
            (0, self.horizon, self.width, self.horizon + 22), fill=_vary((178, 174, 168), self.rng)
        )
        y = self.rng.randint(self.horizon + 70, self.height - 40)
        for x in range(self.rng.randint(-60, 0), self.width, 90):
            self.draw.rectangle((x, y, x + 50, y + 8), fill=(232, 230, 214))

    def _lake(self) -> None:
        self.sky_and_ground((88, 148, 84), (104, 164, 92))
        self.ridge(self.horizon, 60, (92, 138, 110))
        top, bottom = self.horizon + self.rng.randint(8, 26), int(self.height * self.rng.uniform(0.82, 0.92))
        water = _vary((70, 150, 176), self.rng)
        self.draw.ellipse((-80, top, self.width + 80, bottom + 40), fill=water)
        for _ in range(self.rng.randint(8, 16)):
            x, y = self.rng.randint(0, self.width), self.rng.randint(top + 24, bottom)
            self.draw.line(
                (x, y, x + self.rng.randint(20, 60), y), fill=_vary((150, 206, 218), self.rng), width=3
            )
        for _ in range(self.rng.randint(3, 9)):  # reeds
            x, h = (
                self.rng.choice((self.rng.randint(0, 90), self.rng.randint(self.width - 90, self.width))),
                60,
            )
            self.draw.line((x, self.height, x + 6, self.height - h), fill=(70, 112, 50), width=4)
            self.draw.ellipse((x + 2, self.height - h - 16, x + 11, self.height - h + 8), fill=(110, 72, 40))

    def _meadow(self) -> None:
        self.sky_and_ground((122, 190, 84), (88, 162, 60))
        self.scatter(
            self.rng.randint(30, 90),
            [(246, 230, 90), (240, 120, 150), (250, 250, 250), (180, 120, 220)],
            (3, 7),
        )
        for _ in range(self.rng.randint(0, 3)):
            self.tree(
                self.rng.randint(0, self.width), self.horizon + 20, self.rng.randint(50, 90), (86, 150, 66)
            )

    def _forest(self) -> None:
        self.sky_and_ground((72, 96, 50), (92, 82, 50))
        self.gradient(0, self.horizon, (58, 92, 58), (96, 130, 76))
        for row in range(3):
            for _ in range(self.rng.randint(5, 8)):
                height = self.rng.randint(130, 200) - 20 * row
                self.tree(
                    self.rng.randint(0, self.width),
                    self.horizon + 10 + 14 * row,
                    height,
                    (40 + 8 * row, 104 + 8 * row, 50),
                )
        self.scatter(self.rng.randint(15, 40), [(120, 90, 50), (84, 120, 60)], (4, 9))

    def _mountain(self) -> None:
        self.sky_and_ground((120, 126, 110), (100, 112, 84))
        self.ridge(self.horizon + 6, self.horizon, (112, 118, 136), snow=True)
        self.ridge(self.horizon + 8, 70, (92, 100, 104))
        self.scatter(self.rng.randint(15, 40), [(130, 130, 130), (100, 98, 96)], (5, 14))

    def _desert(self) -> None:
        self.sky_and_ground((232, 190, 116), (214, 162, 88))
        for step in range(3):
            y = self.horizon + step * self.rng.randint(30, 60)
            phase, long = self.rng.uniform(0, 6), self.rng.randint(60, 120)
            dune = [(x, y + 22 * math.sin(x / long + phase)) for x in range(0, self.width + 8, 8)]
            shade = _vary((236 - 14 * step, 192 - 16 * step, 118 - 14 * step), self.rng, 12)
            self.draw.polygon([*dune, (self.width, self.height), (0, self.height)], fill=shade)
        self.scatter(self.rng.randint(4, 14), [(180, 130, 80), (160, 116, 70)], (4, 12))

    def _night(self) -> None:
        self.gradient(0, self.height, (10, 14, 44), (38, 40, 92))
        for _ in range(self.rng.randint(50, 120)):
            x, y, r = (
                self.rng.randint(0, self.width),
                self.rng.randint(0, self.height),
                self.rng.choice((1, 1, 2, 3)),
            )
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=_vary((244, 240, 210), self.rng))
        x, y, r = self.rng.randint(50, self.width - 50), self.rng.randint(40, 110), self.rng.randint(22, 36)
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=(244, 238, 200))
        if self.rng.random() < 0.6:
            self.draw.ellipse((x - r // 3, y - r, x + 1.6 * r, y + r), fill=(18, 22, 56))
        self.draw.ellipse(
            (-100, self.height - self.rng.randint(30, 70), self.width + 100, self.height + 120),
            fill=_vary((16, 24, 30), self.rng, 8),
        )

    def _stage(self) -> None:
        self.gradient(0, self.height, (60, 10, 24), (90, 16, 30))
        for x in range(0, self.width, self.rng.randint(24, 40)):
            self.draw.rectangle((x, 0, x + 12, self.height), fill=_vary((150, 24, 40), self.rng))
        floor = int(self.height * self.rng.uniform(0.68, 0.78))
        self.rows_of_boxes(floor, self.height, (self.width * 2, 22), (150, 104, 62), (112, 74, 42))
        glow = Image.new("RGBA", self.image.size)
        beams = ImageDraw.Draw(glow)
        for _ in range(self.rng.randint(1, 3)):
            top, foot, spread = (
                self.rng.randint(0, self.width),
                self.rng.randint(60, self.width - 60),
                self.rng.randint(50, 90),
            )
            beams.polygon(
                [(top, 0), (foot - spread, self.height), (foot + spread, self.height)],
                fill=(255, 244, 190, 62),
            )
        self.image.paste(glow, (0, 0), glow)

    def _kitchen(self) -> None:
        counter = int(self.height * self.rng.uniform(0.5, 0.6))
        self.rows_of_boxes(0, counter, (34, 34), (232, 236, 232), (186, 198, 198))
        cupboard = _vary(self.rng.choice(((196, 150, 98), (150, 180, 176), (220, 214, 200))), self.rng)
        for x in range(self.rng.randint(-40, 0), self.width, 104):
            self.draw.rectangle((x, 0, x + 98, 84), fill=cupboard, outline=(110, 90, 70), width=3)
            self.draw.ellipse((x + 80, 60, x + 90, 70), fill=(80, 70, 60))
        self.rows_of_boxes(counter, self.height, (110, self.height), cupboard, (110, 90, 70))
        self.draw.rectangle((0, counter, self.width, counter + 16), fill=_vary((120, 116, 112), self.rng))
        x = self.rng.randint(0, self.width - 130)
        self.draw.rectangle((x, counter - 4, x + 130, self.height), fill=(70, 72, 76))
        self.draw.rectangle(
            (x + 16, counter + 50, x + 114, counter + 120),
            fill=(32, 34, 38),
            outline=(150, 150, 150),
            width=4,
        )
        for burner in (x + 22, x + 76):
            self.draw.ellipse((burner, counter - 10, burner + 34, counter + 4), fill=(30, 30, 30))
        self.rows_of_boxes(int(self.height * 0.86), self.height, (46, 28), (206, 170, 140), (160, 124, 98))

    def _room(self) -> None:
        floor = int(self.height * self.rng.uniform(0.6, 0.7))
        wall = self.rng.choice(((232, 206, 170), (198, 214, 196), (214, 196, 214), (240, 224, 176)))
        self.gradient(0, floor, wall, wall)
        self.rows_of_boxes(floor, self.height, (90, 20), (168, 118, 74), (136, 92, 56))
        x = self.rng.randint(20, self.width - 170)
        self.draw.rectangle(
            (x, 40, x + 130, 160), fill=_vary((170, 214, 240), self.rng), outline=(250, 250, 250), width=9
        )
        self.draw.line((x + 65, 40, x + 65, 160), fill=(250, 250, 250), width=6)
        cloth = _vary(self.rng.choice(((190, 90, 90), (90, 130, 180), (110, 150, 100))), self.rng)
        self.draw.polygon([(x - 24, 30), (x + 24, 30), (x, 176), (x - 34, 176)], fill=cloth)
        self.draw.polygon([(x + 106, 30), (x + 154, 30), (x + 164, 176), (x + 130, 176)], fill=cloth)
        left = self.rng.randint(20, 160)
        self.draw.ellipse(
            (left, floor + 24, left + 300, floor + 100), fill=cloth, outline=(240, 224, 200), width=5
        )

    def _stadium(self) -> None:
        self.sky_and_ground((70, 158, 70), (58, 142, 60))
        top = self.horizon // 3
        self.draw.polygon(
            [(0, top), (self.width, top), (self.width, self.horizon), (0, self.horizon)],
            fill=_vary((110, 112, 122), self.rng),
        )
        shirts = [(220, 60, 60), (60, 90, 200), (240, 220, 80), (245, 245, 245), (60, 60, 70), (240, 150, 60)]
        for y in range(top + 6, self.horizon - 4, 10):
            for x in range(self.rng.randint(0, 8), self.width, 11):
                self.draw.ellipse((x, y, x + 7, y + 7), fill=self.rng.choice(shirts))
        stripe = _vary((84, 174, 82), self.rng, 10)
        for x in range(self.rng.randint(-60, 0), self.width, 120):
            self.draw.rectangle((x, self.horizon, x + 60, self.height), fill=stripe)
        y = self.rng.randint(self.horizon + 30, self.height - 30)
        self.draw.line((0, y, self.width, y), fill=(250, 250, 250), width=5)
        x = self.rng.randint(100, self.width - 100)
        self.draw.ellipse((x - 70, y - 30, x + 70, y + 30), outline=(250, 250, 250), width=5)

    def _farm(self) -> None:
        self.sky_and_ground((172, 176, 88), (160, 136, 84))
        x, base, w, h = self.rng.randint(0, self.width - 170), self.horizon + 20, 150, 90
        red = _vary((172, 44, 38), self.rng)
        self.draw.rectangle((x, base - h, x + w, base), fill=red)
        roof = [
            (x - 12, base - h),
            (x + 20, base - h - 44),
            (x + w // 2, base - h - 66),
            (x + w - 20, base - h - 44),
            (x + w + 12, base - h),
        ]
        self.draw.polygon(roof, fill=_vary((100, 92, 96), self.rng))
        self.draw.rectangle(
            (x + 50, base - 58, x + 100, base), fill=(120, 28, 26), outline=(245, 240, 230), width=4
        )
        self.draw.line((x + 50, base - 58, x + 100, base), fill=(245, 240, 230), width=4)
        self.draw.line((x + 100, base - 58, x + 50, base), fill=(245, 240, 230), width=4)
        y = base + self.rng.randint(10, 30)
        for px in range(self.rng.randint(-30, 0), self.width, 46):
            self.draw.rectangle((px, y - 26, px + 8, y + 14), fill=(222, 204, 172))
        for rail in (y - 16, y):
            self.draw.rectangle((0, rail, self.width, rail + 6), fill=(222, 204, 172))
        self.scatter(self.rng.randint(20, 50), [(206, 180, 92), (130, 150, 70)], (3, 8), top=0.3)

    def _sea(self) -> None:
        self.gradient(0, self.height, (26, 128, 186), (6, 44, 98))
        for _ in range(self.rng.randint(12, 36)):
            x, y, r = (
                self.rng.randint(0, self.width),
                self.rng.randint(0, self.height),
                self.rng.randint(3, 9),
            )
            self.draw.ellipse((x - r, y - r, x + r, y + r), outline=(170, 220, 240), width=2)
        bed = int(self.height * self.rng.uniform(0.84, 0.92))
        self.draw.ellipse(
            (-120, bed, self.width + 120, self.height + 160), fill=_vary((184, 164, 116), self.rng)
        )
        for _ in range(self.rng.randint(4, 9)):
            x, h = self.rng.randint(0, self.width), self.rng.randint(40, 110)
            if self.rng.random() < 0.5:
                weed = [(x + 8 * math.sin(step / 2), bed + 30 - step * h / 8) for step in range(9)]
                self.draw.line(weed, fill=_vary((40, 130, 80), self.rng), width=7)
            else:
                coral = _vary(self.rng.choice(((236, 110, 110), (240, 150, 90), (200, 100, 180))), self.rng)
                for angle in (-0.6, -0.2, 0.2, 0.6):
                    self.draw.line(
                        (x, bed + 30, x + h * math.sin(angle), bed + 30 - 0.8 * h * math.cos(angle)),
                        fill=coral,
                        width=9,
                    )

    def _classroom(self) -> None:
        floor = int(self.height * self.rng.uniform(0.68, 0.78))
        self.gradient(0, floor, (226, 220, 196), (216, 208, 184))
        self.rows_of_boxes(floor, self.height, (60, 40), (186, 176, 160), (160, 150, 134))
        x, w = self.rng.randint(20, 110), self.rng.randint(300, 380)
        board = _vary((38, 82, 62), self.rng, 12)
        self.draw.rectangle((x, 30, x + w, 190), fill=board, outline=(150, 106, 62), width=10)
        for row in range(self.rng.randint(1, 4)):
            y, cx = 58 + 34 * row, x + 26
            while cx < x + w - 60:
                step = self.rng.randint(10, 40)
                self.draw.line(
                    (cx, y + self.rng.randint(-5, 5), cx + step, y + self.rng.randint(-5, 5)),
                    fill=(230, 236, 230),
                    width=4,
                )
                cx += step + self.rng.randint(6, 16)
        for _ in range(self.rng.randint(1, 3)):
            dx = self.rng.randint(0, self.width - 120)
            self.draw.rectangle((dx, floor - 14, dx + 110, floor), fill=_vary((190, 140, 86), self.rng))
            for leg in (dx + 6, dx + 98):
                self.draw.rectangle((leg, floor, leg + 6, floor + 50), fill=(90, 90, 96))


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
    picture = _Backdrop(setting, sky, rng).finished()
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
    captions, partial_file = folder / "captions.jsonl", folder / "captions.jsonl.part"
    with ProcessPoolExecutor(processes) as pool, partial_file.open("w", encoding="utf-8") as lines:
        for done, row in enumerate(pool.map(draw, jobs, chunksize=64), 1):
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            progress(done, len(jobs))
    partial_file.replace(captions)
    return captions
