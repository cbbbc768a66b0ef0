"""Python's package requests.

API_HOST=http://127.0.0.1:8000 API_KEY=… python3 requests_client.py
"""

import json
import os

import requests

env = os.environ
payload = json.dumps(
    {
        "key": env["API_KEY"],
        "model_id": "model_id",
        "prompt": "a red ball bouncing in a blue sky",
        "negative_prompt": "blurry",
        "width": env.get("API_SIDE", "512"),
        "height": env.get("API_SIDE", "512"),
        "scheduler": "UniPCMultistepScheduler",
        "num_inference_steps": env.get("API_STEPS", "30"),
        "enhance_prompt": "yes",
        "guidance_scale": 7.5,
        "strength": 0.7,
        "seed": None,
        "webhook": env.get("API_WEBHOOK"),
        "track_id": env.get("API_TRACK_ID"),
    }
)
url = env["API_HOST"] + "/api/v1/enterprise/text2video"
response = requests.request("POST", url, headers={"Content-Type": "application/json"}, data=payload)
print(response.text)
