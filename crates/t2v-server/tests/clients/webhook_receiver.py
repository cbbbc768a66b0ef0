"""Receives webhooks and verifies their signatures (https://www.standardwebhooks.com).

WEBHOOK_SECRET=whsec_… python3 webhook_receiver.py DELIVERIES
Prints its port, then writes a line of JSON to the file for each delivery: what it says, and whether its signature is right.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
FILE = sys.argv[1]
TOLERANCE = 300


def is_signed(headers, body: bytes) -> bool:
    """Whether one of the signatures is that of the message, and the message is new."""
    message, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not moment.isdecimal() or abs(time.time() - int(moment)) > TOLERANCE:
        return False
    signed = b".".join([message.encode(), moment.encode(), body])
    wanted = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(wanted, found) for found in headers.get("webhook-signature", "").split())


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802, the name that http.server asks for
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        signed = is_signed(self.headers, body)
        said = json.loads(body)
        line = {"signed": signed, "track_id": said.get("track_id"), "status": said.get("status"), "output": said.get("output")}
        with open(FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.send_response(204 if signed else 401)
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
