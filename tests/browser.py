"""A headless Chromium, driven over its own pipe: the DevTools protocol, and nothing to install."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome")
KEYS = {" ": 32, "Enter": 13, "Escape": 27, "Home": 36, "End": 35, "Tab": 9}
ARROWS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def program():
    """Where there is a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. What it logs, throws and asks the network for is kept."""

    def __init__(self, width=1360, height=900):
        self.home = tempfile.mkdtemp(prefix="torus-swing-")
        (down, to), (back, up) = (tuple(map(high, os.pipe())) for _ in range(2))
        words = [
            program(), "--headless", "--remote-debugging-pipe", f"--user-data-dir={self.home}",
            "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update",
            f"--window-size={width},{height}", *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]  # fmt: skip
        quiet = os.open(os.devnull, os.O_RDWR)
        ends = [(os.POSIX_SPAWN_DUP2, fd, n) for fd, n in ((quiet, 1), (quiet, 2), (down, 3))]
        ends.append((os.POSIX_SPAWN_DUP2, up, 4))
        self.pid = os.posix_spawn(
            words[0], words, os.environ | {"HOME": self.home}, file_actions=ends, setpgroup=0
        )
        for fd in (down, up, quiet):
            os.close(fd)
        self.to, self.back = to, back
        self.rest, self.number, self.session = b"", 0, None
        self.complaints, self.requests, self.loaded = [], [], False
        (page,) = (t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        found = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.to)
        os.close(self.back)
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for _ in range(20):
            shutil.rmtree(self.home, ignore_errors=True)
            if not os.path.exists(self.home):
                break
            time.sleep(0.1)

    def call(self, method, **params):
        """The answer to a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            found = self.read()
            if found.get("id") == self.number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]

    def read(self, patience=300):
        """The next message; events are noted."""
        while b"\0" not in self.rest:
            if not select.select([self.back], [], [], patience)[0]:
                raise TimeoutError("Chromium does not answer")
            piece = os.read(self.back, 1 << 20)
            if not piece:
                raise RuntimeError("Chromium has ended")
            self.rest += piece
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        about = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                self.complaints.append(str([a.get("value") for a in about["args"]]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(about["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(about["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Page.loadEventFired":
                self.loaded = True
        return message

    def open(self, path):
        """Goes to a file and waits until it is there."""
        self.loaded, self.complaints, self.requests = False, [], []
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self.read()

    def run(self, expression):
        """The value of JavaScript, after the next frame."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def wait(self, condition, patience=120):
        """Until JavaScript is true."""
        end = time.monotonic() + patience
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def resize(self, width, height):
        """The size of the window in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def media(self, kind="screen", **features):
        """Screen or print, and what the user prefers, such as prefers_color_scheme="dark"."""
        told = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.call("Emulation.setEmulatedMedia", media=kind, features=told)

    def press(self, *keys):
        """Keys, one after the other."""
        for key in keys:
            code = KEYS.get(key) or ARROWS.get(key) or ord(key.upper())
            about = {"key": key, "windowsVirtualKeyCode": code}
            if key == " " or len(key) == 1:
                about["text"] = key
            elif key == "Enter":
                about["text"] = "\r"
            self.call("Input.dispatchKeyEvent", type="keyDown", **about)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def middle(self, selector):
        """Where an element is, after it was scrolled into sight."""
        return self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2] })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def hover(self, selector):
        """Moves the mouse to an element."""
        x, y = self.middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector):
        """Clicks on an element."""
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def picture(self, whole=False):
        """A PNG of what is seen, or of the whole page."""
        more = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            more["clip"] = {**size, "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", **more)
        return base64.b64decode(found["data"])

    def print(self):
        """A PDF."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])


def high(fd):
    """The same pipe under a number that no other end is given."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(fd)
    return copy
