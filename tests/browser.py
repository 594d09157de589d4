"""Chromium, headless, driven over its own debugging protocol: what tests and benchmarks of pages need of it."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

CHROMIUM = "chromium"
STARTUP_SECONDS = 60.0


class Browser:
    """One page of a browser with a profile of its own, which ends with the `with` block.

    Attributes:
        requested: addresses that its pages asked for, by the browser's id of each request.
        failed: requests of its pages that were refused, or whose answer was an error: status or cause, and address.
    """

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={self._profile.name}", "--no-first-run"]
        self._process = subprocess.Popen(
            [CHROMIUM, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port, path = self._address(Path(self._profile.name, "DevToolsActivePort"))
            self._socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None)
            self._count, self._session = 0, ""
            self.failed: list[str] = []
            self.requested: dict[str, str] = {}
            (page,) = [one for one in self._send("Target.getTargets")["targetInfos"] if one["type"] == "page"]
            attached = self._send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
            self._session = attached["sessionId"]
            self._send("Page.enable")
            self._send("Network.enable")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        self._end()

    def open(self, url: str, wait: bool = True) -> None:
        """Go to an address, and wait until everything of it is loaded."""
        self._send("Page.navigate", url=url)
        if wait:
            self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def enter_frame(self) -> None:
        """Go on inside the page's frame whose origin is not the page's, such as a sandboxed one."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while not (
            frames := [one for one in self._send("Target.getTargets")["targetInfos"] if one["type"] == "iframe"]
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page had no such frame within {STARTUP_SECONDS:.0f} s")
            time.sleep(0.05)
        self._session = self._send("Target.attachToTarget", targetId=frames[0]["targetId"], flatten=True)["sessionId"]

    def _frames(self) -> list[dict[str, Any]]:
        return [one for one in self._send("Target.getTargets")["targetInfos"] if one["type"] == "iframe"]

    def resize(self, width: int, height: int = 900) -> None:
        self._send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, name: str) -> None:
        """Prefer colours, `light` or `dark`."""
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def run(self, script: str) -> Any:
        """The value of an expression; a promise's when it is settled."""
        answer = self._send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", "a script failed"))
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page did not come to {condition!r} in {seconds:.0f} s")
            time.sleep(0.02)

    def screenshot(self, path: Path) -> None:
        """The whole page, as far as it goes down."""
        picture = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def pdf(self, path: Path) -> None:
        printed = self._send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        path.write_bytes(base64.b64decode(printed["data"]))

    def accessibility(self) -> list[str]:
        """What axe-core finds wrong with the page: rule, impact and the elements."""
        self.run(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "; 0")
        found = self.run("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']} ({one['impact']}): {', '.join(' '.join(node['target']) for node in one['nodes'])}"
            for one in found["violations"]
        ]

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=STARTUP_SECONDS))
            self._note(answer.get("method", ""), answer.get("params", {}))
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _note(self, event: str, about: dict[str, Any]) -> None:
        """Keep what an event of the browser tells of a request that failed."""
        if event == "Network.requestWillBeSent":
            self.requested[about["requestId"]] = about["request"]["url"]
        elif event == "Network.responseReceived" and about["response"]["status"] >= 400:
            self.failed.append(f"{about['response']['status']} {about['response']['url']}")
        elif event == "Network.loadingFailed" and not about["canceled"]:  # by the page itself, which needs no answer
            cause = about.get("corsErrorStatus", {}).get("corsError") or about["errorText"]
            self.failed.append(f"{cause} {self.requested.get(about['requestId'])}")

    def _address(self, file: Path) -> tuple[str, str]:
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if file.exists() and len(lines := file.read_text().splitlines()) == 2:
                return lines[0], lines[1]
            time.sleep(0.05)
        raise TimeoutError(f"{CHROMIUM} did not start within {STARTUP_SECONDS:.0f} s")

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._profile.cleanup()
