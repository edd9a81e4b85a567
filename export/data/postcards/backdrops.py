"""The settings of the postcards, painted: sky and ground, and what stands there, varied by chance."""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 256, 192

Colour = tuple[int, int, int]


def _vary(colour: Colour, rng: random.Random, amount: int = 22) -> Colour:
    shift = rng.randint(-amount, amount)
    red, green, blue = (min(255, max(0, c + shift + rng.randint(-amount, amount) // 2)) for c in colour)
    return red, green, blue


class Backdrop:
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
