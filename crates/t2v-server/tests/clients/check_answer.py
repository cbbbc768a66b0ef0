"""Checks what text2video answered, and fetches the video.

API_KEY=… python3 check_answer.py ANSWER.json VIDEO.mp4
An answer of `processing` is followed as the API says: its `fetch_result` is asked until there is a video.
"""

import json
import os
import sys
import time
import urllib.request

PATIENCE = 90


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def followed(answer: dict) -> dict:
    """The answer once there is a video."""
    assert set(answer) == {"status", "eta", "messege", "fetch_result", "id", "output"}, answer
    assert answer["eta"] > 0 and answer["output"] == [], answer
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = post(answer["fetch_result"], {"key": os.environ["API_KEY"]})
        if found["status"] != "processing":
            assert found["id"] == answer["id"], (answer, found)
            return found
        time.sleep(0.5)
    raise AssertionError(f"no video within {PATIENCE} seconds: {answer}")


def main(answer_file: str, video_file: str) -> None:
    with open(answer_file, encoding="utf-8") as file:
        answer = json.load(file)
    if answer["status"] == "processing":
        print("processing", end=", then ")
        answer = followed(answer)
    else:
        assert set(answer) == {"status", "generationTime", "id", "output"}, answer
        assert answer["generationTime"] > 0, answer
    assert answer["status"] == "success", answer
    assert isinstance(answer["id"], int), answer
    [url] = answer["output"]
    with urllib.request.urlopen(url, timeout=30) as response, open(video_file, "wb") as file:
        assert response.headers["Content-Type"] == "video/mp4", response.headers
        file.write(response.read())
    print("success", end="")


main(*sys.argv[1:])
