"""What may be drawn, and which of it stands together in a scene."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from export.data.postcards.catalogue import (
    AIRBORNE,
    SETTINGS,
    SKIN_TONES,
    SUBJECTS,
)

MAX_FIGURES = 5  # more than that and each is too small to be told apart
ZWJ, VS16 = "\u200d", "\ufe0f"


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
