"""Files of the kernel's machine, fetched by the browser through the kernel."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .component import result_page
from .lab import Lab, Notebook, open_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, WebSocketRoute

pytestmark = pytest.mark.xdist_group("browser")

LOAD = "%load_ext pybuild_magic\nimport os\nfiles = {{'big.bin': os.urandom({size}), 'small.txt': 'small'}}"


def build(outside: Path) -> str:
    outputs = [
        "type=oci,dest=inside.tar,compression=uncompressed",
        f"type=tar,dest={outside}/outside.tar",
        "type=local,dest=folder",
    ]
    return f"%%build {' '.join('-o ' + output for output in outputs)} $files\nFROM scratch\nCOPY . /\n"


def offered(notebook: Notebook, path: str) -> Locator:
    """The button that downloads what is at a path."""
    return notebook.outputs(1).locator(".pbr-where", has_text=path).get_by_role("button", name="Download")


def fetch(notebook: Notebook, path: str, to: Path) -> Path:
    """Press the button next to a path; where the file is now."""
    with notebook.page.expect_download(timeout=60_000) as started:
        offered(notebook, path).click()
    target = to / started.value.suggested_filename
    started.value.save_as(target)
    return target


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_the_same_to_the_byte_wherever_it_is(server: Lab, browser: Browser, tmp_path: Path) -> None:
    """More chunks than come at once, inside of what Jupyter serves and outside; a directory; after a reload, too."""
    server.write("download.ipynb", LOAD.format(size=21_000_000), build(tmp_path))
    got = tmp_path / "got"
    got.mkdir()
    with open_notebook(server, browser, "download.ipynb") as notebook:
        notebook.run(0)
        notebook.run(1)
        offered(notebook, "outside.tar").wait_for()
        assert digest(fetch(notebook, "inside.tar", got)) == digest(server.root / "inside.tar")
        assert digest(fetch(notebook, "outside.tar", got)) == digest(tmp_path / "outside.tar")
        folder = fetch(notebook, "folder", got)
        assert folder.name == "folder.tar"
        with tarfile.open(folder) as tar:
            big = tar.extractfile("folder/big.bin")
            assert big is not None
            assert big.read() == (server.root / "folder" / "big.bin").read_bytes()

        notebook.save()
        notebook.page.reload()
        offered(notebook, "outside.tar").wait_for()
        assert digest(fetch(notebook, "outside.tar", got)) == digest(tmp_path / "outside.tar")


class Held:
    """What pages say to kernels, or of it what has some words, is held back until `go_on`."""

    def __init__(self, page: Page, words: str = "") -> None:
        self._words = words.encode()
        self.answers: list[bytes] = []
        self._waiting: list[tuple[WebSocketRoute, str | bytes]] | None = []
        page.route_web_socket("**/api/kernels/*/channels*", self._relay)

    def _relay(self, socket: WebSocketRoute) -> None:
        kernel = socket.connect_to_server()

        def send(message: str | bytes) -> None:
            said = message.encode() if isinstance(message, str) else message
            if self._waiting is not None and self._words in said:
                self._waiting.append((kernel, message))
            else:
                kernel.send(message)

        def hear(message: str | bytes) -> None:
            self.answers.append(message.encode() if isinstance(message, str) else message)
            socket.send(message)

        socket.on_message(send)
        kernel.on_message(hear)

    def go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        for kernel, message in waiting or []:
            kernel.send(message)


def test_what_a_reader_does_before_the_kernel_answers_stays(server: Lab, browser: Browser, tmp_path: Path) -> None:
    """What is typed, chosen and focused, and what is pressed at that very moment."""
    server.write("early.ipynb", LOAD.format(size=1000), build(tmp_path))
    with open_notebook(server, browser, "early.ipynb") as notebook:
        notebook.run(0)
        notebook.run(1)
        offered(notebook, "outside.tar").wait_for()
        notebook.save()

        page = notebook.page
        page.set_viewport_size({"width": 700, "height": 900})  # the button to come has no room in its path's line
        held = Held(page)
        page.reload()
        card = notebook.outputs(1).locator(".pbr")
        card.get_by_role("tab", name="Files").click()
        search = card.get_by_label("Filter Files")
        search.fill("small")
        card.get_by_role("treeitem", name="small.txt").click()
        card.get_by_text("Run the cell again to see its content.").wait_for()
        search.focus()
        page.keyboard.press("End")
        assert not offered(notebook, "outside.tar").count(), "the kernel has not said yet that it is there"
        tab = card.get_by_role("tab", name="Config")
        # The focus is to stay in the search while the button is down.
        tab.evaluate("(tab) => tab.addEventListener('pointerdown', (event) => event.preventDefault())")
        tab.hover()
        page.mouse.down()
        page.keyboard.insert_text(".t")
        place = tab.bounding_box()
        held.go_on()
        while not any(b'"result": true' in answer for answer in held.answers):  # the kernel knows the result
            page.wait_for_timeout(50)
        page.wait_for_timeout(200)
        page.keyboard.insert_text("xt")
        assert search.input_value() == "small.txt"
        assert tab.bounding_box() == place, "what is pressed stays under the mouse"
        page.mouse.up()
        assert tab.get_attribute("aria-selected") == "true"
        offered(notebook, "outside.tar").wait_for()
        card.get_by_role("tab", name="Files").click()
        card.locator(".pbr-preview", has_text="small").wait_for()
        assert search.input_value() == "small.txt"


def test_a_kernel_that_runs_a_cell_sends_files_all_the_same_or_says_that_one_is_gone(
    server: Lab, browser: Browser, tmp_path: Path
) -> None:
    server.write("busy.ipynb", LOAD.format(size=1000), build(tmp_path), "import time; time.sleep(600)")
    with open_notebook(server, browser, "busy.ipynb") as notebook:
        held = Held(notebook.page, "create_subshell_request")
        notebook.page.reload()
        notebook.run(0)
        notebook.run(1)
        notebook.start(2)
        held.go_on()
        assert digest(fetch(notebook, "outside.tar", tmp_path / "x")) == digest(tmp_path / "outside.tar")
        (tmp_path / "outside.tar").unlink()
        offered(notebook, "outside.tar").click()
        notebook.page.get_by_role("status").get_by_text("No such file or directory").wait_for()
        notebook.interrupt()
        notebook.wait(2)


STATIC_PAGE = """async ([token, size, chunk]) => {
  const { default: widget } = await import("/downloads.js");
  const place = document.getElementById("place");
  for (const word of ["answered", "silent"])
    place.insertAdjacentHTML("beforeend", `<p><code data-pybuild-download="${word} output:0">${word}.bin</code></p>`);
  const listeners = new Set();
  const model = {
    get: () => ["answered", "silent"],
    on: (name, listener) => name === "msg:custom" && listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
    send({ id, token, params: { offset } }) {
      if (token === "silent") return;
      const data = new Uint8Array(Math.min(chunk, size - offset)).map((_, index) => (offset + index) % 251);
      const result = { name: "answered.bin", size, version: "1", count: data.length };
      for (const listener of [...listeners]) listener({ id, result }, [new DataView(data.buffer)]);
    },
  };
  widget().initialize({ model });
}"""


def test_a_page_without_the_extension_downloads_by_its_widget(browser: Browser, tmp_path: Path) -> None:
    """In chunks, and stopped while the kernel has not answered."""
    with result_page(browser) as shown:
        shown.page.evaluate(STATIC_PAGE, ["answered", 10_000, 1024])
        with shown.page.expect_download() as download:
            shown.page.get_by_role("button", name="Download answered.bin").click()
        download.value.save_as(tmp_path / "answered.bin")
        assert (tmp_path / "answered.bin").read_bytes() == bytes(index % 251 for index in range(10_000))
        button = shown.page.get_by_role("button", name="Download silent.bin")
        button.click()
        button.get_by_text("Waiting for the kernel…").wait_for()
        button.click()
        button.get_by_text("Stopped. Try again").wait_for()
        assert not shown.errors
