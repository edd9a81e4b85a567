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
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps, features

from export.data.postcards.backdrops import HEIGHT, WIDTH, Backdrop
from export.data.postcards.captions import Group, write_captions
from export.data.postcards.catalogue import (
    OUTDOORS,
    SKIES,
)
from export.data.postcards.scenes import Scene, catalogue, compose_scenes
from export.errors import ExportError
from itl_infer.files import replacing

EMOJI_FONT_SIZE = 109  # the one size of the bitmaps in Noto Color Emoji
FONT_PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",  # Debian, Ubuntu: fonts-noto-color-emoji
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",  # Arch
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",  # Fedora
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
)


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
