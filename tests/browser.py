"""Headless Chromium by its DevTools protocol: open a page, ask it things, see what it did wrong."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import websocket

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


@contextlib.contextmanager
def chromium(binary="/usr/bin/chromium"):
    """A browser; yields a function that opens a new tab."""
    profile = Path(tempfile.mkdtemp(prefix="perfmon-chromium-"))
    command = [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tabs = []
    try:
        port = _port(profile / "DevToolsActivePort")
        yield lambda **look: tabs.append(Tab(port, **look)) or tabs[-1]
    finally:
        for tab in tabs:
            tab.close()
        process.terminate()
        process.wait(10)
        _remove(profile)


def _remove(folder):
    """Its helper processes write for a moment longer than the browser lives."""
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _port(file):
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < deadline, "chromium did not start"
        time.sleep(0.05)
    return int(file.read_text().split()[0])


class NavigatedError(Exception):
    """The page went away while it was asked something: a link was followed."""


class Tab:
    """One tab of a given look. `errors` has what the console and the page threw, `urls` all that was requested."""

    def __init__(self, port, *, width=1280, height=900, dark=False, zone="Europe/Berlin"):
        with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT"), timeout=10) as answer:
            self._socket = websocket.create_connection(
                json.load(answer)["webSocketDebuggerUrl"], suppress_origin=True, timeout=20
            )
        self._ids = itertools.count(1)
        self.errors = []
        self.urls = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.look(width=width, height=height, dark=dark)
        self.send("Emulation.setTimezoneOverride", timezoneId=zone)

    def look(self, *, width, height, dark):
        mobile = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def send(self, method, **params):
        """Call a method of the protocol; its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                if "navigated or closed" in message.get("error", {}).get("message", ""):
                    raise NavigatedError
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def _note(self, message):
        method, params = message["method"], message["params"]
        if method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["exception"].get("description", str(params)))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(str(params["args"]))

    def open(self, url):
        self.send("Page.navigate", url=url)

    def ask(self, expression):
        """The value of a JavaScript expression, awaited when it is a promise."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression, within_s=8.0, *, meanwhile="0"):
        """Wait for an expression to become true; `meanwhile` is evaluated again and again."""
        deadline = time.monotonic() + within_s
        while not self._holds(f"({meanwhile}, {expression})"):
            assert time.monotonic() < deadline, f"never became true: {expression}; page says: {self.text()[:600]}"
            time.sleep(0.03)

    def _holds(self, expression):
        try:
            return self.ask(expression)
        except NavigatedError:
            return False

    def text(self, selector="body"):
        """The text there, also of rows that are out of sight and not yet laid out (`innerText` leaves those out)."""
        return self.ask(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def press(self, key):
        """Press and release a key."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowRight": 39}.get(key, 0)
        fields = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **fields)
        self.send("Input.dispatchKeyEvent", type="keyUp", **fields)

    def shoot(self, path, *, whole=False):
        """Write a screenshot."""
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(picture["data"]))

    def close(self):
        self._socket.close()
