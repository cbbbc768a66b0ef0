"""Makes crates/t2v-mp4/tests/fixtures with ffmpeg: the clip `smooth` of tests/it/clip.rs as libx264 writes it.

    python3 scripts/make_mp4_fixtures.py

Each file is decoded by ffmpeg as well, which must give the frames of the clip that the tests expect, in the same order.
"""

import functools
import math
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).parent.parent / "crates/t2v-mp4/tests/fixtures"
WIDTH, HEIGHT = 64, 48


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


def clip(frames, matrix="bt709", full=False, siting="left"):
    """ffmpeg's options for these frames as its input, its options for what they are, and the bytes."""
    pixels = b"".join(bytes(picture(t, WEIGHTS[matrix], full, siting)) for t in range(frames))
    range_ = "pc" if full else "tv"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-color_range", range_]
    colours = ["-colorspace", matrix, "-color_range", range_, "-pix_fmt", "yuv420p"]
    return [*source, "-r", "24000/1001", "-i", "-"], colours, f"chromaloc={LOCATIONS[siting]}", pixels


def ffmpeg(*options, **more):
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *options], check=True, **more)


def encode(name, profile, options=(), x264="", audio=False, frames=6, extension="mp4", **kind):
    source, colours, location, pixels = clip(frames, **kind)
    path = FOLDER / f"{name}.{extension}"
    sound = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-shortest"] if audio else []
    x264 = ":".join(filter(None, [location, x264]))
    ffmpeg(
        *source, *sound, "-c:v", "libx264", "-profile:v", profile, "-crf", "8", "-bf", "0", "-g", "4", "-threads", "1",
        *colours, "-x264-params", x264, "-bitexact", *options, path, input=pixels,
    )
    return path


def copy(name, source, before=(), after=()):
    path = FOLDER / f"{name}.mp4"
    ffmpeg(*before, "-i", source, "-c", "copy", "-bitexact", *after, path)
    return path


def check(path, expected, matrix="bt709", full=False, turned=False):
    """That ffmpeg decodes these frames of the clip."""
    pixels = "yuvj420p" if full else "yuv420p"
    decoded = ["-fps_mode", "passthrough", "-pix_fmt", pixels, "-f", "rawvideo", "-"]
    planes = ffmpeg("-i", path, "-map", "0:v", *decoded, stdout=subprocess.PIPE).stdout
    length = WIDTH * HEIGHT * 3 // 2
    found = []
    for start in range(0, len(planes), length):
        luma = planes[start : start + WIDTH * HEIGHT]
        if turned:
            # Back from anticlockwise: column x of the picture is the row that is x from the end.
            luma = bytes(luma[(WIDTH - 1 - x) * HEIGHT + y] for y in range(HEIGHT) for x in range(WIDTH))
        found.append(min(range(20), key=lambda t: sum((a - b) ** 2 for a, b in zip(luma, luma_of(t, matrix, full)))))
    assert found == list(expected), f"{path.name}: {found}"
    print(f"{path.name}: {path.stat().st_size} bytes, frames {found}")


@functools.cache
def luma_of(t, matrix, full):
    return list(picture(t, WEIGHTS[matrix], full, "left"))[: WIDTH * HEIGHT]


PYRAMID = "bframes=3:b-adapt=0:b-pyramid=normal:ref=4:keyint=30"
FRAGMENTS = "frag_keyframe+empty_moov"

FOLDER.mkdir(exist_ok=True)
check(encode("baseline", "baseline", ["-movflags", "+faststart"]), range(6))
centre = {"matrix": "smpte170m", "full": True}
check(encode("main_601_full_centre", "main", siting="center", **centre), range(6), **centre)
check(encode("high_topleft_audio", "high", audio=True, siting="topleft"), range(6))
check(encode("main_b_frames", "main", ["-bf", "2"]), range(6))
pyramid = encode("high_b_pyramid", "high", x264=f"{PYRAMID}:8x8dct=1:direct=temporal:weightb=1", frames=12)
check(pyramid, range(12))
check(encode("main_slices_cavlc", "main", ["-coder", "0"], f"{PYRAMID}:slices=3:direct=spatial", frames=9), range(9))
check(encode("high_open_gop", "high", x264="bframes=2:b-adapt=0:keyint=5:min-keyint=2:open-gop=1", frames=14), range(14))
check(encode("high_matrices", "high", x264=f"{PYRAMID}:cqm=jvt", frames=8), range(8))
check(encode("quicktime", "high", x264=PYRAMID, frames=8, extension="mov"), range(8))
fragmented = ["-movflags", f"{FRAGMENTS}+default_base_moof", "-g", "4"]
check(encode("fragmented_audio", "main", fragmented, "bframes=2:b-adapt=0", audio=True, frames=9), range(9))
check(encode("fragmented_base", "main", ["-movflags", FRAGMENTS], "bframes=2:b-adapt=0", frames=9), range(9))
check(encode("negative_offsets", "main", ["-movflags", "negative_cts_offsets"], PYRAMID, frames=8), range(8))
uneven = ["-vf", "setpts=(N+floor(N/3))/(24000/1001)/TB", "-fps_mode", "vfr"]
check(encode("uneven", "main", uneven, "bframes=2:b-adapt=0", frames=9), range(9))
check(copy("trimmed", pyramid, ["-ss", "0.2"]), range(5, 12))
check(copy("turned", pyramid, after=["-metadata:s:v", "rotate=90"]), range(12), turned=True)
