"""A browser that is driven by a program: headless Chromium, over the WebDriver protocol
(https://www.w3.org/TR/webdriver2/). Needs Debian's chromium and chromium-driver, nothing from PyPI."""

import base64
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
NAME = pathlib.Path(sys.argv[0]).name


def send(method, url, body=None):
    """Sends JSON, returns JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["value"]["message"]) from None


class Program:
    """A process that prints a line when it is ready."""

    def __init__(self, command, start):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if start in line:
                return
        raise SystemExit(f"{NAME}: {command[0]} ended: {self.lines}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Browser:
    """One window of Chromium, in a profile of its own. To be used in a `with`."""

    def __init__(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            driver = Program(["chromedriver", "--port=0"], "started successfully on port")
            stack.callback(driver.stop)
            port = driver.lines[-1].rstrip(".").split()[-1]
            self.url = self.session(f"http://127.0.0.1:{port}", folder)
            stack.callback(send, "DELETE", self.url)
            self.ends = stack.pop_all()

    @staticmethod
    def session(driver, folder):
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder}",
        ]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = send("POST", f"{driver}/session", {"capabilities": {"alwaysMatch": wanted}})
        return f"{driver}/session/{session['sessionId']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ends.close()

    def expect(self, condition, what):
        if not condition:
            self.picture("failure")
            raise SystemExit(f"{NAME}: {what}")
        print(f"  {what}", flush=True)

    def call(self, method, path, body=None):
        return send(method, f"{self.url}/{path}", body)

    def open(self, url):
        # Only the fragment may differ, which alone loads nothing.
        self.call("POST", "url", {"url": "about:blank"})
        self.call("POST", "url", {"url": url})

    def reload(self):
        self.call("POST", "refresh", {})

    def run(self, script, *arguments):
        return self.call("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, what, script, *arguments, seconds=60):
        """Waits until a script gives something true, and returns it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.run(script, *arguments)
            if found:
                return found
            time.sleep(0.05)
        self.picture("failure")
        raise SystemExit(f"{NAME}: no {what} within {seconds} s: {self.text('body')[:600]}")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def element(self, selector):
        found = self.call("POST", "element", {"using": "css selector", "value": selector})
        return f"element/{found[ELEMENT]}"

    def click(self, selector):
        self.call("POST", f"{self.element(selector)}/click", {})

    def type(self, selector, text):
        place = self.element(selector)
        self.call("POST", f"{place}/clear", {})
        self.call("POST", f"{place}/value", {"text": text})

    def press(self, *keys, held=""):
        """Presses keys wherever the focus is."""
        actions = [{"type": "keyDown", "value": key} for key in held]
        for key in keys:
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        actions += [{"type": "keyUp", "value": key} for key in held]
        self.call("POST", "actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def devtools(self, command, **parameters):
        return self.call("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width, height, is_phone, scheme):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone)
        self.devtools("Emulation.setTouchEmulationEnabled", enabled=is_phone)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "no-preference"},
        ])

    pictures = None

    def picture(self, name, whole=False):
        if self.pictures is None:
            return
        shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        (self.pictures / f"{name}.png").write_bytes(base64.b64decode(shot))

    def log(self):
        return self.call("POST", "se/log", {"type": "browser"})
