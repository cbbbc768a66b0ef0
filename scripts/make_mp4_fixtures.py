"""Makes crates/t2v-mp4/tests/fixtures with ffmpeg: the clip `smooth` of tests/it/clip.rs as libx264 writes it.

    python3 scripts/make_mp4_fixtures.py
"""

import math
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).parent.parent / "crates/t2v-mp4/tests/fixtures"
WIDTH, HEIGHT, FRAMES = 64, 48, 6


def smooth(x, y, t):
    def wave(value):
        return 127.5 + 100 * math.sin(value)

    return wave((x + 2 * t) / 25), wave((y - t) / 31 + 1), wave((x + y + t) / 40 + 2)


def picture(t, weights, full, siting):
    """Luma, Cb and Cr planes, with chroma taken where it is sited."""
    (kr, kb), (black, luma, chroma) = weights, (0, 255, 255) if full else (16, 219, 224)

    def ycc(x, y):
        r, g, b = (value / 255 for value in smooth(x, y, t))
        y = kr * r + (1 - kr - kb) * g + kb * b
        return black + luma * y, 128 + chroma * (b - y) / (2 - 2 * kb), 128 + chroma * (r - y) / (2 - 2 * kr)

    yield from (round(ycc(x, y)[0]) for y in range(HEIGHT) for x in range(WIDTH))
    dx, dy = SITINGS[siting]
    for plane in (1, 2):
        yield from (round(ycc(x + dx, y + dy)[plane]) for y in range(0, HEIGHT, 2) for x in range(0, WIDTH, 2))


LOCATIONS = {"left": 0, "center": 1, "topleft": 2}
SITINGS = {"left": (0, 0.5), "center": (0.5, 0.5), "topleft": (0, 0)}
WEIGHTS = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}
# name: profile, matrix, full range, siting, other options
KINDS = {
    "baseline": ("baseline", "bt709", False, "left", ["-movflags", "+faststart"]),
    "main_601_full_centre": ("main", "smpte170m", True, "center", []),
    "high_topleft_audio": ("high", "bt709", False, "topleft", ["-shortest"]),
    "main_b_frames": ("main", "bt709", False, "left", ["-bf", "2"]),
}

FOLDER.mkdir(exist_ok=True)
for name, (profile, matrix, full, siting, options) in KINDS.items():
    frames = (picture(t, WEIGHTS[matrix], full, siting) for t in range(FRAMES))
    pixels = b"".join(bytes(frame) for frame in frames)
    range_ = "pc" if full else "tv"
    audio = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono"] if "audio" in name else []
    command = [
        *["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}"],
        *["-color_range", range_, "-r", "24000/1001", "-i", "-", *audio, "-c:v", "libx264", "-profile:v", profile],
        *["-crf", "8", "-bf", "0", "-g", "4", "-threads", "1", "-colorspace", matrix, "-color_range", range_],
        *["-pix_fmt", "yuv420p", "-x264-params", f"chromaloc={LOCATIONS[siting]}", "-bitexact", *options],
    ]
    subprocess.run([*command, FOLDER / f"{name}.mp4"], input=pixels, check=True)
