"""A page with nothing but the result component, in a real Chromium, which asks the real service of this process."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pybuild_magic.display.service import service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STATIC = Path(__file__).parents[2] / "pybuild_magic" / "display" / "static"
RECORDED = (Path(__file__).parent / "data" / "image.json").read_text("utf-8")
"""The document of a build of an image."""
AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"
_ORIGIN = "http://localhost"

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Result</title>
<link rel="stylesheet" href="/theme.css"><link rel="stylesheet" href="/result.css">
<style>body{margin:16px;background:var(--jp-layout-color0)} #place{outline:0}</style></head>
<body data-jp-theme-light="%s"><main id="place"></main>
<script type="module">
import widget from "/result.js";
const view = (data) => new DataView(
  data instanceof ArrayBuffer ? data : Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)).buffer);
let undraw = () => {};
window.draw = (summary) => {
  undraw();
  const listeners = new Set();
  const model = {
    get: () => summary,
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
    async send(request) {
      const { reply, buffers } = await askKernel(request);
      for (const listener of listeners) listener(reply, buffers.map(view));
    },
  };
  const begun = performance.now();
  undraw = widget.render({ model, el: document.getElementById("place") });
  document.getElementById("place").getBoundingClientRect();
  return performance.now() - begun;
};
window.ready = true;
</script></body></html>"""


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    done, answer = threading.Event(), {}

    def send(reply: dict[str, Any], buffers: list[bytes]) -> None:
        answer.update(reply=reply, buffers=[base64.b64encode(buffer).decode() for buffer in buffers])
        done.set()

    service().handle(request, send)
    done.wait(30)
    return answer


_TAKE_BYTES = """() => { window.askKernel = async (request) => {
  const answer = await fetch("http://127.0.0.1:PORT", { method: "POST", body: JSON.stringify(request) });
  const data = await answer.arrayBuffer();
  const begin = 4 + new DataView(data).getUint32(0);
  const reply = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, begin - 4)));
  return { reply, buffers: data.byteLength > begin ? [data.slice(begin)] : [] };
}; }"""


@contextlib.contextmanager
def bytes_kernel() -> Iterator[str]:
    """Another way to the service, for very many bytes: the JavaScript that makes a page take it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            done, parts = threading.Event(), list[bytes]()

            def send(reply: dict[str, Any], buffers: list[bytes]) -> None:
                text = json.dumps(reply).encode()
                parts.extend([len(text).to_bytes(4, "big"), text, *buffers])
                done.set()

            service().handle(request, send)
            done.wait(30)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Length", str(sum(map(len, parts))))
            self.end_headers()
            for part in parts:
                self.wfile.write(part)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield _TAKE_BYTES.replace("PORT", str(server.server_port))
        finally:
            server.shutdown()


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds in the place of a page by its `rules`, by all when none are named, with the elements."""
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=AXE)
    options = {"runOnly": list(rules)} if rules else {}
    found = page.evaluate("(options) => axe.run('#place', options)", options)
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


class ResultPage:
    """The component in a page. `errors` is everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def draw(self, summary: str | bytes) -> float:
        """Draw a Summary, which is JSON; the milliseconds that took, layout included."""
        text = summary.decode() if isinstance(summary, bytes) else summary
        return self.page.evaluate("(summary) => draw(JSON.parse(summary))", text)

    def tab(self, name: str) -> None:
        """Open a tab."""
        self.page.locator('[role="tab"]', has_text=name).first.click()

    def violations(self, *rules: str) -> list[str]:
        """What axe finds by its `rules`, by all when none are named, with the elements."""
        return violations(self.page, *rules)


@contextlib.contextmanager
def telling(page: Page) -> Iterator[None]:
    """Whatever fails in this block says what the page shows then."""
    try:
        yield
    except Exception as error:
        with contextlib.suppress(Exception):  # a page that is gone
            error.add_note(f"The page shows: {page.locator('body').inner_text(timeout=5000)[-5000:]}")
        raise


@contextlib.contextmanager
def result_page(browser: Browser, *, dark: bool = False, width: int = 960, height: int = 900) -> Iterator[ResultPage]:
    """A page in one of JupyterLab's own themes."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        accept_downloads=True,
        permissions=["clipboard-read", "clipboard-write", "local-network-access"],
    )
    theme = THEMES / f"theme-{'dark' if dark else 'light'}-extension" / "index.css"
    files = {"theme.css": theme} | {name: STATIC / name for name in ("result.css", "result.js", "downloads.js")}
    try:
        page = context.new_page()
        page.expose_function("askKernel", _ask)
        page.route(f"{_ORIGIN}/*.*", lambda route: route.fulfill(path=files[route.request.url.rpartition("/")[2]]))
        html = _PAGE % json.dumps(not dark)
        page.route(f"{_ORIGIN}/", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.route(f"{_ORIGIN}/favicon.ico", lambda route: route.fulfill(status=204, body=""))
        shown = ResultPage(page)
        page.goto(f"{_ORIGIN}/")
        page.wait_for_function("() => window.ready")
        with telling(page):
            yield shown
    finally:
        context.close()
