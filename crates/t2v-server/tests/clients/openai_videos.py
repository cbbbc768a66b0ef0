"""The openai package's videos API against this server.

OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=… python3 openai_videos.py
The package reads both variables itself. Ends with 0 if every answer is as its types and the server's documentation say.
"""

import io
import struct
import warnings
import zlib

import openai

# The package says of each call that OpenAI's own service ends; the API is spoken by others.
warnings.simplefilter("ignore", DeprecationWarning)

PROMPT = "a red ball bouncing in a blue sky"
# Fields that OpenAI's API doesn't have: a small video, soon made.
SMALL = {"num_inference_steps": 2, "num_frames": 4, "enhance_prompt": "no"}
NOBODY = "video_999999999"


def png(side: int) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([200, 40, 40]) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refused(kind: type[openai.APIStatusError], call) -> openai.APIStatusError:
    """The error of a call that has to be refused with an error of a class."""
    try:
        answer = call()
    except openai.APIStatusError as error:
        assert type(error) is kind, f"{type(error).__name__} in place of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"not refused: {answer}")


def check_models(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert models and models[0].id == "tiny-world" and models[0].object == "model", models


def check_video(client: openai.OpenAI) -> str:
    video = client.videos.create_and_poll(prompt=PROMPT, poll_interval_ms=200, extra_body=SMALL)
    assert (video.status, video.progress, video.error) == ("completed", 100, None), video
    assert video.object == "video" and video.prompt == PROMPT and video.model == "tiny-world", video
    assert video.completed_at and video.completed_at >= video.created_at, video
    # Without the interval the package asks the server's headers, then takes a second.
    again = client.videos.create_and_poll(prompt=PROMPT, size="64x64", seconds="1", extra_body={"num_inference_steps": 2})
    assert (again.status, again.size, again.seconds) == ("completed", "64x64", "1"), again
    assert client.videos.retrieve(video.id) == video
    return video.id


def check_reference(client: openai.OpenAI) -> None:
    picture = ("ball.png", io.BytesIO(png(64)), "image/png")
    video = client.videos.create_and_poll(prompt=PROMPT, input_reference=picture, poll_interval_ms=200, extra_body=SMALL)
    assert video.status == "completed", video


def check_content(client: openai.OpenAI, video: str) -> None:
    starts = {"video": (4, b"ftyp"), "thumbnail": (8, b"WEBP"), "spritesheet": (0, b"\xff\xd8\xff")}
    for variant, (offset, magic) in starts.items():
        content = client.videos.download_content(video, variant=variant).read()
        assert content[offset : offset + len(magic)] == magic, (variant, content[:16])
    usual = client.videos.download_content(video).read()
    assert usual == client.videos.download_content(video, variant="video").read()


def check_list(client: openai.OpenAI) -> None:
    for number in range(3):
        client.videos.create(prompt=f"{PROMPT} {number}", extra_body=SMALL)
    page = client.videos.list(limit=2, order="asc")
    assert len(page.data) == 2 and page.has_next_page(), page
    for order in ("asc", "desc"):
        # Iterating asks for further pages by itself.
        found = [int(video.id.removeprefix("video_")) for video in client.videos.list(limit=2, order=order)]
        assert len(found) >= 6 and found == sorted(set(found), reverse=order == "desc"), found
    last = client.videos.list(after=page.data[-1].id, limit=100, order="asc")
    assert len(last.data) == len(found) - 2 and not last.has_next_page(), last


def check_delete(client: openai.OpenAI, video: str) -> None:
    deleted = client.videos.delete(video)
    assert deleted.deleted and deleted.id == video and deleted.object == "video.deleted", deleted
    refused(openai.NotFoundError, lambda: client.videos.retrieve(video))
    refused(openai.NotFoundError, lambda: client.videos.delete(video))
    refused(openai.NotFoundError, lambda: client.videos.download_content(video))
    assert video not in [video.id for video in client.videos.list()]


def check_errors(client: openai.OpenAI) -> None:
    error = refused(openai.BadRequestError, lambda: client.videos.create(prompt=PROMPT, size="huge"))
    assert (error.param, error.type) == ("size", "invalid_request_error"), error
    error = refused(openai.BadRequestError, lambda: client.videos.create(prompt=PROMPT, extra_body={"width": 2000}))
    assert error.param == "width" and "1024" in error.message, error
    error = refused(openai.NotFoundError, lambda: client.videos.create(prompt=PROMPT, model="sora-2"))
    assert error.code == "model_not_found", error
    refused(openai.NotFoundError, lambda: client.videos.retrieve(NOBODY))
    stranger = client.with_options(api_key="not-a-key")
    error = refused(openai.AuthenticationError, lambda: stranger.videos.list())
    assert error.code == "invalid_api_key", error


def main() -> None:
    # A failure is to be seen, not tried again.
    client = openai.OpenAI(max_retries=0, timeout=60)
    check_models(client)
    video = check_video(client)
    check_reference(client)
    check_content(client, video)
    check_list(client)
    check_delete(client, video)
    check_errors(client)
    print("models, create_and_poll, retrieve, download_content, list, delete, errors")


main()
