"""The world that tiny-world knows: one coloured shape that moves over an animated background.

`draw_clip` renders a clip, `captions` lists the ways to say what it shows. Everything is drawn with Pillow at twice
the frame size and reduced with a box filter, so edges are anti-aliased.
"""

import itertools
import math
import random
import zlib

import numpy as np
from PIL import Image, ImageDraw

FRAMES = 16
FRAME_SIZE = 64
CANVAS = 256

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (50, 90, 220),
    "yellow": (245, 210, 50),
    "purple": (150, 60, 190),
    "orange": (245, 140, 40),
    "pink": (245, 130, 180),
    "white": (245, 245, 245),
}
SHAPES = ["ball", "square", "triangle", "star", "heart", "ring", "diamond"]
MOTIONS = ["moving left", "moving right", "rising", "falling", "bouncing", "spinning", "growing", "shrinking"]
BACKGROUNDS = [
    "on a black background",
    "in a blue sky",
    "over the sea",
    "at night",
    "in the snow",
    "in the desert at sunset",
]

# Other words that prompts may use, and the word of the captions that each stands for.
SYNONYMS = {
    synonym: word
    for word, synonyms in {
        "red": "crimson scarlet ruby",
        "green": "emerald",
        "blue": "azure cobalt",
        "yellow": "golden gold",
        "purple": "violet",
        "orange": "tangerine",
        "pink": "rose",
        "white": "ivory",
        "ball": "sphere circle disc disk orb",
        "square": "box cube block",
        "triangle": "pyramid",
        "ring": "hoop donut doughnut",
        "diamond": "rhombus gem",
        "moving": "moves going goes sliding slides gliding glides drifting drifts flying flies travelling traveling",
        "left": "leftward leftwards",
        "right": "rightward rightwards",
        "rising": "rises ascending ascends climbing climbs",
        "falling": "falls dropping drops descending descends sinking sinks",
        "bouncing": "bounces jumping jumps hopping hops",
        "spinning": "spins rotating rotates turning turns twirling twirls",
        "growing": "grows expanding expands",
        "shrinking": "shrinks contracting contracts",
        "background": "backdrop",
        "sea": "ocean",
        "over": "above",
        "sunset": "dusk",
    }.items()
    for synonym in synonyms.split()
}

Attributes = tuple[str, str, str, str]


def is_held_out(attributes: Attributes) -> bool:
    """A tenth of the (colour, shape, motion) combinations is never trained on: they measure composition."""
    return zlib.crc32("|".join(attributes[:3]).encode()) % 10 == 0


def all_attributes() -> list[Attributes]:
    return list(itertools.product(COLOURS, SHAPES, MOTIONS, BACKGROUNDS))


def captions(attributes: Attributes) -> list[str]:
    colour, shape, motion, background = attributes
    article = "an" if colour == "orange" else "a"
    return [
        f"{article} {colour} {shape} {motion} {background}",
        f"{colour} {shape} {motion} {background}",
        f"{background}, {article} {colour} {shape} is {motion}",
        f"a video of {article} {colour} {shape} {motion} {background}",
        f"{article} {colour} {shape} is {motion} {background}",
    ]


def mix(a, b, t):
    return tuple(int(a[i] + (b[i] - a[i]) * t) for i in range(3))


def gradient(top, bottom, height):
    t = np.linspace(0, 1, height)[:, None, None]
    rows = np.array(top)[None, None] * (1 - t) + np.array(bottom)[None, None] * t
    return np.repeat(rows, CANVAS, 1)


class Background:
    """The still part of a background, and the parts that `draw` adds a frame at a time."""

    def __init__(self, name: str, rng: random.Random):
        n = CANVAS
        self.still = np.zeros((n, n, 3), np.float32)
        self.clouds, self.stars, self.flakes = [], [], []
        self.wave_phase = self.sun = None
        if name == "on a black background":
            self.still[:] = (10, 10, 12)
        elif name == "in a blue sky":
            self.still[:] = gradient((90, 160, 235), (190, 225, 250), n)
            self.clouds = [(rng.uniform(0, n), rng.uniform(0, n / 2), rng.uniform(14, 26)) for _ in range(3)]
        elif name == "over the sea":
            horizon = n * 5 // 8
            self.still[:horizon] = gradient((150, 205, 245), (225, 240, 250), horizon)
            self.still[horizon:] = gradient((40, 120, 180), (15, 60, 120), n - horizon)
            self.wave_phase = rng.uniform(0, math.tau)
        elif name == "at night":
            self.still[:] = gradient((8, 10, 40), (40, 40, 95), n)
            self.stars = [(rng.uniform(0, n), rng.uniform(0, n * 0.8), rng.uniform(3, 5)) for _ in range(8)]
        elif name == "in the snow":
            self.still[:] = gradient((175, 190, 205), (205, 215, 225), n)
            self.still[n * 3 // 4 :] = (240, 244, 248)
            self.flakes = [(rng.uniform(0, n), rng.uniform(0, n), rng.uniform(4.5, 7)) for _ in range(9)]
        elif name == "in the desert at sunset":
            horizon = n * 11 // 16
            self.still[:horizon] = gradient((120, 60, 120), (250, 160, 80), horizon)
            self.still[horizon:] = gradient((205, 150, 85), (170, 115, 60), n - horizon)
            self.sun = (rng.uniform(n * 0.2, n * 0.8), n * 0.55)
        else:
            raise ValueError(f"unknown background {name!r}")

    def draw(self, draw: ImageDraw.ImageDraw, t: float):
        n = CANVAS
        for x, y, r in self.clouds:
            x = (x + t * 20) % (n + 60) - 30
            for k in (-1, 0, 1):
                cx = x + k * r * 0.9
                draw.ellipse(
                    [cx - r * 0.8, y - r * 0.55 + abs(k) * r * 0.15, cx + r * 0.8, y + r * 0.55], fill=(250, 252, 255)
                )
        if self.wave_phase is not None:
            for row in range(3):
                y = n * 5 // 8 + 16 + row * 24
                points = [
                    (x, y + 4 * math.sin(x / 18 + self.wave_phase + t * math.tau + row)) for x in range(0, n + 8, 8)
                ]
                draw.line(points, fill=(120, 180, 220), width=4)
        for x, y, r in self.stars:
            draw.ellipse([x - r, y - r, x + r, y + r], fill=(250, 250, 220))
        if self.sun:
            x, y = self.sun
            draw.pieslice([x - 34, y - 24, x + 34, y + 44], 180, 360, fill=(255, 225, 130))
        for x, y, r in self.flakes:
            y = (y + t * 70) % CANVAS
            draw.ellipse([x - r, y - r, x + r, y + r], fill=(255, 255, 255))


def outline(shape, cx, cy, r, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    if shape == "square":
        points = [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    elif shape == "triangle":
        points = [(0, -1.05), (0.95, 0.75), (-0.95, 0.75)]
    elif shape == "diamond":
        points = [(0, -1.2), (0.75, 0), (0, 1.2), (-0.75, 0)]
    elif shape == "star":
        points = [
            (radius * math.sin(i * math.pi / 5), -radius * math.cos(i * math.pi / 5))
            for i in range(10)
            for radius in [1.15 if i % 2 == 0 else 0.48]
        ]
    else:
        points = []
        for i in range(40):
            a = i / 40 * math.tau
            y = (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16
            points.append((math.sin(a) ** 3, -y))
    return [(cx + r * (x * cos - y * sin), cy + r * (x * sin + y * cos)) for x, y in points]


def draw_subject(draw, shape, colour, x, y, r, angle, spinning):
    dark = tuple(int(v * 0.72) for v in colour)
    if shape == "ball":
        draw.ellipse([x - r, y - r, x + r, y + r], fill=colour, outline=dark, width=4)
        hx, hy, hr = x + r * 0.45 * math.cos(angle - 2.2), y + r * 0.45 * math.sin(angle - 2.2), r * 0.22
        draw.ellipse([hx - hr, hy - hr, hx + hr, hy + hr], fill=mix(colour, (255, 255, 255), 0.75))
    elif shape == "ring":
        draw.ellipse([x - r, y - r, x + r, y + r], outline=colour, width=max(int(r * 0.36), 3))
        if spinning:
            hx, hy, hr = x + r * 0.82 * math.cos(angle), y + r * 0.82 * math.sin(angle), r * 0.16
            draw.ellipse([hx - hr, hy - hr, hx + hr, hy + hr], fill=dark)
    else:
        draw.polygon(outline(shape, x, y, r, angle), fill=colour, outline=dark, width=4)


def draw_clip(attributes: Attributes, rng: random.Random, frames=range(FRAMES)) -> np.ndarray:
    """uint8 `[frames, FRAME_SIZE, FRAME_SIZE, 3]`."""
    colour, shape, motion, background_name = attributes
    background = Background(background_name, rng)
    n, rgb = CANVAS, COLOURS[colour]
    r0 = rng.uniform(0.17, 0.23) * n
    x0, y0 = rng.uniform(0.35, 0.65) * n, rng.uniform(0.35, 0.6) * n
    speed, phase, spin = rng.uniform(0.45, 0.6), rng.uniform(0, math.tau), rng.choice([-1, 1])
    clip = np.empty((len(frames), FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    still = Image.fromarray(background.still.clip(0, 255).astype(np.uint8))
    for i, f in enumerate(frames):
        t = f / (FRAMES - 1)
        image = still.copy()
        draw = ImageDraw.Draw(image)
        background.draw(draw, t)
        x, y, r, angle = x0, y0, r0, 0.0
        if motion == "moving left":
            x = n * (0.5 + speed * 0.5) - t * speed * n
        elif motion == "moving right":
            x = n * (0.5 - speed * 0.5) + t * speed * n
        elif motion == "rising":
            y = n * (0.5 + speed * 0.5) - t * speed * n
        elif motion == "falling":
            y = n * (0.5 - speed * 0.5) + t * speed * n
        elif motion == "bouncing":
            y = n * 0.72 - abs(math.sin(phase + t * math.tau)) * n * 0.42
        elif motion == "spinning":
            angle = spin * t * math.tau * 0.75
        elif motion == "growing":
            r = r0 * (0.45 + t * 1.15)
        elif motion == "shrinking":
            r = r0 * (1.6 - t * 1.15)
        else:
            raise ValueError(f"unknown motion {motion!r}")
        draw_subject(draw, shape, rgb, x, y, r, angle, motion == "spinning")
        clip[i] = np.asarray(image.resize((FRAME_SIZE, FRAME_SIZE), Image.BOX))
    return clip


def training_attributes() -> list[Attributes]:
    return [a for a in all_attributes() if not is_held_out(a)]


def contact_sheet(clips, path, every=3):
    """One row a clip, every third frame."""
    Image.fromarray(np.concatenate([np.concatenate(list(clip[::every]), 1) for clip in clips], 0)).save(path)


def partial_captions(attributes: Attributes) -> list[str]:
    """Captions that leave attributes open."""
    colour, shape, motion, background = attributes
    article = "an" if colour == "orange" else "a"
    return [
        f"{article} {colour} {shape}",
        f"{article} {colour} {shape} {motion}",
        f"{article} {colour} {shape} {background}",
        f"a {shape} {motion} {background}",
        f"a {shape} {background}",
        f"{background}",
    ]
