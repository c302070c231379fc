"""A real browser without a window: Debian's chromium, told what to do by its chromedriver over HTTP (W3C WebDriver)."""

import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import typing
import urllib.error
import urllib.request

from tests.helpers import support
from tests.helpers.client import PATIENCE

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--lang=fr")
PROGRAMS = ("chromium", "chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"         # what WebDriver calls a reference to one
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Up": "\ue013", "Down": "\ue015"}


class Browser:
    """One browser with a profile of its own, of the given size in CSS pixels.  Use it with `with`."""

    def __init__(self, width: int = 1280, height: int = 900):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="serveur-smtp-essai-"))
        self.port = support.free_port()
        self.driver = subprocess.Popen(["chromedriver", "--port=%d" % self.port], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
        self.session = ""
        try:
            support.wait_for(lambda: self.driver.poll() is not None or support.listeners(self.port), "chromedriver")
            options = {"binary": shutil.which("chromium"), "args": [*FLAGS, "--user-data-dir=%s" % self.folder]}
            made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
            self.session = "/session/" + made["sessionId"]
            self.resize(width, height)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """End browser and driver, and remove the profile.  Never fails."""
        with contextlib.suppress(OSError, AssertionError):
            if self.session:
                self._ask("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, method: str, path: str, body: typing.Optional[dict] = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError("%s %s: %s" % (method, path, error.read().decode("utf-8", "replace")[:500])) from None

    def _devtools(self, command: str, **parameters):
        return self._ask("POST", self.session + "/goog/cdp/execute", {"cmd": command, "params": parameters})

    # -- what a person does --

    def open(self, address: str) -> None:
        self._ask("POST", self.session + "/url", {"url": address})

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other: names of KEYS, or characters."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self._ask("POST", self.session + "/actions", {"actions": [keyboard]})

    def click(self, selector: str) -> None:
        found = self._ask("POST", self.session + "/element", {"using": "css selector", "value": selector})
        self._ask("POST", "%s/element/%s/click" % (self.session, found[ELEMENT]), {})

    # -- what a person sees --

    def run(self, script: str, *arguments):
        """The value of a JavaScript function's body."""
        return self._ask("POST", self.session + "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """What is to be read in all elements that match, as it is shown; with plain blanks for U+00A0."""
        found = "[...document.querySelectorAll(arguments[0])]"
        text = self.run("return %s.map((element) => element.innerText).join('\\n')" % found, selector)
        return text.replace("\xa0", " ")

    def count(self, selector: str) -> int:
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def wait_text(self, selector: str, text: str) -> str:
        """Wait until `text` is to be read there; returns all of it."""
        return support.wait_for(lambda: text in (seen := self.text(selector)) and seen, "%r in %s" % (text, selector))

    def console(self) -> typing.List[str]:
        """What the browser complains of: errors, and what the Content-Security-Policy forbade."""
        return [entry["message"] for entry in self._ask("POST", self.session + "/se/log", {"type": "browser"})
                if entry["level"] in ("SEVERE", "WARNING")]

    # -- on what --

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        self._devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                       mobile=phone)

    def darken(self, is_dark: bool) -> None:
        scheme = "dark" if is_dark else "light"
        self._devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path) -> None:
        """Write what is to be seen, as PNG."""
        pathlib.Path(path).write_bytes(base64.b64decode(self._ask("GET", self.session + "/screenshot")))
