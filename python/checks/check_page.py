"""Uses the page at `/` of `tf-persist serve-local` in Chromium, as people do: with keys and with the mouse.

    python -m checks.check_page --tf-persist target/debug/tf-persist [--pictures target/page] [--axe axe.min.js]

Each signature of the models of models/ is asked with the values that the page fills in, and its answer compared with that of the
page's own curl command. Names of models, signatures and inputs are hostile. Exit code 1 if anything is not as it should be.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver.common.keys import Keys
from tensorflow.core.protobuf import saved_model_pb2

from checks import check_serve
from checks.browser import Browser, Failed
from checks.check_serve import ROOT, Server

HOSTILE = "<script>window.hacked=1</script>\"'`${1}&amp;\u202egpj.%2f\\ \u0646\u0645\u0648\u0630\u062c"
HOSTILE_SIGNATURE = "<img src=x onerror=\"window.hacked=1\">'\u202e;"
HOSTILE_INPUT = "</textarea><script>window.hacked=1</script>'\""
MANY = 2000
# Signatures whose answer to the filled-in values is an error, and words of it: the REST interface has no such dtype, or the values must
# fit together.
REFUSED = {
    ("dtypes", "mixed"): "is not of expected type: complex64",
    ("dtypes", "scalars"): "to type: bfloat16",
    ("dtypes", "serving_default"): "to type: bfloat16",
    ("float8", "narrowed"): "float8_e4m3fn are not supported",
    ("float8", "widened"): "to type: float8_e4m3fn",
    ("tf1_graph", "classify"): "Feature: x (data type: float) is required",
    ("tf1_graph", "regress"): "Feature: x (data type: float) is required",
}


class Page:
    """The page of a server in a browser."""

    def __init__(self, browser: Browser, port: int) -> None:
        self.browser, self.address = browser, f"http://127.0.0.1:{port}/"

    def open(self, model: str, signature: str | None = None) -> None:
        parts = {"model": model} | ({"signature": signature} if signature is not None else {})
        script = "return String(new URLSearchParams(arguments[0]))"
        self.browser.open(self.address + "#" + self.browser.run(script, parts))
        self.browser.wait(f"the form of `{model}`", lambda: self.can_send() or "no inputs" in self.browser.text("#request-note"))

    def can_send(self) -> bool:
        return self.browser.find("#send").is_displayed() and self.browser.find("#send").is_enabled()

    def send(self) -> str:
        """Sends the request, and returns the summary of the answer."""
        self.browser.find("#send").click()
        return self.answered()

    def answered(self) -> str:
        def summary() -> str | None:
            text = self.browser.text("#answer-summary")
            return None if text.startswith(("Waiting", "None yet")) else text

        return self.browser.wait("an answer", summary)

    def answer(self) -> Any:
        return json.loads(self.browser.text("#answer-json"))

    def command(self, tool: str) -> str:
        """The command line for the request, once it is that of the form."""
        self.browser.run("document.querySelector(`#tools [value=${arguments[0]}]`).click()", tool)
        time.sleep(0.3)
        return self.browser.text("#command")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    parser.add_argument("--pictures", type=Path, default=ROOT / "target" / "page", help="a folder for pictures of the page")
    parser.add_argument("--python", type=Path, help="a Python with tritonclient, which runs the page's program")
    parser.add_argument("--axe", type=Path, help="the script of axe-core, which looks for barriers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser()
        try:
            _check_models(browser, arguments, Path(folder))
            _check_store_with_key(browser, arguments, Path(folder))
        except (Failed, check_serve.Failed, AssertionError) as error:
            browser.picture(arguments.pictures / "failed.png")
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        finally:
            browser.close()
    return 0


@contextmanager
def _serving(tf_persist: Path, options: list[str], log: Path) -> Iterator[Server]:
    server = Server(tf_persist.resolve(), options, log)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def _check_models(browser: Browser, arguments: argparse.Namespace, scratch: Path) -> None:
    bases = _base_paths(scratch)
    config = scratch / "models.config"
    entries = [f"config {{ name: {json.dumps(name, ensure_ascii=False)} base_path: {json.dumps(str(base))} model_platform: 'tensorflow' }}" for name, base in bases.items()]
    config.write_text("model_config_list { %s }\n" % "\n".join(entries), encoding="utf-8")
    with _serving(arguments.tf_persist, [f"--model_config_file={config}", "--optimize=off", "--num_load_threads=2"], scratch / "models.log") as server:
        server.wait_until_ready()
        page = Page(browser, server.rest_port)
        _check_keyboard(page)
        _check_picture(page, scratch)
        _look(page, arguments)
        _check_errors(page)
        _check_hostile_names(page, arguments)
        _check_large_metadata(page)
        asked = _check_every_signature(page, [name for name in bases if name not in (HOSTILE, "many")])
        _check_other_commands(page, arguments, scratch)
        _check_changes(page, bases["digits"])
        _check_console(page)
        print(f"page: {asked} signatures asked with the values that it fills in, each answer equal to curl's")
        server.end()
        browser.wait("the page notices that the server is gone", lambda: "does not answer" in browser.text("#server-problem"))
        browser.leave()


def _base_paths(scratch: Path) -> dict[str, Path]:
    """The models of models/ that need nothing else, one with hostile names, and one with thousands of signatures and inputs."""
    bases = {}
    for model in sorted(path.parent for path in (ROOT / "models").glob("*/model")):
        meta = json.loads((model / "meta.json").read_text(encoding="utf-8"))
        graphs = meta.get("meta_graphs") or []
        if len(graphs) == 1 and not meta.get("custom_op_libs"):
            base = bases[model.name] = scratch / "bases" / model.name
            shutil.copytree(model / "model", base / "1")
    half = ROOT / "models" / "half_plus_two" / "model"
    for name, folder in {HOSTILE: "hostile", "many": "many"}.items():
        base = bases[name] = scratch / "bases" / folder
        shutil.copytree(half, base / "1")
        file = base / "1" / "saved_model.pb"
        model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        signatures = model.meta_graphs[0].signature_def
        default = signatures["serving_default"]
        if name == HOSTILE:
            renamed = signatures[HOSTILE_SIGNATURE]
            renamed.CopyFrom(default)
            renamed.inputs[HOSTILE_INPUT].CopyFrom(renamed.inputs.pop("x"))
        else:
            for number in range(MANY):
                signatures[f"signature_{number}"].CopyFrom(default)
            for number in range(MANY):
                default.inputs[f"x{number}"].CopyFrom(default.inputs["x"])
        file.write_bytes(model.SerializeToString())
    return bases


def _check_keyboard(page: Page) -> None:
    """Chooses a model, draws, sends and copies with keys alone."""
    browser = page.browser
    browser.open(page.address)
    browser.wait("the list of models", lambda: len(browser.find_all("#models a")) > 5)
    browser.tab_to(".skip", 1)
    browser.tab_to("#filter")
    browser.press("digits")
    browser.tab_to("#models a")
    browser.press(Keys.ENTER)
    browser.wait("the form of `digits`", lambda: browser.text("#model-name") == "digits" and browser.find_all("canvas.pad"))
    browser.tab_to("#version")
    browser.tab_to("canvas.pad")
    browser.press(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_LEFT)
    for _ in range(5):
        browser.press_with(Keys.SHIFT, Keys.ARROW_DOWN)
    browser.press(Keys.ARROW_RIGHT, " ")
    said = browser.text(".drawing [role=status]")
    _expect("what is said of the drawing", said, "Row 7, column 5, drawn")
    browser.tab_to("#send")
    browser.press(Keys.ENTER)
    _expect("the answer to the drawing", page.answered().split(",")[0], "200 OK")
    drawn = json.loads(_curl(page))
    _expect("answer of the drawing", page.answer(), drawn)
    # Clearing changes the answer, and the text field takes what is written into it.
    for _ in range(10):
        browser.press_with(Keys.SHIFT, Keys.TAB)
        if browser.run("return document.activeElement.matches('canvas.pad')"):
            break
    browser.press(Keys.DELETE)
    browser.tab_to("input[value=Values]:not(:checked), input[value=Picture]")
    browser.press(Keys.ARROW_RIGHT)
    browser.tab_to("textarea")
    browser.press_with(Keys.CONTROL, "a")
    row = json.dumps([[[0.5]] * 8] * 8)
    browser.press(f"[{row}, {row}]")
    browser.press_with(Keys.CONTROL, Keys.ENTER)
    _expect("the answer to values", page.answered().split(",")[0], "200 OK")
    browser.wait("another answer", lambda: len(page.answer()["outputs"]) == 2)
    browser.tab_to("#answer summary")
    browser.press(Keys.ENTER)
    browser.wait("the answer as JSON", lambda: browser.find("#answer-json").is_displayed())
    browser.tab_to("#tools input")
    browser.press(Keys.ARROW_RIGHT)
    browser.wait("another command", lambda: browser.text("#command").startswith("tf-persist run"))
    browser.tab_to("#copy")
    browser.press(Keys.ENTER)
    browser.wait("the copy", lambda: browser.text("#copied") != "")
    print("page: used with keys alone")


def _check_picture(page: Page, scratch: Path) -> None:
    """A file with a digit that the model has not seen is recognized, and so is a line that is drawn with the mouse."""
    browser = page.browser
    with np.load(ROOT / "models" / "digits" / "held_out.npz") as held_out:
        image, label = held_out["image"][0, :, :, 0], int(held_out["label"][0])
        expected = held_out["probabilities"][0]
    file = scratch / "digit.png"
    file.write_bytes(_png(np.kron(image, np.ones((16, 16)))))
    page.open("digits")
    browser.find("input[type=file]").send_keys(str(file))
    time.sleep(0.5)
    _expect("code", page.send().split(",")[0], "200 OK")
    [found] = page.answer()["outputs"]
    assert np.argmax(found) == label and np.abs(np.array(found) - expected).max() < 0.05, (found, expected)
    bars = [row.text.split() for row in browser.find_all("#answer table.bars tbody tr")]
    _expect("bars", [[str(index), f"{value:.4f}"] for index, value in enumerate(found)], bars)
    _expect("the largest", browser.find("#answer .best th").text, str(label))
    # 0 to 255 and inverted: the values of the request.
    page.open("digits")
    select = browser.find(".side select")
    select.send_keys("0 to 255")
    browser.find(".side input[type=checkbox]").click()
    values = json.loads(page.command("curl").split("-d ")[1].strip("'"))["inputs"]["image"]
    _expect("an empty pad, inverted", np.array(values).tolist(), np.full((1, 8, 8, 1), 255).tolist())
    browser.find("input[type=file]").send_keys(str(ROOT / "models" / "README.md"))
    browser.wait("a file that is no image is refused", lambda: "not an image" in browser.text("#inputs .problem"))


def _png(values: np.ndarray) -> bytes:
    """A grayscale PNG file of values from 0 to 1."""
    pixels = np.round(255 * values).astype(np.uint8)
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _look(page: Page, arguments: argparse.Namespace) -> None:
    """Light, dark and narrow: pictures, colours, and nothing that axe-core objects to."""
    browser = page.browser
    page.open("digits")
    three = [(0.35, 0.12), (0.6, 0.15), (0.66, 0.3), (0.45, 0.46), (0.66, 0.6), (0.62, 0.8), (0.35, 0.86)]
    browser.draw(browser.find("canvas.pad"), three)
    _expect("code", page.send().split(",")[0], "200 OK")
    for _ in range(20):
        _curl(page)
        time.sleep(0.3)
    browser.run("document.activeElement.blur(); scrollTo(0, 0)")
    for scheme, is_dark in {"light": False, "dark": True}.items():
        browser.scheme(scheme)
        time.sleep(0.5)
        colors = browser.run("const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]")
        ground, text = (sum(int(part) for part in color[4:-1].split(",")) / 765 for color in colors)
        assert (ground < 0.2 < text) if is_dark else (text < 0.2 < ground), f"{scheme}: {colors}"
        browser.picture(arguments.pictures / f"{scheme}.png")
        _expect_no_barriers(browser, arguments, scheme)
    browser.scheme("light")
    browser.size(390, 1400)
    width = browser.run("return document.scrollingElement.scrollWidth")
    assert width <= 390, f"a window of 390 pixels is {width} wide"
    browser.picture(arguments.pictures / "narrow.png")
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _expect_no_barriers(browser: Browser, arguments: argparse.Namespace, place: str) -> None:
    if arguments.axe and (found := browser.barriers(arguments.axe)):
        raise Failed(f"axe-core on {place}: " + "\n".join(found))


def _check_errors(page: Page) -> None:
    browser = page.browser
    page.open("half_plus_two")
    area = browser.find("#inputs textarea")
    area.clear()
    area.send_keys("[1.0, <b>")
    _expect("a request that is not JSON", page.send(), "The request was not sent.")
    assert browser.run("return document.activeElement === arguments[0]", area), "the focus is not on the field that is wrong"
    _expect("its field", area.get_attribute("aria-invalid"), "true")
    area.clear()
    area.send_keys('["<b>x</b>"]')
    _expect("strings for floats", page.send().split(",")[0], "400 Bad Request")
    _expect("elements in the error", len(browser.find_all("#answer .failure *")), 0)
    assert "<b>x</b>" in browser.text("#answer .failure") or "JSON" in browser.text("#answer .failure"), browser.text("#answer")
    # Values that JavaScript's JSON does not have, and that a float does not have.
    area.clear()
    area.send_keys("[NaN, -Infinity, 1]")
    _expect("code of NaN", page.send().split(",")[0], "200 OK")
    _expect("cells", [cell.text for cell in browser.find_all("#answer td.number")], ["NaN", "-Infinity", "2.5"])
    page.open("counter", "increment")
    area = browser.find("#inputs textarea")
    area.clear()
    area.send_keys("9007199254740993")
    _expect("code of a large integer", page.send().split(",")[0], "200 OK")
    cells = [cell.text for cell in browser.find_all("#answer td.number")]
    assert "9007199254740993" in cells, cells


def _check_hostile_names(page: Page, arguments: argparse.Namespace) -> None:
    browser = page.browser
    for model, signature in {HOSTILE: HOSTILE_SIGNATURE, "</bdi><b>": None, "x" * 5000: None}.items():
        if signature is None:
            browser.open(page.address + "#" + browser.run("return String(new URLSearchParams({model: arguments[0]}))", model))
            browser.wait("a model that is not there", lambda: "has no model" in browser.text("#no-model"))
            continue
        page.open(model, signature)
        as_shown = model.replace("\u202e", "\\u202e")
        _expect("name", browser.text("#model-name"), as_shown)
        _expect("signature", browser.find("#signature").get_attribute("value"), signature)
        _expect("input", browser.text("#inputs legend bdi"), HOSTILE_INPUT)
        _expect("code", page.send().split(",")[0], "200 OK")
        _expect("answer", page.answer(), json.loads(_curl(page)))
        browser.picture(arguments.pictures / "hostile.png")
        _expect_no_barriers(browser, arguments, "hostile names")
    for scripts in ["return window.hacked ?? null", "return document.querySelector('main img, main b, main script')"]:
        _expect("scripts and elements of names", browser.run(scripts), None)
    # The policy forbids what the script of the page does not do.
    refused = "try { document.body.innerHTML = '<b>'; return 'parsed' } catch (error) { return error.name }"
    _expect("HTML that is parsed", browser.run(refused), "TypeError")
    browser.console()


def _check_large_metadata(page: Page) -> None:
    started = time.monotonic()
    page.open("many")
    took = time.monotonic() - started
    _expect("signatures", len(page.browser.find_all("#signature option")), MANY + 1)
    _expect("fields", len(page.browser.find_all("#inputs textarea")), 1)
    assert took < 20, f"{MANY} signatures took {took:.1f} s"


def _check_every_signature(page: Page, models: list[str]) -> int:
    """Sends the values that the page fills in, and compares with its curl command."""
    asked = 0
    for model in models:
        page.open(model)
        names = [option.get_attribute("value") for option in page.browser.find_all("#signature option")]
        for name in names:
            page.open(model, name)
            if not page.can_send():
                continue
            summary = page.send()
            asked += 1
            what = f"{model}, signature `{name}`"
            if words := REFUSED.get((model, name)):
                assert words in page.browser.text("#answer .failure"), f"{what}: {summary} {page.browser.text('#answer')}"
            elif not summary.startswith("200 OK"):
                raise Failed(f"{what}: {summary} {page.browser.text('#answer')}")
            elif model != "counter" and name != "train":
                # These two answer otherwise when they are asked again. A long answer is shown in part.
                found, _, _ = page.browser.text("#answer-json").partition("\n… (")
                assert _curl(page).startswith(found), f"{what}: {found}"
    return asked


def _check_other_commands(page: Page, arguments: argparse.Namespace, scratch: Path) -> None:
    """`tf-persist run` and tritonclient get the same answer, and a long request is saved as a file for the commands."""
    page.open("text")
    area = page.browser.find("#inputs textarea")
    area.click()
    # As an input method does: ChromeDriver has no keys for characters such as the last one.
    page.browser.driver.execute_cdp_cmd("Input.insertText", {"text": "it's \"good\" \u00e4\U0001f600"})
    _expect("code", page.send().split(",")[0], "200 OK")
    command = page.command("run").replace("MODEL", str(ROOT / "models" / "text" / "model"))
    command = command.replace("tf-persist run", f"{arguments.tf_persist.resolve()} run --format json")
    found = json.loads(_bash(command))["outputs"]
    _expect("answer of `tf-persist run`", found["label"], page.answer()["outputs"]["label"])
    if arguments.python:
        _check_program(page, arguments.python, scratch)
    page.open("half_plus_two")
    numbers = list(range(2000))
    script = "const area = document.querySelector('#inputs textarea'); area.value = arguments[0]; area.dispatchEvent(new Event('input', {bubbles: true}))"
    page.browser.run(script, json.dumps(numbers))
    _expect("code of a long request", page.send().split(",")[0], "200 OK")
    page.browser.save_to(scratch)
    command = page.command("curl")
    page.browser.find("#save-request").click()
    page.browser.wait("the saved request", lambda: (scratch / "request.json").is_file() and (scratch / "request.json").stat().st_size > 5000)
    _expect("answer to the saved request", json.loads(_bash(f"cd '{scratch}' && {command}"))["outputs"], [number / 2 + 2 for number in numbers])
    _expect("rows that are shown", len(page.browser.find_all("#answer tbody tr")), 20)


def _check_program(page: Page, python: Path, scratch: Path) -> None:
    """The page's program for tritonclient prints the answer, also for hostile names and strings."""
    file = scratch / "program.py"
    label = page.answer()["outputs"]["label"][0]
    for model, signature, expected in [("text", None, label), (HOSTILE, HOSTILE_SIGNATURE, "[2.]"), ("digits", None, "probabilities")]:
        if model != "text":
            page.open(model, signature)
        file.write_text(page.command("python"), encoding="utf-8")
        printed = _bash(f"'{python.absolute()}' '{file}'")
        assert expected in printed, f"the program for `{model}` prints {printed}"


def _check_changes(page: Page, base: Path) -> None:
    """A version that appears is shown while the page is open; what the reader has filled in stays."""
    browser = page.browser
    page.open("digits")
    browser.find("input[value=Values]").click()
    area = browser.find("#inputs textarea")
    area.send_keys(" ")
    written = area.get_attribute("value")
    shutil.copytree(base / "1", base / ".2")
    (base / ".2").rename(base / "2")
    state = "return document.querySelector('#versions tbody').textContent"
    browser.wait("version 2", lambda: "2available" in browser.run(state) and "the newest (2)" in browser.text("#version"))
    _expect("what was written", browser.find("#inputs textarea").get_attribute("value"), written)
    assert browser.run("return document.activeElement === arguments[0]", area), "the focus moved"
    (base / "3").mkdir()
    (base / "3" / "saved_model.pb").write_bytes(b"<script>")
    browser.wait("version 3 is refused", lambda: "is damaged" in browser.run(state) and browser.find_all("#versions .problem"))
    shutil.rmtree(base / "3")


def _check_console(page: Page) -> None:
    found = page.browser.console()
    _expect("the console", found, [])
    # The browser's own new tab is not the page's.
    own = (page.address, "data:", "blob:", "about:", "chrome:", "chrome-untrusted:")
    strangers = [url for url in page.browser.requests() if not url.startswith(own)]
    _expect("requests to others", strangers, [])


def _check_store_with_key(browser: Browser, arguments: argparse.Namespace, scratch: Path) -> None:
    """A store whose newest version is damaged, behind an API key."""
    store, keys, tf_persist = scratch / "models.store", scratch / "keys", arguments.tf_persist.resolve()
    keys.write_text("right key\n", encoding="utf-8")
    _bash(f"'{tf_persist}' store --store '{store}' init")
    publish = f"'{tf_persist}' store --store '{store}' publish '{ROOT}/models/digits/model' digits"
    _bash(f"{publish} --label production && {publish} --label canary")
    for file in store.glob("digits/2/**/variables.data*"):
        # Not in place: version 1 has a hard link to the same file.
        damaged = file.read_bytes()[:-1] + b"!"
        file.unlink()
        file.write_bytes(damaged)
    options = [f"--store={store}", f"--api_key_file={keys}"]
    with _serving(tf_persist, options, scratch / "store.log") as server:
        page = Page(browser, server.rest_port)
        # The server is not ready as long as a label is pending.
        browser.wait("the server answers", lambda: subprocess.run(["curl", "--silent", page.address + "healthz"], capture_output=True).stdout == b"ok\n")
        browser.open(page.address)
        browser.wait("the page asks for a key", lambda: browser.find("#key").is_displayed())
        _expect("models without a key", browser.find("#columns").is_displayed(), False)
        browser.picture(arguments.pictures / "key.png")
        _expect_no_barriers(browser, arguments, "the key")
        browser.press("wrong key", Keys.ENTER)
        browser.wait("a wrong key is refused", lambda: "not known" in browser.text("#key-problem"))
        browser.press("right key", Keys.ENTER)
        browser.wait("the models", lambda: browser.find_all("#models a"))
        kept = browser.run("return [Object.values(sessionStorage), Object.keys(localStorage), document.cookie]")
        _expect("where the key is kept", kept, [["right key"], [], ""])
        page.open("digits")
        browser.wait("the damaged version", lambda: browser.find_all("#versions .label.pending"))
        _expect("pending label", browser.find("#versions .label.pending").text, "canary pending")
        _expect("code", page.send().split(",")[0], "200 OK")
        command = page.command("curl")
        assert "right key" not in command and '-H "X-Api-Key: $KEY"' in command, command
        browser.picture(arguments.pictures / "store.png")
        _check_console(page)
        browser.find("#forget-key").click()
        browser.wait("the page asks for a key again", lambda: browser.find("#key").is_displayed())
        _expect("keys that are kept", browser.run("return Object.keys(sessionStorage)"), [])
    print("page: keys, pending labels")


def _curl(page: Page) -> str:
    return _bash(page.command("curl").replace("curl ", "curl --silent --show-error ", 1))


def _bash(command: str) -> str:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Failed(f"`{command[:500]}` ends with {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Failed(f"{what}: {found!r} instead of {expected!r}")


if __name__ == "__main__":
    sys.exit(main())
