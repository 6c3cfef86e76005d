"""A real JupyterLab or Notebook on a free port, and a notebook in it as people use it: open, run, stop, look, save."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat.reader import NotJSONError

from .component import telling

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

START = 180.0
"""Seconds in which a server or a page has to be there; machines that run many tests at once are slow."""


@dataclass(frozen=True)
class Lab:
    """A running server: its URL, and the directory that it shows."""

    url: str
    root: Path
    home: Path
    """PYBUILD_HOME of its kernels."""
    app: str = "jupyterlab"
    """The module that serves: `jupyterlab` or `notebook`."""
    pid: int = 0
    """The server's process."""

    def write(self, name: str, *sources: str) -> None:
        """Put a notebook of code cells into the root."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.root / name)

    def read(self, name: str) -> Any:
        """The notebook as it was saved. The server empties the file before it writes into it."""
        deadline = time.monotonic() + START
        while True:
            try:
                return nbformat.read(self.root / name, as_version=4)
            except NotJSONError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@contextlib.contextmanager
def lab(
    root: Path,
    home: Path,
    *,
    kernels: bool = True,
    theme: str = "JupyterLab Light",
    windowing: str = "full",
    app: str = "jupyterlab",
) -> Iterator[Lab]:
    """Serve `root` until the end of the block; without `kernels` there is none to start.

    With the `windowing` "none", all cells of a notebook are drawn, and not only those in sight.

    Everything that Jupyter and the kernels keep, such as which notebooks are trusted, is below `home`.
    """
    runtime = home / "runtime"
    shutil.rmtree(runtime, ignore_errors=True)
    runtime.mkdir(parents=True)
    env = os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(home / "ipython"),
        "PYBUILD_HOME": str(home / "store"),
    }
    _set(home, "apputils", "notification", {"fetchNews": "false", "checkForUpdates": False})
    _set(home, "apputils", "themes", {"theme": theme})
    _set(home, "notebook", "tracker", {"windowingMode": windowing})
    # A kernel that has one core of a busy machine takes more than the second that it is given.
    _set(home, "completer", "manager", {"providerTimeout": START * 1000})
    arguments = [
        *("--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1", f"--ServerApp.root_dir={root}"),
        *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--LabApp.extension_manager=readonly"),
        *(() if kernels else ("--KernelSpecManager.allowed_kernelspecs={'none'}",)),
    ]
    with (home / "lab.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", app, *arguments], env=env, cwd=root, stdout=log, stderr=log)
        try:
            yield Lab(_url(process, runtime, home / "lab.log"), root, home / "store", app, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _set(home: Path, extension: str, plugin: str, settings: dict[str, Any]) -> None:
    folder = home / "settings" / "@jupyterlab" / f"{extension}-extension"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{plugin}.jupyterlab-settings").write_text(json.dumps(settings))


def _url(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError, OSError):
                url = json.loads(file.read_text())["url"].rstrip("/")
                urllib.request.urlopen(f"{url}/api").close()
                return url
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


class Notebook:
    """A notebook open in a page."""

    def __init__(self, server: Lab, page: Page, name: str) -> None:
        self.server, self.page, self.name = server, page, name

    def cell(self, number: int) -> Locator:
        """A cell, from 0."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def outputs(self, number: int) -> Locator:
        """Everything that a cell shows below itself."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def start(self, number: int) -> None:
        """Run a cell, without waiting for its end. A page that is not quite there yet may overlook a key."""
        before = self._prompt(number)
        for _ in range(5):
            self._close_dialogs()
            self.cell(number).locator(".jp-InputArea-editor").click()
            self.page.keyboard.press("Control+Enter")
            for _ in range(200):  # pressed again too soon, it would run twice
                if self._prompt(number) != before:
                    return
                self.page.wait_for_timeout(50)
        raise TimeoutError(f"Cell {number} did not start.")

    def _close_dialogs(self) -> None:
        """JupyterLab's own, such as one that says that the server is slow."""
        for button in self.page.locator(".jp-Dialog .jp-mod-accept").all():
            button.click()

    def _prompt(self, number: int) -> str:
        return self.cell(number).locator(".jp-InputArea-prompt").inner_text().strip("[]: \n")

    def wait(self, number: int, seconds: float = 60.0) -> None:
        """Until the cell has run."""
        deadline = time.monotonic() + seconds
        while not self._prompt(number).isdigit():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Cell {number} still runs: {self.outputs(number).inner_text()}")
            self.page.wait_for_timeout(50)

    def run(self, number: int, seconds: float = 60.0) -> Locator:
        """Run a cell to its end; what it shows."""
        self.start(number)
        self.wait(number, seconds)
        return self.outputs(number)

    def interrupt(self) -> None:
        """The stop button."""
        self.page.locator('.jp-NotebookPanel-toolbar [data-command="notebook:interrupt-kernel"]').first.click()

    def shut_down(self) -> None:
        """End the kernel by the menu, which needs a wide window."""
        self.page.locator(".lm-MenuBar-item", has_text="Kernel").click()
        self.page.locator('.lm-Menu [data-command="kernelmenu:shutdown"]').click()

    def save(self) -> Any:
        """Save, and read what was written."""
        file = self.server.root / self.name
        before = file.stat().st_mtime_ns
        self.page.locator('.jp-NotebookPanel-toolbar [data-command="docmanager:save"]').click()
        deadline = time.monotonic() + START
        while file.stat().st_mtime_ns == before:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} was not saved.")
            self.page.wait_for_timeout(50)
        self.page.wait_for_timeout(200)
        return self.server.read(self.name)


@contextlib.contextmanager
def open_notebook(
    server: Lab,
    browser: Browser,
    name: str,
    *,
    kernel: bool = True,
    alone: bool = True,
    width: int = 1100,
    height: int = 900,
    scale: int = 1,
) -> Iterator[Notebook]:
    """Open a notebook in a fresh browser profile, and wait for its cells, and for its kernel if it has one.

    It is `alone` in the page, or beside the file browser and all else that JupyterLab has.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale, accept_downloads=True
    )
    try:
        page = context.new_page()
        page.set_default_timeout(START * 1000)
        where = "notebooks" if server.app == "notebook" else "doc/tree" if alone else "lab/tree"
        page.goto(f"{server.url}/{where}/{name}?reset")
        with telling(page):
            page.locator(".jp-Notebook .jp-Cell").first.wait_for()
            if kernel:
                wait_for_kernel(page)
            else:
                page.locator(".jp-Dialog .jp-mod-accept").click()
            yield Notebook(server, page, name)
    finally:
        context.close()


def wait_for_kernel(page: Page) -> None:
    """Wait for a kernel that is idle, and not for the indicator before there is any."""
    page.locator(".jp-NotebookPanel-toolbar .jp-KernelName", has_text="Python 3").wait_for()
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()


def until(page: Page, done: Callable[[], object]) -> None:
    """Wait until something is true that the page alone does not tell."""
    deadline = time.monotonic() + START
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("It did not happen.")
        page.wait_for_timeout(50)


def type_in_terminal(page: Page, line: str, command: str) -> None:
    """Type a line into the terminal in front until the process that it starts is there, whose words are `command`."""
    words = command.replace(" ", "\0").encode() + b"\0"
    deadline = time.monotonic() + START
    page.locator(".jp-Terminal .xterm-helper-textarea").last.wait_for(state="attached")
    while not any(words == _command(process) for process in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
        page.locator(".jp-Terminal:visible .xterm-helper-textarea").last.focus()
        page.keyboard.type(f"{line}\n")
        page.wait_for_timeout(3000)


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
