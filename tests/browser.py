"""A headless Chromium that is told what to do by the DevTools protocol, through two pipes: no port, no library.

`page_in(folder, file)` opens a file, and knows what the page wrote to its console and whom it asked for anything.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE = 60.0


def chromium() -> str | None:
    """The program; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """An open page."""

    def __init__(self, to: int, fro: int) -> None:
        self._to, self._from = to, fro
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        #: Messages of the console that are errors or warnings, and exceptions nobody caught.
        self.complaints: list[str] = []
        #: Addresses that the page asked for, itself and its own data excepted.
        self.requests: list[str] = []

    def attach(self) -> None:
        """Make a tab, and listen."""
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, scripts: bool = True, dark: bool = False
    ) -> None:
        """Open a file and wait until it is there."""
        self.tell("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.tell("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + _PATIENCE
        while not self._loaded and time.monotonic() < end:
            self._read(0.1)
        assert self._loaded, f"{path} did not load"

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.tell("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def shoot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page, from top to bottom."""
        answer = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def tell(self, method: str, **words: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": words}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            answer = self._read(0.1, self._number)
            if answer is not None:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found
        raise TimeoutError(method)

    def _read(self, seconds: float, number: int | None = None) -> dict[str, Any] | None:
        """Read what is there; the answer of this number, if it is among it."""
        if b"\0" not in self._buffer and select.select([self._from], [], [], seconds)[0]:
            self._buffer += os.read(self._from, 1 << 20)
        answer = None
        while b"\0" in self._buffer and answer is None:
            text, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(text)
            if message.get("id") == number and number is not None:
                answer = message
            else:
                self._note(message)
        return answer

    def _note(self, message: dict[str, Any]) -> None:
        words, kind = message.get("params", {}), message.get("method")
        if kind == "Page.loadEventFired":
            self._loaded = True
        elif kind == "Runtime.exceptionThrown":
            self.complaints.append(str(words["exceptionDetails"]))
        elif kind == "Runtime.consoleAPICalled" and words["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(words["args"]))
        elif kind == "Log.entryAdded" and words["entry"]["level"] in ("error", "warning"):
            self.complaints.append(words["entry"]["text"])
        elif kind == "Network.requestWillBeSent":
            self._note_request(words.get("type", ""), words["request"]["url"])

    def _note_request(self, kind: str, address: str) -> None:
        """Remember whom the page asks: the page's own address, and what lies inside it, are nobody."""
        if kind != "Document" and not address.startswith(("data:", "blob:")):
            self.requests.append(address)


@contextmanager
def page_in(folder: Path, *more: str) -> Iterator[Page]:
    """A browser with one tab, whose profile lies in a folder; `more` are words of its command line."""
    program = chromium()
    assert program is not None, "there is no chromium here"
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--disable-dev-shm-usage")
    flags = [
        *words,
        "--no-first-run",
        "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}",
        *more,
    ]
    # The browser reads from 3 and writes to 4, whatever numbers the pipes have here.
    script = f'exec 3<&{to_read} 4>&{from_write}; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", program, *flags],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        page = Page(to_write, from_read)
        page.attach()
        yield page
    finally:
        process.terminate()
        process.wait(30)
        os.close(to_write)
        os.close(from_read)
