"""What schemathesis has to know of this server beyond the OpenAPI document: a key, and videos that there are.

SCHEMATHESIS_HOOKS=schemathesis_hooks.py API_KEY=… API_VIDEOS=1,2,3 st run …
"""

import os
import zlib

import schemathesis

KEY = os.environ["API_KEY"]
# Numbers of videos that are ready.
VIDEOS = os.environ["API_VIDEOS"].split(",")


@schemathesis.hook
def map_body(context, body):
    """A key that the server knows, wherever there is one: any other is refused before anything is looked at."""
    if isinstance(body, dict) and "key" in body:
        body["key"] = KEY
        if context.operation.path.endswith("/update_s3") and "endpoint_url" in body:
            # No stranger's server is asked.
            body["endpoint_url"] = "http://127.0.0.1:9"
    return body


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every other id is one of a video that is ready, but for what would remove it."""
    drawn = str((path_parameters or {}).get("id", ""))
    number = zlib.crc32(drawn.encode(errors="replace"))
    if "id" in (path_parameters or {}) and context.operation.method.lower() != "delete" and number % 2 == 0:
        video = VIDEOS[number // 2 % len(VIDEOS)]
        path_parameters["id"] = f"video_{video}" if context.operation.path.startswith("/v1/") else video
    return path_parameters
