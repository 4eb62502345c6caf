"""Chromium without a window, for checks of pages: keys, console, requests, accessibility. It needs selenium."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

SECONDS = 60
# The switches keep Chromium from looking for hosts of its own, and as root it runs only without a sandbox.
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --force-device-scale-factor=1"
)


class Failed(Exception):
    """A check failed."""


class Browser:
    """A browser with one page."""

    def __init__(self, width: int = 1280, height: int = 1400) -> None:
        self.profile = tempfile.TemporaryDirectory()
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for switch in [*SWITCHES.split(), f"--window-size={width},{height}", f"--user-data-dir={self.profile.name}"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))

    def close(self) -> None:
        self.driver.quit()
        self.profile.cleanup()

    def open(self, address: str) -> None:
        """Opens an address anew, even if only its fragment differs."""
        self.driver.get("about:blank")
        self.driver.get(address)

    def leave(self) -> None:
        """Leaves the page, and forgets what it wrote and asked for."""
        self.driver.get("about:blank")
        self.console()
        self.requests()

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The text of an element as it is in the document, whether or not it is visible."""
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, what: str, holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Waits until `holds` returns something true, and returns it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if found := holds():
                    return found
            except StaleElementReferenceException:
                pass
            time.sleep(0.05)
        raise Failed(f"gave up waiting: {what}")

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def press_with(self, modifier: str, *keys: str) -> None:
        ActionChains(self.driver).key_down(modifier).send_keys(*keys).key_up(modifier).perform()

    def tab_to(self, selector: str, most: int = 150) -> None:
        """Presses the tabulator until the focus is on an element, which must show that."""
        for _ in range(most):
            self.press(Keys.TAB)
            if self.run("return document.activeElement.matches(arguments[0])", selector):
                # Radio buttons are invisible; their labels show the focus.
                shows = "const one = document.activeElement; const shown = one.type === 'radio' ? one.parentElement : one;"
                style = self.run(f"{shows} const style = getComputedStyle(shown); return style.outlineStyle + style.outlineWidth")
                if not style.startswith(("solid", "auto")) or style.endswith("none0px"):
                    raise Failed(f"`{selector}` does not show the focus: {style}")
                return
        raise Failed(f"the tabulator does not reach `{selector}`")

    def draw(self, canvas: WebElement, points: list[tuple[float, float]]) -> None:
        """Draws a line with the mouse through points from 0 to 1."""
        size = canvas.size
        offsets = [(round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])) for x, y in points]
        chain = ActionChains(self.driver, duration=20).move_to_element_with_offset(canvas, *offsets[0]).click_and_hold()
        for offset in offsets[1:]:
            chain = chain.move_to_element_with_offset(canvas, *offset)
        chain.release().perform()

    def save_to(self, folder: Path) -> None:
        """Lets the page save files into a folder."""
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})

    def scheme(self, value: str) -> None:
        """Makes the page think that the reader prefers `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def picture(self, path: Path) -> None:
        """Saves a picture of the window."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))

    def console(self) -> list[str]:
        """What was written to the console since the last call, except that an answer was an error."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if "Failed to load resource" not in entry["message"]]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def barriers(self, axe: Path) -> list[str]:
        """What axe-core finds that keeps people from using the page."""
        self.run(axe.read_text(encoding="utf-8"))
        script = """const done = arguments[0];
            axe.run().then((result) => done(result.violations.map((one) => `${one.id}: ${one.help}: ` +
                one.nodes.map((node) => node.html.slice(0, 200)).join(" | ")))).catch((error) => done([String(error)]));"""
        return self.driver.execute_async_script(script)
